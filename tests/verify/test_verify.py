import json
import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, contextmanager, nullcontext
from hashlib import sha256
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import Tree
from ledger.operator import events as ours
from ledger.operator.rules import OperatorRules
from ledger.projection import Row
from ledger.provider import events as theirs
from ledger.provider.rules import ProviderRules
from ledger.seal import new_key, signer
from ledger.sealing import Sealer, seals_of
from ledger.store import EVENTS, SEALS, Store, StoreUnfit
from ledger.store.chain import Head, link
from ledger.verify import BATCH, Progress, Verification, _links, _Topics
from ledger.verify_rules import Digest, States, Total
from ledger.verify_seals import Seals
from scripts import verify as command
from scripts.audit_file import catch_up
from scripts.source import open_source, party_of
from scripts.verify import checked
from tests import controls
from tests.http import provider, wire
from tests.http.server import serving
from tests.provider import examples
from tests.seals import Clock
from tests.verify import books
from tests.verify.books import SIGNER, chained, rows_of, run, verdict_of
from tests.verify.forging import (
    BET_STREAM,
    OPERATOR,
    PROVIDER,
    ROUND_STREAM,
    STAKE,
    Forged,
    check_last,
    finding_of,
    moved,
    said,
    told,
    with_more,
)

ROOT = wire.ROOT


# books that hold


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_book_records_holds(store_url: str, seed: int) -> None:
    choose = random.Random(seed)
    with closing(controls.new_book(store_url, house=choose.choice(books.HOUSES))) as book:
        books.at_random(book, choose, 150)
        books.seal(book)
        books.at_random(book, choose, 50)
        verdict = verdict_of(book.store, key=SIGNER.key)
        assert verdict.finding is None
        assert (verdict.events, verdict.head) == (
            book.store.head().position,
            book.store.head().hash.hex(),
        )
        assert (verdict.seals, verdict.keys_checked, verdict.tables_checked) == (1, True, True)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_providers_book_records_holds(store_url: str, seed: int) -> None:
    choose, clock = random.Random(seed), examples.Clock()
    with closing(examples.new_book(store_url, now=clock)) as book:
        books.theirs_at_random(book, clock, choose, 300)
        books.seal(book)
        verdict = verdict_of(book.store, "provider", key=SIGNER.key)
        assert verdict.finding is None
        assert (verdict.events, verdict.seals) == (book.store.head().position, 1)


def test_an_empty_book_holds(store_url: str) -> None:
    with closing(controls.new_book(store_url)) as book:
        verdict = verdict_of(book.store)
        assert verdict.holds
        assert (verdict.events, verdict.seals, verdict.head) == (0, 0, "00" * 32)


def test_an_empty_book_that_is_named_holds_as_whose_tables_it_has(store_url: str) -> None:
    if store_url.startswith("memory:"):
        with pytest.raises(StoreUnfit, match="what is in memory"):
            checked(store_url)
        return
    with closing(examples.new_book(store_url, now=examples.Clock())):
        verdict = checked(store_url)
        with open_source(store_url) as source:
            assert party_of(source) == "provider"
    assert (verdict.finding, verdict.events) == (None, 0)


def test_every_type_of_event_has_its_rules() -> None:
    assert set(OperatorRules(Digest()).checks) == {cls.__name__ for cls in ours.TYPES}
    assert set(ProviderRules(Digest()).checks) == {cls.__name__ for cls in theirs.TYPES}


def test_keys_that_were_handed_over_are_trusted_from_the_first(store_url: str) -> None:
    with closing(controls.new_book(store_url)) as book:
        controls.fund(book)
        books.seal(book, next_key=books.OTHER_SIGNER.key)
        book.submit(controls.place_bet())
        books.seal(book, books.OTHER_SIGNER)
        assert verdict_of(book.store, key=SIGNER.key).holds
        finding = verdict_of(book.store, key=books.OTHER_SIGNER.key).finding
        assert finding
        assert (finding.kind, finding.position) == ("seal", 2)


def test_a_key_that_nobody_handed_over_to_is_not_trusted(store_url: str) -> None:
    with closing(controls.new_book(store_url)) as book:
        controls.fund(book)
        books.seal(book)
        book.submit(controls.place_bet())
        books.seal(book, books.OTHER_SIGNER)
        assert verdict_of(book.store).holds
        finding = verdict_of(book.store, key=SIGNER.key).finding
        assert finding
        assert (finding.kind, finding.position) == ("seal", 4)


def handed_over(book: Any, *signers: Any, events: int = 1) -> None:
    """Seals; each key but the last hands over to the one behind it, and after so many events that seals."""
    controls.fund(book)
    for old, new in pairwise(signers):
        books.seal(book, old, next_key=new.key)
        for _ in range(events):
            book.submit(controls.deposit(reference=f"deposit {book.store.head().position}"))
        books.seal(book, new)


@pytest.mark.parametrize("back_s", [0.001, 3600])
def test_a_key_that_is_handed_over_to_by_a_clock_that_stood_ahead_is_trusted(
    tmp_path: Path, back_s: float
) -> None:
    clock, path = Clock(), tmp_path / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        controls.fund(book)
        Sealer(book.store, SIGNER, now=clock).seal(next_key=books.OTHER_SIGNER.key)
        clock.go(-back_s)
        Sealer(book.store, books.OTHER_SIGNER, now=clock).seal()
        assert verdict_of(book.store, key=SIGNER.key).holds
        kept = list(book.store.seals())
        assert verdict_of(book.store, key=SIGNER.key, kept=kept).holds
    with open_source(str(path)) as source:
        assert catch_up(tmp_path / "audit.db", source, keys=[SIGNER.key]).seals == len(kept)


