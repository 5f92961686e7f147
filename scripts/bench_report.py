"""What the benchmark found: where, in the middle of its runs, and as tables that a person reads."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import apsw
from rich.console import Console
from rich.table import Table

from ledger.counted import many
from scripts import bench_picture

FLUSHES = 200


def machine(folder: Path) -> dict[str, Any]:
    """Returns where it ran. `flush_us`: the median of a page written and flushed in the folder."""
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "flush_us": _flush_us(folder),
    }


def _flush_us(folder: Path) -> float:
    took = []
    with NamedTemporaryFile(dir=folder, prefix="roundbook-bench-") as file:
        for _ in range(FLUSHES):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e6, 1)


def medians(runs: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> dict[str, float]:
    """Returns each figure's median over some runs."""
    return {figure: statistics.median(run[figure] for run in runs) for figure in figures}


def in_turns(
    ways: Mapping[str, Callable[[], Mapping[str, float]]], runs: int, figures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Returns the medians of each way of measuring; they take turns, run by run."""
    took = [{name: way() for name, way in ways.items()} for _ in range(runs)]
    return {name: medians([run[name] for run in took], figures) for name in ways}


def show(found: Mapping[str, Any], console: Console) -> None:
    """Prints everything that was found."""
    where = found["machine"]
    console.print(f"[bold]{found['command']}[/]   {found['date']}")
    console.print(
        f"{many(where['cores'], 'core')}, {where['kernel']}, Python {where['python']},"
        f" SQLite {where['sqlite']}, a flush {where['flush_us']:.0f} µs"
    )
    console.print(_over_http(found["http"]))
    console.print(_ratio(found["http"]))
    console.print(_in_process(found["in_process"]))


def _over_http(http: Mapping[str, Any]) -> Table:
    over = many(http["connections"], "kept-alive connection")
    title = f"unique bets over {over}, {many(http['runs'], 'run')} of"
    table = Table(title=f"{title} {http['seconds']:g} s, medians", title_justify="left")
    table.add_column("")
    for column in ("requests/s", "p50 ms", "p99 ms", "p99.9 ms"):
        table.add_column(column, justify="right")
    named = {
        "service": "service",
        "no_op": f"no-op route, best of threads: {http['no_op']['threads']}",
        "service_logging": "service, log_requests",
        "evening": f"an evening's calls, {http['evening_ratio']:.2f} of the bets",
    }
    for key, name in named.items():
        table.add_row(name, *_figures(http[key]))
    table.add_section()
    for connections, of in http["by_connections"].items():
        table.add_row(f"service, {many(connections, 'connection')}", *_figures(of))
    return table


def _figures(of: Mapping[str, Any]) -> list[str]:
    return [
        f"{of['requests_per_s']:,.0f}",
        *(f"{of[name]:.2f}" for name in ("p50_ms", "p99_ms", "p99_9_ms")),
    ]


def picture(found: Mapping[str, Any]) -> str:
    """Returns bets a second against connections, beside the route that does nothing, as SVG."""
    http, where = found["http"], found["machine"]
    of = http["by_connections"]
    rates = [of[n]["requests_per_s"] for n in of]
    no_op = http["no_op"]["requests_per_s"]
    return bench_picture.draw(
        "Bets a second over HTTP, each durable before it is answered",
        f"connections; {many(where['cores'], 'core')}, Python {where['python']}, {found['date'][:10]}",
        [str(n) for n in of],
        [
            bench_picture.Line("bets", rates),
            bench_picture.Line(f"no-op with {http['connections']}", [no_op] * len(rates)),
        ],
    )


def _ratio(http: Mapping[str, Any]) -> str:
    pairs = ", ".join(f"{ratio:.2f}" for ratio in http["ratios"])
    return f"ratio service : no-op  [bold]{http['ratio']:.2f}[/]   run by run {pairs}\n"


_threads = partial(many, what="thread")


def _in_process(found: Mapping[str, Any]) -> Table:
    table = Table(title="without HTTP, made before the clock starts", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("a second", justify="right")
    for name, key, each, what in (
        ("Book.submit", "book_submit", _threads, "bets"),
        ("Book.submit, on one core", "book_submit_one_core", _threads, "bets"),
        ("stock Application.save", "stock_save", _threads, "bets"),
        ("stock, on one core", "stock_save_one_core", _threads, "bets"),
        ("Book.submit_many", "submit_many", "{} a list".format, "bets"),
        ("its store, not deciding", "store_lists", "{} a list".format, "bets"),
        ("the same rows, raw", "raw_lists", "{} a list".format, "bets"),
        ("raw sqlite3", "raw_sqlite", "{} rows a commit".format, "rows"),
    ):
        for count, rate in found[key].items():
            table.add_row(name, each(count), f"{rate:,.0f} {what}")
        table.add_section()
    return table
