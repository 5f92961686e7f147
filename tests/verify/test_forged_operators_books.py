from contextlib import closing
from typing import Any

import pytest

from ledger.money import MOST_MINOR_UNITS
from ledger.projection import Row
from ledger.verify import Verification
from ledger.verify_seals import Seals
from tests import controls
from tests.verify import books
from tests.verify.books import rows_of
from tests.verify.forging import (
    OPERATOR,
    STREAM,
    Made,
    check_last,
    finding_of,
    forged,
    moved,
    said,
)

WALLET = "wallet/123456/USD"
SESSION = f"session/{controls.PROVIDER}/s"
LATER = "2026-11-21T09:44:00.000001Z"
CAMPAIGN = {"campaign": "c", "campaign_type": "R"}


@pytest.fixture(scope="module")
def bet_on() -> list[Row]:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book, amount="100.00")
        book.submit(controls.place_bet(amount="10.00"))
        return rows_of(book.store)


@pytest.fixture(scope="module")
def bet_on_twice() -> list[Row]:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book, amount="100.00")
        book.submit(controls.place_bet(amount="10.00"))
        book.submit(controls.place_bet(amount="10.00", reference=controls.SECOND_REFERENCE))
        return rows_of(book.store)


def round_of(round_id: str) -> str:
    return f"round/{controls.PROVIDER}/{round_id}"


def opened(round_id: str, **fields: Any) -> Made:
    event = said("RoundOpened", round=round_id, game=controls.GAME, **fields)
    return round_of(round_id), event


def here(topic: str, **fields: Any) -> Made:
    return STREAM, said(topic, **fields)


def bet(before: int, after: int, version: int, **fields: Any) -> Made:
    return STREAM, moved("BetPlaced", before, after, wallet_version=version, **fields)


def back(before: int, after: int, version: int, **fields: Any) -> Made:
    of = {"by": "cancel", "reference": controls.REFERENCE, "amount": 1000, **fields}
    topic = "BetRefunded" if of["by"] == "refund" else "BetCancelled"
    return STREAM, moved(topic, before, after, wallet_version=version, **of)


def won(before: int, after: int, version: int, **fields: Any) -> Made:
    of = {"kind": "result", "reference": "w", **fields}
    return STREAM, moved("ResultRecorded", before, after, wallet_version=version, **of)


def buried(stream: str, **fields: Any) -> Made:
    of = {"reference": "x", "transaction_id": "t", "by": "cancel", "game": controls.GAME}
    made = said("TombstoneRecorded", **{**of, **fields})
    if made[1]["round"] is None:
        del made[1]["round"]
    return stream, made


def alone(**fields: Any) -> Made:
    return buried(f"tombstone/{controls.PROVIDER}/x", **{"round": None, **fields})


def wallet(topic: str, before: int, after: int, version: int, **fields: Any) -> Made:
    return WALLET, moved(topic, before, after, wallet_version=version, **fields)


FROZEN: Made = (WALLET, said("WalletFrozen", scale=2, wallet_version=4))
EXPIRED: Made = (SESSION, said("SessionExpired", session="s"))
IN_SESSION = {"said": {"uuid": "u", "session": "s"}}
REFUSED = {"reference": "n", "amount": 9001, "cash": 9000}
SECOND = {"reference": controls.SECOND_REFERENCE}
CANCELLED = here("RoundCancelled")
STRANGER = {"user": "9"}
ONLY_REFUSED = [opened("9"), (round_of("9"), said("BetRefused", round="9", **REFUSED))]
CANCELLED_9: Made = (round_of("9"), said("RoundCancelled", round="9"))
BURIED_9 = {"round": "9", "by": "cancel-round", "reference": "n"}
FULL = MOST_MINOR_UNITS - 9000
PROMO = f"promo/{controls.PROVIDER}/r1"


