"""`roundbook bench postgres`: what a bet costs on PostgreSQL, with one process or several, and with a copy."""

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString

import click
import msgspec

from ledger.counted import many
from ledger.store import StoreUnfit
from scripts import options
from scripts.bench_report import in_turns, machine
from scripts.bench_server import answer_of, no_op, service
from scripts.private_postgres import NoPostgres, Server, following, running
from scripts.tables import show

PROCESSES = (1, 2, 4, 8)
ROOM = "-c max_connections=200"
FIGURES = ("requests_per_s", "p50_ms", "p99_ms")
WAIT_FOR_COPY: LiteralString = "alter system set synchronous_standby_names = 'ANY 1 (*)'"
WAIT_FOR_NONE: LiteralString = "alter system set synchronous_standby_names = ''"

POOL_MISSING = (
    "stock eventsourcing, measured beside the book, needs psycopg-pool: scripts/setup test"
)

Load = Callable[[], dict[str, float]]


@click.command(short_help="Measure bets on a PostgreSQL server of its own.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1))
@click.option("--connections", default=32, show_default=True, type=click.IntRange(2, 1024))
@options.bench_folder
@options.as_json
def postgres(runs: int, seconds: float, connections: int, folder: Path, *, as_json: bool) -> None:
    """Measure bets on a PostgreSQL server of its own, and on one that waits for its copy.

    Ways take turns, run by run; each figure is the median of its runs. Takes four minutes.

    \b
    Example: roundbook bench postgres --runs 3
    """
    if find_spec("psycopg_pool") is None:
        raise StoreUnfit(POOL_MISSING)
    try:
        found = _measured(runs, seconds, connections, folder)
    except NoPostgres as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode({"machine": machine(folder), **found}))
        return
    rows = [(name, *(f"{of[each]:,.2f}" for each in FIGURES)) for name, of in found["http"].items()]
    title = f"bets over {many(connections, 'connection')}, {many(runs, 'run')} of {seconds:g} s, medians"
    columns = ("processes, over HTTP", "bets/s", "p50 ms", "p99 ms")
    show(columns, rows, title=title, numbers=columns[1:])
    alone = [
        (name, threads, f"{rate:,.0f}")
        for name in ("book_submit", "book_submit_one_core", "stock_save", "stock_save_one_core")
        for threads, rate in found[name].items()
    ]
    show(("without HTTP", "threads", "bets/s"), alone, numbers=("threads", "bets/s"))


def _measured(runs: int, seconds: float, connections: int, folder: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        made = Path(stack.enter_context(TemporaryDirectory(dir=folder)))
        server = stack.enter_context(running(ROOM))
        copied = stack.enter_context(running(ROOM))
        stack.enter_context(following(copied, ROOM))
        start = partial(serving, folder=folder, stack=stack)
        load = partial(load_of, connections=connections, seconds=seconds)
        waits = start(copied, 1)
        ways: dict[str, Load] = {
            **{f"{n} of one book": partial(load, start(server, n)) for n in PROCESSES},
            "a copy, not waited for": partial(_told, copied, WAIT_FOR_NONE, partial(load, waits)),
            "a copy, waited for": partial(_told, copied, WAIT_FOR_COPY, partial(load, waits)),
            "no-op": partial(load, [stack.enter_context(no_op(1, folder=folder))]),
        }
        http = in_turns(ways, runs, FIGURES)
        given = (made, seconds, server.url)
        book = answer_of("scripts.bench_book", *given)
        return {"http": http, **book, **answer_of("scripts.bench_stock", *given)}


def serving(server: Server, processes: int, *, folder: Path, stack: ExitStack) -> list[int]:
    """Starts processes on one new book; returns their ports."""
    store = f"{server.url}?schema=bench_{secrets.token_hex(4)}"
    return [
        stack.enter_context(service(folder=folder, store=store, second=number > 0))
        for number in range(processes)
    ]


def load_of(ports: Sequence[int], *, connections: int, seconds: float) -> dict[str, float]:
    """Returns the figures of the load, spread over the ports: rates add up, the slowest latency counts."""
    with ThreadPoolExecutor(len(ports)) as pool:
        ask = partial(answer_of, "scripts.bench_load")
        each = connections // len(ports)
        found = list(pool.map(lambda port: ask(port, each, seconds), ports))
    rate = sum(of["requests_per_s"] for of in found)
    return {"requests_per_s": rate, **{f: max(of[f] for of in found) for f in FIGURES[1:]}}


def _told(server: Server, statement: LiteralString, load: Load) -> dict[str, float]:
    """Measures once the server was told something."""
    import psycopg  # here, so that no other verb loads it

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("select pg_reload_conf()")
    return load()
