"""Double entry: what an event that moves money posts, and to which accounts.

Deposit: cashier → player; bet: player → round; win and reversal: round → player; a campaign's win:
promo → player. Every event's two postings sum to zero. What stays in rounds is the house's gross
gaming revenue; what campaigns paid stands below zero in theirs.
"""

from typing import NamedTuple

from ledger.event import Event
from ledger.names import name, parts
from ledger.operator import events


class Posting(NamedTuple):
    """One signed movement: `amount` in minor units, below zero where the account gives."""

    account: str
    currency: str
    amount: int


class Account(NamedTuple):
    """What postings sum to. `account` is its name, of which the other parts are said again."""

    account: str
    kind: str
    user: str | None
    provider: str | None
    round: str | None
    campaign: str | None
    currency: str
    scale: int


def postings(event: Event) -> tuple[Posting, ...]:
    """Returns the player's posting and the other side's; none where an event moves no money."""
    if not isinstance(event, events.MoneyMoved):
        return ()
    moved, currency = events.moved(event), event.currency
    return (
        Posting(player(event.user, currency), currency, moved),
        Posting(_other(event), currency, -moved),
    )


def player(user: str, currency: str) -> str:
    """Returns the account of a player's wallet."""
    return name("player", user, currency)


def account(posting: Posting, *, scale: int) -> Account:
    """Returns the account of a posting in a currency with `scale` decimals."""
    named, currency, _ = posting
    match parts(named):
        case "player", user, _:
            return Account(named, "player", user, None, None, None, currency, scale)
        case "round", provider, round_:
            return Account(named, "round", None, provider, round_, None, currency, scale)
        case "promo", provider, campaign, _:
            return Account(named, "promo", None, provider, None, campaign, currency, scale)
    return Account(named, "cashier", None, None, None, None, currency, scale)


def _other(event: events.MoneyMoved) -> str:
    match event:
        case events.BetPlaced() | events.ResultRecorded() | events.BetReversed():
            return name("round", event.provider, event.round)
        case events.PromoPaid():
            return name("promo", event.provider, event.campaign, event.currency)
    return name("cashier", event.currency)
