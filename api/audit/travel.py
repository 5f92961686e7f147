"""The past as JSON, from the audit file that is kept beside the book: what a balance was, what happened."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from api.audit.shelf import Behind, Shelf
from api.audit.views import Look, read_time, time_or_position
from api.fresh import await_position
from ledger.money import to_text
from projections import as_of
from projections.as_of import Balance, PastEvent
from projections.browse import overview
from projections.forms import decimals

MOST_EVENTS = 1000


def balance(shelf: Shelf, user: str, currency: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Returns a wallet as of a position or a time. Raises Unasked, NotThere, NotKept, Behind."""
    with shelf.reading("operator") as db:
        look = Look(db, "operator", "", query, shelf.head("operator"), -1)
        held, asked, head = as_of.head(db).position, look.whole("at"), look.head or 0
        if (asked is not None and held < asked <= head) or (held < head and _is_later(look)):
            raise Behind(f"the audit file ends at position {held}, soon it will not")
        return _balance(as_of.balance(db, user, currency, at=time_or_position(look)))


def _is_later(look: Look) -> bool:
    """Returns whether a time is asked for that the file may not know all of."""
    time = look.query.get("as_of", "")
    return bool(time) and read_time(time) >= overview(look.db).clock


def history(shelf: Shelf, party: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the newest events of a player, a round, a reference or a transaction, in order.

    `before`: where the page with the ones before them ends.
    Raises NotKept, and NotYet where the file does not go as far as is asked.
    """
    await_position(partial(shelf.reached, party))
    with shelf.reading(party) as db:
        look = Look(db, party, "", query, shelf.head(party), -1)
        before = query.get("before")
        found = as_of.history(db, look.text("q"), limit=MOST_EVENTS + 1, before=before)
        page = found[-MOST_EVENTS:]
        partner = "providerId" if party == "operator" else "operator"
        return {
            "events": [_event(event, partner) for event in page],
            "has_more": len(found) > len(page),
            "before": page[0].position if page else before,
            "position": as_of.head(db).position,
        }


def _balance(found: Balance) -> dict[str, Any]:
    return {
        "userId": found.user,
        "currency": found.currency,
        "cash": to_text(found.cash, found.scale),
        "scale": found.scale,
        "position": found.position,
        "changed_at": found.changed_at,
        "recorded_at": found.recorded_at,
    }


def _event(event: PastEvent, partner: str) -> dict[str, Any]:
    amount, cash = decimals(event.scale, (event.amount, event.cash))
    return {
        "position": event.position,
        "recorded_at": event.recorded_at,
        "topic": event.topic,
        "stream": event.stream,
        "version": event.version,
        partner: event.partner,
        "roundId": event.round,
        "userId": event.user,
        "reference": event.reference,
        "transactionId": event.transaction_id,
        "currency": event.currency,
        "amount": amount,
        "cash": cash,
    }