@pytest.mark.parametrize(
    ("made", "kind", "why"),
    [
        # a bet's terms
        ([bet(9000, 8900, 4, game="other")], "invariant", "of another game than its round"),
        ([EXPIRED, bet(9000, 8900, 4, **IN_SESSION)], "invariant", "session that has expired"),
        ([EXPIRED, bet(9000, 8900, 4)], None, ""),
        ([EXPIRED, here("BetRefused", **REFUSED, **IN_SESSION)], "invariant", "has expired"),
        ([here("BetRefused", **REFUSED)], None, ""),
        ([here("BetRefused", **{**REFUSED, "amount": 9000})], "invariant", "cash enough"),
        ([here("BetRefused", **{**REFUSED, "amount": MOST_MINOR_UNITS})], None, ""),
        ([FROZEN, here("BetRefused", **REFUSED)], "invariant", "of a frozen wallet"),
        (
            [
                opened("9", **STRANGER),
                (
                    round_of("9"),
                    said("BetRefused", round="9", **STRANGER, **{**REFUSED, "cash": 0}),
                ),
            ],
            "invariant",
            "of a wallet that is not open",
        ),
        # what a wallet may be filled to
        ([won(9000, 9000 + FULL, 4)], None, ""),
        ([won(9000, 9001 + FULL, 4)], "invariant", "more than may be paid in"),
        ([wallet("DepositMade", 9000, 9001 + FULL, 4)], "invariant", "more than may be paid in"),
        (
            [(PROMO, moved("PromoPaid", 9000, 9001 + FULL, wallet_version=4, **CAMPAIGN))],
            "invariant",
            "more than may be paid in",
        ),
        (
            [
                wallet("DepositMade", 9000, 9000 + FULL, 4),
                back(9000 + FULL, 10000 + FULL, 5),
                CANCELLED,
            ],
            None,
            "",
        ),
        (
            [
                wallet("DepositMade", 9000, 9000 + FULL, 4),
                back(9000 + FULL, 10000 + FULL, 5),
                CANCELLED,
                (
                    PROMO,
                    moved("PromoPaid", 10000 + FULL, 10000 + FULL, wallet_version=6, **CAMPAIGN),
                ),
            ],
            None,
            "",
        ),
        ([wallet("DepositMade", 9000, 9000, 4)], "invariant", "pays nothing in"),
        ([wallet("WithdrawalMade", 9000, 9000, 4)], "invariant", "pays nothing out"),
        (
            [("wallet/9/USD", moved("WithdrawalMade", 9000, 8900, wallet_version=4))],
            "invariant",
            "of another wallet",
        ),
        # what was decided together; at the end the rest may be to come, as in a copy under way
        ([opened("9")], None, ""),
        ([opened("9"), bet(9000, 8900, 4)], "removed", f"an event of {round_of('9')} is missing"),
        (
            [
                opened("9"),
                (round_of("9"), said("RoundEnded", round="9", transaction_id="e")),
            ],
            "invariant",
            "in which nothing happened",
        ),
        (
            [
                opened("9"),
                (
                    round_of("9"),
                    said("BetRefused", round="9", **REFUSED, recorded_at=LATER),
                ),
            ],
            "invariant",
            "is of another time",
        ),
        ([back(9000, 10000, 4)], None, ""),
        (
            [back(9000, 10000, 4), wallet("DepositMade", 10000, 10001, 5)],
            "removed",
            f"an event of {STREAM} is missing",
        ),
        (
            [back(9000, 10000, 4), here("RoundCancelled", recorded_at=LATER)],
            "invariant",
            "is of another time",
        ),
        (
            [back(9000, 10000, 4), here("RoundEnded", transaction_id="e")],
            "invariant",
            "before its round is cancelled",
        ),
        (
            [back(9000, 10000, 4), here("BetRefused", reference="n", amount=10001, cash=10000)],
            "invariant",
            "before its round is cancelled",
        ),
        ([back(9000, 10000, 4), buried(STREAM)], "invariant", "before its round is cancelled"),
        # tombstones
        ([buried(STREAM)], None, ""),
        ([buried(STREAM, game="other")], "invariant", "of another game than its round"),
        ([alone()], None, ""),
        ([alone(round="9", **STRANGER)], None, ""),
        ([alone(round="9")], "invariant", "stands alone, though it names a round"),
        ([alone(round=controls.ROUND, **STRANGER)], "invariant", "stands alone"),
        ([opened("9"), buried(round_of("9"), round="9")], None, ""),
        (
            [opened("9", **STRANGER), buried(round_of("9"), round="9", **STRANGER)],
            "invariant",
            "of a player without this wallet",
        ),
        ([alone(), here("LateBetRefused", reference="x")], None, ""),
        ([alone(), *[here("LateBetRefused", reference="x")] * 2], "invariant", "late bet again"),
        (
            [alone(**STRANGER), here("LateBetRefused", reference="x")],
            "invariant",
            "without a tombstone of its player",
        ),
        (
            [
                alone(**STRANGER),
                opened("9", **STRANGER),
                (round_of("9"), said("LateBetRefused", round="9", reference="x", **STRANGER)),
            ],
            "invariant",
            "of a player without this wallet",
        ),
        (
            [
                alone(),
                opened("9"),
                (
                    round_of("9"),
                    said("LateBetRefused", round="9", reference="x", currency="EUR"),
                ),
            ],
            "invariant",
            "in another currency than it opened",
        ),
        (
            [
                alone(),
                opened("9"),
                (round_of("9"), said("LateBetRefused", round="9", reference="x")),
                (round_of("9"), said("RoundCancelled", round="9")),
            ],
            "invariant",
            "of which no reference is known",
        ),
        (
            [
                opened("9"),
                buried(round_of("9"), round="9"),
                (round_of("9"), said("RoundCancelled", round="9")),
            ],
            None,
            "",
        ),
        (
            [
                opened("9"),
                buried(round_of("9"), round="9", by="cancel-round"),
                (round_of("9"), said("RoundCancelled", round="9")),
            ],
            "invariant",
            "of which no reference is known",
        ),
        ([*ONLY_REFUSED, CANCELLED_9, buried(round_of("9"), **BURIED_9)], None, ""),
        ([*ONLY_REFUSED, CANCELLED_9], None, ""),
        (
            [*ONLY_REFUSED, CANCELLED_9, buried(round_of("9"), round="9", by="cancel-round")],
            "invariant",
            "before the tombstone of the refused bet",
        ),
        (
            [
                *ONLY_REFUSED,
                CANCELLED_9,
                (round_of("9"), said("RoundEnded", round="9", transaction_id="e")),
            ],
            "invariant",
            "before the tombstone of the refused bet",
        ),
        (
            [*ONLY_REFUSED, buried(round_of("9"), **BURIED_9)],
            "invariant",
            "before its round is cancelled",
        ),
        # sessions
        ([EXPIRED], None, ""),
        (
            [(SESSION, said("SessionExpired", session="s", **STRANGER))],
            "invariant",
            "of a player without a wallet",
        ),
    ],
)
def test_what_no_book_would_have_recorded_is_found(
    bet_on: list[Row], made: list[Made], kind: str | None, why: str
) -> None:
    rows = forged(bet_on, made)
    check_last(rows, kind, why)


