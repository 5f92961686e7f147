"""`roundbook bench books`: one book's bets, alone, and while another book is under full load."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import click
import msgspec

from scripts import options
from scripts.bench_report import machine, medians
from scripts.bench_server import answer_of, service
from scripts.tables import show

ALONE = "alone"
BESIDE = "beside a busy book, in its own process"
TOGETHER = "control: both in one book and process"
FIGURES = {"quiet": ("requests_per_s", "p50_ms", "p99_ms"), "busy": ("requests_per_s",)}
COLUMNS = ("", "bets/s of the quiet one", "p50 ms", "p99 ms", "bets/s of the busy one")
QUIET = 1
"""Connections."""

BEGIN_S = 30
LONGER = (1, 4, 16)
"""How often as long the load is tried where it ended before what it should be a load for."""


@click.command(short_help="Measure a quiet book, alone and beside a busy one.")
@click.option(
    "--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1), help="A run."
)
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each way.")
@click.option(
    "--connections",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Of the busy book.",
)
@options.bench_folder
@options.as_json
def books(seconds: float, runs: int, connections: int, folder: Path, *, as_json: bool) -> None:
    """Measure a quiet book, one connection, alone and beside a book under full load.

    Each book is a process and a store of its own, as `roundbook serve` starts them. The control puts
    the load on the quiet book itself, as if two operators shared one. The busy one runs for longer, its
    rate is of all that time.

    \b
    Example: roundbook bench books --runs 5
    """
    with ExitStack() as stack:
        quiet, busy = (stack.enter_context(service(folder=folder)) for _ in range(2))
        loads = {ALONE: None, BESIDE: busy, TOGETHER: quiet}
        taken: dict[str, list[dict[str, Any]]] = {way: [] for way in loads}
        for _ in range(runs):
            for way, loaded in loads.items():
                taken[way].append(_run(quiet, loaded, seconds, connections))
    found = {way: _medians(of) for way, of in taken.items()}
    if as_json:
        about = {"seconds": seconds, "runs": runs, "connections": connections}
        click.echo(msgspec.json.encode({**about, "machine": machine(folder), **found}))
        return
    show(COLUMNS, [(way, *_cells(figures)) for way, figures in found.items()], numbers=COLUMNS[1:])


def _run(quiet: int, loaded: int | None, seconds: float, connections: int) -> dict[str, Any]:
    """Returns what one run took. `loaded`: the port that is under load meanwhile, where one is."""
    measure = partial(answer_of, "scripts.bench_load", quiet, QUIET, seconds)
    if loaded is None:
        return {"quiet": measure(), "busy": None}
    for longer in LONGER:
        with ThreadPoolExecutor(1) as pool:
            # long enough for the other to make its bets, warm up, and measure
            whole = longer * (3 * seconds + 3)
            load = pool.submit(answer_of, "scripts.bench_load", loaded, connections, whole)
            _wait_until_moving(loaded)
            measured, lasted = measure(), not load.done()
            busy = load.result()
        if lasted:
            return {"quiet": measured, "busy": busy}
    raise click.ClickException("the load ended before what it should be a load for")


def _wait_until_moving(port: int) -> None:
    """Waits until a book grows."""
    first, end = _position(port), time.monotonic() + BEGIN_S
    while _position(port) == first:
        if time.monotonic() > end:
            raise click.ClickException(f"no load on port {port} after {BEGIN_S} s")
        time.sleep(0.02)


def _position(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/readyz")
    position: int = msgspec.json.decode(connection.getresponse().read())["position"]
    connection.close()
    return position


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        who: None if runs[0][who] is None else medians([run[who] for run in runs], figures)
        for who, figures in FIGURES.items()
    }


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    quiet, busy = found["quiet"], found["busy"]
    return (
        f"{quiet['requests_per_s']:,.0f}",
        f"{quiet['p50_ms']:.2f}",
        f"{quiet['p99_ms']:.2f}",
        f"{busy['requests_per_s']:,.0f}" if busy else "-",
    )
