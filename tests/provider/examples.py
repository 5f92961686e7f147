"""The provider's book in examples: two operators, builders for its commands, a courier's two steps.

Players, rounds, references and amounts are those of `tests.controls`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ledger.money import read_text
from ledger.provider import commands
from ledger.provider.book import MAPPER, Book, Outcome
from ledger.provider.delivery import Delivery
from ledger.provider.events import CancelledBy, Kind, SendOutcome
from ledger.provider.house import House, Operator
from ledger.provider.round import Round
from ledger.refusals import Refusal, Unsettled
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from projections.provider.rounds import RoundRow
from tests import controls
from tests.clocks import NOON as NOON
from tests.clocks import Clock as Clock
from tests.questions import EVERYTHING as EVERYTHING

LM = "acme-lm"
KY = "acme-ky"
OPERATORS = {
    LM: Operator(id=LM, dialect="lucky-monaco-v4", provider="LuckyMonaco"),
    KY: Operator(id=KY, dialect="kyren-v1", provider="Kyren"),
}
HOUSE = House(operators=OPERATORS)

WORKER = "courier-1"
OTHER_WORKER = "courier-2"
LEASE_S = 15.0
WAIT_S = 2.0
PARKED_WAIT_S = 300.0
TRANSACTION_ID = "fc136c65-2dd5-554c-8a94-009bce1aa78c"
DETAIL = "what the wallet said"
BET_SENDS = 4
RESULT_SENDS = 11


def new_book(store_url: str, *, now: Callable[[], datetime], house: House = HOUSE) -> Book:
    return Book(open_store(store_url, IN_TRANSACTION), house, now=now)


# commands


def place_bet(
    *,
    reference: str = controls.REFERENCE,
    amount: str = controls.STAKE,
    round_id: str = controls.ROUND,
    user: str = controls.PLAYER,
    currency: str = controls.CURRENCY,
    game: str = controls.GAME,
    game_name: str = controls.GAME_NAME,
    session: str = controls.SESSION,
    operator: str = LM,
    details: Any = None,
) -> commands.PlaceBet:
    return commands.PlaceBet(
        operator=operator,
        round=round_id,
        user=user,
        currency=currency,
        session=session,
        game=game,
        game_name=game_name,
        reference=reference,
        amount=read_text(amount),
        details=details,
    )


def report_result(
    *,
    reference: str = controls.RESULT_REFERENCE,
    amount: str = controls.WIN,
    round_id: str = controls.ROUND,
    user: str | None = None,
    operator: str = LM,
    details: Any = None,
) -> commands.ReportResult:
    return commands.ReportResult(
        operator=operator,
        round=round_id,
        reference=reference,
        amount=read_text(amount),
        user=user,
        details=details,
    )


def end_round(
    *, round_id: str = controls.ROUND, user: str | None = None, operator: str = LM
) -> commands.EndRound:
    return commands.EndRound(operator=operator, round=round_id, user=user)


def cancel_round(
    *,
    round_id: str = controls.ROUND,
    user: str | None = controls.PLAYER,
    game: str | None = controls.GAME,
    by: CancelledBy = "operator",
    uuid: str = "",
    operator: str = LM,
) -> commands.CancelRound:
    return commands.CancelRound(
        operator=operator, round=round_id, user=user, game=game, by=by, uuid=uuid
    )


def cancel_rounds(
    *, user: str = controls.PLAYER, game: str = controls.GAME, operator: str = LM
) -> commands.CancelRounds:
    return commands.CancelRounds(operator=operator, user=user, game=game, by="operator")


def refund_overdue(
    *, upto: str, round_id: str = controls.ROUND, operator: str = LM
) -> commands.RefundOverdue:
    return commands.RefundOverdue(operator=operator, round=round_id, upto=upto)


def start_send(
    kind: Kind, reference: str, *, operator: str = LM, worker: str = WORKER
) -> commands.StartSend:
    return commands.StartSend(
        operator=operator, kind=kind, reference=reference, worker=worker, lease_s=LEASE_S
    )


def end_send(
    kind: Kind,
    reference: str,
    *,
    attempt: int,
    code: int | None = 0,
    outcome: SendOutcome | None = None,
    operator: str = LM,
    wait_s: float = WAIT_S,
    parked_wait_s: float = PARKED_WAIT_S,
) -> commands.EndSend:
    """Returns what a courier reports: an answer with this code; without one, that none came."""
    return commands.EndSend(
        operator=operator,
        kind=kind,
        reference=reference,
        attempt=attempt,
        outcome=outcome or ("timeout" if code is None else "answered"),
        code=code,
        detail=DETAIL if code else "",
        transaction_id="" if code or code is None else TRANSACTION_ID,
        took_ms=12,
        wait_s=wait_s,
        parked_wait_s=parked_wait_s,
    )


def retry(kind: Kind, reference: str, *, operator: str = LM) -> commands.RetryDelivery:
    return commands.RetryDelivery(operator=operator, kind=kind, reference=reference)


# asking


def ask(book: Book, command: commands.Command) -> Outcome:
    """Returns what a command came to; the tables must agree with the replayed rounds afterwards."""
    outcome = book.submit(command)
    agree(book)
    return outcome


def code(book: Book, command: commands.Command) -> int:
    """Returns the code on the wire: 0, or that of the refusal, or of the breakdown."""
    try:
        ask(book, command)
    except (Refusal, Unsettled) as denial:
        return denial.code
    return 0


def answer(
    book: Book,
    operator: str,
    kind: Kind,
    reference: str,
    code: int | None = 0,
    *,
    outcome: SendOutcome | None = None,
    wait_s: float = 0,
    parked_wait_s: float = 0,
    worker: str = WORKER,
) -> Outcome:
    """Sends what is due as a courier does, and returns what the wallet's answer came to."""
    started = ask(book, start_send(kind, reference, operator=operator, worker=worker))
    assert started.send, f"no send of {kind} {reference} is to be had"
    return ask(
        book,
        end_send(
            kind,
            reference,
            attempt=started.send.attempt,
            code=code,
            outcome=outcome,
            operator=operator,
            wait_s=wait_s,
            parked_wait_s=parked_wait_s,
        ),
    )


