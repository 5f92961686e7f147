"""`roundbook bench size`: what a bet costs in a large book and in a long round, and what the service takes there."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import msgspec

from scripts import bench_picture, options
from scripts.bench_bets import TOKEN, Call, bets, only_bets
from scripts.bench_load import Connection, at_share, drive, requests
from scripts.bench_made import make
from scripts.bench_report import machine
from scripts.bench_server import Served, served
from scripts.tables import show

SIZES = (10_000, 100_000, 1_000_000)
MOST_WALLETS, EVENTS_A_WALLET = 100_000, 10
ROUNDS = (5, 5_000)
LINES = 150
"""Of a list, which must not be larger than a body may be."""


@click.command(short_help="Measure bets in books of different sizes.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option(
    "--bets", "count", default=500, show_default=True, type=click.IntRange(1), help="A run."
)
@click.option(
    "--events",
    "sizes",
    default=SIZES,
    show_default=True,
    multiple=True,
    type=click.IntRange(5_000),
    help="Of a book; may be given several times.",
)
@options.bench_folder
@options.picture
@options.as_json
def size(
    runs: int,
    count: int,
    sizes: Sequence[int],
    folder: Path,
    picture: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure bets over one connection in books of different size, and in rounds of different length.

    Books and rounds take turns, run by run; figures are medians. Memory is that of all the service's
    processes, what they share counted once, without an audit file. Takes three minutes.

    \b
    Example: roundbook bench size --events 10000 --events 1000000
    """
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made, ExitStack() as stack:
        services = {}
        for events in sizes:
            file = Path(made, f"{events}.db")
            make(file, events, min(MOST_WALLETS, events // EVENTS_A_WALLET))
            start = served(folder=Path(made), store=f"sqlite:///{file}", keep=False)
            services[events] = stack.enter_context(start)
        by_size = _by_size(services, runs, count)
        by_round = _by_round(services[sizes[0]].port, runs, count)
    found = {
        "machine": machine(folder),
        "runs": runs,
        "bets": count,
        "books": by_size,
        "rounds": by_round,
    }
    if picture:
        picture.write_text(_picture(by_size))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    rows = [
        (f"{events:,}", *(f"{of[each]:,.2f}" for each in FIGURES)) for events, of in by_size.items()
    ]
    columns = ("events", "p50 ms", "p99 ms", "start s", "memory MB")
    show(columns, rows, title="bets, one connection", numbers=columns)
    round_columns = ("bets in the round", "p50 ms")
    by_round_rows = [(f"{n:,}", f"{ms:.2f}") for n, ms in by_round.items()]
    show(round_columns, by_round_rows, numbers=round_columns)


FIGURES = ("p50_ms", "p99_ms", "start_s", "memory_mb")


def _by_size(services: dict[int, Served], runs: int, count: int) -> dict[int, dict[str, float]]:
    took: dict[int, list[list[float]]] = {events: [] for events in services}
    for _ in range(runs + 1):  # the first warms up
        for events, service in services.items():
            took[events].append(_took(service.port, islice(only_bets(), count)))
    return {
        events: {
            "p50_ms": median(at_share(run, 0.5) for run in runs_[1:]),
            "p99_ms": median(at_share(run, 0.99) for run in runs_[1:]),
            "start_s": services[events].start_s,
            "memory_mb": _memory_mb(services[events].process),
        }
        for events, runs_ in took.items()
    }


def _by_round(port: int, runs: int, count: int) -> dict[int, float]:
    """Returns the middle latency of bets into rounds that have so many already."""
    short, long = ROUNDS
    played = {short: _rounds(short, (runs + 1) * count), long: _rounds(long, 1)}
    for rounds in played.values():
        _send(port, [bet for round_ in rounds for bet in round_])
    next_short = iter(played[short])
    took: dict[int, list[list[float]]] = {short: [], long: []}
    for _ in range(runs + 1):
        took[short].append(_took(port, (_more(round_[0]) for round_ in islice(next_short, count))))
        took[long].append(_took(port, (_more(played[long][0][0]) for _ in range(count))))
    return {bets_: median(at_share(run, 0.5) for run in of[1:]) for bets_, of in took.items()}


def _rounds(length: int, count: int) -> list[list[dict[str, str]]]:
    """Returns the bets of so many rounds."""
    new = bets()
    made = []
    for _ in range(count):
        first = next(new)
        whole = {**first, "roundId": f"{first['roundId']}-{first['reference']}"}
        made.append([whole, *({**whole, **_named(next(new))} for _ in range(length - 1))])
    return made


_NEW = bets()


def _more(bet: dict[str, str]) -> Call:
    """Returns another bet in the round of one."""
    return Call("/V4/Bet", {**bet, **_named(next(_NEW))})


def _named(bet: dict[str, str]) -> dict[str, str]:
    return {key: bet[key] for key in ("reference", "uuid")}


def _send(port: int, some: Sequence[dict[str, str]]) -> None:
    """Places bets in lists. Raises ClickException where one is not taken."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for start in range(0, len(some), LINES):
        lines = "\n".join(
            json.dumps({"command": "Bet", **bet}) for bet in some[start : start + LINES]
        )
        connection.request("POST", "/api/commands", lines, {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse().read()
        if answer.count(b'"error":0,') != min(LINES, len(some) - start):
            raise click.ClickException(f"not every bet was taken: {answer.decode()[:300]}")
    connection.close()


def _took(port: int, calls: Iterator[Call]) -> list[float]:
    """Returns the seconds of each call, in order of size."""
    return sorted(drive([Connection(port)], iter(requests(calls)), math.inf))


def _memory_mb(process: int) -> float:
    """Returns what a process and its children hold of memory, shared pages once (Linux)."""
    total, waiting = 0, [process]
    while waiting:
        pid = waiting.pop()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += next(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
        )
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return round(total / 1024, 1)


def _picture(by_size: dict[int, dict[str, float]]) -> str:
    return bench_picture.draw(
        "Milliseconds a bet takes over one connection",
        "events in the book",
        [f"{events:,}" for events in by_size],
        [
            bench_picture.Line(name, [of[key] for of in by_size.values()])
            for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
        ],
    )
