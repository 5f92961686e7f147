"""`roundbook bench deliveries`: one operator's dead wallet beside another's that is well."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import msgspec

from ledger.money import read_text
from ledger.provider.book import Book
from ledger.provider.commands import CancelRound, EndSend, PlaceBet, StartSend
from ledger.provider.courier import Courier
from ledger.provider.house import House, Operator
from ledger.provider.round import Round
from ledger.provider.wire import Remote
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from scripts import options
from scripts.bench_load import at_share
from scripts.bench_report import in_turns
from scripts.bench_server import wallet
from scripts.tables import show

WELL, DEAD = "well", "hang"
TIMEOUT_S = 2.0
LONGEST_S = 10.0
WAYS = {
    "alone": ((WELL, WELL),),
    "beside a wallet that hangs": ((WELL, WELL), (DEAD, DEAD)),
    "control: both in one lane": ((WELL, WELL), (WELL, DEAD)),
}
"""Operator and reference prefix of the refunds that are owed; only those that are well are counted."""


@click.command(short_help="Measure refunds, alone and while another's wallet hangs.")
@click.option("--refunds", default=200, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each way.")
@options.bench_folder
@options.as_json
def deliveries(refunds: int, runs: int, folder: Path, *, as_json: bool) -> None:
    """Measure refunds of one operator, alone and while another's wallet hangs.

    The control puts both into one lane, as if operators shared their sends.

    \b
    Example: roundbook bench deliveries --runs 5
    """
    with wallet() as port:
        run = partial(_run, port=port, refunds=refunds, folder=folder)
        found = in_turns({way: partial(run, owed) for way, owed in WAYS.items()}, runs, FIGURES)
    if as_json:
        click.echo(msgspec.json.encode({"refunds": refunds, "runs": runs, **found}))
        return
    rows = [(way, *(f"{figures[name]:,.0f}" for name in FIGURES)) for way, figures in found.items()]
    columns = ("refunds", "confirmed", "a second", "p50 ms", "p99 ms")
    show(columns, rows, numbers=columns[1:])


FIGURES = ("confirmed", "per_s", "p50_ms", "p99_ms")


def _run(
    owed: Sequence[tuple[str, str]], *, port: int, refunds: int, folder: Path
) -> dict[str, float]:
    """Returns how many refunds of the wallet that is well were confirmed, and how soon."""
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        book = Book(open_store(f"sqlite:///{made}/provider.db", IN_TRANSACTION), _house())
        with closing(book):
            for operator, prefix in reversed(owed):
                _owe(book, operator, prefix, refunds)
            return _delivered(book, {operator for operator, _ in owed}, port, refunds)


def _house() -> House:
    named = {
        login: Operator(id=login, dialect="lucky-monaco-v4", provider="LuckyMonaco")
        for login in (WELL, DEAD)
    }
    return House(operators=named)


def _owe(book: Book, operator: str, prefix: str, refunds: int) -> None:
    """Makes rounds with an accepted bet each, and cancels them all."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: _cancelled_round(book, operator, f"{prefix}-{n}"), range(refunds)))


def _cancelled_round(book: Book, operator: str, reference: str) -> None:
    bet = PlaceBet(
        operator=operator,
        round=reference,
        user="1",
        currency="USD",
        session="s",
        game="g",
        game_name="g",
        reference=reference,
        amount=read_text("1.00"),
    )
    book.submit(bet)
    named: dict[str, Any] = {"operator": operator, "kind": "bet", "reference": reference}
    book.submit(StartSend(**named, worker="bench", lease_s=60))
    book.submit(EndSend(**named, attempt=1, outcome="answered", code=0, transaction_id="t"))
    book.submit(CancelRound(operator=operator, round=reference, by="operator"))


def _delivered(book: Book, logins: set[str], port: int, refunds: int) -> dict[str, float]:
    remote = Remote(
        url=f"http://127.0.0.1:{port}",
        member="m",
        token="t",  # noqa: S106  (of the benchmark's own wallet)
        allow_private=True,
        timeout_s=TIMEOUT_S,
    )
    took: list[float] = []
    finished = threading.Event()

    def settled(state: Round) -> None:
        if state.status == "Cancelled":
            took.append(perf_counter() - started)
            if len(took) == refunds:
                finished.set()

    courier = Courier(book, dict.fromkeys(logins, remote), worker="b", on_settled=settled)
    courier.start()
    try:
        started = perf_counter()
        finished.wait(LONGEST_S)
        counted = sorted(took)[:refunds]
    finally:
        courier.stop()
    return {
        "confirmed": len(counted),
        "per_s": len(counted) / counted[-1] if counted else 0,
        "p50_ms": at_share(counted, 0.5) if counted else 0,
        "p99_ms": at_share(counted, 0.99) if counted else 0,
    }
