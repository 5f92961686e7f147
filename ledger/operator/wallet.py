"""One player's money in one currency: state and decisions, pure."""

from typing import Any

import msgspec

from ledger.money import MOST_MINOR_UNITS, to_minor, to_text
from ledger.names import transaction_id
from ledger.operator import commands, events
from ledger.refusals import AmountInvalid, NotEnoughCash, NotTogether, ReferenceReused


class Wallet(msgspec.Struct, frozen=True):
    """A wallet as of its `version`-th event. `cash` is minor units with `scale` decimals."""

    user: str
    currency: str
    cash: int
    scale: int
    frozen: bool
    version: int

    def after(self, event: events.MoneyMoved) -> "Wallet":
        """Returns the wallet once the event has moved its money."""
        return msgspec.structs.replace(self, cash=event.cash_after, version=event.wallet_version)

    def pay_in(self, amount: int) -> dict[str, Any]:
        """Returns what an event that adds new money says of this wallet.

        Raises AmountInvalid above what a wallet may hold; a stake that went back may have left more.
        """
        if amount and self.cash + amount > MOST_MINOR_UNITS:
            raise AmountInvalid("would fill the wallet beyond its limit", field="amount")
        return self.move(amount)

    def move(self, change: int) -> dict[str, Any]:
        """Returns what an event that moves `change` minor units says of this wallet.

        Raises NotEnoughCash below zero. A stake always goes back, even to a full wallet.
        """
        cash_after = self.cash + change
        if cash_after < 0:
            raise self.too_small()
        return {**self.next(), "cash_before": self.cash, "cash_after": cash_after}

    def next(self) -> dict[str, Any]:
        """Returns what the next event of this wallet says of it."""
        return {
            "user": self.user,
            "currency": self.currency,
            "scale": self.scale,
            "wallet_version": self.version + 1,
        }

    def too_small(self) -> NotEnoughCash:
        """Returns the refusal that quotes this wallet's true cash."""
        return NotEnoughCash(currency=self.currency, cash=to_text(self.cash, self.scale))


def open_wallet(command: commands.OpenWallet, *, scale: int, at: str) -> events.WalletOpened:
    """Decides a wallet that is not open yet."""
    return events.WalletOpened(
        recorded_at=at,
        user=command.user,
        currency=command.currency,
        scale=scale,
        wallet_version=1,
    )


def deposit(wallet: Wallet, command: commands.Deposit, at: str) -> events.DepositMade:
    """Decides a deposit whose reference is new. Raises AmountInvalid."""
    amount = _positive(command, wallet)
    return events.DepositMade(
        recorded_at=at,
        reference=command.reference,
        transaction_id=transaction_id(events.CASHIER, "deposit", command.reference),
        amount=amount,
        **wallet.pay_in(amount),
    )


def withdraw(wallet: Wallet, command: commands.Withdraw, at: str) -> events.WithdrawalMade:
    """Decides a withdrawal whose reference is new. Raises AmountInvalid, NotEnoughCash."""
    amount = _positive(command, wallet)
    return events.WithdrawalMade(
        recorded_at=at,
        reference=command.reference,
        transaction_id=transaction_id(events.CASHIER, "withdrawal", command.reference),
        amount=amount,
        **wallet.move(-amount),
    )


def repeat(
    command: commands.Deposit | commands.Withdraw | commands.PayPromo, first: events.MoneyMoved
) -> str:
    """Returns the first transaction id of a reference that came again.

    Raises NotTogether where the player differs, ReferenceReused where the payload does.
    """
    if first.user != command.user:
        raise NotTogether("the reference belongs to another player", field="reference")
    same = first.currency == command.currency
    if isinstance(first, events.PromoPaid) and isinstance(command, commands.PayPromo):
        known = (first.campaign, first.campaign_type)
        same = same and known == (command.campaign, command.campaign_type)
    if not same or first.amount != to_minor(command.amount, first.scale):
        raise ReferenceReused("this reference was used for something else", field="reference")
    return first.transaction_id


def pay_promo(wallet: Wallet, promo: commands.PayPromo, at: str) -> events.PromoPaid:
    """Decides a campaign's win whose reference is new. Raises AmountInvalid."""
    amount = to_minor(promo.amount, wallet.scale)
    return events.PromoPaid(
        recorded_at=at,
        provider=promo.provider,
        campaign=promo.campaign,
        campaign_type=promo.campaign_type,
        reference=promo.reference,
        transaction_id=transaction_id(promo.provider, "promo", promo.reference),
        amount=amount,
        said=promo.said,
        **wallet.pay_in(amount),
    )


def expire_session(expiry: commands.ExpireSession, at: str) -> events.SessionExpired:
    """Decides the end of a session that is not known to be over."""
    return events.SessionExpired(
        recorded_at=at,
        provider=expiry.provider,
        user=expiry.user,
        session=expiry.session,
        said=expiry.said,
    )


def freeze(wallet: Wallet, at: str) -> list[events.WalletFrozen]:
    """Decides a freeze; nothing where it is frozen already."""
    if wallet.frozen:
        return []
    return [events.WalletFrozen(recorded_at=at, **wallet.next())]


def unfreeze(wallet: Wallet, at: str) -> list[events.WalletUnfrozen]:
    """Decides an unfreeze; nothing where it is not frozen."""
    if not wallet.frozen:
        return []
    return [events.WalletUnfrozen(recorded_at=at, **wallet.next())]


def _positive(command: commands.Deposit | commands.Withdraw, wallet: Wallet) -> int:
    amount = to_minor(command.amount, wallet.scale)
    if amount == 0:
        raise AmountInvalid("must be more than zero", field="amount")
    return amount
