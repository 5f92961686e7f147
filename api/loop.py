"""The service on one event loop, under granian's own interface (RSGI): a greenlet a request.

A request that waits for its commit holds no thread, so none is handed from thread to thread; a body
that comes slowly, or never ends, keeps nobody waiting. What people and auditors read goes aside, to a
few threads: a long look at a book holds up no bet. The application stays plain WSGI.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from ledger.reader import MOST_BYTES
from ledger.writer import Latch, thread_latch

BODY_S = 10.0
"""What a body may take to come in whole."""

ASIDE = ("/api/", "/audit")
"""Where reading may take its time; each of them has threads of its own."""

ASIDE_THREADS = 4

Headers = list[tuple[str, str]]
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Scope(Protocol):
    """What granian says of a request; docs: granian, "RSGI specification"."""

    proto: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    http_version: str
    headers: Any


def latch() -> Latch:
    """Returns what one caller waits at: a request's greenlet lets the loop go on, a thread sleeps."""
    return GreenletLatch() if getcurrent().parent else thread_latch()


class GreenletLatch:
    """Shut until it is released, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()

    def acquire(self, *, timeout: float) -> bool:
        """Returns True once it is released, False where that takes longer than so many seconds."""
        late = self._loop.call_later(timeout, partial(self._end, released=False))
        released: bool = getcurrent().parent.switch(self._ended)
        late.cancel()
        return released

    def release(self) -> None:
        """Wakes the one who waits."""
        with suppress(RuntimeError):  # nobody waits on a loop that is closed
            self._loop.call_soon_threadsafe(partial(self._end, released=True))

    def _end(self, *, released: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(released)


class Service:
    """A WSGI application as granian's loop calls it."""

    def __init__(self, app: Wsgi, close: Callable[[], None]) -> None:
        self._app = app
        self._close = close
        self._idle: list[greenlet] = []
        self._aside = [(prefix, ThreadPoolExecutor(ASIDE_THREADS, prefix)) for prefix in ASIDE]

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        if scope.proto != "http":
            protocol.close(HTTPStatus.FORBIDDEN)
            return
        try:
            body = await _body(scope, protocol)
        except TimeoutError:
            late = [("content-type", "application/problem+json"), ("connection", "close")]
            protocol.response_str(HTTPStatus.REQUEST_TIMEOUT, late, _LATE)
            return
        environ = _environ(scope, body)
        threads = self._threads(scope)
        if threads:
            loop = asyncio.get_running_loop()
            protocol.response_bytes(*await loop.run_in_executor(threads, self._answered, environ))
            return
        request = self._idle.pop() if self._idle else greenlet(self._work)
        answer = request.switch(environ)
        while isinstance(answer, asyncio.Future):
            answer = request.switch(await answer)
        self._idle.append(request)
        protocol.response_bytes(*answer)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        del loop
        for _, threads in self._aside:
            threads.shutdown(wait=False, cancel_futures=True)
        self._close()

    def _threads(self, scope: Scope) -> ThreadPoolExecutor | None:
        """Returns who answers a request that may take its time; None where the loop itself does."""
        if scope.method == "GET":
            for prefix, threads in self._aside:
                if scope.path.startswith(prefix):
                    return threads
        return None

    def _work(self, environ: dict[str, Any]) -> None:
        """Answers one request after another: a greenlet costs 20 µs to make, and next to nothing to use again."""
        while True:
            environ = getcurrent().parent.switch(self._answered(environ))

    def _answered(self, environ: dict[str, Any]) -> tuple[int, Headers, bytes]:
        started: list[tuple[str, Headers]] = []
        body = self._app(environ, lambda *given: started.append(given[:2]))
        try:
            whole = b"".join(body)
        finally:
            close = getattr(body, "close", None)
            if close:
                close()
        status, headers = started[0]
        return int(status[:3]), headers, whole


_LATE = '{"type":"about:blank","title":"Request Timeout","status":408,"detail":"the body did not come in 10 s"}\n'


async def _body(scope: Scope, protocol: Any) -> bytes:
    """Returns the body; of one that is too large no more than shows that. Raises TimeoutError."""
    declared = scope.headers.get("content-length")
    if declared == "0":
        return b""
    if declared and int(declared) > MOST_BYTES:
        return bytes(MOST_BYTES + 1)
    async with asyncio.timeout(BODY_S):
        if declared:
            whole: bytes = await protocol()
            return whole
        body = bytearray()
        async for chunk in protocol:
            body += chunk
            if len(body) > MOST_BYTES:
                break
        return bytes(body)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Returns the request as PEP 3333 wants it."""
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _latin(scope.path),
        "QUERY_STRING": _latin(scope.query_string),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key not in _READ:
            known = environ.get(f"HTTP_{key}")
            environ[f"HTTP_{key}"] = f"{known},{value}" if known else value
    return environ


def _latin(text: str) -> str:
    """Returns text as PEP 3333 has it: each byte a character."""
    return text if text.isascii() else text.encode().decode("latin-1")


_READ = frozenset({"CONTENT_LENGTH", "TRANSFER_ENCODING"})
"""The body is there already, as long as it came."""
