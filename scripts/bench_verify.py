"""`roundbook bench verify`: what it takes to check a whole book, and to derive its tables again."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import click
import msgspec

from ledger.merkle import Tree
from ledger.names import name, transaction_id
from ledger.operator import events
from ledger.operator.book import MAPPER
from ledger.projection import Key, Recorded, Row
from ledger.rebuild import differences
from ledger.seal import Signer, new_key, signer
from ledger.store import open_store
from ledger.store.chain import Head, link
from projections import IN_TRANSACTION
from scripts import options
from scripts.bench_report import machine
from scripts.bench_server import answer_of
from scripts.tables import show
from scripts.verify import checked

PROVIDER, CURRENCY, SCALE, GAME = "LuckyMonaco", "USD", 2, "Im_60_tumblefortune"
PLAYERS = [str(number) for number in range(100_000, 100_200)]
OPENING_CASH, STAKE, WIN = 10_000_000_000, 101, 50
AT = "2026-11-21T09:44:00.000004Z"
SEALED_EVERY = 1000
AT_ONCE = 50_000


@click.command("verify")
@click.option("--events", "most", default=200_000, show_default=True, type=click.IntRange(1))
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each way.")
@options.bench_folder
@options.as_json
def bench_verify(most: int, runs: int, folder: Path, *, as_json: bool) -> None:
    """Measure roundbook verify, and rebuild --check, on an operator's book made for it.

    Rounds of a bet and a result, a seal every 1000 events. Each run is a process of its own; what
    it takes to make the book and to start is not counted. Rates are the best run's.

    Example: roundbook bench verify --events 1000000
    """
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        file = Path(made, "book.db")
        make(file, most)
        found = {way: _best([_run(way, file) for _ in range(runs)], most) for way in WAYS}
    if as_json:
        about = {"events": most, "runs": runs, "machine": machine(folder)}
        click.echo(msgspec.json.encode({**about, **found}))
        return
    rows = [(way, *(f"{figures[each]:,.0f}" for each in FIGURES)) for way, figures in found.items()]
    show(("", "events a second", "of the processor's", "peak MB"), rows, title=f"{most:,} events")


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


def _verify(file: Path) -> None:
    assert checked(str(file)).holds


def _rebuild(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}", IN_TRANSACTION, read_only=True)) as store:
        assert not differences(store, MAPPER)


WAYS: dict[str, Callable[[Path], None]] = {"verify": _verify, "rebuild": _rebuild}


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


# the book


def history(most: int) -> Iterator[Recorded]:
    """Yields so many events: wallets with a deposit, then rounds of a bet and a result, player by player."""
    return islice(_history(), most)


def _history() -> Iterator[Recorded]:
    for user in PLAYERS:
        stream = name("wallet", user, CURRENCY)
        yield Recorded(stream, 1, events.WalletOpened(recorded_at=AT, **_wallet(user, 1)))
        deposit = _moved(user, 2, "deposit", events.CASHIER, user, OPENING_CASH, 0, OPENING_CASH)
        yield Recorded(stream, 2, events.DepositMade(**deposit))
    for lap in count():
        yield from _lap(lap, OPENING_CASH - lap * (STAKE - WIN), 2 * lap + 3)


def _lap(lap: int, cash: int, version: int) -> Iterator[Recorded]:
    """Yields a round of every player: each bets, then each has its result."""
    left = cash - STAKE
    for number, user in enumerate(PLAYERS, lap * len(PLAYERS)):
        stream, reference, of = _named(number)
        opened = events.RoundOpened(recorded_at=AT, **of, user=user, currency=CURRENCY, game=GAME)
        yield Recorded(stream, 1, opened)
        bet = _moved(user, version, "bet", PROVIDER, f"{reference}b", STAKE, cash, left)
        yield Recorded(stream, 2, events.BetPlaced(**bet, **of, game=GAME, said=_said(number)))
    for number, user in enumerate(PLAYERS, lap * len(PLAYERS)):
        stream, reference, of = _named(number)
        win = _moved(user, version + 1, "result", PROVIDER, f"{reference}e", WIN, left, left + WIN)
        said = _said(number)
        yield Recorded(stream, 3, events.ResultRecorded(**win, **of, kind="result", said=said))


def _named(number: int) -> tuple[str, str, dict[str, Any]]:
    """Returns a round's stream, what its references begin with, and how its events name it."""
    round_id = str(5_103_188_801 + number)
    of = {"provider": PROVIDER, "round": round_id}
    return name("round", PROVIDER, round_id), f"585c1306f89c56{number:09x}", of


def _wallet(user: str, version: int) -> dict[str, Any]:
    return {"user": user, "currency": CURRENCY, "scale": SCALE, "wallet_version": version}


def _moved(
    user: str,
    version: int,
    kind: str,
    by: str,
    reference: str,
    amount: int,
    before: int,
    after: int,
) -> dict[str, Any]:
    return {
        **_wallet(user, version),
        "recorded_at": AT,
        "reference": reference,
        "transaction_id": transaction_id(by, kind, reference),
        "amount": amount,
        "cash_before": before,
        "cash_after": after,
    }


def _said(number: int) -> events.Said:
    return events.Said(
        uuid=f"{number:032x}",
        session=f"session-{number % len(PLAYERS)}",
        game_name="tumblefortune",
        provider_time="1700000000000",
        details="spin",
    )


def make(file: Path, most: int) -> None:
    """Makes a sealed book of so many events, with its tables; not through the book, so that it is quick."""
    open_store(f"sqlite:///{file}", IN_TRANSACTION).close()
    sealed_by, made = signer(new_key()), history(most)
    tables: dict[str, dict[Any, Row]] = {p.TABLE: {} for p in IN_TRANSACTION}
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("pragma synchronous = off")
        head, tree = Head(), Tree()
        while some := list(islice(made, SEALED_EVERY)):
            connection.execute("begin")
            head = _append(connection, some, head, tree)
            _derive(tables, some)
            _seal(connection, sealed_by, head, tree)
            connection.execute("commit")
        for table, rows in tables.items():
            _insert(connection, table, ((*key, *row) for key, row in rows.items()))
        connection.execute("pragma wal_checkpoint(truncate)")


def _append(connection: apsw.Connection, some: Sequence[Recorded], head: Head, tree: Tree) -> Head:
    rows: list[Row] = []
    position, hashed = head
    for stream, version, event in some:
        position += 1
        topic, state = type(event).__name__, MAPPER.encode(event)
        hashed = link(hashed, stream, version, topic, state)
        tree.append(hashed)
        rows.append((position, stream, version, topic, state.decode(), hashed))
    _insert(connection, "stored_events", rows)
    return Head(position, hashed)


def _insert(connection: apsw.Connection, table: str, rows: Iterable[Row]) -> None:
    width = connection.execute("select count(*) from pragma_table_info(?)", (table,)).get
    marks = ", ".join("?" * width)
    connection.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608  (our own)


def _derive(tables: dict[str, dict[Key, Row]], some: Sequence[Recorded]) -> None:
    for projection in IN_TRANSACTION:
        rows = tables[projection.TABLE]
        for recorded in some:
            key = projection.key(recorded.event)
            if key is not None:
                rows[key] = projection.evolve(rows.get(key), recorded)


def _seal(connection: apsw.Connection, signed_by: Signer, head: Head, tree: Tree) -> None:
    seal = msgspec.json.encode(signed_by.seal(head, tree, at=AT))
    _insert(connection, "seals", [(None, head.position, seal.decode())])


if __name__ == "__main__":
    main()