OTHER_CASE = controls.PROVIDER.upper()


@pytest.mark.parametrize(
    "made",
    [
        opened("9"),
        (PROMO, moved("PromoPaid", 9000, 9100, wallet_version=4, **CAMPAIGN)),
        EXPIRED,
        alone(),
    ],
)
def test_no_provider_is_spelt_in_two_letter_cases(bet_on: list[Row], made: Made) -> None:
    stream, (topic, body) = made
    check_last(forged(bet_on, [made]), None, "")
    other = stream.replace(controls.PROVIDER, OTHER_CASE), (topic, {**body, "provider": OTHER_CASE})
    found = f"spells the provider {controls.PROVIDER} as {OTHER_CASE}"
    check_last(forged(bet_on, [other]), "invariant", found)


WHOLE = {"by": "cancel-round"}


@pytest.mark.parametrize(
    ("made", "kind", "why"),
    [
        ([back(8000, 9000, 5)], None, ""),
        ([back(8000, 9000, 5, **SECOND)], None, ""),
        (
            [back(8000, 9000, 5, **WHOLE), back(9000, 10000, 6, **SECOND, **WHOLE), CANCELLED],
            None,
            "",
        ),
        ([back(8000, 9000, 5, **WHOLE)], None, ""),
        (
            [back(8000, 9000, 5, **WHOLE), wallet("DepositMade", 9000, 9001, 6)],
            "removed",
            f"an event of {STREAM} is missing",
        ),
        ([back(8000, 9000, 5, **WHOLE), bet(9000, 8900, 6)], "invariant", "every bet is reversed"),
        ([back(8000, 9000, 5, **WHOLE), won(9000, 9100, 6)], "invariant", "without an open bet"),
        ([back(8000, 9000, 5, **WHOLE), CANCELLED], "invariant", "with an open bet"),
        (
            [back(8000, 9000, 5, **WHOLE), here("RoundEnded", transaction_id="e")],
            "invariant",
            "before its round is cancelled",
        ),
        (
            [back(8000, 9000, 5, **WHOLE), back(9000, 10000, 6, **SECOND)],
            "invariant",
            "is by cancel; its round goes back by cancel-round",
        ),
        ([back(8000, 9000, 5, **SECOND, **WHOLE)], "invariant", "before an earlier one"),
        ([won(8000, 8100, 5), back(8100, 9100, 6)], None, ""),
        (
            [won(8000, 8100, 5), back(8100, 9100, 6), won(9100, 9200, 7, reference="w2")],
            "invariant",
            "without an open bet",
        ),
        (
            [
                won(8000, 8100, 5),
                back(8100, 9100, 6, by="refund"),
                back(9100, 10000, 7, by="refund", win=100, **SECOND),
                CANCELLED,
            ],
            None,
            "",
        ),
    ],
)
def test_bets_of_a_round_that_go_back_together_do_so_in_order(
    bet_on_twice: list[Row], made: list[Made], kind: str | None, why: str
) -> None:
    rows = forged(bet_on_twice, made)
    check_last(rows, kind, why)


