from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from ledger.mapper import Inexact
from ledger.names import name, parts
from ledger.operator.book import Book
from ledger.projection import Row
from ledger.store import open_store
from ledger.verify import Finding
from projections import IN_TRANSACTION
from scripts.source import Party
from scripts.verify import MAPPERS, THOROUGH
from tests import controls
from tests.provider import examples
from tests.verify import books
from tests.verify.books import rows_of, run
from tests.verify.forging import finding_of

GOLDEN = Path(__file__).parents[1] / "golden"


def ours() -> list[Row]:
    with closing(Book(open_store("memory://", IN_TRANSACTION), books.HOUSES[1])) as book:
        controls.fund(book)
        books.everything(book)
        return rows_of(book.store)


def theirs(seed: int) -> list[Row]:
    clock = examples.Clock()
    with closing(examples.new_book("memory://", now=clock)) as book:
        books.theirs_at_random(book, clock, Random(seed), 400)
        return rows_of(book.store)


def changed(rows: list[Row], topic: str, change: Any, where: Any = lambda _: True) -> list[Row]:
    """Returns the rows with another body where the first event of a type stood, chained again."""
    place = next(
        n for n, row in enumerate(rows) if row[3] == topic and where(msgspec.json.decode(row[4]))
    )
    position, stream, version, _, state, hashed = rows[place]
    other = (position, stream, version, topic, change(state), hashed)
    return books.chained([*rows[:place], other, *rows[place + 1 :]])


def found_in(rows: list[Row], party: Party = "operator") -> Finding | None:
    return finding_of(rows, THOROUGH[party])


def told(**fields: Any) -> Any:
    return lambda state: msgspec.json.encode({**msgspec.json.decode(state), **fields})


def test_what_a_book_records_says_nothing_that_is_not_read() -> None:
    assert found_in(ours()) is None


@pytest.mark.parametrize("seed", range(4))
def test_what_a_providers_book_records_follows_to_the_last_call(seed: int) -> None:
    assert found_in(theirs(seed), "provider") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state.replace(b'"user":', b'"user":"888","user":', 1), "says user twice"),
        (lambda state: state.replace(b'"uuid":', b'"uuid":"u","uuid":', 1), "says uuid twice"),
        (told(loss=1), "says loss, which is no field"),
        (told(said={"uuid": "u", "usr": 1}), "says usr, which is no field"),
        (told(transaction_id="t"), "is the transaction t; its reference gives "),
    ],
)
def test_what_another_reader_would_take_for_another_event_is_found(change: Any, why: str) -> None:
    rows = changed(ours(), "BetPlaced", change)
    found = found_in(rows)
    assert found
    assert (found.kind, rows[(found.position or 0) - 1][3]) == ("invariant", "BetPlaced")
    assert why in found.detail
    assert finding_of(rows) is None, "the control: without it, nothing is found"


def test_what_a_caller_said_is_kept_and_read_whatever_it_is() -> None:
    rows = changed(
        ours(), "BetPlaced", told(said={"uuid": "u", "extra": {"a": {"a": [{"b": 1.0}]}}})
    )
    assert found_in(rows) is None


def test_a_body_that_says_what_could_be_left_out_is_read_whole_too() -> None:
    def with_win(state: bytes) -> bytes:
        return msgspec.json.format(msgspec.json.encode({**msgspec.json.decode(state), "win": 0}))

    assert found_in(changed(ours(), "BetCancelled", with_win)) is None


@pytest.mark.parametrize(
    "topic",
    [
        "BetPlaced",
        "ResultRecorded",
        "BetCancelled",
        "BetRefunded",
        "TombstoneRecorded",
        "RoundEnded",
        "PromoPaid",
        "DepositMade",
        "WithdrawalMade",
    ],
)
def test_every_transaction_has_the_id_that_its_reference_gives_it(topic: str) -> None:
    found = found_in(changed(ours(), topic, told(transaction_id="t")))
    assert found
    assert "its reference gives" in found.detail


@pytest.mark.parametrize(
    "topic",
    ["BetRequested", "ResultRequested", "EndRequested", "CancelRequested", "RefundRequested"],
)
@pytest.mark.parametrize("change", [{"path": "/V4/Bet?"}, {"body": "{}"}])
def test_a_wallet_is_sent_what_the_event_says(topic: str, change: dict[str, str]) -> None:
    def other(state: bytes) -> bytes:
        said = msgspec.json.decode(state)
        return msgspec.json.encode({**said, "call": {**said["call"], **change}})

    rows = changed(theirs(1), topic, other)
    found = found_in(rows, "provider")
    assert found
    assert (found.kind, rows[(found.position or 0) - 1][3]) == ("invariant", topic)
    assert "calls the wallet with something else" in found.detail


