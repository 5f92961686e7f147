"""Histories that no book wrote, as one would write them who knows the chain."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.operator.book import MAPPER
from ledger.operator.rules import OperatorRules
from ledger.projection import Row
from ledger.provider.book import MAPPER as THEIR_MAPPER
from ledger.provider.rules import ProviderRules
from ledger.verify import Finding, Side, Verification
from ledger.verify_seals import Seals
from tests import controls
from tests.provider import examples
from tests.verify import books
from tests.verify.books import chained

OPERATOR = Side(MAPPER, OperatorRules)
PROVIDER = Side(THEIR_MAPPER, ProviderRules)


def said(topic: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Returns topic and body of a forged event; what is not named is what an honest one would say."""
    whose = {"recorded_at": "2026-11-21T09:44:00.000000Z", "user": "123456", "currency": "USD"}
    place = {"provider": controls.PROVIDER, "round": controls.ROUND}
    return topic, {**whose, **place, "said": {"uuid": "u"}, **fields}


def moved(topic: str, before: int, after: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    named = {"reference": "r1", "transaction_id": "t", "scale": 2, "wallet_version": 3}
    cash = {"cash_before": before, "cash_after": after, "amount": abs(after - before)}
    return said(topic, **{**named, **cash, "game": controls.GAME, **fields})


Forged = tuple[str, dict[str, Any]]
Made = tuple[str, Forged]
"""Where a forged event stands, and what it says."""

STREAM = f"round/{controls.PROVIDER}/{controls.ROUND}"


def with_more(rows: Sequence[Row], forged: Sequence[Forged], stream: str = STREAM) -> list[Row]:
    version = sum(row[1] == stream for row in rows)
    more = [
        (0, stream, version + number, topic, msgspec.json.encode(body), b"")
        for number, (topic, body) in enumerate(forged, 1)
    ]
    return chained([*rows, *more])


def forged(rows: Sequence[Row], made: Sequence[Made]) -> list[Row]:
    for stream, event in made:
        rows = with_more(rows, [event], stream)
    return [*rows]


def finding_of(rows: Sequence[Row], side: Side = OPERATOR) -> Finding | None:
    return Verification(books.reading(rows), side, Seals(lambda: (), [], [])).run().finding


def check_last(rows: Sequence[Row], kind: str | None, why: str, side: Side = OPERATOR) -> None:
    """Checks what is found of the last event, or that nothing is where no `kind` is given."""
    finding = finding_of(rows, side)
    if kind is None:
        assert finding is None
        return
    assert finding
    assert (finding.kind, finding.position) == (kind, len(rows))
    assert why in finding.detail


# a provider's

ROUND_STREAM = f"round/{examples.LM}/{controls.ROUND}"
BET_STREAM = f"delivery/{examples.LM}/bet/{controls.REFERENCE}"
STAKE = 10001


def told(topic: str, **fields: Any) -> Forged:
    named = {"operator": examples.LM, "round": controls.ROUND, "reference": controls.REFERENCE}
    of = {"recorded_at": "2026-11-21T12:00:00.000000Z", "call": {"path": "p", "body": "b"}}
    return topic, {**of, **named, **fields}
