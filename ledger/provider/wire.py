"""One operator's wallet over HTTP: kept-alive connections, a deadline for the whole call, no surprises.

Redirects are answers like any other, bodies are taken as they are and cut at 64 KiB, and an address
is checked where it is connected to, so that a name cannot point elsewhere the second time.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import httpcore
import msgspec

from ledger.masking import spellings
from ledger.provider.answers import Answer, Reply
from ledger.provider.events import Call

MOST_BYTES = 64 * 1024
MOST_HEARD = 3 * MOST_BYTES
"""Of an answer with its head, and with what it is cut into."""

KEEP_ALIVE_S = 30.0
_BLANK_LINE, _LAST_CHUNK = b"\r\n\r\n", b"\r\n0\r\n\r\n"

_HEADERS = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "identity"),
    ("User-Agent", "roundbook"),
]


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's wallet: where it is, what we show it, and how patient we are with it.

    `member` and `token` go as MEMB_ID and HASH; neither is ever recorded.
    """

    url: str
    member: str
    token: str
    allow_private: bool = False
    timeout_s: float = 10.0
    backoff_s: float = 1.0
    parked_retry_s: float = 300.0
    concurrency: int = 8


class AddressRefused(httpcore.ConnectError):
    """The wallet's name leads to a private or link-local address."""


class Wire:
    """Sends calls to one wallet; belongs to one event loop."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        parts = urlsplit(remote.url)
        self._origin = (parts.scheme, parts.hostname or "", parts.port)
        self._base = parts.path.rstrip("/")
        self._host = parts.netloc
        member, token = quote(remote.member, safe=""), quote(remote.token, safe="")
        self._query = f"MEMB_ID={member}&HASH={token}"
        self.secrets = spellings([remote.token])
        self._pool = httpcore.AsyncConnectionPool(
            # made once: to read whom it trusts takes as long as many sends, and holds every lane up
            ssl_context=httpcore.default_ssl_context() if parts.scheme == "https" else None,
            max_connections=remote.concurrency,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=_Guarded(remote),
        )

    async def close(self) -> None:
        """Ends every connection."""
        await self._pool.aclose()

    async def send(self, call: Call) -> Reply | Answer:
        """Returns the reply, or what kept it from coming, within the deadline whatever the wallet does."""
        try:
            async with asyncio.timeout(self._remote.timeout_s):
                return await self._send(call)
        except TimeoutError:
            return Answer(outcome="timeout", detail=f"no answer in {self._remote.timeout_s:g} s")
        except (httpcore.ConnectError, OSError) as error:
            return Answer(outcome="unreachable", detail=str(error)[:200] or "no connection")
        except httpcore.NetworkError:
            return Answer(outcome="unreachable", detail="the connection broke")
        except httpcore.ProtocolError:
            return Answer(outcome="invalid", detail="the answer is not whole, or not HTTP")

    async def _send(self, call: Call) -> Reply | Answer:
        scheme, host, port = self._origin
        target = f"{self._base}{call.path}?{self._query}"
        url = httpcore.URL(scheme=scheme, host=host, port=port, target=target)
        headers = [("Host", self._host), *_HEADERS]
        async with self._pool.stream(
            "POST", url, headers=headers, content=call.body.encode()
        ) as response:
            named = {key.lower(): value.decode("latin-1") for key, value in response.headers}
            if named.get(b"content-encoding", "identity").lower() != "identity":
                return Answer(outcome="invalid", detail="the answer is encoded, and was not to be")
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    return Answer(outcome="invalid", detail="the answer is larger than 64 KiB")
            line: _Line = response.extensions["network_stream"]
            whole = bytes(body)
            line.is_spoilt = not line.ended(whole, in_chunks=b"transfer-encoding" in named)
            return Reply(response.status, named.get(b"content-type", ""), whole)


class _Line(httpcore.AsyncNetworkStream):
    """A connection, and what came in on it since it was last written to.

    What comes behind an answer, and be it the same answer again, must not pass for the next call's.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream, self._heard = stream, bytearray()
        self._is_full = self.is_spoilt = False

    def ended(self, body: bytes, *, in_chunks: bool) -> bool:
        """Returns whether nothing came in behind an answer's body, as far as that can be told."""
        if self._holds_more():
            return False
        said = bytes(self._heard).partition(_BLANK_LINE)[2]
        if in_chunks:
            return said.partition(_LAST_CHUNK)[1:] == (_LAST_CHUNK, b"")
        return said == body

    def _holds_more(self) -> bool:
        """Returns whether more may be taken in that nobody has read: the socket shows nothing of that."""
        tls = self._stream.get_extra_info("ssl_object")
        if tls is None:
            return self._is_full
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:  # it is closed, or broken
            return True
        return True

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        some = await self._stream.read(max_bytes, timeout)
        self._heard += some
        self._is_full = len(some) == max_bytes  # what did not fit stays in the stream
        if len(self._heard) > MOST_HEARD:  # to take it apart would hold every lane up
            raise httpcore.RemoteProtocolError("more comes in than an answer is made of")
        return some

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._heard.clear()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Line(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """A connection on which something can be read before it was asked is not used again."""
        spoilt = info == "is_readable" and self.is_spoilt
        return spoilt or self._stream.get_extra_info(info)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to the address it has checked."""

    def __init__(self, remote: Remote) -> None:
        # of its own: a name that nobody answers for must not hold up another wallet's
        self._names = _Names(remote.concurrency)
        self._allow_private = remote.allow_private
        self._within_s = remote.timeout_s
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolved(host, port)
        allowed = [each for each in addresses if self._allow_private or is_public(each)]
        if not allowed:
            raise AddressRefused(
                "the wallet's address is private or link-local; allow_private = true allows it"
            )
        how = local_address, socket_options
        # one that says nothing must not take all the time there is, each time
        share_s = self._within_s / len(allowed)
        *others, last = allowed
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout, OSError):
                return _Line(await self._backend.connect_tcp(address, port, share_s, *how))
        return _Line(await self._backend.connect_tcp(last, port, timeout, *how))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)

    async def _resolved(self, host: str, port: int) -> list[str]:
        try:
            found = await self._names.found(host, port)
        except OSError as error:
            unknown = f"the wallet's name is not known: {error.strerror}"
            raise httpcore.ConnectError(unknown) from None
        except UnicodeError:
            raise httpcore.ConnectError("the wallet's name is no host name") from None
        return [str(address[0]) for *_, address in found]


class _Names:
    """Looks up so many names at a time, in threads that a process does not wait for at its end, as for a pool's."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def found(self, host: str, port: int) -> list[Any]:
        """Returns what `getaddrinfo` does; who is cancelled leaves a thread that keeps its place until it ends."""
        await self._free.acquire()
        loop, found = asyncio.get_running_loop(), Future[list[Any]]()
        found.set_running_or_notify_cancel()

        def look_up() -> None:
            try:
                found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except BaseException as error:  # noqa: BLE001  (it is the other thread's)
                found.set_exception(error)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._free.release)

        try:
            threading.Thread(target=look_up, name="names", daemon=True).start()
        except RuntimeError:  # there is room for none
            self._free.release()
            raise
        return await asyncio.wrap_future(found)


def is_public(address: str) -> bool:
    """Returns whether an address is one that the whole internet reaches, and leads nowhere else."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.is_site_local or any(found in network for network in _TRANSLATED):
            return False
        found = found.ipv4_mapped or found.sixtofour or found
    return found.is_global and not found.is_multicast


_TRANSLATED = tuple(
    IPv6Network(network) for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32")
)
"""IPv6 that stands for IPv4 somewhere else: a gateway could lead it to a private address."""
