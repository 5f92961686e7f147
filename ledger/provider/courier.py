"""Sends what the wallets are owed: each operator in a lane of its own, so that none delays another's.

What is due stands in the book. A send is taken in the book before it goes out, and its end is recorded
when it is known: a courier may die anywhere, and several may run. At least once on the wire.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import uniform
from typing import TypeVar

from msgspec.structs import asdict, replace

from ledger.moments import later, text
from ledger.provider.answers import Answer, read_answer
from ledger.provider.book import Book, Outcome, Send
from ledger.provider.calls import dialect_of
from ledger.provider.commands import Command, EndSend, StartSend
from ledger.provider.delivery import STUCK, Delivery
from ledger.provider.house import Operator
from ledger.provider.round import Round
from ledger.provider.wire import Remote, Wire
from ledger.refusals import Breakdown

POLL_S = 0.25
"""How often a lane looks for what other processes made due, or what waited its time."""

LOOK_FAR_S = 60.0
"""How often a lane looks for what a clock that stood ahead put off, beside its beginning."""

NEWS_S = 0.25
"""How long one wait for a store's news lasts at most, and the pause after some came."""

CALM_S = 10.0
"""So long after its time an event stands in the book, or never will: nothing comes in that was due before."""

LONGEST_BACKOFF_S = 60.0
MOST_DOUBLINGS = 32
LEASE_MARGIN_S = 5.0
STOP_S = 2.0
"""What sends under way get to end in, when the courier stops; the rest is sent again later."""

NEVER_BACK = Answer(outcome="timeout", detail="its last sender ended before an answer came")
"""Of a send whose end nobody recorded."""

RECORD_TRIES = 5
THREADS = 8

T = TypeVar("T")


