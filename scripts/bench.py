"""`roundbook bench`: what a bet costs over HTTP, beside a route that does nothing, and without HTTP."""

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console

from ledger.counted import many
from scripts import bench_report, options
from scripts.bench_books import books
from scripts.bench_deliveries import deliveries
from scripts.bench_pgledger import pgledger
from scripts.bench_postgres import postgres
from scripts.bench_server import answer_of, no_op, service
from scripts.bench_size import size
from scripts.bench_spread import spread
from scripts.bench_verify import bench_verify

THREADS = (1, 2, 4, 8, 16, 32, 64)
CONNECTIONS = (1, 8, 32, 128)
TRY_S = 1.5
FIGURES = ("requests_per_s", "p50_ms", "p99_ms", "p99_9_ms", "client_us")

Say = Callable[[str], None]
Start = Callable[..., AbstractContextManager[int]]
"""Starts a server; yields its port."""


class Plan(NamedTuple):
    """How much is measured."""

    folder: Path
    connections: int
    seconds: float
    runs: int
    threads: Sequence[int]

    def load(
        self,
        port: int,
        *,
        seconds: float | None = None,
        connections: int | None = None,
        calls: str = "bets",
    ) -> dict[str, Any]:
        """Returns the figures of one run of the load."""
        given = (port, connections or self.connections, seconds or self.seconds, calls)
        found: dict[str, Any] = answer_of("scripts.bench_load", *given)
        return found


@click.group(invoke_without_command=True, short_help="Measure bets: over HTTP, and in one process.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option(
    "--seconds", default=4.0, show_default=True, type=click.FloatRange(0.1), help="A run."
)
@click.option("--connections", default=32, show_default=True, type=click.IntRange(1, 1024))
@options.bench_folder
@click.option(
    "--quick", is_flag=True, help="One run, of a second at most, and no search for thread counts."
)
@options.as_json
@options.picture
@click.pass_context
def bench(
    context: click.Context,
    runs: int,
    seconds: float,
    connections: int,
    folder: Path,
    picture: Path | None,
    *,
    quick: bool,
    as_json: bool,
) -> None:
    """Measure bets: over HTTP beside a route that does nothing, and without HTTP.

    Also a casino's evening (bets, results, duplicates, cancels, refusals), and more and more
    connections. Takes five minutes. Both servers and all files are its own, on the loopback only.

    \b
    Example: roundbook bench --runs 3 --json > bench.json
    """
    if context.invoked_subcommand:
        return
    plan = Plan(folder, connections, seconds, runs, THREADS)
    if quick:
        plan = plan._replace(seconds=min(seconds, 1.0), runs=1, threads=THREADS[-2:-1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Console(stderr=True).status("") as status:
        found = measure(plan, status.update)
    if picture:
        picture.write_text(bench_report.picture(found))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        bench_report.show(found, Console())


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Returns everything that is printed with --json."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": bench_report.machine(plan.folder),
        "http": _over_http(plan, say),
        "in_process": _in_process(plan, say),
    }


def _over_http(plan: Plan, say: Say) -> dict[str, Any]:
    ours, yardstick = partial(service, folder=plan.folder), partial(no_op, folder=plan.folder)
    tried = _tried(plan, yardstick, say)
    best = max(tried, key=tried.__getitem__, default=plan.threads[0])
    with ours() as service_port, yardstick(best) as no_op_port:
        ways = {
            "service": partial(plan.load, service_port),
            "no_op": partial(plan.load, no_op_port),
            "evening": partial(plan.load, service_port, calls="evening"),
            **{
                f"{n} connections": partial(plan.load, service_port, connections=n)
                for n in CONNECTIONS
                if n != plan.connections
            },
        }
        runs: list[dict[str, Any]] = []
        for run in range(plan.runs):
            say(f"run {run + 1} of {plan.runs}")
            runs.append({name: way() for name, way in ways.items()})
    say("the request log")
    with ours(log_requests=True) as port:
        logging = plan.load(port)
    found = {name: bench_report.medians([run[name] for run in runs], FIGURES) for name in ways}
    by_connections = {n: found.pop(f"{n} connections", found["service"]) for n in CONNECTIONS}
    return {
        "connections": plan.connections,
        "seconds": plan.seconds,
        "runs": plan.runs,
        "service": found["service"],
        "no_op": {"threads": best, **found["no_op"], "tried": tried},
        "service_logging": {figure: logging[figure] for figure in FIGURES},
        "evening": found["evening"],
        "by_connections": by_connections,
        "ratio": _ratio(found["service"], found["no_op"]),
        "ratios": [_ratio(run["service"], run["no_op"]) for run in runs],
        "evening_ratio": _ratio(found["evening"], found["service"]),
    }


def _tried(plan: Plan, yardstick: Start, say: Say) -> dict[int, float]:
    """Returns the no-op's requests a second by thread count, from one short run of each."""
    found = {}
    for threads in plan.threads if len(plan.threads) > 1 else ():
        say(f"no-op route with {many(threads, 'thread')}")
        with yardstick(threads) as port:
            found[threads] = plan.load(port, seconds=min(TRY_S, plan.seconds))["requests_per_s"]
    return found


def _ratio(ours: dict[str, Any], yardstick: dict[str, Any]) -> float:
    return round(float(ours["requests_per_s"] / yardstick["requests_per_s"]), 3)


def _in_process(plan: Plan, say: Say) -> dict[str, Any]:
    say("without HTTP")
    with TemporaryDirectory(prefix="roundbook-bench-", dir=plan.folder) as made:
        given = (made, plan.seconds / 2)
        book = answer_of("scripts.bench_book", *given)
        return {**book, **answer_of("scripts.bench_stock", *given)}


for verb in (deliveries, books, postgres, pgledger, size, spread, bench_verify):
    bench.add_command(verb)

if __name__ == "__main__":
    bench()
