"""Requests that wait for a wallet's answer: woken by the courier, or by the clock where it is elsewhere."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ledger.provider.round import Round
from ledger.writer import Latch

LOOK_AGAIN_S = 0.25

Key = tuple[str, str]


class Waiting:
    """Who waits for which round, by operator and round."""

    def __init__(self, latch: Callable[[], Latch]) -> None:
        self._latch = latch
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
                state = read()
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
