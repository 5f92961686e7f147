"""What the benchmark bets: one partner, many players, two bets a round, nothing twice."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

PROVIDER, MEMBER, TOKEN = "LuckyMonaco", "acme", "bench-token"
PATH = f"/V4/Bet?MEMB_ID={MEMBER}&HASH={TOKEN}"
CURRENCY, STAKE, OPENING_CASH = "USD", "1.01", "100000000.00"
PLAYERS = [str(number) for number in range(100_000, 100_200)]
MOST_BETS_A_SECOND = 30_000
"""So many are made before the clock starts."""

T = TypeVar("T")


def bets() -> Iterator[dict[str, str]]:
    """Yields the bodies of bets without end; no process yields another's references or rounds."""
    process = f"{int(time.time()):08x}{secrets.token_hex(5)}"
    first_round = (100_000 + secrets.randbelow(900_000)) * 10**9
    for number in count():
        yield {
            "providerId": PROVIDER,
            "userId": PLAYERS[number // 2 % len(PLAYERS)],
            "sessionId": f"session-{number // 2 % len(PLAYERS)}",
            "currency": CURRENCY,
            "gameId": "Im_60_tumblefortune",
            "gameName": "tumblefortune",
            "roundId": str(first_round + number // 2),
            "reference": f"{process}{number:06x}",
            "amount": STAKE,
            "timestamp": "1700000000000",
            "roundDetails": "spin",
            "uuid": f"{process}{number:014x}",
        }


def rate(call: Callable[[T], object], items: Sequence[T], *, threads: int, seconds: float) -> float:
    """Returns calls a second: the threads share the items in turns of two until time is over."""
    start = threading.Barrier(threads + 1)

    def work(thread: int) -> int:
        own = [item for place, item in enumerate(items) if place // 2 % threads == thread]
        start.wait()
        end = time.perf_counter() + seconds
        for done, item in enumerate(own):
            if time.perf_counter() > end:
                return done
            call(item)
        return len(own)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, thread) for thread in range(threads)]
        start.wait()
        began = time.perf_counter()
        calls = sum(future.result() for future in futures)
    return round(calls / (time.perf_counter() - began), 1)