def seal_by_force(store: Store, by: Any, *, next_key: str = "") -> None:
    """Adds a seal as one would who has a key and reaches into the book."""
    tree = Tree()
    for *_, hashed in rows_of(store):
        tree.append(hashed)
    made = by.seal(store.head(), tree, at="2999-01-01T00:00:00.000000Z", next_key=next_key)
    store.add_seal(tree.size, msgspec.json.encode(made), after=store.last_seal())


@pytest.mark.parametrize("key", [None, SIGNER.key], ids=["no key", "the first key"])
def test_a_seal_by_a_key_that_had_handed_over_is_found(store_url: str, key: str | None) -> None:
    with closing(controls.new_book(store_url)) as book:
        handed_over(book, SIGNER, books.OTHER_SIGNER)
        last = book.store.head().position
        book.submit(controls.place_bet())
        seal_by_force(book.store, SIGNER)
        finding = verdict_of(book.store, key=key).finding
        assert finding
        assert (finding.kind, finding.position) == ("seal", book.store.head().position)
        assert finding.detail == (
            f"seal 3 is by the key {SIGNER.key}, which had handed over"
            f" to {books.OTHER_SIGNER.key} at position {last - 1}"
        )


def test_a_key_that_had_handed_over_does_not_hand_over_again(store_url: str) -> None:
    stranger = signer(new_key())
    with closing(controls.new_book(store_url)) as book:
        handed_over(book, SIGNER, books.OTHER_SIGNER)
        last = book.store.head().position
        seal_by_force(book.store, SIGNER, next_key=stranger.key)
        book.submit(controls.place_bet())
        seal_by_force(book.store, stranger)
        finding = verdict_of(book.store, key=SIGNER.key).finding
        assert finding
        assert (finding.kind, finding.position) == ("seal", last)
        assert "which had handed over" in finding.detail


@pytest.mark.parametrize("events", [0, 1])
def test_a_key_that_is_handed_over_to_again_counts_again(store_url: str, events: int) -> None:
    with closing(controls.new_book(store_url)) as book:
        handed_over(book, SIGNER, books.OTHER_SIGNER, SIGNER, books.OTHER_SIGNER, events=events)
        kept = list(book.store.seals())
        for key in (None, SIGNER.key):
            assert verdict_of(book.store, key=key).holds
            for lines in (kept, kept[1::2], [line for line in kept for _ in range(2)]):
                assert verdict_of(book.store, key=key, kept=lines).holds


# rules that one who knows the chain would break


@pytest.fixture(scope="module")
def bet_on() -> list[Row]:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book, amount="100.00")
        book.submit(controls.place_bet(amount="10.00"))
        return rows_of(book.store)


BACK = {"by": "cancel", "reference": controls.REFERENCE, "amount": 1000}
REVERSED = moved("BetCancelled", 9000, 10000, **BACK, wallet_version=4)
RESULT = moved("ResultRecorded", 9000, 9500, kind="result", wallet_version=4)
CAMPAIGN = {"campaign": "c", "campaign_type": "R"}
CANCELLED, ENDED = said("RoundCancelled"), said("RoundEnded", transaction_id="e")


