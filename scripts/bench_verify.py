"""`roundbook bench verify`: what it takes to check a whole book, and to derive its tables again."""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from ledger.operator.book import MAPPER
from ledger.rebuild import differences
from ledger.store import open_store
from projections import IN_TRANSACTION
from scripts import options
from scripts.bench_made import make
from scripts.bench_report import machine
from scripts.bench_server import answer_of
from scripts.tables import show
from scripts.verify import checked


@click.command("verify", short_help="Measure roundbook verify, and rebuild --check.")
@click.option("--events", "most", default=200_000, show_default=True, type=click.IntRange(1))
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each way.")
@options.bench_folder
@options.as_json
def bench_verify(most: int, runs: int, folder: Path, *, as_json: bool) -> None:
    """Measure roundbook verify, and rebuild --check, on an operator's book made for it.

    Rounds of a bet and a result, a seal every 1000 events. Runs alternate, each is a process of its
    own; what it takes to make the book and to start is not counted. Rates are the best run's.

    \b
    Example: roundbook bench verify --events 1000000
    """
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        file = Path(made, "book.db")
        make(file, most)
        turns = [{way: _run(way, file) for way in WAYS} for _ in range(runs)]
        found = {way: _best([turn[way] for turn in turns], most) for way in WAYS}
    if as_json:
        about = {"events": most, "runs": runs, "machine": machine(folder)}
        click.echo(msgspec.json.encode({**about, **found}))
        return
    rows = [(way, *(f"{figures[each]:,.0f}" for each in FIGURES)) for way, figures in found.items()]
    columns = ("", "events a second", "of the processor's", "peak MB")
    show(columns, rows, title=f"{most:,} events", numbers=columns[1:])


FIGURES = ("events_per_s", "events_per_cpu_s", "peak_mb")


def _best(runs: Sequence[dict[str, float]], most: int) -> dict[str, float]:
    """Returns the rates of the best run, by the clock and by the processor's time, and the worst peak."""
    return {
        "events_per_s": round(most / min(each["seconds"] for each in runs)),
        "events_per_cpu_s": round(most / min(each["cpu_seconds"] for each in runs)),
        "peak_mb": round(max(each["peak_mb"] for each in runs), 1),
    }


def _run(way: str, file: Path) -> dict[str, float]:
    """Returns what one way took, in a process of its own."""
    took: dict[str, float] = answer_of("scripts.bench_verify", way, str(file))
    return took


def _verify(file: Path, *, pages: bool = False, bodies: bool = False) -> None:
    assert checked(str(file), pages=pages, bodies=bodies).holds


def _rebuild(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}", IN_TRANSACTION, read_only=True)) as store:
        assert not differences(store, MAPPER)


WAYS: dict[str, Callable[[Path], None]] = {
    "verify": _verify,
    "verify --pages": partial(_verify, pages=True),
    "verify --bodies": partial(_verify, bodies=True),
    "rebuild": _rebuild,
}


def main() -> None:
    """Does it once, in the command's own process, and prints what it took."""
    import scripts.cli  # noqa: F401  (what the command loads counts in its memory)

    way, file = sys.argv[1], Path(sys.argv[2])
    began, cpu = time.perf_counter(), time.process_time()
    WAYS[way](file)
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**took, "peak_mb": _peak_mb()}))  # noqa: T201  (a process reads it)


def _peak_mb() -> float:
    """Returns this process's peak; what `getrusage` says counts what the process was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
