"""Canonical example values, one name each, and small builders for the commands they appear in."""

from ledger.money import read_text
from ledger.operator import commands
from ledger.operator.book import Book
from ledger.operator.events import ReversedBy, Said
from ledger.operator.house import House
from ledger.store import open_store
from projections import IN_TRANSACTION

PROVIDER = "LuckyMonaco"
OTHER_PROVIDER = "Kyren"
PLAYER = "123456"
OTHER_PLAYER = "654321"
STRANGER = "999999"
ROUND = "5103188801"
OTHER_ROUND = "5103188802"
REFERENCE = "585c1306f89c56f5ecfc2f5d"
SECOND_REFERENCE = "585c1306f89c56f5ecfc2f5e"
THIRD_REFERENCE = "585c1306f89c56f5ecfc2f5f"
RESULT_REFERENCE = "585c1306f89c56f5ecfc3000"
UNKNOWN_REFERENCE = "585c1306f89c56f5ecffffff"
GAME = "Im_60_tumblefortune"
GAME_NAME = "tumblefortune"
OTHER_GAME = "6_speed_baccarat1"
SESSION = "5a2c1b7d"
OTHER_SESSION = "5a2c1b7e"
UUID = "4a5d375ac1311b04fba2ea66d067b8e5"
OTHER_UUID = "4a5d375ac1311b04fba2ea66d067b8e6"
CURRENCY = "USD"
OTHER_CURRENCY = "EUR"
CAMPAIGN = "summer"
OPENING_CASH = "100000.00"
STAKE = "100.01"
CASH_AFTER_BET = "99899.99"
WIN = "250.00"
CASH_AFTER_WIN = "100149.99"


def new_book(store_url: str, *, house: House | None = None) -> Book:
    return Book(open_store(store_url, IN_TRANSACTION), house)


def fund(
    book: Book, *, user: str = PLAYER, currency: str = CURRENCY, amount: str = OPENING_CASH
) -> None:
    book.submit(open_wallet(user=user, currency=currency))
    book.submit(
        deposit(user=user, currency=currency, amount=amount, reference=f"{user}-{currency}")
    )


def said(
    *, uuid: str = UUID, session: str | None = SESSION, game_name: str | None = GAME_NAME
) -> Said:
    return Said(uuid=uuid, session=session, game_name=game_name)


def place_bet(
    *,
    reference: str = REFERENCE,
    amount: str = STAKE,
    round_id: str = ROUND,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    session: str = SESSION,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.PlaceBet:
    return commands.PlaceBet(
        provider=provider,
        user=user,
        said=said(uuid=uuid, session=session),
        currency=currency,
        round=round_id,
        game=game,
        session=session,
        reference=reference,
        amount=read_text(amount),
    )


def result(
    *,
    kind: str = "result",
    reference: str = RESULT_REFERENCE,
    amount: str = WIN,
    round_id: str = ROUND,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    session: str | None = SESSION,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.RecordResult:
    return commands.RecordResult(
        provider=provider,
        user=user,
        said=said(uuid=uuid, session=session),
        kind=kind,
        currency=currency,
        round=round_id,
        game=game,
        reference=reference,
        amount=read_text(amount),
    )


def reverse_bet(
    *,
    by: ReversedBy,
    reference: str = REFERENCE,
    round_id: str | None = None,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    game_name: str = GAME_NAME,
    session: str | None = None,
    provider: str = PROVIDER,
    uuid: str = UUID,
    whole_round: bool = False,
) -> commands.ReverseBet:
    return commands.ReverseBet(
        provider=provider,
        user=user,
        said=said(uuid=uuid, session=session, game_name=game_name),
        by=by,
        currency=currency,
        round=round_id,
        game=game,
        reference=reference,
        whole_round=whole_round,
    )


def cancel(
    *,
    reference: str = REFERENCE,
    round_id: str | None = None,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    game_name: str = GAME_NAME,
    session: str = SESSION,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.ReverseBet:
    """Returns seed 002; with a round, seed 004."""
    return reverse_bet(
        by="cancel",
        reference=reference,
        round_id=round_id,
        user=user,
        currency=currency,
        game=game,
        game_name=game_name,
        session=session,
        provider=provider,
        uuid=uuid,
    )


def refund(
    *,
    reference: str = REFERENCE,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.ReverseBet:
    """Returns seed 003."""
    return reverse_bet(
        by="refund",
        reference=reference,
        user=user,
        currency=currency,
        game=game,
        provider=provider,
        uuid=uuid,
    )


def refund_later_form(
    *,
    reference: str = REFERENCE,
    round_id: str = ROUND,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.ReverseBet:
    """Returns the Refund that names its round too."""
    return reverse_bet(
        by="refund",
        reference=reference,
        round_id=round_id,
        user=user,
        currency=currency,
        game=game,
        provider=provider,
        uuid=uuid,
        whole_round=True,
    )


def cancel_round(
    *,
    reference: str = REFERENCE,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.CancelRound:
    """Returns seed 001."""
    return commands.CancelRound(
        provider=provider,
        user=user,
        said=said(uuid=uuid),
        currency=currency,
        game=game,
        reference=reference,
    )


def end_round(
    *,
    round_id: str = ROUND,
    user: str = PLAYER,
    currency: str = CURRENCY,
    game: str = GAME,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.EndRound:
    return commands.EndRound(
        provider=provider,
        user=user,
        said=said(uuid=uuid),
        currency=currency,
        round=round_id,
        game=game,
    )


def pay_promo(
    *,
    reference: str = RESULT_REFERENCE,
    amount: str = WIN,
    user: str = PLAYER,
    currency: str = CURRENCY,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.PayPromo:
    return commands.PayPromo(
        provider=provider,
        user=user,
        said=said(uuid=uuid),
        currency=currency,
        campaign=CAMPAIGN,
        campaign_type="R",
        reference=reference,
        amount=read_text(amount),
    )


def expire_session(
    *,
    session: str = SESSION,
    user: str = PLAYER,
    provider: str = PROVIDER,
    uuid: str = UUID,
) -> commands.ExpireSession:
    return commands.ExpireSession(
        provider=provider, user=user, said=said(uuid=uuid, session=session), session=session
    )


def open_wallet(*, user: str = PLAYER, currency: str = CURRENCY) -> commands.OpenWallet:
    return commands.OpenWallet(user=user, currency=currency)


def deposit(
    *,
    reference: str = "deposit-1",
    amount: str = OPENING_CASH,
    user: str = PLAYER,
    currency: str = CURRENCY,
) -> commands.Deposit:
    return commands.Deposit(
        user=user, currency=currency, reference=reference, amount=read_text(amount)
    )


def withdraw(
    *,
    reference: str = "withdrawal-1",
    amount: str = OPENING_CASH,
    user: str = PLAYER,
    currency: str = CURRENCY,
) -> commands.Withdraw:
    return commands.Withdraw(
        user=user, currency=currency, reference=reference, amount=read_text(amount)
    )


def freeze(*, user: str = PLAYER, currency: str = CURRENCY) -> commands.Freeze:
    return commands.Freeze(user=user, currency=currency)


def unfreeze(*, user: str = PLAYER, currency: str = CURRENCY) -> commands.Unfreeze:
    return commands.Unfreeze(user=user, currency=currency)
