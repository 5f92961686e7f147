"""Requests that wait for a wallet's answer: woken by the courier, or by the clock where it is elsewhere."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from ledger.provider.round import Round
from ledger.refusals import OutcomeUnknown
from ledger.writer import Latch

LOOK_AGAIN_S = 0.25
ASIDE_THREADS = 4

Key = tuple[str, str]


class Aside:
    """Reads in a thread of its own: who asks waits at a latch, and holds nobody else up who shares its thread."""

    def __init__(self, latch: Callable[[], Latch], deadline_s: float) -> None:
        self._latch, self._deadline_s = latch, deadline_s
        self._threads = ThreadPoolExecutor(ASIDE_THREADS, "aside")

    def __call__(self, read: Callable[[], Round]) -> Round:
        """Returns what was read. Raises OutcomeUnknown where that takes too long."""
        latch = self._latch()
        found: Future[Round] = self._threads.submit(read)
        found.add_done_callback(lambda _: latch.release())
        if not latch.acquire(timeout=self._deadline_s):
            raise OutcomeUnknown("the book did not answer in time")
        return found.result()


def at_once(read: Callable[[], Round]) -> Round:
    """Reads where the store is near."""
    return read()


class Waiting:
    """Who waits for which round, by operator and round."""

    def __init__(
        self,
        latch: Callable[[], Latch],
        ask: Callable[[Callable[[], Round]], Round] = at_once,
    ) -> None:
        self._latch, self._ask = latch, ask
        self._lock = threading.Lock()
        self._latches: dict[Key, list[Latch]] = {}

    def until(
        self,
        key: Key,
        read: Callable[[], Round],
        settled: Callable[[Round], bool],
        *,
        timeout_s: float,
    ) -> Round:
        """Returns the round once it has settled, or as it is when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            latch = self._latch()
            self._add(key, latch)
            try:
                state = self._ask(read)
                left = deadline - time.monotonic()
                if settled(state) or left <= 0:
                    return state
                latch.acquire(timeout=min(LOOK_AGAIN_S, left))
            finally:
                self._remove(key, latch)

    def wake(self, state: Round) -> None:
        """Wakes whoever waits for this round; from any thread."""
        with self._lock:
            woken = self._latches.pop((state.operator, state.id), [])
        for latch in woken:
            latch.release()

    def _add(self, key: Key, latch: Latch) -> None:
        with self._lock:
            self._latches.setdefault(key, []).append(latch)

    def _remove(self, key: Key, latch: Latch) -> None:
        with self._lock, suppress(KeyError, ValueError):
            self._latches[key].remove(latch)
            if not self._latches[key]:
                del self._latches[key]