@pytest.mark.parametrize(
    ("forged", "kind", "why"),
    [
        ([moved("BetPlaced", 9000, 8900, wallet_version=4)], None, ""),
        ([REVERSED, CANCELLED], None, ""),
        ([RESULT], None, ""),
        ([moved("BetPlaced", 9000, 8900, wallet_version=5)], "removed", "version 4 of the wallet"),
        ([moved("BetPlaced", 9000, 8900, wallet_version=3)], "inserted", "version 3 of the wallet"),
        ([moved("BetPlaced", 9001, 8901, wallet_version=4)], "invariant", "finds 9001"),
        (
            [moved("BetPlaced", 9000, 8901, wallet_version=4, amount=100)],
            "invariant",
            "leaves 8901",
        ),
        ([moved("BetPlaced", 9000, -1, wallet_version=4)], "invariant", "leaves -1"),
        (
            [moved("BetPlaced", 9000, 9100, wallet_version=4, amount=-100)],
            "invariant",
            "moves -100",
        ),
        ([moved("BetPlaced", 9000, 8900, wallet_version=4, scale=3)], "invariant", "3 decimals"),
        (
            [moved("BetPlaced", 9000, 8900, wallet_version=4, user="9")],
            "invariant",
            "another player",
        ),
        (
            [moved("BetPlaced", 9000, 8900, wallet_version=4, currency="EUR")],
            "invariant",
            "currency",
        ),
        (
            [moved("BetPlaced", 9000, 8900, wallet_version=4, round="9")],
            "invariant",
            "another round",
        ),
        (
            [moved("BetPlaced", 9000, 8900, wallet_version=4, provider="P")],
            "invariant",
            "another round",
        ),
        (
            [moved("BetPlaced", 9000, 8900, wallet_version=4, reference=controls.REFERENCE)],
            "invariant",
            "places a bet again",
        ),
        (
            [REVERSED, moved("BetCancelled", 10000, 11000, **BACK, wallet_version=5)],
            "invariant",
            "already",
        ),
        (
            [moved("BetCancelled", 9000, 9999, **{**BACK, "amount": 999}, wallet_version=4)],
            "invariant",
            "for a stake of 1000",
        ),
        (
            [moved("BetCancelled", 9000, 10000, **{**BACK, "reference": "x"}, wallet_version=4)],
            "invariant",
            "never placed",
        ),
        (
            [moved("BetCancelled", 9000, 10500, **{**BACK, "win": -500}, wallet_version=4)],
            "invariant",
            "takes -500 of the win",
        ),
        (
            [moved("BetRefunded", 9000, 10000, **BACK, wallet_version=4)],
            "invariant",
            "no reversal by",
        ),
        (
            [REVERSED, moved("ResultRecorded", 10000, 10500, kind="result", wallet_version=5)],
            "invariant",
            "without an open bet",
        ),
        (
            [REVERSED, moved("BetPlaced", 10000, 9900, reference="n", wallet_version=5)],
            "invariant",
            "whose every bet is reversed",
        ),
        (
            [said("BetRefused", reference="n", amount=10**19, cash=9000)],
            "invariant",
            "refuses a stake of",
        ),
        (
            [said("RoundEnded", transaction_id="e", recorded_at="banana")],
            "unreadable",
            "is no time",
        ),
        (
            [said("RoundEnded", transaction_id="e", recorded_at="2026-13-01T00:00:00.000000Z")],
            "unreadable",
            "month must be",
        ),
        ([CANCELLED], "invariant", "with an open bet"),
        ([REVERSED, CANCELLED, CANCELLED], "invariant", "is cancelled"),
        (
            [REVERSED, CANCELLED, moved("BetPlaced", 10000, 9900, wallet_version=5)],
            "invariant",
            "is over",
        ),
        ([ENDED, moved("BetPlaced", 9000, 8900, wallet_version=4)], "invariant", "is over"),
        ([ENDED, ENDED], "invariant", "has ended"),
        ([said("BetRefused", reference="x", amount=8999, cash=9000)], "invariant", "cash enough"),
        ([said("BetRefused", reference="x", amount=9999, cash=9001)], "invariant", "quotes 9001"),
        ([said("LateBetRefused", reference="x")], "invariant", "without a tombstone"),
        (
            [said("RoundOpened", game="g")],
            "invariant",
            "opens a round that is open",
        ),
        (
            [RESULT, moved("ResultRecorded", 9500, 9600, kind="result", wallet_version=5)],
            "invariant",
            "again",
        ),
        ([RESULT, moved("ResultRecorded", 9500, 9600, kind="bonus", wallet_version=5)], None, ""),
    ],
)
def test_a_forged_event_breaks_a_rule(
    bet_on: list[Row], forged: list[Forged], kind: str | None, why: str
) -> None:
    rows = with_more(bet_on, forged)
    check_last(rows, kind, why)


@pytest.mark.parametrize(
    ("stream", "forged", "why"),
    [
        ("wallet/123456/EUR", moved("DepositMade", 9000, 9001, wallet_version=4), "another wallet"),
        (
            "promo/x",
            moved("PromoPaid", 9000, 9001, wallet_version=4, **CAMPAIGN),
            "another promotion",
        ),
        ("session/x", said("SessionExpired", session="s"), "another session"),
        ("round/x/y", moved("BetPlaced", 9000, 8999, wallet_version=4), "version 1 of round/x/y"),
        ("round/x/y", said("RoundOpened", game="g"), "another round"),
        ("wallet/9/USD", moved("DepositMade", 0, 1, user="9", wallet_version=1), "is not open"),
        (
            "wallet/9/USD",
            moved("DepositMade", 0, 1, user="9", scale=-1, wallet_version=1),
            "is not open",
        ),
        ("wallet/9/USD", said("WalletFrozen", user="9", scale=2, wallet_version=1), "is not open"),
        ("wallet/123456/USD", said("WalletUnfrozen", scale=2, wallet_version=4), "is not frozen"),
        ("wallet/123456/USD", said("WalletOpened", scale=2, wallet_version=4), "that is open"),
        ("wallet/9/USD", said("WalletOpened", user="9", scale=99, wallet_version=1), "99 decimals"),
    ],
)
def test_a_forged_event_in_a_stream_of_its_own_breaks_a_rule(
    bet_on: list[Row], stream: str, forged: Forged, why: str
) -> None:
    finding = finding_of(with_more(bet_on, [forged], stream))
    assert finding
    assert finding.position == len(bet_on) + 1
    assert why in finding.detail


def test_the_head_that_is_told_is_that_of_the_events_that_hold(bet_on: list[Row]) -> None:
    broken = with_more(bet_on, [CANCELLED])
    verdict = Verification(books.reading(broken), OPERATOR, Seals(lambda: (), [], [])).run()
    assert not verdict.holds
    assert (verdict.events, verdict.head) == (len(bet_on), broken[-2][-1].hex())


