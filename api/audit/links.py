"""Where things are: the page of an event, a round, a wallet, whatever has a name."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from projections.forms import said

# fmt: off
NUMBERS = frozenset({
    "amount", "cash", "balance", "staked", "won", "reversed", "events", "version", "attempts",
    "opening", "deposits", "withdrawals", "stakes", "wins", "promos", "reversals", "closing",
    "variance", "revenue", "bets", "stake", "win_taken_back", "cash_before", "cash_after",
    "open_bets", "open_stakes", "age_days", "number",
})
# fmt: on
"""Columns of numbers."""

NAMES = frozenset({"reference", "transaction_id", "bet_transaction_id", "reversal", "user"})
"""Columns of what can be looked for."""


class Shown(NamedTuple):
    """A cell as a page shows it."""

    text: str
    url: str | None
    kind: str


def page(party: str, view: str, **about: Any) -> str:
    """Returns the address of a page about something; what is None is left out."""
    known = {key: value for key, value in about.items() if value is not None}
    return f"/audit/{party}/{view}" + (f"?{urlencode(known)}" if known else "")


def shown(party: str, column: str, row: Mapping[str, Any]) -> Shown:
    """Returns a cell of a table, with the page of what it names."""
    value = row[column]
    return Shown(
        said(value), None if value is None else _url(party, column, row), _kind(column, value)
    )


def _url(party: str, column: str, row: Mapping[str, Any]) -> str | None:
    value = row[column]
    partner = row.get("provider") or row.get("operator")
    if column == "position":
        # a file that was copied from an empty book goes up to 0, where no event is
        return page(party, "event", position=value) if value else None
    if column == "round" and partner:
        return page(party, "round", partner=partner, round=value)
    if (
        column in ("user", "cash")
        and party == "operator"
        and row.get("currency")
        and row.get("user")
    ):
        return page(party, "wallet", user=row["user"], currency=row["currency"])
    if column in NAMES and value:
        return page(party, "search", q=value)
    return None


def _kind(column: str, value: Any) -> str:
    if column in NUMBERS:
        return "number"
    if column in ("hash", "root", "key", "next_key"):
        return "hash"
    if column == "verdict":
        return "differs" if value == "DIFFERS" else "same"
    return "id" if column in NAMES or column in ("round", "account") else "text"


def shell(verb: str, *names: str, options: Sequence[str] = ()) -> str:
    """Returns a command as it is typed; a name that begins with a dash is no option."""
    if any(name.startswith("-") for name in names):
        return shlex.join(["roundbook", verb, *options, "--", *names])
    return shlex.join(["roundbook", verb, *names, *options])
