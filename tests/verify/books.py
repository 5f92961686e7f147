"""Books to verify: written by the book itself, at random or with everything in them, and sealed."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import apsw
from click.testing import CliRunner, Result

from ledger.operator.book import Book
from ledger.operator.events import ResultKind
from ledger.operator.house import House
from ledger.projection import Row
from ledger.provider import commands as theirs
from ledger.provider.book import Book as ProviderBook
from ledger.provider.events import Kind
from ledger.refusals import Refusal, Unsettled
from ledger.seal import Signer, new_key, signer
from ledger.sealing import Sealer
from ledger.store import EVENTS, Store
from ledger.store.chain import GENESIS, link
from ledger.verify import Progress, Readable, Verdict, Verification
from ledger.verify_seals import Seals
from scripts.source import Party
from scripts.verify import SIDES, lines_of, readable, verify
from tests import controls
from tests.provider import examples

SIGNER = signer(new_key())
OTHER_SIGNER = signer(new_key())
CODES = (0, 0, 0, 0, 0, 0, 15, 52, 998, 999, None)


def verdict_of(
    store: Store,
    party: Party = "operator",
    *,
    key: str | None = None,
    kept: Sequence[bytes] = (),
    progress: Progress | None = None,
    lasting: bool = False,
    tell: Callable[[Verification], None] = lambda _: None,
) -> Verdict:
    source: Any = SimpleNamespace(name="a store", store=store)
    seals = Seals(lines_of(source), kept, [key] if key else [])
    book = readable(source, party)
    run = Verification(book, SIDES[party], seals, progress=progress, lasting=lasting, tell=tell)
    return run.run()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(verify, [str(each) for each in arguments])


@contextmanager
def behind_its_back(path: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(path))) as connection:
        made = "select name, sql from sqlite_master where type = 'trigger'"
        triggers = dict(connection.execute(made).fetchall())
        for name in triggers:
            connection.execute(f"drop trigger {name}")
        yield connection
        there = dict(connection.execute(made).fetchall())
        for name, sql in triggers.items():
            if name not in there:
                with suppress(apsw.SQLError):  # its table is gone
                    connection.execute(sql)


def seal(book: Any, by: Signer = SIGNER, *, next_key: str = "") -> None:
    Sealer(book.store, by).seal(next_key=next_key)


# the operator's


def everything(book: Book) -> None:
    """Records an event of every type, in several rounds and wallets; seals twice."""
    controls.fund(book)
    controls.fund(book, user=controls.OTHER_PLAYER)
    controls.fund(book, currency=controls.OTHER_CURRENCY, amount="5.00")
    due = [50, 25]
    for command in _evening():
        with suppress(Refusal):
            book.submit(command)
        if due and book.store.head().position >= due[-1]:
            seal(book)
            due.pop()


def _evening() -> Iterator[Any]:
    c = controls
    yield c.place_bet()
    yield c.place_bet(reference=c.SECOND_REFERENCE)
    yield c.result()
    yield c.result(kind="jackpot", reference="j1", amount="0")
    yield c.place_bet(round_id="10", reference="10a", user=c.OTHER_PLAYER)
    yield c.place_bet(round_id=c.OTHER_ROUND, reference="20a", amount="1.00")
    yield c.place_bet(round_id=c.OTHER_ROUND, reference="20b", amount="2.00")
    yield c.place_bet(round_id=c.OTHER_ROUND, reference="20c", amount="1000000.00")
    yield c.cancel(reference="20a", round_id=c.OTHER_ROUND)
    yield c.cancel(reference="20c", round_id=c.OTHER_ROUND)
    yield c.cancel_round(reference="20b")
    yield c.withdraw(amount="3.00")
    yield c.freeze(user=c.OTHER_PLAYER)
    yield c.place_bet(round_id="10", reference="10b", user=c.OTHER_PLAYER)
    yield c.result(round_id="10", reference="10r", user=c.OTHER_PLAYER, amount="0.01")
    yield c.unfreeze(user=c.OTHER_PLAYER)
    yield c.place_bet(round_id="10", reference="10c", user=c.OTHER_PLAYER, amount="0")
    yield c.cancel(reference=c.UNKNOWN_REFERENCE)
    yield c.place_bet(round_id="30", reference=c.UNKNOWN_REFERENCE)
    yield c.cancel(reference="buried", round_id="31")
    yield c.place_bet(round_id="31", reference="buried")
    yield c.place_bet(round_id="a/b%2F", reference="odd/1", provider="P/1")
    yield c.refund(reference="odd/1", provider="P/1")
    yield c.pay_promo(reference="p1", amount="7.77")
    yield c.expire_session()
    yield c.place_bet(
        round_id="40", reference="40a", currency=c.OTHER_CURRENCY, amount="4.99", session="s"
    )
    yield c.place_bet(
        round_id="40", reference="40b", currency=c.OTHER_CURRENCY, amount="0.02", session="s"
    )
    yield c.end_round(round_id="40", currency=c.OTHER_CURRENCY)
    yield c.result(round_id="40", reference="40r", currency=c.OTHER_CURRENCY, amount="8.00")
    for place in range(6):
        yield c.place_bet(round_id=f"5{place}", reference=f"5{place}a", amount="0.10", session="s")
        yield c.result(round_id=f"5{place}", reference=f"5{place}r", amount=f"0.0{place}")


def at_random(book: Book, choose: random.Random, steps: int) -> None:
    for user in (controls.PLAYER, controls.OTHER_PLAYER):
        controls.fund(book, user=user, amount="10.00")
    controls.fund(book, currency=controls.OTHER_CURRENCY, amount="10.00")
    for _ in range(steps):
        with suppress(Refusal):
            book.submit(_some_command(choose))


def _some_command(choose: random.Random) -> Any:
    user = choose.choice((controls.PLAYER, controls.PLAYER, controls.OTHER_PLAYER))
    currency = choose.choice((controls.CURRENCY, controls.CURRENCY, controls.OTHER_CURRENCY))
    whose = {"user": user, "currency": currency}
    round_id, reference = choose.choice("123456789"), str(choose.randrange(60))
    amount = choose.choice(("0", "0.50", "1.00", "9.00"))
    kind = choose.choice(get_args(ResultKind))
    of = {**whose, "reference": reference}
    return choose.choice(
        [
            *[lambda: controls.place_bet(**of, round_id=round_id, amount=amount)] * 6,
            *[lambda: controls.result(**of, round_id=round_id, amount=amount, kind=kind)] * 3,
            lambda: controls.cancel(**of, round_id=choose.choice((None, round_id))),
            lambda: controls.refund(**of),
            lambda: controls.refund_later_form(**of, round_id=round_id),
            lambda: controls.cancel_round(**of),
            lambda: controls.end_round(**whose, round_id=round_id),
            lambda: controls.pay_promo(**of, amount=amount),
            lambda: controls.deposit(**of, amount="1.00"),
            lambda: controls.withdraw(**of, amount="0.70"),
            lambda: controls.freeze(**whose),
            lambda: controls.unfreeze(**whose),
            lambda: controls.expire_session(user=user, session=choose.choice(("x", "y"))),
            lambda: controls.open_wallet(user=controls.STRANGER, currency=currency),
        ]
    )()


HOUSES = (House(), House(allow_cancel_completed=True))

# the provider's


def theirs_at_random(
    book: ProviderBook, clock: examples.Clock, choose: random.Random, steps: int
) -> None:
    for _ in range(steps):
        clock.go(choose.choice((0, 1, 20, 400)))
        with suppress(Refusal, Unsettled):
            if choose.random() < 0.5:
                _send_something(book, choose)
            else:
                book.submit(_some_of_theirs(clock, choose))


def _send_something(book: ProviderBook, choose: random.Random) -> None:
    due = book.due(choose.choice((examples.LM, examples.KY)), limit=10)
    if not due:
        return
    of = choose.choice(due)
    started = book.submit(examples.start_send(of.kind, of.reference, operator=of.operator)).send
    if started and choose.random() < 0.9:
        book.submit(
            examples.end_send(
                of.kind,
                of.reference,
                operator=of.operator,
                attempt=choose.choice((started.attempt, started.attempt, 1)),
                code=choose.choice(CODES),
                wait_s=0,
                parked_wait_s=0,
            )
        )


def _some_of_theirs(clock: examples.Clock, choose: random.Random) -> Any:
    operator = choose.choice((examples.LM, examples.KY))
    round_id, reference = choose.choice("123456"), choose.choice("abcdefghijkl")
    kind: Kind = choose.choice(get_args(Kind))
    at = {"operator": operator}
    named = choose.choice((round_id, reference))
    return choose.choice(
        [
            *[lambda: examples.place_bet(**at, round_id=round_id, reference=reference)] * 12,
            *[lambda: examples.report_result(**at, round_id=round_id, reference=reference)] * 12,
            *[lambda: examples.end_round(**at, round_id=round_id)] * 4,
            lambda: examples.cancel_round(**at, round_id=round_id),
            lambda: examples.refund_overdue(**at, round_id=round_id, upto=clock.text),
            lambda: examples.retry(kind, named, **at),
            lambda: theirs.StopSweep(reason="clock"),
            lambda: theirs.ConfirmSweep(upto=clock.text),
            lambda: theirs.NoteSweep(),
        ]
    )()


# what stands in them


def rows_of(store: Store) -> list[Row]:
    return list(store.scan(EVENTS))


def reading(rows: Sequence[Row]) -> Readable:
    return Readable(lambda after: [row for row in rows if after is None or row[0] > after])


def chained(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows as one who knows the chain would write them: in their order, hashed again."""
    previous, made = GENESIS, []
    for position, (_, stream, version, topic, state, _) in enumerate(rows, 1):
        previous = link(previous, stream, version, topic, state)
        made.append((position, stream, version, topic, state, previous))
    return made


def rehash(connection: apsw.Connection) -> None:
    select = "select position, stream, version, topic, cast(state as blob), hash from stored_events"
    rows = connection.execute(f"{select} order by position").fetchall()
    again = [(row[-1], old[0]) for row, old in zip(chained(rows), rows, strict=True)]
    connection.executemany("update stored_events set hash = ? where position = ?", again)


def close_gap(connection: apsw.Connection, by: int, *, behind: int) -> None:
    """Moves what stands behind a position, so that no gap is left, or that one is made."""
    moved = "update stored_events set position = -position where position > ?"
    connection.execute(moved, (behind,))
    back = "update stored_events set position = -position - ? where position < 0"
    connection.execute(back, (by,))


def seals_in(path: Path) -> bytes:
    """Returns the seals of a book as an auditor keeps them: a line a seal."""
    with closing(apsw.Connection(str(path))) as connection:
        rows = connection.execute("select seal from seals order by number").fetchall()
    return b"".join(seal.encode() + b"\n" for (seal,) in rows)