@pytest.mark.parametrize("topic", ["BetPlaced", "ResultRecorded"])
def test_no_round_stakes_or_wins_more_than_a_book_can_hold(bet_on: list[Row], topic: str) -> None:
    made = [wallet("DepositMade", 9000, MOST_MINOR_UNITS, 4)]
    for number in range(5, 25, 2):
        made.append(bet(MOST_MINOR_UNITS, 0, number, reference=f"b{number}"))
        if topic == "BetPlaced":
            of = {"reference": f"d{number}"}
            made.append(wallet("DepositMade", 0, MOST_MINOR_UNITS, number + 1, **of))
        else:
            made.append(won(0, MOST_MINOR_UNITS, number + 1, reference=f"w{number}"))
    finding = finding_of(forged(bet_on, made))
    assert finding
    assert finding.kind == "invariant"
    assert "more in a round than a book can hold" in finding.detail


def test_what_was_decided_together_is_held_together_by_who_goes_on(bet_on: list[Row]) -> None:
    rows, saved, seals = forged(bet_on, [back(9000, 10000, 4)]), [], Seals(lambda: (), [], [])

    def tell(run: Verification) -> None:
        saved.append(run.progress())

    Verification(books.reading(rows), OPERATOR, seals, lasting=True, tell=tell).run()
    for more, holds in ((CANCELLED, True), (here("RoundCancelled", recorded_at=LATER), False)):
        whole = books.reading(forged(rows, [more]))
        again = Verification(whole, OPERATOR, seals, progress=saved[0], lasting=True)
        assert again.run().holds is holds


def test_who_goes_on_knows_how_a_provider_is_spelt(bet_on: list[Row]) -> None:
    saved, seals = [], Seals(lambda: (), [], [])

    def tell(run: Verification) -> None:
        saved.append(run.progress())

    Verification(books.reading(bet_on), OPERATOR, seals, lasting=True, tell=tell).run()
    for provider, holds in ((controls.PROVIDER, True), (OTHER_CASE, False)):
        _, event = opened("9", provider=provider)
        whole = books.reading(forged(bet_on, [(f"round/{provider}/9", event)]))
        again = Verification(whole, OPERATOR, seals, progress=saved[0], lasting=True)
        assert again.run().holds is holds


def test_a_reference_that_is_taken_twice_is_found_behind_what_was_decided_together(
    bet_on: list[Row],
) -> None:
    again = wallet("DepositMade", 10000, 10001, 5, reference=f"{controls.PLAYER}-USD")
    rows = forged(bet_on, [back(9000, 10000, 4), CANCELLED, again])
    check_last(rows, "invariant", "takes the deposit reference")
