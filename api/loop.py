"""The service on one event loop, under granian's own interface (RSGI): a greenlet a request.

A request that waits for its commit holds no thread, so none is handed from thread to thread; a body
that comes slowly, or never ends, keeps nobody waiting. What people and auditors read goes aside, to a
few threads: a long look at a book holds up no bet. The application stays plain WSGI; what the wallet
answers is asked without Flask around it, which takes half of a bet's way.
"""

import asyncio
import io
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, Protocol

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]
from greenlet import getcurrent, greenlet

from api.http import UNREAD, WRITES, Direct, body_of
from ledger.reader import MOST_BYTES
from ledger.writer import Latch, thread_latch

BODY_S = 10.0
"""What a body may take to come in whole."""

LOOK_S = 0.1
"""By how much a deadline may be overrun."""

ASIDE = ("/api/", "/audit", "/readyz")
"""Where reading may take its time; each of them has threads of its own."""

LISTS = ("/history/getgamerounds",)
"""What an operator asks of any number of rounds; aside too, wherever the book is, in threads of its own."""

READS = ("/check", "/balance", "/getroundstatus", "/healthcheck")
"""What only reads; aside where the book is on another machine, whose answer may take its time too."""

ASIDE_THREADS = 4

Headers = list[tuple[str, str]]
Answered = tuple[int, Headers, bytes]
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


class GreenletLatch:
    """Shut until it is released, from any thread."""

    def __init__(self, turns: "Turns") -> None:
        self._turns = turns
        self._ended = turns.loop.create_future()

    def acquire(self, *, timeout: float) -> bool:
        """Returns True once it is released, False where that takes longer than so many seconds."""
        self._turns.deadlines.add(self, timeout)
        released: bool = getcurrent().parent.switch(self._ended)
        self._turns.deadlines.drop(self)
        return released

    def release(self) -> None:
        """Wakes the one who waits."""
        self._turns.give(self)

    def end(self, *, released: bool) -> None:
        """Lets the one who waits go on; on the loop's own thread."""
        if not self._ended.done():
            self._ended.set_result(released)

    def late(self) -> None:
        """Its time is over."""
        self.end(released=False)


class Turns:
    """What the greenlets of one loop share: who goes on, told by another thread once for many; and deadlines."""

    def __init__(self) -> None:
        self._released: deque[GreenletLatch] = deque()
        self._called = False

    def latch(self) -> Latch:
        """Returns what one caller waits at: a request's greenlet lets the loop go on, a thread sleeps."""
        return GreenletLatch(self) if getcurrent().parent else thread_latch()

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one loop whose greenlets wait here."""
        return asyncio.get_running_loop()

    @cached_property
    def deadlines(self) -> "Deadlines":
        """Until when each of them waits."""
        return Deadlines(self.loop)

    def give(self, latch: GreenletLatch) -> None:
        """Has the loop let a latch go, from any thread."""
        self._released.append(latch)
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # nobody waits on a loop that is closed
                self.loop.call_soon_threadsafe(self._give)

    def _give(self) -> None:
        self._called = False  # first: what is added from here on calls again
        while self._released:
            self._released.popleft().end(released=True)


class Waiter(Protocol):
    """Something that waits for no longer than a time."""

    def late(self) -> None: ...


class Deadlines:
    """Tells those who wait too long, looking a few times a second: a timer for each costs more than most calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Waiter, float] = {}
        self._looks = False

    def add(self, waiting: Waiter, seconds: float) -> None:
        """Has it told once so many seconds are over, unless it is dropped before."""
        self._due[waiting] = self._loop.time() + seconds
        if not self._looks:
            self._looks = True
            self._loop.call_later(LOOK_S, self._look)

    def drop(self, waiting: Waiter) -> None:
        """Has it told no more."""
        self._due.pop(waiting, None)

    def _look(self) -> None:
        now = self._loop.time()
        for waiting in [each for each, due in self._due.items() if due <= now]:
            self.drop(waiting)
            waiting.late()
        self._looks = bool(self._due)
        if self._looks:
            self._loop.call_later(LOOK_S, self._look)


