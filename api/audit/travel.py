"""The past as JSON, from the audit file that is kept beside the book: what a balance was, what happened."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from api.audit.shelf import Behind, Shelf
from api.audit.views import Look, read_time, time_or_position
from api.fresh import await_position
from ledger.money import to_text
from projections import as_of
from projections.as_of import Balance, Entry
from projections.browse import overview
from projections.forms import decimals

MOST_ENTRIES = 1000


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
        found = as_of.history(db, look.text("q"), limit=MOST_ENTRIES + 1, before=before)
        page = found[-MOST_ENTRIES:]
        partner = "providerId" if party == "operator" else "operator"
        return {
            "events": [_entry(entry, partner) for entry in page],
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


def _entry(entry: Entry, partner: str) -> dict[str, Any]:
    amount, cash = decimals(entry.scale, (entry.amount, entry.cash))
    return {
        "position": entry.position,
        "recorded_at": entry.recorded_at,
        "topic": entry.topic,
        "stream": entry.stream,
        "version": entry.version,
        partner: entry.partner,
        "roundId": entry.round,
        "userId": entry.user,
        "reference": entry.reference,
        "transactionId": entry.transaction_id,
        "currency": entry.currency,
        "amount": amount,
        "cash": cash,
    }