def test_the_first_event_has_a_time_too(bet_on: list[Row]) -> None:
    position, stream, version, topic, state, hashed = bet_on[0]
    timeless = msgspec.json.encode({**msgspec.json.decode(state), "recorded_at": ""})
    check_last(
        chained([(position, stream, version, topic, timeless, hashed)]), "unreadable", "is no time"
    )


def test_a_bet_from_a_frozen_wallet_breaks_a_rule(bet_on: list[Row]) -> None:
    frozen = with_more(
        bet_on, [said("WalletFrozen", scale=2, wallet_version=4)], "wallet/123456/USD"
    )
    finding = finding_of(with_more(frozen, [moved("BetPlaced", 9000, 8999, wallet_version=5)]))
    assert finding
    assert "frozen" in finding.detail


def test_a_reference_that_is_taken_twice_is_found_before_what_comes_later(
    bet_on: list[Row],
) -> None:
    twice = moved("PromoPaid", 9000, 9001, wallet_version=4, **CAMPAIGN)
    once = with_more(bet_on, [twice], "promo/LuckyMonaco/r1")
    assert finding_of(once) is None
    deposit = moved("DepositMade", 9001, 9002, wallet_version=5, reference=f"{controls.PLAYER}-USD")
    rows = with_more(once, [deposit], "wallet/123456/USD")
    broken = with_more(rows, [CANCELLED])
    for made in (rows, broken):
        finding = finding_of(made)
        assert finding
        assert (finding.kind, finding.position) == ("invariant", len(rows))
        assert "takes the deposit reference" in finding.detail


def test_no_sum_is_too_large_to_be_checked(bet_on: list[Row]) -> None:
    huge, forged, version = 10**18, [], 4
    rows = with_more(
        bet_on,
        [moved("DepositMade", 9000, 9000 + huge, wallet_version=version)],
        "wallet/123456/USD",
    )
    for number in range(30):
        version += 2
        of = {"reference": f"b{number}", "wallet_version": version - 1}
        forged.append(moved("BetPlaced", 9000 + huge, 9000, **of))
        of = {"reference": f"b{number}", "wallet_version": version, "kind": "result"}
        forged.append(moved("ResultRecorded", 9000, 9000 + huge, **of))
    finding = finding_of(with_more(rows, forged))
    assert finding
    assert finding.kind == "invariant"
    assert "more than" in finding.detail


# a provider's rules


@pytest.fixture(scope="module")
def refunded() -> list[Row]:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        examples.accepted_bet(book)
        book.submit(examples.cancel_round())
        examples.answer(book, examples.LM, "refund", controls.REFERENCE)
        return rows_of(book.store)


@pytest.fixture(scope="module")
def accepted() -> list[Row]:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        examples.accepted_bet(book)
        return rows_of(book.store)


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (told("RefundConfirmed", amount=STAKE), "refunded, not refunding"),
        (told("CancelConfirmed", amount=STAKE), "refunded, not given-up"),
        (told("RefundRequested", amount=STAKE, by="operator"), "refunded, not accepted"),
        (told("CancelRequested"), "refunded, not given-up"),
        (told("BetAccepted", amount=STAKE), "refunded, not requested"),
        (told("RoundCancelled"), "or again"),
        (told("RoundCompleted"), "without an outcome"),
        (told("BetRequested", reference="n", amount=1, session="s"), "that is Cancelled"),
        (told("ResultConfirmed", reference="n", amount=1), "never given"),
        (told("ResultRequested", reference="n", amount=1), "that is over"),
        (told("EndConfirmed"), "nobody asked"),
        (told("RoundEnded"), "that is over"),
        (told("CancellationRequested", by="operator"), "or again"),
        (told("DeliveryParked", kind="refund"), "is settled"),
        (told("DeliveryParked", kind="result"), "nobody asked"),
        (told("BetGivenUp", reference="n"), "never placed"),
        (told("RoundCancelled", round="n"), "another round"),
    ],
)
def test_a_forged_event_breaks_a_providers_rule(
    refunded: list[Row], forged: Forged, why: str
) -> None:
    assert finding_of(refunded, PROVIDER) is None
    rows = with_more(refunded, [forged], ROUND_STREAM)
    finding = finding_of(rows, PROVIDER)
    assert finding
    assert finding.position == len(rows)
    assert why in finding.detail


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (told("RefundConfirmed", amount=STAKE), "accepted, not refunding"),
        (told("RefundRequested", amount=STAKE + 1, by="game"), f"it was {STAKE}"),
        (told("RoundCancelled"), "not every bet"),
        (told("BetRequested", amount=1, session="s"), "again"),
        (told("BetRequested", reference="n", amount=-1, session="s"), "an amount there is not"),
        (told("BetRequested", reference="n", amount=10**19, session="s"), "an amount there is not"),
    ],
)
def test_money_goes_back_once_and_in_full(accepted: list[Row], forged: Forged, why: str) -> None:
    finding = finding_of(with_more(accepted, [forged], ROUND_STREAM), PROVIDER)
    assert finding
    assert finding.kind == "invariant"
    assert why in finding.detail


@pytest.mark.parametrize(
    ("attempt", "topic", "kind"),
    [
        (2, "SendStarted", "invariant"),
        (1, "SendStarted", "invariant"),
        (9, "SendEnded", "invariant"),
    ],
)
def test_nothing_is_sent_once_a_delivery_is_settled(
    accepted: list[Row], attempt: int, topic: str, kind: str
) -> None:
    of = {"kind": "bet", "attempt": attempt, "worker": "w", "until": "u", "outcome": "timeout"}
    rows = with_more(accepted, [told(topic, **of)], BET_STREAM)
    check_last(rows, kind, "", PROVIDER)


