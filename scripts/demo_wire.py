"""The wire between the demo's provider and its operator: it loses, doubles and breaks what it carries.

What it does to a request is drawn from a seed; how often it did so is counted.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Literal

Fate = Literal["carried", "lost", "duplicated", "failed"]

FATES: dict[Fate, int] = {"carried": 85, "lost": 6, "duplicated": 6, "failed": 3}
"""Of a hundred requests, as a rule. `lost`: the operator has answered, the provider does not hear it."""

LATEST_S = 0.5
"""When the second copy of a request comes at the latest; it may overtake the first."""

FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@contextmanager
def wire(*, to: int, seed: int) -> Iterator["Wire"]:
    """Carries what comes to its own port to another one, while the block lasts."""
    made = Wire(to, Random(seed))  # noqa: S311  (troubles that can be had again)
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Wire:
    """Carries HTTP, on an event loop in a thread of its own. `counts`: by what became of a request."""

    def __init__(self, to: int, chance: Random) -> None:
        self.port = 0
        self.counts: Counter[str] = Counter(dict.fromkeys((*FATES, "found nobody"), 0))
        self._to, self._chance = to, chance
        self._copies: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def start(self) -> None:
        """Begins to listen; its port is known once this returns."""
        self._thread.start()
        self._listening.wait()

    def stop(self) -> None:
        """Drops whatever is under way."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopping.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection's requests until one is to stay without an answer."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while answer := await self._answer(await _message(reader)):
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _answer(self, request: bytes) -> bytes:
        """Returns what the provider gets to hear, nothing where that is lost."""
        fate = self._chance.choices(list(FATES), list(FATES.values()))[0]
        if fate == "failed":
            self.counts[fate] += 1
            return FAILURE
        if fate == "duplicated":
            self._copy(request)
        answer = await self._asked(request)
        self.counts[fate if answer else "found nobody"] += 1
        return b"" if fate == "lost" else answer

    def _copy(self, request: bytes) -> None:
        task = asyncio.create_task(self._later(request))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def _later(self, request: bytes) -> None:
        await asyncio.sleep(self._chance.uniform(0, LATEST_S))
        await self._asked(request)

    async def _asked(self, request: bytes) -> bytes:
        """Returns what the operator answers, nothing where it is not there."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            return b""
        try:
            writer.write(request)
            return await _message(reader)
        except (OSError, asyncio.IncompleteReadError):
            return b""
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Returns one request or answer as it came: its head, and as much body as that declares."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)
