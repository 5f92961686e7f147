from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from ledger.provider.book import Book
from tests import controls
from tests.provider import examples
from tests.verify.books import chained, rows_of
from tests.verify.forging import (
    PROVIDER,
    ROUND_STREAM,
    STAKE,
    Made,
    check_last,
    finding_of,
    forged,
    told,
)

LATER, MUCH_LATER = "2026-11-21T12:00:15.000000Z", "2026-11-21T13:00:00.000000Z"
NEXT_WEEK = "2026-11-28T12:00:00.000000Z"
NOON = "2026-11-21T12:00:00.000000Z"
OTHER_ROUND_STREAM = f"round/{examples.LM}/{controls.OTHER_ROUND}"
SECOND, RESULT = controls.SECOND_REFERENCE, controls.RESULT_REFERENCE


def stream_of(kind: str, reference: str = controls.REFERENCE) -> str:
    return f"delivery/{examples.LM}/{kind}/{reference}"


def here(topic: str, **fields: Any) -> Made:
    return ROUND_STREAM, told(topic, **fields)


def started(attempt: int, kind: str = "bet", **fields: Any) -> Made:
    of = {"reference": controls.REFERENCE, "until": LATER, "worker": "w", **fields}
    stream = stream_of(kind, of["reference"])
    return stream, told("SendStarted", kind=kind, attempt=attempt, **of)


def ended(attempt: int, code: int | None, kind: str = "bet", **fields: Any) -> Made:
    of = {"reference": controls.REFERENCE, "code": code, **fields}
    of["outcome"] = "timeout" if code is None else "answered"
    return stream_of(kind, of["reference"]), told("SendEnded", kind=kind, attempt=attempt, **of)


def said_nothing(outcome: str) -> Made:
    of = {"kind": "bet", "reference": controls.REFERENCE, "outcome": outcome, "again_at": NOON}
    return stream_of("bet"), told("SendEnded", attempt=1, **of)


def refund(**fields: Any) -> Made:
    return here("RefundRequested", **{"amount": STAKE, "by": "operator", **fields})


ACCEPTED = here("BetAccepted", amount=STAKE)
GIVEN_UP, CANCEL = here("BetGivenUp"), here("CancelRequested")
DECLINED = here("BetDeclined", code=15)
AGAIN = {"again_at": NOON}
PARKED = here("DeliveryParked", kind="refund")
REFUNDED = here("RefundConfirmed", amount=STAKE)
REFUND, OVERDUE = refund(), refund(by="retention")
SENT_BACK = [
    started(1, "refund"),
    ended(1, 0, "refund"),
    REFUNDED,
    here("RoundCancelled"),
]
CANCELLATION = here("CancellationRequested", by="operator")
WON = here("ResultRequested", reference=RESULT, amount=5)
CONFIRMED = here("ResultConfirmed", reference=RESULT, amount=5)
SENT_RESULT = [started(1, "result", reference=RESULT), ended(1, 0, "result", reference=RESULT)]
RESULTED = [WON, *SENT_RESULT, CONFIRMED, here("RoundCompleted")]
OF_END = {"reference": controls.ROUND}
ENDED, END = here("RoundEnded"), here("EndRequested", **OF_END)
SENT_END = [started(1, "end", **OF_END), ended(1, 0, "end", **OF_END)]
ABOUT = {"provider": "LuckyMonaco", "user": "u", "currency": "USD", "scale": 2, "game": "g"}
SWEPT: Made = "sweep", told("SweepMade")
OPENED: Made = (
    OTHER_ROUND_STREAM,
    told("RoundOpened", round=controls.OTHER_ROUND, game_name="", **ABOUT),
)


def placed(book: Book) -> None:
    book.submit(examples.place_bet())


def sent(book: Book) -> None:
    placed(book)
    book.submit(examples.start_send("bet", controls.REFERENCE))


def accepted(book: Book) -> None:
    examples.accepted_bet(book)


def accepted_twice(book: Book) -> None:
    accepted(book)
    clock: Any = book.now
    clock.go(15)
    examples.accepted_bet(book, reference=SECOND)


def accepted_elsewhere(book: Book) -> None:
    accepted(book)
    book.submit(examples.place_bet(round_id=controls.OTHER_ROUND, reference=SECOND))


def accepted_and_placed(book: Book) -> None:
    accepted(book)
    book.submit(examples.place_bet(reference=SECOND))


def refunding(book: Book) -> None:
    accepted(book)
    book.submit(examples.cancel_round())


def overdue(book: Book) -> None:
    accepted_twice(book)
    book.submit(examples.refund_overdue(upto=NOON))


def parked(book: Book) -> None:
    refunding(book)
    for _ in range(4):
        examples.answer(book, examples.LM, "refund", controls.REFERENCE, None)


def refused(book: Book) -> None:
    refunding(book)
    examples.answer(book, examples.LM, "refund", controls.REFERENCE, 999)