LEASE_OVER = "2026-11-21T12:00:15.000000Z"


@pytest.mark.parametrize(("attempt", "kind"), [(3, "removed"), (1, "inserted"), (2, None)])
def test_sends_are_counted_one_by_one(attempt: int, kind: str | None) -> None:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        book.submit(examples.start_send("bet", controls.REFERENCE))
        rows = rows_of(book.store)
    of = {"kind": "bet", "attempt": attempt, "worker": "w", "until": "u", "recorded_at": LEASE_OVER}
    finding = finding_of(with_more(rows, [told("SendStarted", **of)], BET_STREAM), PROVIDER)
    assert (finding.kind if finding else None) == kind


# what it is made of


def test_what_is_scanned_is_what_is_stored(store_url: str) -> None:
    with closing(controls.new_book(store_url)) as book:
        books.everything(book)
        store = book.store
        records = store.records(after=0, limit=1000)
        rows = [
            (r.id, r.originator_id, r.originator_version, r.topic, r.state, r.hash) for r in records
        ]
        assert rows_of(store) == rows
        assert list(store.scan(EVENTS, after=40)) == rows[40:]
        assert [seal for _, _, seal in store.scan(SEALS)] == list(store.seals())
        assert [(number, position) for number, position, _ in store.scan(SEALS)] == [
            (1, 25),
            (2, 51),
        ]
        for projection in store.projections:
            table = projection.TABLE
            assert sorted(store.scan(table)) == list(store.rows(table))
        with store.snapshot():
            assert rows_of(store) == rows


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_tree_that_grows_by_many_is_the_tree_that_grows_by_one(sizes: list[int]) -> None:
    many, one = Tree(), Tree()
    for number, size in enumerate(sizes):
        leaves = [bytes([number, place]) for place in range(size)]
        many.extend(leaves)
        for leaf in leaves:
            one.append(leaf)
        assert (many.size, many.peaks, many.root) == (one.size, one.peaks, one.root)


TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.tuples(TEXTS, st.integers(-5, 99), TEXTS, st.binary(), st.binary())))
def test_what_is_linked_together_is_what_is_linked_one_by_one(events: list[Any]) -> None:
    rows = [(0, *event) for event in events]
    before = [b"before", *(row[-1] for row in rows)]
    assert _links(rows, before, _Topics()) == [
        link(previous, *row[1:5]) for previous, row in zip(before, rows, strict=False)
    ]


ROWS = st.lists(st.tuples(TEXTS, st.integers(-(2**63), 2**63 - 1), st.none() | TEXTS), unique=True)


@pytest.mark.parametrize("digest", [Digest(), Digest.lasting()], ids=["quick", "lasting"])
def test_a_total_depends_on_every_row_and_on_no_order(digest: Digest) -> None:
    @given(ROWS, st.randoms())
    def holds(rows: list[Row], choose: random.Random) -> None:
        total = Total().over(digest.rows(rows))
        other = rows.copy()
        choose.shuffle(other)
        assert Total().over(digest.rows(other)) == total
        if rows:
            assert Total().over(digest.rows(rows[1:])) != total

    holds()


def ours_of(choose: random.Random) -> dict[str, Row]:
    text, count = (lambda: choose.randbytes(6).hex()), (lambda: choose.randrange(1, 9))
    return {
        "reference_index": (text(), text(), text(), text(), count(), text()),
        "rounds": (text(), text(), text(), text(), text(), count(), count(), count(), text()),
        "wallets": (text(), text(), count(), count(), count(), count()),
    }


@pytest.mark.parametrize("digest", [Digest(), Digest.lasting()], ids=["quick", "lasting"])
@pytest.mark.parametrize("table", ours_of(random.Random()))
def test_rows_that_exchanged_a_value_make_another_total(digest: Digest, table: str) -> None:
    choose, rules = random.Random(table), OperatorRules(digest)
    for _ in range(300):
        one, other = ours_of(choose)[table], ours_of(choose)[table]
        for column, (mine, yours) in enumerate(zip(one, other, strict=True)):
            exchanged = [
                (*one[:column], yours, *one[column + 1 :]),
                (*other[:column], mine, *other[column + 1 :]),
            ]
            if mine != yours:
                assert rules.total(table, exchanged) != rules.total(table, [one, other])


