import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pysqlite3
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from api import close, create_app
from api.configuration import settle
from ledger.moments import text
from ledger.money import to_text
from ledger.operator.book import Book
from ledger.provider.book import Book as ProviderBook
from ledger.store import Store, open_store
from projections import IN_TRANSACTION, as_of
from projections.audit_file import open_audit_file
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from tests import controls
from tests.audit_file import NOON, bodies, cash_at_every_position
from tests.audit_pages import copy
from tests.http import wire
from tests.provider import examples
from tests.provider.test_tables import HOUSE, code_of, stories
from tests.rules.test_properties import answer, histories

FEW = settings(max_examples=5)
GAME = "game-token"
BEARER = {"Authorization": f"Bearer {wire.AUDITOR}"}
WALLET = f"/api/wallets/{controls.PLAYER}/USD"
SECOND = timedelta(seconds=1)


class Clock:
    """A wall clock that goes on by some seconds a look, and now and then back."""

    def __init__(self, jumps: list[int]) -> None:
        self.at, self.jumps, self.looks = NOON, jumps, 0

    def __call__(self) -> datetime:
        self.at += self.jumps[self.looks % len(self.jumps)] * SECOND
        self.looks += 1
        return self.at


@contextmanager
def service(folder: Path, store: Store | None = None) -> Iterator[FlaskClient]:
    """Gives the service beside the audit files in a folder; its books are there too but for a store given."""
    said = wire.document(
        f"sqlite:///{folder}/operator.db",
        provider_book={"store": f"sqlite:///{folder}/provider.db", "token": GAME, "worker": False},
    )
    app = create_app(settle(said, {}), store)
    try:
        yield app.test_client()
    finally:
        close(app)


@contextmanager
def operators(
    folder: Path, history: list[Any], jumps: list[int]
) -> Iterator[tuple[FlaskClient, Store]]:
    """Gives a service over a book and its audit file, after a history."""
    book = Book(open_store("memory://", IN_TRANSACTION), now=Clock(jumps))
    with closing(book):
        controls.fund(book, amount="100")
        controls.fund(book, user=controls.OTHER_PLAYER, amount="50")
        for command in history:
            answer(book, command)
        copy(book, folder / "operator.audit.db")
        with service(folder, book.store) as client:
            yield client, book.store


def ask(client: FlaskClient, path: str, status: int = 200, **asked: Any) -> Any:
    found = client.get(path, query_string=asked, headers=BEARER)
    assert found.status_code == status, found.text
    assert found.mimetype == ("application/json" if status == 200 else "application/problem+json")
    return found.json


# against a replay from nothing

JUMPS = st.lists(st.integers(-3, 5), min_size=1, max_size=6)


@FEW
@given(histories, JUMPS)
def test_a_balance_as_of_any_position_or_time_is_what_a_replay_from_nothing_gives(
    history: list[Any], jumps: list[int]
) -> None:
    with TemporaryDirectory() as folder, operators(Path(folder), history, jumps) as (client, store):
        clocks: list[str] = [""]
        for _, _, body in bodies(store):
            clocks.append(max(clocks[-1], body["recorded_at"]))
        for (user, currency), held in cash_at_every_position(store).items():
            path = f"/api/wallets/{user}/{currency}"
            for at, cash in enumerate(held):
                if cash is None:
                    ask(client, path, 404, at=at)
                    continue
                found = ask(client, path, at=at)
                scale = found["scale"]
                assert (found["cash"], found["position"]) == (to_text(cash, scale), at)
                assert (found["userId"], found["currency"]) == (user, currency)
                assert found["changed_at"] <= at
                last = max(n for n, clock in enumerate(clocks) if clock <= clocks[at])
                by_time = ask(client, path, as_of=clocks[at])
                assert (by_time["position"], by_time["cash"]) == (
                    last,
                    to_text(held[last] or 0, scale),
                )


@FEW
@given(histories)
def test_a_history_over_http_is_every_event_that_names_it(history: list[Any]) -> None:
    with TemporaryDirectory() as folder, operators(Path(folder), history, [1]) as (client, store):
        told = bodies(store)
        cash = cash_at_every_position(store)
        fields = ("user", "round", "reference", "transaction_id")
        names = {body[field] for _, _, body in told for field in fields if body.get(field)}
        for name in {*names, "nobody"}:
            found = ask(client, "/api/history", q=name)
            assert found["position"] == len(told)
            assert [each["position"] for each in found["events"]] == [
                position
                for position, _, body in told
                if name in [body.get(field) for field in fields]
            ]
            for each in found["events"]:
                _, record, body = told[each["position"] - 1]
                assert (each["topic"], each["stream"], each["version"], each["recorded_at"]) == (
                    *(record.topic, record.originator_id, record.originator_version),
                    body["recorded_at"],
                )
                assert [each[n] for n in ("providerId", "roundId", "userId", "reference")] == [
                    body.get(field) for field in ("provider", "round", "user", "reference")
                ]
                assert each["transactionId"] == body.get("transaction_id")
                if "cash_after" in body:
                    held = cash[body["user"], body["currency"]]
                    at = each["position"]
                    moved = (held[at] or 0) - (held[at - 1] or 0)
                    assert (each["cash"], each["amount"]) == (
                        to_text(held[at] or 0, body["scale"]),
                        to_text(moved, body["scale"]),
                    )


