"""Audit files of an operator's and a provider's book, in which all happens that can, and pages over them."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient

from api.audit.shelf import Shelf
from ledger.operator.book import Book
from ledger.provider.book import Book as ProviderBook
from ledger.refusals import Refusal
from ledger.seal import Signer
from ledger.sealing import Sealer
from ledger.store import open_store
from projections import IN_TRANSACTION
from scripts.audit_file import catch_up
from scripts.audit_serve import app
from scripts.source import Party
from tests import controls
from tests.audit_file import Held
from tests.audit_pages.html import Node, read
from tests.provider import examples
from tests.seals import Clock

DAY_1, DAY_2, DAY_3 = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (21, 22, 24))
COPIED = datetime(2026, 12, 1, 9, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PARTIES = ("operator", "provider")

# the operator's book

KYREN = {"provider": controls.OTHER_PROVIDER}
POOR = controls.OTHER_PLAYER

HISTORY: tuple[tuple[datetime, Any], ...] = (
    (DAY_1, controls.open_wallet()),
    (DAY_1, controls.deposit()),
    (DAY_1, controls.place_bet()),
    (DAY_1, controls.place_bet(reference=controls.SECOND_REFERENCE, amount="40.00")),
    (DAY_1, controls.deposit(reference="meanwhile", amount="7.00")),
    (DAY_1, controls.cancel(reference=controls.SECOND_REFERENCE)),
    (DAY_1, controls.result()),
    (DAY_1, controls.result(kind="bonus", reference="bonus", amount="1.00")),
    (DAY_1, controls.end_round()),
    (DAY_2, controls.open_wallet(user=POOR, currency="JPY")),
    (DAY_2, controls.deposit(user=POOR, currency="JPY", reference="yen", amount="500")),
    (DAY_2, controls.place_bet(user=POOR, currency="JPY", round_id="yen", reference="y-1", amount="7")),
    (DAY_2, controls.place_bet(user=POOR, currency="JPY", round_id="yen", reference="y-2", amount="900")),
    (DAY_2, controls.place_bet(reference="k-1", round_id="k", **KYREN)),
    (DAY_2, controls.refund_later_form(reference="k-2", round_id="k", **KYREN)),
    (DAY_2, controls.place_bet(reference="l-1", round_id="l")),
    (DAY_2, controls.cancel_round(reference="l-1")),
    (DAY_3, controls.cancel(reference="buried")),
    (DAY_3, controls.place_bet(reference="buried", round_id="late")),
    (DAY_3, controls.pay_promo(reference="promo", amount="5.00")),
    (DAY_3, controls.freeze()),
    (DAY_3, controls.unfreeze()),
    (DAY_3, controls.withdraw(amount="1000.00")),
    (DAY_3, controls.expire_session()),
    (DAY_3, controls.place_bet(reference="open", amount="1.00", round_id="open")),
)  # fmt: skip


def operator_book(
    history: Iterable[tuple[datetime, Any]] = HISTORY, *, url: str = "memory://"
) -> Book:
    """Returns an operator's book in which a history was played and sealed."""
    clock = Clock()
    book = Book(open_store(url, IN_TRANSACTION), now=clock)
    for clock.at, command in history:
        with suppress(Refusal):
            book.submit(command)
    Sealer(book.store, SIGNER, now=clock).seal()
    return book


# the provider's book


def provider_book(*, url: str = "memory://") -> ProviderBook:
    """Returns a provider's book: rounds that were won, cancelled, declined, given up, and one that is open."""
    clock = examples.Clock()
    book = examples.new_book(url, now=clock)
    examples.accepted_bet(book)
    examples.accepted_bet(book, reference=controls.SECOND_REFERENCE, amount="40.00")
    clock.go(60)
    book.submit(examples.report_result())
    examples.answer(book, examples.LM, "result", controls.RESULT_REFERENCE, 998)
    examples.answer(book, examples.LM, "result", controls.RESULT_REFERENCE)
    book.submit(examples.end_round())
    clock.go(days=1)
    examples.accepted_bet(book, reference="c-1", round_id="cancelled")
    book.submit(examples.cancel_round(round_id="cancelled"))
    examples.answer(book, examples.LM, "refund", "c-1")
    book.submit(examples.place_bet(reference="d-1", round_id="declined", operator=examples.KY))
    examples.answer(book, examples.KY, "bet", "d-1", 15)
    book.submit(examples.place_bet(reference="g-1", round_id="given up", operator=examples.KY))
    examples.give_bet_up(book, reference="g-1", operator=examples.KY)
    examples.answer(book, examples.KY, "cancel", "g-1")
    book.submit(examples.place_bet(reference="o-1", round_id="open", user=POOR))
    Sealer(book.store, SIGNER, now=clock).seal()
    return book


# files, and the pages over them


def copy(book: Book | ProviderBook, path: Path) -> Path:
    """Returns where the audit file of a book is now; it is continued where it was there already."""
    party: Party = "operator" if isinstance(book, Book) else "provider"
    catch_up(path, Held(book.store, "book.db"), party=party, now=lambda: COPIED)
    return path


def visit(files: Mapping[str, Path], token: str | None = None) -> FlaskClient:
    """Returns a browser of the pages over audit files, as `roundbook audit-serve` shows them."""
    return app(Shelf(files), token).test_client()


# addresses


def address(party: str, page: str, **asked: Any) -> str:
    """Returns where a page is."""
    return f"/audit/{party}/{page}" + (f"?{urlencode(asked)}" if asked else "")


def form_of(url: str, form: str, *, table: str | None = None) -> str:
    """Returns where a page is in another form: all of it, or one of its tables."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True) + ([("table", table)] if table else [])
    return f"{parts.path}.{form}" + (f"?{urlencode(query)}" if query else "")


def submitted(form: Node, here: str, **said: Any) -> str:
    """Returns where a form leads: its fields as they stand, but for what is said otherwise."""
    fields = {
        node.attrs["name"]: node.attrs.get("value") or ""
        for node in form.all("input")
        if node.attrs.get("name")
    }
    unknown = said.keys() - fields.keys()
    assert not unknown, f"the form has no {unknown}"
    assert form.all("button"), "the form has no button"
    path = form.attrs.get("action") or urlsplit(here).path
    return f"{path}?{urlencode({**fields, **said})}"


def shown(pages: FlaskClient, url: str, status: int = 200) -> Node:
    """Returns a page as it is shown to people."""
    answer = pages.get(url)
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), url
    return read(answer.text)


def plain(answer: Any) -> Any:
    """Returns what an answer in JSON says."""
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    return json.loads(answer.data)