class Arriving:
    """A body that comes in, in the task that runs."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.is_late = False

    def late(self) -> None:
        """Its time is over."""
        self.is_late = True
        if self._task:
            self._task.cancel()


async def _read(protocol: Any, *, whole: bool) -> bytes:
    """Returns a body, or as much of it as shows that it is too large. Raises ProtocolClosed."""
    if whole:
        found: bytes = await protocol()
        return found
    body, ended = bytearray(), False
    async for chunk in protocol:
        if ended:
            raise ProtocolClosed("the body broke off")
        # granian's last is empty; so is one before it, for an error or for trailers
        ended = not chunk
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body)


class Service:
    """A WSGI application as granian's loop calls it."""

    def __init__(
        self,
        app: Wsgi,
        close: Callable[[], None],
        turns: Turns,
        *,
        direct: Mapping[str, Direct] | None = None,
        remote: bool = False,
    ) -> None:
        self._app, self._direct, self._remote = app, direct or {}, remote
        self._close, self._turns = close, turns
        self._idle: list[greenlet] = []
        self._aside = [(prefix, ThreadPoolExecutor(ASIDE_THREADS, prefix)) for prefix in ASIDE]
        self._lists = ThreadPoolExecutor(ASIDE_THREADS, "lists")
        self._reads = ThreadPoolExecutor(ASIDE_THREADS, "reads")

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        if scope.proto != "http":
            protocol.close(HTTPStatus.FORBIDDEN)
            return
        try:
            body = await self._body(scope, protocol)
        except TimeoutError:
            protocol.response_str(*_LATE)
            return
        except ProtocolClosed:
            protocol.response_str(*_CUT)
            return
        work = self._work_on(scope, body)
        threads = self._threads(scope)
        if threads:
            loop = asyncio.get_running_loop()
            protocol.response_bytes(*await loop.run_in_executor(threads, work))
            return
        request = self._idle.pop() if self._idle else greenlet(_serve)
        answer = request.switch(work)
        while isinstance(answer, asyncio.Future):
            answer = request.switch(await answer)
        self._idle.append(request)
        protocol.response_bytes(*answer)

    async def _body(self, scope: Scope, protocol: Any) -> bytes:
        """Returns the body; of one that is too large no more than shows that.

        Raises TimeoutError, and ProtocolClosed where it breaks off.
        """
        declared = scope.headers.get("content-length")
        if declared == "0":
            return b""
        if declared and int(declared) > MOST_BYTES:
            return bytes(MOST_BYTES + 1)
        arriving = Arriving()
        self._turns.deadlines.add(arriving, BODY_S)
        try:
            return await _read(protocol, whole=declared is not None)
        except asyncio.CancelledError:
            if not arriving.is_late:
                raise
            raise TimeoutError from None
        finally:
            self._turns.deadlines.drop(arriving)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        del loop
        for threads in (self._lists, self._reads, *(threads for _, threads in self._aside)):
            threads.shutdown(wait=False, cancel_futures=True)
        self._close()

    def _threads(self, scope: Scope) -> ThreadPoolExecutor | None:
        """Returns who answers a request that may take its time; None where the loop itself does."""
        path = "/" + scope.path.lstrip("/")  # as Flask finds it
        if scope.method not in WRITES:  # Flask takes `get` and HEAD for GET
            for prefix, threads in self._aside:
                if path.startswith(prefix):
                    return threads
        if path.lower().endswith(LISTS):
            return self._lists
        return self._reads if self._remote and path.lower().endswith(READS) else None

    def _work_on(self, scope: Scope, body: bytes) -> Callable[[], Answered]:
        """Returns what answers a request: what it is for itself, else the application."""
        direct = self._direct.get(_latin(scope.path).lower()) if scope.method == "POST" else None
        if direct:
            return partial(_directly, direct, scope.query_string.encode(), body)
        return partial(self._through_the_application, _environ(scope, body))

    def _through_the_application(self, environ: dict[str, Any]) -> Answered:
        started: list[tuple[str, Headers]] = []
        body = body_of(self._app(environ, lambda *given: started.append(given[:2])))
        status, headers = started[0]
        return int(status[:3]), headers, body


def _serve(work: Callable[[], Answered]) -> None:
    """Answers one request after another: a greenlet costs 20 µs to make, and next to nothing to use again."""
    while True:
        work = getcurrent().parent.switch(work())


def _directly(direct: Direct, query: bytes, body: bytes) -> Answered:
    reply = direct(query, body)
    return reply.status, _CLOSE if reply.status in UNREAD else _STAY, reply.body


_STAY = [("content-type", "application/json")]
_CLOSE = [*_STAY, ("connection", "close")]


def _unread(status: HTTPStatus, detail: str) -> tuple[int, Headers, str]:
    """Returns what is answered for a body that is not there."""
    said = f'"title":"{status.phrase}","status":{status:d},"detail":"{detail}"'
    headers = [("content-type", "application/problem+json"), ("connection", "close")]
    return status, headers, f'{{"type":"about:blank",{said}}}\n'


_LATE = _unread(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in 10 s")
_CUT = _unread(HTTPStatus.BAD_REQUEST, "the body broke off")


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