@FEW
@given(stories)
def test_a_providers_history_over_http_is_every_event_that_names_it(story: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/provider.db"
        book = ProviderBook(open_store("memory://", PROVIDER_TABLES), HOUSE, now=examples.Clock())
        for step in [examples.place_bet(reference="z"), *story]:
            code_of(book, step)
        copy(book, Path(folder) / "provider.audit.db")
        open_store(url, PROVIDER_TABLES).close()
        told = bodies(book.store)
        with service(Path(folder), open_store("memory://", IN_TRANSACTION)) as client:
            for name in {body["reference"] for _, _, body in told if "reference" in body} | {
                "nobody"
            }:
                found = ask(client, "/api/provider/history", q=name)
                assert [each["position"] for each in found["events"]] == [
                    position for position, _, body in told if body.get("reference") == name
                ]
                assert {each["operator"] for each in found["events"]} <= {examples.LM, examples.KY}
        book.close()


# what cannot be answered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def book() -> Iterator[Book]:
    made = Book(open_store("memory://", IN_TRANSACTION), now=Clock([1]))
    made.submit(controls.cancel(reference="ghost"))
    controls.fund(made, amount="10")
    yield made
    made.close()


@pytest.fixture
def client(folder: Path, book: Book) -> Iterator[FlaskClient]:
    copy(book, folder / "operator.audit.db")
    with service(folder, book.store) as found:
        yield found


def test_before_its_opening_a_wallet_is_not_there(client: FlaskClient) -> None:
    assert "no wallet in USD at position 1" in ask(client, WALLET, 404, at=1)["detail"]
    assert ask(client, WALLET, at=2)["cash"] == "0.00"
    assert ask(client, WALLET, at=3)["cash"] == "10.00"
    assert ask(client, WALLET, 404, as_of="2026-11-21")["type"] == "urn:roundbook:not-there"
    ask(client, "/api/wallets/nobody/USD", 404, at=3)


def test_a_time_is_with_its_offset_or_utc_and_a_date_its_midnight(client: FlaskClient) -> None:
    third = NOON + 3 * SECOND
    assert ask(client, WALLET, as_of=text(third))["position"] == 3
    assert ask(client, WALLET, as_of=text(third - SECOND / 2))["position"] == 2
    assert ask(client, WALLET, as_of="2026-11-21T14:00:03+02:00")["position"] == 3
    assert ask(client, WALLET, as_of="2026-11-21T12:00:02")["position"] == 2
    assert ask(client, WALLET, as_of="2026-11-22")["position"] == 3


def test_a_position_behind_the_file_but_not_behind_the_book_comes_soon(
    client: FlaskClient, book: Book
) -> None:
    book.submit(controls.deposit(reference="late", amount="1"))

    late = client.get(WALLET, query_string={"at": 4}, headers=BEARER)
    assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
    assert late.json
    assert late.json["type"] == "urn:roundbook:no-audit-file"
    assert "ends at position 3" in late.json["detail"]
    assert "the file ends at position 3" in ask(client, WALLET, 404, at=5)["detail"]
    assert ask(client, WALLET, at=3)["cash"] == "10.00"


def test_once_the_file_is_continued_the_position_is_there(
    client: FlaskClient, book: Book, folder: Path
) -> None:
    book.submit(controls.deposit(reference="late", amount="1"))
    copy(book, folder / "operator.audit.db")

    assert ask(client, WALLET, at=4)["cash"] == "11.00"


def test_a_history_waits_until_its_file_goes_as_far_as_is_asked(
    client: FlaskClient, book: Book, folder: Path
) -> None:
    book.submit(controls.deposit(reference="late", amount="1"))
    asked = {"q": "late", "min_position": 4}

    late = client.get("/api/history", query_string=asked, headers=BEARER)
    assert (late.status_code, late.headers["Retry-After"]) == (503, "1")

    copy(book, folder / "operator.audit.db")
    found = ask(client, "/api/history", **asked)["events"]
    assert [each["position"] for each in found] == [4]


def test_a_time_that_the_file_has_not_reached_but_the_book_has_comes_soon(
    client: FlaskClient, book: Book
) -> None:
    book.submit(controls.deposit(reference="late", amount="1"))

    found = client.get(WALLET, query_string={"as_of": "2026-11-22"}, headers=BEARER)

    assert found.status_code == 503 or (found.json or {})["cash"] == "11.00"


def test_both_a_position_and_a_time_are_400(client: FlaskClient) -> None:
    found = ask(client, WALLET, 400, at=1, as_of="2026-11-21")

    assert found["detail"] == "as_of: give either at or as_of"
    assert (found["code"], found["field"]) == (57, "as_of")


@pytest.mark.parametrize("said", ["yesterday", "2026-11-31", "12", "0001-01-01T00:00+14:00", "\0"])
def test_a_time_that_is_none_is_400_and_named(client: FlaskClient, said: str) -> None:
    found = ask(client, WALLET, 400, as_of=said)

    assert found["detail"].startswith("as_of: ")
    assert (found["code"], found["field"]) == (57, "as_of")


@pytest.mark.parametrize("said", ["x", "-1", "1.0", "1e3", "", "9" * 5000, "٣"])
def test_a_position_that_is_none_is_refused_and_named(client: FlaskClient, said: str) -> None:
    found = client.get(WALLET, query_string={"at": said}, headers=BEARER)

    assert found.status_code in (400, 422)
    assert found.json
    assert found.json["detail"].startswith("at: ")


@pytest.mark.parametrize("path", ["/api/history", "/api/provider/history"])
def test_a_history_of_nothing_is_refused_and_the_field_named(
    client: FlaskClient, path: str
) -> None:
    found = client.get(path, headers=BEARER)

    assert found.status_code in (400, 422)
    assert found.json
    assert found.json["detail"].startswith("q: ")


def test_a_history_of_a_name_that_nothing_can_have_is_empty(client: FlaskClient) -> None:
    assert ask(client, "/api/history", q="\0")["events"] == []


def whole_history(folder: Path, named: str) -> list[int]:
    with closing(open_audit_file(folder / "operator.audit.db")) as db:
        return [each.position for each in as_of.history(db, named)]


def test_a_history_is_of_the_newest_thousand_and_goes_back_to_its_first(
    client: FlaskClient, book: Book, folder: Path
) -> None:
    for number in range(1005):
        book.submit(controls.deposit(reference=f"d-{number}", amount="1"))
    copy(book, folder / "operator.audit.db")

    asked: dict[str, str] = {"q": controls.PLAYER}
    found: list[dict[str, Any]] = [{"has_more": True}]
    while found[0]["has_more"]:
        found = [ask(client, "/api/history", **asked), *found]
        asked["before"] = f"{found[0]['before']}"

    pages = [[each["position"] for each in page["events"]] for page in found[:-1]]
    assert pages[-1] == list(range(9, 1009))
    assert list(chain.from_iterable(pages)) == whole_history(folder, controls.PLAYER)
    assert ask(client, "/api/history", **asked)["events"] == []


@pytest.mark.parametrize("before", ["x", "-1", "", "1.0"])
def test_a_history_goes_back_from_a_position_only(client: FlaskClient, before: str) -> None:
    found = client.get(f"/api/history?q=1&before={before}", headers=BEARER)

    assert found.status_code == 422
    assert found.json
    assert found.json["detail"].startswith("before: ")


@pytest.mark.parametrize(
    "path",
    [
        f"{WALLET}?at=3",
        f"{WALLET}?as_of=2026-11-22",
        "/api/history?q=1",
        "/api/provider/history?q=1",
    ],
)
def test_without_the_auditors_token_nothing_of_the_past_is_told(
    client: FlaskClient, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert client.get(path, headers=headers).status_code == 401
    admins = {"Authorization": f"Bearer {wire.ADMIN}"}
    assert client.get(path, headers=admins).status_code in (200, 503)


@pytest.mark.parametrize(
    "path",
    [
        f"{WALLET}?at=1",
        f"{WALLET}?as_of=2026-11-22",
        "/api/history?q=1",
        "/api/provider/history?q=1",
    ],
)
def test_where_no_file_is_kept_yet_it_comes_soon(folder: Path, book: Book, path: str) -> None:
    with service(folder, book.store) as client:
        found = client.get(path, headers=BEARER)

    assert (found.status_code, found.headers["Retry-After"]) == (503, "1")
    assert "roundbook audit-file" in json.loads(found.data)["detail"]
    assert str(folder) not in found.text


def test_without_a_past_asked_for_a_wallet_is_the_books_own(folder: Path, book: Book) -> None:
    with service(folder, book.store) as client:
        assert ask(client, WALLET) == {
            "userId": controls.PLAYER,
            "currency": "USD",
            "cash": "10.00",
            "scale": 2,
            "frozen": False,
            "version": 2,
        }


def test_of_a_damaged_file_it_is_said_what_to_do(client: FlaskClient, folder: Path) -> None:
    with closing(pysqlite3.connect(folder / "operator.audit.db")) as db, db:
        db.execute("update postings set balance = 'x'")

    found = ask(client, WALLET, 409, at=3)

    assert found["type"] == "urn:roundbook:damaged"
    assert "roundbook audit-file" in found["detail"]
