"""What the benchmark bets: one partner, many players, two bets a round, nothing twice."""

import os
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle
from typing import NamedTuple, TypeVar

PROVIDER, MEMBER, TOKEN = "LuckyMonaco", "acme", "bench-token"
PAIR = f"MEMB_ID={MEMBER}&HASH={TOKEN}"
CURRENCY, STAKE, OPENING_CASH = "USD", "1.01", "100000000.00"
PLAYERS = [str(number) for number in range(100_000, 100_200)]
MOST_BETS_A_SECOND = 30_000
"""So many are made before the clock starts."""

EVENING = {"bet": 60, "result": 30, "duplicate": 5, "cancel": 3, "refused": 2}
"""Of a hundred calls of a casino's evening."""

FAR_BEHIND = 512
"""So many calls later a bet was answered for certain, and its result may come."""

MORE_THAN_ANY_WALLET = "999999999999.00"

T = TypeVar("T")


class Call(NamedTuple):
    """A call, and the error it is to be answered with."""

    path: str
    body: dict[str, str]
    error: int = 0


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


def only_bets() -> Iterator[Call]:
    """Yields bets without end."""
    return (Call("/V4/Bet", bet) for bet in bets())


def evening() -> Iterator[Call]:
    """Yields calls as an evening mixes them, without end, each bet in a round of its own."""
    kinds = [kind for kind, share in EVENING.items() for _ in range(share)]
    random.Random(1).shuffle(kinds)  # noqa: S311  (the same mix in every run)
    placed: deque[dict[str, str]] = deque()
    new = bets()
    for kind in cycle(kinds):
        if kind in ("bet", "refused") or len(placed) < FAR_BEHIND:
            bet = _alone(next(new))
            if kind == "refused":
                yield Call("/V4/Bet", {**bet, "amount": MORE_THAN_ANY_WALLET}, 15)
                continue
            placed.append(bet)
            yield Call("/V4/Bet", bet)
        elif kind == "duplicate":
            yield Call("/V4/Bet", placed[0])
        elif kind == "result":
            bet = placed.popleft()
            yield Call("/V4/Result", {**bet, "reference": f"r{bet['reference']}"})
        else:
            bet = placed.popleft()
            yield Call("/V4/Cancel", {key: bet[key] for key in CANCELLED})


def _alone(bet: dict[str, str]) -> dict[str, str]:
    return {**bet, "roundId": f"{bet['roundId']}-{bet['reference'][-6:]}"}


CANCELLED = [
    "providerId",
    "userId",
    "sessionId",
    "currency",
    "gameId",
    "gameName",
    "roundId",
    "reference",
    "uuid",
]
LOADS = {"bets": only_bets, "evening": evening}


@contextmanager
def one_core() -> Iterator[None]:
    """Has this thread and those it starts share a core: they hand the interpreter's lock over sooner."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def rate(call: Callable[[T], object], items: Sequence[T], *, threads: int, seconds: float) -> float:
    """Returns calls a second: the threads share the items in turns of two until time is over.

    What an earlier run left to be written is written first: it would be paid for here.
    """
    os.sync()
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