def accepted_bet(
    book: Book,
    *,
    reference: str = controls.REFERENCE,
    amount: str = controls.STAKE,
    round_id: str = controls.ROUND,
    user: str = controls.PLAYER,
    session: str = controls.SESSION,
    game: str = controls.GAME,
    operator: str = LM,
) -> Outcome:
    ask(
        book,
        place_bet(
            reference=reference,
            amount=amount,
            round_id=round_id,
            user=user,
            session=session,
            game=game,
            operator=operator,
        ),
    )
    return answer(book, operator, "bet", reference)


def give_bet_up(
    book: Book, *, reference: str = controls.REFERENCE, sends: int = BET_SENDS, operator: str = LM
) -> Outcome:
    """Lets every send of a bet's burst end without an answer."""
    outcomes = [answer(book, operator, "bet", reference, None) for _ in range(sends)]
    return outcomes[-1]


# questions


def history(book: Book, *, after: int = 0) -> list[Any]:
    """Returns the events behind a position, decoded, in order."""
    records = book.store.records(after=after, limit=EVERYTHING)
    return [MAPPER.decode(record.topic, record.state) for record in records]


def position(book: Book) -> int:
    return book.store.head().position


def status(book: Book, *, round_id: str = controls.ROUND, operator: str = LM) -> str:
    """Returns the round's status; the replayed round and the table must agree on it."""
    agree(book)
    return book.round(operator, round_id).status


def delivery(book: Book, kind: Kind, reference: str, *, operator: str = LM) -> Delivery:
    row = book.store.row("deliveries", (operator, kind, reference))
    assert row, f"no {kind} {reference}"
    return Delivery(operator, kind, reference, *row)


def due(book: Book, *, operator: str = LM) -> list[tuple[str, str]]:
    """Returns kind and reference of what is to be sent now, the longest due first."""
    return [(each.kind, each.reference) for each in book.due(operator, limit=EVERYTHING)]


def agree(book: Book) -> None:
    """Every row of `rounds` says what a replay of its round says."""
    for operator, round_id, *row in book.store.rows("rounds"):
        assert RoundRow(*row) == counted(book.round(operator, round_id))


def counted(state: Round) -> RoundRow:
    """Returns the row that a replayed round must have."""
    accepted = state.standing("accepted")
    return RoundRow(
        user=state.user,
        game=state.game,
        currency=state.currency,
        scale=state.scale,
        status=state.status,
        staked=state.staked,
        won=state.won,
        opened_at=state.opened_at,
        open_since=None
        if state.decided
        else min((bet.accepted_at for bet in accepted), default=None),
        unanswered=len(state.standing("requested")),
        open_bets=len(accepted),
        reversing=len(state.standing("given-up", "refunding")),
        owing=state.owing,
        decided=state.decided,
        cancelling=bool(state.cancelling),
        cancelled=state.cancelled,
    )