class Courier:
    """Delivers one book's calls, on an event loop in a thread of its own."""

    def __init__(
        self,
        book: Book,
        remotes: Mapping[str, Remote],
        *,
        worker: str,
        on_settled: Callable[[Round], None] = lambda _: None,
        on_stuck: Callable[[Delivery, Answer], None] = lambda *_: None,
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.worker = worker
        self.on_settled = on_settled
        self.on_stuck = on_stuck
        self.on_defect = on_defect
        self._book = book
        self._lanes = {
            login: Lane(self, book.house.operator(login), remote)
            for login, remote in remotes.items()
        }
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="courier")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begins to deliver; returns once it does."""
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """Takes nothing more, and gives what is under way a moment to end."""
        if self._loop and self._stopping:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._pool.shutdown()

    def wake(self, login: str) -> None:
        """Looks at once for what is due to an operator; from any thread."""
        if self._loop and login in self._lanes and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._lanes[login].wake)

    async def ask(self, question: Callable[[], T]) -> T:
        """Returns what the book answers, without holding the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, question)

    async def submit(self, command: Command) -> Outcome:
        """Returns what a command came to. Raises Breakdown."""
        return await self.ask(lambda: self._book.submit(command))

    def before(self, seconds: float) -> str:
        """Returns the time so many seconds ago, by the book's clock."""
        return later(text(self._book.now()), seconds=-seconds)

    async def found(self, question: Callable[[Book], list[Delivery]]) -> list[Delivery]:
        """Returns what the book answers; nothing where the store cannot be read."""
        try:
            return await self.ask(lambda: question(self._book))
        except Exception as defect:  # noqa: BLE001  (a lane that ends would leave its refunds for ever)
            self.on_defect(defect)
            return []

    def _run(self) -> None:
        asyncio.run(self._deliver())

    async def _deliver(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        lanes = [asyncio.create_task(lane.run()) for lane in self._lanes.values()]
        lanes += [asyncio.create_task(self._follow())] if self._book.store.remote else []
        self._running.set()
        await self._stopping.wait()
        for lane in self._lanes.values():
            lane.stop()
        await asyncio.gather(*lanes, return_exceptions=True)

    async def _follow(self) -> None:
        """Has every lane look at once where the store tells that somebody wrote, if not all the time."""
        assert self._stopping
        while not self._stopping.is_set():
            if await self.ask(lambda: self._book.store.await_news(NEWS_S)):
                for lane in self._lanes.values():
                    lane.wake()
                await _first(self._stopping, NEWS_S)


class Lane:
    """One operator's deliveries: so many at a time, what games wait for first, then the longest due.

    What goes back, or is parked, may be very much and take very long: it holds up no bet, and has a
    quarter of the room for itself.
    """

    def __init__(self, courier: Courier, operator: Operator, remote: Remote) -> None:
        self._courier, self._operator, self._remote = courier, operator, remote
        self._sending: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._patient: set[tuple[str, str]] = set()
        self._calm_upto = ""
        """Of what was due by then, nothing is left that a game waits for."""
        self._woken = asyncio.Event()
        self._stopping = False
        self._look_far_at = 0.0

    def wake(self) -> None:
        """Looks for what is due at once; on the loop."""
        self._woken.set()

    def stop(self) -> None:
        """Takes nothing more; on the loop."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Delivers until it is stopped, then lets what is under way end."""
        self._wire = Wire(self._remote)
        try:
            while not self._stopping:
                self._woken.clear()
                await self._take()
                await _first(self._woken, POLL_S)
        finally:
            if self._sending:
                await asyncio.wait(self._sending.values(), timeout=STOP_S)
            for task in self._sending.values():
                task.cancel()
            await self._wire.close()

    async def _take(self) -> None:
        """Begins to send what is due, as far as there is room."""
        login, most = self._operator.id, self._remote.concurrency
        if len(self._sending) >= most:
            return
        found = await self._courier.found(lambda book: book.due(login, limit=most))
        if self._looks_far():
            found += await self._courier.found(lambda book: book.due_for_long(login, limit=most))
        if len(found) >= most:  # there may be more
            found += await self._pressing()
        pressing = [delivery for delivery in found if delivery.pressing]
        patient = [delivery for delivery in found if not delivery.pressing]
        own = max(0, most // 4 - len(self._patient))
        for delivery in [*patient[:own], *pressing, *patient]:
            key = (delivery.kind, delivery.reference)
            if key not in self._sending and len(self._sending) < most:
                task = asyncio.create_task(self._deliver(delivery))
                self._sending[key] = task
                if not delivery.pressing:
                    self._patient.add(key)
                task.add_done_callback(lambda _, key=key: self._done(key))  # type: ignore[misc]

    def _looks_far(self) -> bool:
        now = time.monotonic()
        if now < self._look_far_at:
            return False
        self._look_far_at = now + LOOK_FAR_S
        return True

    async def _pressing(self) -> list[Delivery]:
        """Returns what games wait for, however much is due longer, which is not looked through each time."""
        login, twice = self._operator.id, 2 * self._remote.concurrency
        of_late = self._courier.before(CALM_S)
        after = min(self._calm_upto, of_late)  # a clock may be set back
        found = await self._courier.found(
            lambda book: book.pressing(login, after=after, limit=twice)
        )
        if all((delivery.kind, delivery.reference) in self._sending for delivery in found):
            self._calm_upto = of_late
        return found

    def _done(self, key: tuple[str, str]) -> None:
        del self._sending[key]
        self._patient.discard(key)
        self._woken.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome, answer = await self._courier.submit(self._start(delivery)), NEVER_BACK
            if outcome.send:
                started = time.monotonic()
                answer = await self._answer(delivery, outcome.send)
                took_ms = int((time.monotonic() - started) * 1000)
                outcome = await self._record(
                    self._end(delivery, outcome.send, answer, took_ms=took_ms)
                )
            if outcome.state in STUCK and outcome.state != delivery.state:
                self._courier.on_stuck(delivery._replace(state=outcome.state), answer)
            if outcome.recorded:
                self._courier.on_settled(outcome.round)
        except Exception as defect:  # noqa: BLE001  (the book has it: it is sent again once its lease is over)
            self._courier.on_defect(defect)
            await asyncio.sleep(POLL_S)  # before the lane looks again, and finds it again

    async def _answer(self, delivery: Delivery, send: Send) -> Answer:
        reply = await self._wire.send(send.call)
        if isinstance(reply, Answer):
            return reply
        return read_answer(
            reply,
            kind=delivery.kind,
            dialect=dialect_of(send.call),
            reference=delivery.reference,
            currency=send.currency,
            secrets=self._wire.secrets,
        )

    async def _record(self, end: EndSend) -> Outcome:
        """Records the end of a send; what the wallet said is worth asking more than once.

        Where another sender has taken over, it stands where that one has told.
        """
        for tried in range(1, RECORD_TRIES):
            try:
                outcome = await self._courier.submit(end)
                known = outcome.recorded or tried > 1  # by us, though the book did not say so
                return outcome if known else replace(outcome, state=None)
            except Breakdown as breakdown:
                self._courier.on_defect(breakdown)
                await asyncio.sleep(self._backoff_s(tried))
        return await self._courier.submit(end)

    def _start(self, delivery: Delivery) -> StartSend:
        lease_s = self._remote.timeout_s + LEASE_MARGIN_S
        return StartSend(**delivery.named, worker=self._courier.worker, lease_s=lease_s)

    def _end(self, delivery: Delivery, send: Send, answer: Answer, *, took_ms: int) -> EndSend:
        return EndSend(
            **delivery.named,
            **asdict(answer),
            attempt=send.attempt,
            took_ms=took_ms,
            wait_s=self._backoff_s(send.sends),
            parked_wait_s=self._remote.parked_retry_s * uniform(0.5, 1),  # noqa: S311  (no secret)
        )

    def _backoff_s(self, tried: int) -> float:
        """Returns how long to wait after so many tries: full jitter, so that what failed together comes apart."""
        longest = self._remote.backoff_s * 2.0 ** min(tried - 1, MOST_DOUBLINGS)
        return uniform(0, min(longest, LONGEST_BACKOFF_S))  # noqa: S311  (no secret)


async def _first(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
