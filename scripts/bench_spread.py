"""`roundbook bench spread`: how many servers many operators need, from what one server was measured to take.

A plain simulation, a minute a step: operators of very different size, each with an evening of its own,
their books spread over servers; one server is lost at the worst minute, and its copy takes over.
"""

import heapq
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import click
import msgspec

from scripts import options
from scripts.tables import show

MINUTES = 24 * 60
EVENING = 21 * 60
"""The minute at which an operator at home plays most."""

SPREAD_OF_EVENINGS = 3 * 60
"""By how much operators' evenings differ: their players live in several time zones."""


class World(NamedTuple):
    """What is simulated. `server`: bets a second one server takes; `room`: the share of it that is planned with."""

    operators: int
    bets_a_day: float
    server: float
    room: float
    lost_s: float


class Found(NamedTuple):
    """What came of it. Rates are bets a second; `unanswered`: bets that hear 998 while a server is replaced.

    `too_large`: books whose own peak is more than one server takes; a book is never split.
    """

    servers: int
    too_large: int
    books_on_the_fullest: int
    peak: float
    largest_book_peak: float
    busiest_server: float
    unanswered: float


@click.command(short_help="Simulate a day of many operators on many servers.")
@click.option("--operators", default=1000, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--bets-a-day", default=1e9, show_default=True, type=click.FloatRange(1))
@click.option("--server", default=1000.0, show_default=True, help="Bets a second of one server.")
@click.option("--room", default=0.5, show_default=True, help="The share of it planned with.")
@click.option("--lost-s", default=20.0, show_default=True, help="Until a copy has taken over.")
@click.option("--seed", default=1, show_default=True)
@options.as_json
def spread(
    operators: int,
    bets_a_day: float,
    server: float,
    room: float,
    lost_s: float,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Simulate a day of many operators on servers of a measured size.

    \b
    Example: roundbook bench spread --operators 1000 --bets-a-day 1e9
    """
    found = simulated(World(operators, bets_a_day, server, room, lost_s), random.Random(seed))  # noqa: S311
    if as_json:
        click.echo(msgspec.json.encode(found._asdict()))
        return
    show(
        ("", ""),
        [(name.replace("_", " "), f"{value:,.0f}") for name, value in found._asdict().items()],
    )


def simulated(world: World, dice: random.Random) -> Found:
    """Returns what a day comes to."""
    days = [_day(share, dice) for share in _shares(world, dice)]
    peaks = [max(day) for day in days]
    placed = _placed(peaks, world.server * world.room)
    loads = [
        [sum(days[book][minute] for book in books) for minute in range(MINUTES)] for books in placed
    ]
    whole = [sum(load[minute] for load in loads) for minute in range(MINUTES)]
    busiest = max(max(load) for load in loads)
    return Found(
        servers=len(placed),
        too_large=sum(peak > world.server for peak in peaks),
        books_on_the_fullest=max(map(len, placed)),
        peak=max(whole),
        largest_book_peak=max(peaks),
        busiest_server=busiest,
        unanswered=busiest * world.lost_s,
    )


def _shares(world: World, dice: random.Random) -> list[float]:
    """Returns the operators' bets a day: the second has half of the first's, the third a third, and so on."""
    sizes = [1 / rank for rank in range(1, world.operators + 1)]
    dice.shuffle(sizes)
    whole = sum(sizes)
    return [world.bets_a_day * size / whole for size in sizes]


def _day(bets: float, dice: random.Random) -> list[float]:
    """Returns an operator's bets a second, minute by minute: few in the morning, most in its evening."""
    evening = dice.gauss(EVENING, SPREAD_OF_EVENINGS)
    curve = [
        1 + 0.8 * math.cos(2 * math.pi * (minute - evening) / MINUTES) + dice.uniform(-0.05, 0.05)
        for minute in range(MINUTES)
    ]
    whole = sum(curve)
    return [bets / 86400 * MINUTES * each / whole for each in curve]


def _placed(peaks: Sequence[float], most: float) -> list[list[int]]:
    """Returns books by server: the largest first, each where there is most room; too large ones stand alone."""
    servers: list[list[int]] = []
    used: list[tuple[float, int]] = []
    for book in sorted(range(len(peaks)), key=lambda each: -peaks[each]):
        if used and used[0][0] + peaks[book] <= most:
            load, server = heapq.heappop(used)
        else:
            load, server = 0.0, len(servers)
            servers.append([])
        servers[server].append(book)
        heapq.heappush(used, (load + peaks[book], server))
    return servers