def test_a_digest_that_somebody_could_foresee_has_a_secret() -> None:
    for seed, foreseen in (("0", True), ("42", True), ("random", False)):
        said = subprocess.run(
            (
                sys.executable,
                "-c",
                "from ledger.verify_rules import Digest as D; print(D().secret)",
            ),
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        assert (said.strip() != "b''") is foreseen


def test_a_lasting_digest_is_the_same_for_another_process_and_no_other() -> None:
    one = Digest.lasting()
    said = [*one.rows([("a", 1)])]
    assert [*Digest(one.secret).rows([("a", 1)])] == said
    assert [*Digest.lasting().rows([("a", 1)])] != said


class Cup(msgspec.Struct, array_like=True):
    coins: int


def test_what_rests_comes_back_as_it_was_left() -> None:
    states = States(Cup, hash)
    states.put("one", Cup(1))
    states.put("two", Cup(2))
    for _ in range(3):
        states.rest()
    found = states.get("one")
    assert found
    found.coins = 7
    states.rest()
    assert states.get("one") is found
    assert ("two" in states, "three" in states, states.get("three")) == (True, False, None)
    assert sorted(cup.coins for cup in states.states()) == [2, 7]
    again = States(Cup, hash, states.packed())
    assert again.get("one") == Cup(7)


# going on


@contextmanager
def grown(store_url: str, seed: int = 5) -> Any:
    with closing(controls.new_book(store_url)) as book:
        choose = random.Random(seed)
        while book.store.head().position < 3 * BATCH:
            books.at_random(book, choose, 200)
            if choose.random() < 0.5:
                books.seal(book)
        yield book


def halted(book: Any, at: int, **how: Any) -> Progress:
    saved: list[Progress] = []

    def tell(run: Verification) -> None:
        if run.position >= at and not saved:
            saved.append(
                msgspec.msgpack.decode(msgspec.msgpack.encode(run.progress()), type=Progress)
            )

    verdict_of(book.store, lasting=True, tell=tell, **how)
    return saved[0]


def test_a_verification_that_was_interrupted_goes_on_to_the_same_verdict(store_url: str) -> None:
    with grown(store_url) as book:
        whole = verdict_of(book.store, key=SIGNER.key)
        assert whole.holds
        for at in (1, BATCH, 2 * BATCH):
            progress = halted(book, at, key=SIGNER.key)
            rest = verdict_of(book.store, key=SIGNER.key, progress=progress, lasting=True)
            assert rest == msgspec.structs.replace(whole, before=progress.position)


def test_a_providers_book_can_be_gone_on_with_too(store_url: str) -> None:
    choose, clock = random.Random(1), examples.Clock()
    with closing(examples.new_book(store_url, now=clock)) as book:
        while book.store.head().position < 2 * BATCH:
            books.theirs_at_random(book, clock, choose, 100)
        saved: list[Progress] = []

        def tell(run: Verification) -> None:
            saved.append(run.progress())

        whole = verdict_of(book.store, "provider", lasting=True, tell=tell)
        assert whole.holds
        rest = verdict_of(book.store, "provider", progress=saved[0], lasting=True)
        assert rest == msgspec.structs.replace(whole, before=saved[0].position)


def test_what_comes_after_is_judged_by_what_came_before(bet_on: list[Row]) -> None:
    saved: list[Progress] = []
    seals = Seals(lambda: (), [], [])
    first = Verification(
        books.reading(bet_on),
        OPERATOR,
        seals,
        lasting=True,
        tell=lambda run: saved.append(run.progress()),
    )
    assert first.run().holds
    twice = moved("DepositMade", 9000, 9001, wallet_version=4, reference=f"{controls.PLAYER}-USD")
    rows = with_more(bet_on, [twice], "wallet/123456/USD")
    verdict = Verification(
        books.reading(rows), OPERATOR, seals, progress=saved[0], lasting=True
    ).run()
    assert verdict.finding
    assert verdict.finding.position == len(rows)
    assert "takes the deposit reference" in verdict.finding.detail


@pytest.mark.parametrize(
    ("change", "kind"),
    [(lambda rows: rows[:-2], "cut-tail"), (lambda rows: chained(rows[1:]), "cut-tail")],
)
def test_a_book_that_is_not_the_one_verified_before_is_told(
    bet_on: list[Row], change: Callable[[list[Row]], list[Row]], kind: str
) -> None:
    saved: list[Progress] = []
    seals = Seals(lambda: (), [], [])
    tell = lambda run: saved.append(run.progress())  # noqa: E731
    assert Verification(books.reading(bet_on), OPERATOR, seals, lasting=True, tell=tell).run().holds
    verdict = Verification(
        books.reading(change(bet_on)), OPERATOR, seals, progress=saved[0], lasting=True
    ).run()
    assert verdict.finding
    assert verdict.finding.kind == kind


def test_another_event_where_one_was_verified_before_is_told(bet_on: list[Row]) -> None:
    saved: list[Progress] = []
    seals = Seals(lambda: (), [], [])
    tell = lambda run: saved.append(run.progress())  # noqa: E731
    assert Verification(books.reading(bet_on), OPERATOR, seals, lasting=True, tell=tell).run().holds
    other = chained([*bet_on[:-1], (*bet_on[-1][:4], bet_on[-1][4] + b" ", b"")])
    verdict = Verification(
        books.reading(other), OPERATOR, seals, progress=saved[0], lasting=True
    ).run()
    assert verdict.finding
    assert (verdict.finding.kind, verdict.finding.position) == ("rewritten", len(bet_on))


def test_what_is_measured_is_printed_and_nothing_is_left_behind(tmp_path: Path) -> None:
    code = "from scripts.bench_verify import bench_verify; bench_verify()"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "--events",
            "3000",
            "--runs",
            "1",
            "--json",
            "--folder",
            tmp_path,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    ways = {"verify", "verify --pages", "verify --bodies", "rebuild"}
    assert set(found) == {"events", "runs", "machine", *ways}
    for way in ways:
        assert set(found[way]) == {"events_per_s", "events_per_cpu_s", "peak_mb"}
        assert found[way]["events_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


# the command


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        books.everything(book)
    return path


def test_the_command_prints_one_line_and_exits_0_where_all_holds(path: Path) -> None:
    ran = run(path, "--key", SIGNER.key)
    assert ran.exit_code == 0
    line = ran.output.splitlines()
    assert len(line) == 1
    assert line[0].startswith("61 events, 2 seals: all hold; head ")
    assert "keys not checked" in run(f"sqlite:///{path}").output
    told = json.loads(run(path, "--json").output)
    assert (told["holds"], told["events"], told["seals"], told["finding"]) == (True, 61, 2, None)


def test_a_verification_changes_no_byte_of_the_book(path: Path) -> None:
    before = path.read_bytes()
    assert run(path).exit_code == 0
    assert path.read_bytes() == before


def test_a_seals_file_is_checked_too(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(books.seals_in(path))
    assert run(path, "--seals", kept).exit_code == 0
    kept.write_bytes(kept.read_bytes() + b"no seal\n")
    ran = run(path, "--seals", kept)
    assert ran.exit_code == 1
    assert "line 3 of the seals that were kept cannot be read" in ran.output


def test_an_empty_line_among_the_seals_that_were_kept_is_no_seal(
    path: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        kept.write_bytes(b"\n" + b"\n\n".join(book.store.seals()) + b"\n\n")
    assert run(path, "--seals", kept).exit_code == 0


def test_a_key_that_no_seal_could_be_checked_with_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        controls.fund(book)
    said = run(path, "--key", SIGNER.key).output
    assert said.startswith("2 events, 0 seals: all hold")
    assert "no seal is by the key" in said
    assert "no seal" not in run(path).output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nowhere.db",),
        ("memory://",),
        ("PATH", "--key", "zz"),
        ("PATH", "--key", "00"),
        ("PATH", "--seals", "nowhere.jsonl"),
        ("PATH", "--resume", "PATH"),
        ("http://127.0.0.1:9",),
        ("http://127.0.0.1:9/ü",),
        ("http://127.0.0.1:9", "--token", "ü"),
        ("http://127.0.0.1:port",),
        ("http://[::1",),
        ("PATH", "--other"),
    ],
)
def test_a_wrong_use_exits_2(path: Path, arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; import scripts.cli as c; from scripts.verify import verify;"
        "c.roundbook.add_command(verify); sys.argv = ['roundbook', 'verify', *sys.argv[1:]]; c.main()"
    )
    given = [str(path) if each == "PATH" else each for each in arguments]
    ran = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_was_verified_before_is_said_and_only_the_rest_is_read(
    path: Path, tmp_path: Path
) -> None:
    progress = tmp_path / "progress"
    assert "before" not in run(path, "--resume", progress).output
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        book.submit(controls.deposit(reference="later"))
    ran = run(path, "--resume", progress)
    assert ran.exit_code == 0
    assert ran.output.startswith("62 events, 2 seals: all hold")
    assert "the first 61 were verified before" in ran.output
    with books.behind_its_back(path) as connection:
        connection.execute("update stored_events set state = state || ' ' where position = 30")
    assert run(path, "--resume", progress).exit_code == 0
    assert run(path).exit_code == 1


def test_other_keys_and_seals_are_a_reason_to_begin_again(path: Path, tmp_path: Path) -> None:
    progress, kept = tmp_path / "progress", tmp_path / "kept.jsonl"
    kept.write_bytes(books.seals_in(path))
    for more in ((), ("--key", SIGNER.key), ("--key", SIGNER.key, "--seals", kept)):
        assert "verified before" not in run(path, "--resume", progress, *more).output
        assert "verified before" in run(path, "--resume", progress, *more).output


def test_what_was_verified_of_another_partys_book_is_refused(path: Path, tmp_path: Path) -> None:
    progress, other = tmp_path / "progress", tmp_path / "provider.db"
    with closing(examples.new_book(f"sqlite:///{other}", now=examples.Clock())) as book:
        book.submit(examples.place_bet())
    assert run(other, "--resume", progress).output.startswith("2 events, 0 seals: all hold")
    ran = run(path, "--resume", progress)
    assert ran.exit_code == 2
    assert "no progress of verifying this book" in ran.output


def test_a_progress_file_that_was_damaged_is_refused(path: Path, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    assert run(path, "--resume", progress).exit_code == 0
    whole = progress.read_bytes()
    for body in (
        b"",
        b"{}",
        whole[:-1],
        whole[: len(whole) // 2],
        whole.replace(b"USD", b"\xff\xff\xff"),
    ):
        progress.write_bytes(body)
        ran = run(path, "--resume", progress)
        assert ran.exit_code == 2
        assert "no progress of verifying this book" in ran.output


def test_what_an_older_version_verified_is_refused_with_what_to_do(
    path: Path, tmp_path: Path
) -> None:
    progress = tmp_path / "progress"
    assert run(path, "--resume", progress).exit_code == 0
    saved = msgspec.msgpack.decode(progress.read_bytes()[command.HASHED :])
    saved["format"] = "roundbook verify 3"
    del saved["progress"]["bodies"]
    packed = msgspec.msgpack.encode(saved)
    progress.write_bytes(sha256(packed).digest() + packed)

    ran = run(path, "--resume", progress)

    assert (ran.exit_code, "remove it to begin anew" in ran.output) == (2, True), ran.exception
    assert progress.read_bytes() == sha256(packed).digest() + packed


def test_an_interrupted_command_saves_first(path: Path, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:

        def interrupted(run: Verification) -> None:
            with command.Saving(progress, "operator", lambda _: None) as saving:
                os.kill(os.getpid(), signal.SIGTERM)
                saving(run)

        with pytest.raises(SystemExit, match="130"):
            verdict_of(book.store, lasting=True, tell=interrupted)
    assert "verified before" in run(path, "--resume", progress).output


def test_a_bar_is_drawn_where_somebody_looks(path: Path) -> None:
    leader, follower = pty.openpty()
    ran = subprocess.run(
        [sys.executable, "-c", "from scripts.verify import verify; verify()", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        timeout=60,
    )
    os.close(follower)
    assert ran.returncode == 0
    assert len(ran.stdout.splitlines()) == 1
    assert b"events/s" in os.read(leader, 10_000)
    os.close(leader)


def test_a_book_is_verified_over_http(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.fund(wire.PLAYER)
        bet = wire.BY_NAME["/V4", "bet"]
        with server.connect() as connection:
            assert connection.call(bet.path, bet.body).code == 0
        url = f"http://127.0.0.1:{server.port}"
        ran = run(url, "--token", wire.AUDITOR)
        assert ran.output.startswith("4 events, 0 seals: all hold; head ")
        assert ran.output.rstrip().endswith("tables not at hand")
        assert ran.exit_code == 0


def test_unknown_topics_are_no_events(bet_on: list[Row]) -> None:
    finding = finding_of(chained([*bet_on, (0, "x", 1, "Miracle", b"{}", b"")]))
    assert finding
    assert (finding.kind, finding.position) == ("unreadable", len(bet_on) + 1)


def test_a_providers_book_is_gone_on_with_from_its_service_and_from_its_file(
    tmp_path: Path,
) -> None:
    path, progress = tmp_path / "provider.db", tmp_path / "progress"
    clock = examples.Clock()
    with closing(examples.new_book(f"sqlite:///{path}", now=clock)) as book:
        books.theirs_at_random(book, clock, random.Random(4), 60)
    document = provider.document(tmp_path, "http://127.0.0.1:9")
    document["provider_book"]["worker"] = False
    with serving(tmp_path, document) as server:
        url = f"http://127.0.0.1:{server.port}/api/provider"
        for where in (url, path, url):
            ran = run(where, "--token", wire.AUDITOR, "--resume", progress)
            assert ran.exit_code == 0, ran.output


def test_a_progress_file_of_which_any_bit_is_another_is_refused(path: Path, tmp_path: Path) -> None:
    progress, choose = tmp_path / "progress", random.Random(6)
    assert run(path, "--resume", progress).exit_code == 0
    whole = progress.read_bytes()
    for _ in range(40):
        changed = bytearray(whole)
        changed[choose.randrange(len(whole))] ^= 1 << choose.randrange(8)
        progress.write_bytes(changed)
        ran = run(path, "--resume", progress)
        assert (ran.exit_code, "no progress of verifying this book" in ran.output) == (2, True)


@pytest.mark.parametrize(
    ("head", "kind"),
    [(Head(9, bytes(32)), "cut-tail"), (Head(4, bytes(32)), "changed")],
    ids=["more events", "another event"],
)
def test_who_reads_for_us_must_give_what_he_says_is_the_head(head: Head, kind: str) -> None:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book)
        book.submit(controls.place_bet())
        source: Any = SimpleNamespace(store=book.store)
        readable = command.readable(source, "operator")
        assert book.store.head().position == 4
        said = readable._replace(head=head)
        finding = Verification(said, OPERATOR, Seals(lambda: (), (), ())).run().finding
        assert finding
        assert finding.kind == kind


def test_nothing_is_settled_that_was_never_sent() -> None:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        rows = rows_of(book.store)
    for forged in (told("BetAccepted", amount=STAKE), told("BetDeclined", code=15)):
        finding = finding_of(with_more(rows, [forged], ROUND_STREAM), PROVIDER)
        assert finding
        assert "which was never sent" in finding.detail


class Grows:
    """A service whose book grows, and is sealed, behind each look at it."""

    name, store = "a service", None

    def __init__(self, book: Any) -> None:
        self._book, self._numbers = book, count()

    def _grow(self) -> None:
        name = str(next(self._numbers))
        self._book.submit(controls.place_bet(reference=name, round_id=name, amount="1.00"))
        books.seal(self._book)

    def head(self) -> Any:
        found = self._book.store.head()
        self._grow()
        return found

    def seals(self) -> Any:
        found = seals_of(self._book.store)
        self._grow()
        return found

    def records(self, *, after: int, upto: int) -> Any:
        return self._book.store.walk(after=after, upto=upto)


def test_a_service_that_seals_its_book_while_it_is_asked_cut_nothing_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book)
        source = Grows(book)
        monkeypatch.setattr("scripts.verify.open_source", lambda *_, **__: nullcontext(source))
        verdicts = [checked("http://a-service") for _ in range(3)]
        assert [(each.holds, each.events) for each in verdicts] == [
            (True, 4),
            (True, 8),
            (True, 12),
        ]