@pytest.mark.parametrize(("sent", "holds"), [("bet", False), (0, True), (False, False)])
def test_a_wallet_is_sent_details_of_zero_as_the_event_says_them(sent: Any, *, holds: bool) -> None:
    def other(state: bytes) -> bytes:
        said = msgspec.json.decode(state)
        body = {**msgspec.json.decode(said["call"]["body"]), "roundDetails": sent}
        call = {**said["call"], "body": msgspec.json.encode(body).decode()}
        return msgspec.json.encode({**said, "details": 0, "call": call})

    found = found_in(changed(theirs(1), "BetRequested", other), "provider")
    assert (found is None) == holds


NO_ID = ["", "a\u200b", "a\n", "x" * 129]
NAMED = ["provider", "round", "user", "currency", "game", "reference", "session"]
IDS = {"operator": [*NAMED, "campaign", "campaign_type"], "provider": [*NAMED, "operator"]}


@pytest.mark.parametrize("named", NO_ID)
@pytest.mark.parametrize(("party", "field"), [(party, f) for party in IDS for f in IDS[party]])
def test_what_no_call_could_have_named_is_found(party: Party, field: str, named: str) -> None:
    rows = ours() if party == "operator" else theirs(1)
    first = next(body[field] for body in map(_body, rows) if body.get(field))
    rows = [_renamed(row, field, first, named) for row in rows]
    found = found_in(books.chained(rows), party)
    assert found
    assert f"names the {field} {named[:128]!r}, which is not 1 to 128 printable" in found.detail
    rows = [_renamed(row, field, named, "x" * 128) for row in rows]
    told = found_in(books.chained(rows), party)
    assert told is None or "printable" not in told.detail, "the control"


def _body(row: Row) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(row[4])
    return body


def _renamed(row: Row, field: str, was: str, named: str) -> Row:
    """Returns the row with another name, in its body and in its stream's."""
    position, stream, version, topic, _, hashed = row
    body = _body(row)
    if body.get(field) == was:
        body[field] = named
        stream = name(*[named if part == was else part for part in parts(stream)])
    return (position, stream, version, topic, msgspec.json.encode(body), hashed)


@pytest.mark.parametrize(
    "topic", ["BetAccepted", "ResultConfirmed", "EndConfirmed", "RefundConfirmed"]
)
def test_an_answer_that_confirms_names_its_transaction(topic: str) -> None:
    rows = changed(theirs(1), topic, told(transaction_id=""))
    found = found_in(rows, "provider")
    assert found
    assert (found.kind, rows[(found.position or 0) - 1][3]) == ("invariant", topic)
    assert "names no transaction" in found.detail


def test_an_answer_to_a_cancel_need_not_name_one() -> None:
    rows = changed(theirs(1), "CancelConfirmed", told(transaction_id=""))
    assert found_in(rows, "provider") is None


@pytest.mark.parametrize(("topic", "field"), [("SendStarted", "until"), ("SendEnded", "again_at")])
def test_a_time_that_is_none_is_no_time_to_send_again(topic: str, field: str) -> None:
    rows = changed(theirs(1), topic, told(**{field: "3"}), lambda said: said.get(field))
    found = found_in(rows, "provider")
    assert found
    assert rows[(found.position or 0) - 1][3] == topic


@pytest.mark.parametrize("party", MAPPERS)
def test_every_golden_body_is_read_whole(party: Party) -> None:
    names = {"operator": "events.jsonl", "provider": "provider_events.jsonl"}
    exact = MAPPERS[party].exact()
    for line in (GOLDEN / names[party]).read_bytes().splitlines():
        said = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        topic = msgspec.json.decode(said["topic"], type=str)
        exact.decoders[topic](bytes(said["body"]))


def test_the_command_says_that_it_looked_and_begins_again_where_it_had_not(tmp_path: Path) -> None:
    path, progress = tmp_path / "book.db", tmp_path / "progress"
    with closing(Book(open_store(f"sqlite:///{path}", IN_TRANSACTION))) as book:
        controls.fund(book)
        book.submit(controls.place_bet())
    quick = run(path, "--resume", progress)
    assert "bodies" not in quick.stdout
    first = run(path, "--bodies", "--resume", progress)
    assert "; bodies checked" in first.stdout
    assert "verified before" not in first.stdout
    again = run(path, "--bodies", "--resume", progress)
    assert "were verified before" in again.stdout
    assert "were verified before" in run(path, "--resume", progress).stdout


def test_a_body_says_no_more_than_its_type_does() -> None:
    exact = MAPPERS["operator"].exact()
    with pytest.raises(Inexact, match="says more"):
        exact.decoders["WalletFrozen"](
            b'{"recorded_at":"t","user":"u","currency":"USD","scale":2,"wallet_version":1,"more":1}'
        )