Write = Callable[[Book], None]


@pytest.mark.parametrize(
    ("write", "made", "kind", "why"),
    [
        # what a send comes to
        (sent, [ACCEPTED], "invariant", "follows from nothing"),
        (sent, [ended(1, 0)], "removed", f"an event of {ROUND_STREAM} is missing"),
        (sent, [ended(1, 0), ACCEPTED], None, ""),
        (sent, [ended(1, 0), DECLINED], "invariant", "comes where BetAccepted has to"),
        (sent, [ended(1, 15), DECLINED], None, ""),
        (sent, [DECLINED], "invariant", "follows from nothing"),
        (sent, [ended(1, 16), DECLINED], "invariant", "comes where BetDeclined has to"),
        (sent, [ended(1, 15, **AGAIN)], "invariant", "though it is settled"),
        (sent, [ended(1, None)], "invariant", "does not say when it is sent again"),
        (sent, [ended(1, None, **AGAIN)], None, ""),
        (sent, [ended(1, None, **AGAIN), GIVEN_UP, CANCEL], None, ""),
        (sent, [ended(1, None, **AGAIN), GIVEN_UP], "removed", "is missing"),
        (
            sent,
            [ended(1, None, **AGAIN), GIVEN_UP, here("RoundCancelled")],
            "invariant",
            "not every bet",
        ),
        (sent, [GIVEN_UP], "invariant", "follows from nothing"),
        (
            sent,
            [here("BetGivenUp", recorded_at=LATER), here("CancelRequested", recorded_at=LATER)],
            None,
            "",
        ),
        (sent, [started(2)], "invariant", "sends what is not due"),
        (sent, [started(2, recorded_at=LATER)], None, ""),
        (
            sent,
            [ended(1, None, again_at=LATER), started(2)],
            "invariant",
            "sends what is not due",
        ),
        (
            sent,
            [ended(1, None, **AGAIN), started(2), ended(2, 15)],
            "invariant",
            "does not say when it is sent again",
        ),
        (
            sent,
            [ended(1, None, **AGAIN), started(2), ended(2, 15, **AGAIN), DECLINED],
            "invariant",
            "comes where BetGivenUp has to",
        ),
        (
            sent,
            [ended(1, None, **AGAIN), started(2), ended(2, 15, **AGAIN), GIVEN_UP, CANCEL],
            None,
            "",
        ),
        # another answer than a refusal for good was given before: only a cancel makes sure
        (
            sent,
            [
                ended(1, 998, **AGAIN),
                started(2),
                ended(2, 16, **AGAIN),
                here("BetDeclined", code=16),
            ],
            "invariant",
            "comes where BetGivenUp has to",
        ),
        (
            sent,
            [ended(1, 998, **AGAIN), started(2), ended(2, 16, **AGAIN), GIVEN_UP, CANCEL],
            None,
            "",
        ),
        (sent, [ended(1, 998, **AGAIN), started(2), ended(2, 15), DECLINED], None, ""),
        # without a code it was no answer: the bet that is refused next may have been taken
        (sent, [said_nothing("unreachable")], None, ""),
        (sent, [said_nothing("answered")], "invariant", "an answer without a code"),
        # what a clock that stood ahead put off is due
        (sent, [ended(1, None, again_at=NEXT_WEEK), started(2)], None, ""),
        (
            sent,
            [ended(1, None, **AGAIN), here("DeliveryRetried", kind="bet"), GIVEN_UP],
            "invariant",
            "follows from nothing",
        ),
        (sent, [here("DeliveryRetried", kind="bet")], "invariant", "what is being sent"),
        (sent, [here("DeliveryParked", kind="bet")], "invariant", "parks a bet"),
        # which of the sends it was
        (sent, [ended(2, 0)], "invariant", "never started"),
        (sent, [ended(0, 0)], "invariant", "never started"),
        (
            sent,
            [ended(1, None, **AGAIN), started(2), ended(1, None, **AGAIN)],
            "invariant",
            "not the last",
        ),
        (sent, [ended(1, None, **AGAIN), ended(1, 15)], "invariant", "not the last"),
        # whose delivery it is
        (
            accepted_elsewhere,
            [(OTHER_ROUND_STREAM, told("DeliveryRetried", kind="bet", reference=SECOND))],
            "invariant",
            "another round",
        ),
        (
            accepted_elsewhere,
            [here("DeliveryRetried", kind="bet", reference=SECOND)],
            "invariant",
            "which is of another round",
        ),
        # reversals
        (accepted, [REFUND], "invariant", "is by operator; only retention"),
        (accepted, [OVERDUE], None, ""),
        (accepted, [*RESULTED, OVERDUE], "invariant", "that has an outcome"),
        (accepted, [CANCELLATION], "removed", f"an event of {ROUND_STREAM} is missing"),
        (accepted, [CANCELLATION, REFUND], None, ""),
        (accepted, [CANCELLATION, ENDED], "invariant", "that is over"),
        (accepted, [CANCELLATION, refund(by="game")], "invariant", "is by game; only operator"),
        (accepted_twice, [CANCELLATION, REFUND], "removed", "is missing"),
        (accepted_twice, [CANCELLATION, REFUND, refund(reference=SECOND)], None, ""),
        (
            accepted_twice,
            [CANCELLATION, refund(reference=SECOND)],
            "invariant",
            "before one that goes back with it",
        ),
        (
            accepted_twice,
            [CANCELLATION, refund(open_since=LATER)],
            "invariant",
            "comes where RefundRequested has to",
        ),
        (accepted_twice, [OVERDUE], "removed", "is missing"),
        (accepted_twice, [refund(by="retention", open_since=LATER)], None, ""),
        (
            accepted_twice,
            [refund(by="retention", open_since=MUCH_LATER)],
            "invariant",
            f"leaves a bet open since {MUCH_LATER}",
        ),
        (
            accepted_twice,
            [refund(by="retention", open_since=LATER, reference=SECOND)],
            "invariant",
            "before one that goes back with it",
        ),
        (refunding, [started(1, "refund"), ended(1, 0, "refund"), REFUNDED], "removed", "missing"),
        (
            refunding,
            [started(1, "refund"), ended(1, 0, "refund"), REFUNDED, here("RoundCancelled")],
            None,
            "",
        ),
        (refunding, [PARKED], "invariant", "follows from nothing"),
        (refunding, [here("DeliveryRefused", kind="refund", code=999)], "invariant", "nothing"),
        (parked, [PARKED], "invariant", "parks what is parked"),
        (parked, [here("DeliveryRetried", kind="refund")], None, ""),
        (refused, [started(2, "refund")], "invariant", "sends what is not due"),
        (refused, [here("DeliveryRetried", kind="refund"), started(2, "refund")], None, ""),
        # an outcome
        (overdue, [here("ResultRequested", reference=RESULT, amount=5)], "invariant", "a reversal"),
        (overdue, [ENDED], "invariant", "ends a round while a reversal waits"),
        (accepted_and_placed, [WON], "invariant", "a result while a bet waits"),
        (accepted_and_placed, [ENDED], "invariant", "ends a round while a bet waits"),
        (sent, [ended(1, 15), DECLINED, WON], "invariant", "without an open bet"),
        (
            accepted,
            [here("ResultRequested", reference=RESULT, amount=-1)],
            "invariant",
            "an amount there is not",
        ),
        (accepted, [OVERDUE, *SENT_BACK, WON], "invariant", "that is over"),
        (accepted, [OVERDUE, *SENT_BACK, ENDED], "invariant", "that is over"),
        (accepted, [*RESULTED, CANCELLATION], "invariant", "that has an outcome"),
        (
            accepted,
            [ENDED, here("EndRequested", reference="n")],
            "invariant",
            "the end of another round",
        ),
        (accepted, RESULTED, None, ""),
        (accepted, RESULTED[:-1], "removed", "is missing"),
        (accepted, [ENDED], "removed", "is missing"),
        (accepted, [ENDED, END], None, ""),
        (accepted, [ENDED, END, *SENT_END, here("EndConfirmed", **OF_END)], "removed", "missing"),
        (
            accepted,
            [ENDED, END, *SENT_END, here("EndConfirmed", **OF_END, amount=1)],
            "invariant",
            "no money moves",
        ),
        (accepted, [ENDED, here("RoundCompleted")], "invariant", "not confirmed everything"),
        # a round, and the sweep
        (placed, [SWEPT], None, ""),
        (placed, [("sweeps", SWEPT[1])], "invariant", "is of the sweep"),
        (placed, [OPENED], "removed", f"an event of {OTHER_ROUND_STREAM} is missing"),
        (
            placed,
            [OPENED, (OTHER_ROUND_STREAM, told("RoundEnded", round=controls.OTHER_ROUND))],
            "invariant",
            "comes where BetRequested has to",
        ),
    ],
)
def test_what_no_providers_book_would_have_recorded_is_found(
    write: Write, made: list[Made], kind: str | None, why: str
) -> None:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        write(book)
        rows = rows_of(book.store)
    assert finding_of(rows, PROVIDER) is None
    rows = forged(rows, made)
    if kind == "removed":  # where the book ends, what is missing may be to come
        assert finding_of(rows, PROVIDER) is None
        rows = forged(rows, [SWEPT])
    check_last(rows, kind, why, PROVIDER)


def test_a_send_that_is_gone_from_its_stream_is_missed() -> None:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        sent(book)
        rows = rows_of(book.store)
    made = forged(rows, [ended(1, None, again_at=LATER), started(2, recorded_at=LATER)])
    assert finding_of(made, PROVIDER) is None
    check_last(chained([*made[:-2], made[-1]]), "removed", "is missing", PROVIDER)
