import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger import money, names
from ledger.operator.book import Book
from ledger.operator.house import House
from ledger.refusals import AmountInvalid, Refusal
from ledger.store import open_store
from projections import IN_TRANSACTION
from tests import auditor, controls
from tests.questions import EVERYTHING, tables

# money

SCALES = st.integers(0, money.MOST_SCALE)
NOT_AMOUNTS = (
    "", "-1", "+1", " 1", "1 ", "1\n", ".5", "5.", "1_000", "1,00", "0x1", "１", "١", "²",
    "NaN", "nan", "Infinity", "inf", "--1", "1..2", "1.2.3", "true", "null",
)  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> tuple[str, int]:
    scale = draw(SCALES)
    digits = st.text("0123456789", min_size=1, max_size=15)
    decimals = draw(st.text("0123456789", max_size=scale))
    return draw(digits) + (f".{decimals}" if decimals else ""), scale


@given(written())
def test_an_amount_is_read_and_written_exactly(case: tuple[str, int]) -> None:
    text, scale = case
    exact = Decimal(text).scaleb(scale)
    if exact > money.MOST_MINOR_UNITS:
        with pytest.raises(AmountInvalid):
            money.to_minor(money.read_text(text), scale)
        return
    minor = money.to_minor(money.read_text(text), scale)
    assert minor == exact
    again = money.to_text(minor, scale)
    assert Decimal(again) == Decimal(text)
    assert len(again.partition(".")[2]) == scale
    assert money.to_minor(money.read_number(again), scale) == minor


@given(st.integers(0, money.MOST_MINOR_UNITS), SCALES)
@example(0, 0)
@example(money.MOST_MINOR_UNITS, 0)
@example(money.MOST_MINOR_UNITS, 2)
def test_every_cash_there_can_be_is_written_and_read_back(minor: int, scale: int) -> None:
    assert money.to_minor(money.read_number(money.to_text(minor, scale)), scale) == minor


@given(st.integers(1, money.MOST_MINOR_UNITS), SCALES)
def test_a_negative_sum_is_written_with_its_sign_alone(minor: int, scale: int) -> None:
    assert money.to_text(-minor, scale) == "-" + money.to_text(minor, scale)


@st.composite
def literals(draw: st.DrawFn) -> str:
    whole = str(draw(st.integers(0, 10**19 - 1)))
    decimals = draw(st.text("0123456789", max_size=18))
    exponent = draw(st.sampled_from(["", "e0", "E1", "e+2", "e-3", "E-12", "e18", "e99", "e-99"]))
    return whole + (f".{decimals}" if decimals else "") + exponent


@given(literals())
@example("0.1")
@example("9007199254740993")
@example("0.30000000000000004")
@example("99899.99")
@example("1e-2")
def test_a_number_is_read_exactly_and_never_through_a_float(literal: str) -> None:
    amount = money.read_number(literal)
    assert type(amount.digits) is int
    assert amount.places >= 0
    assert Fraction(amount.digits, 10**amount.places) == Fraction(Decimal(literal))


@given(st.text(max_size=12) | st.text("0123456789.eE+- ", max_size=12))
def test_what_is_read_is_what_is_written_or_it_is_refused(text: str) -> None:
    for read in (money.read_text, money.read_number):
        try:
            amount = read(text)
        except AmountInvalid:
            continue
        assert text.isascii()
        assert Fraction(amount.digits, 10**amount.places) == Fraction(Decimal(text))


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_what_is_no_amount_is_59(text: str) -> None:
    for read in (money.read_text, money.read_number):
        with pytest.raises(AmountInvalid):
            read(text)


@pytest.mark.parametrize("text", ["1e2", "1E2", "1" * 16, f"0.{'1' * 19}"])
def test_a_text_has_no_exponent_and_is_not_too_long(text: str) -> None:
    with pytest.raises(AmountInvalid):
        money.read_text(text)


@pytest.mark.parametrize("literal", ["1" * 20, f"0.{'1' * 19}", "1e400", "1e-400", "1e"])
def test_a_number_is_not_too_long(literal: str) -> None:
    with pytest.raises(AmountInvalid):
        money.read_number(literal)


@pytest.mark.parametrize(
    ("currency", "scale"),
    [("JPY", 0), ("USD", 2), ("EUR", 2), ("KWD", 3), ("CLF", 4), ("XAU", None), ("BTC", None)],
)
def test_the_scale_of_a_currency_is_iso_4217s(currency: str, scale: int | None) -> None:
    assert money.iso_scale(currency) == scale
    assert House().scale(currency) == scale


# names

NAMESPACE = UUID("8d7b7a52-6f0c-5b3e-9a4d-52f3b1c0a7e1")

parts = st.text(max_size=8) | st.text("/%25F", max_size=6)


@given(st.lists(parts, min_size=1, max_size=4), st.lists(parts, min_size=1, max_size=4))
@example(["a/b", "c"], ["a", "b/c"])
@example(["a%2Fb"], ["a/b"])
@example(["%25"], ["%"])
@example(["", ""], ["/"])
def test_two_lists_of_parts_never_have_one_name(first: list[str], second: list[str]) -> None:
    assert (names.name(*first) == names.name(*second)) == (first == second)


@given(parts, parts, parts)
def test_a_transaction_id_is_the_uuid5_of_its_name(
    provider: str, kind: str, reference: str
) -> None:
    escaped = "/".join(
        part.replace("%", "%25").replace("/", "%2F") for part in (provider, kind, reference)
    )
    expected = str(uuid5(NAMESPACE, escaped))
    assert names.transaction_id(provider, kind, reference) == expected


def test_the_transaction_id_of_the_published_example_stays_for_ever() -> None:
    found = names.transaction_id(controls.PROVIDER, "bet", controls.REFERENCE)
    assert found == "fc136c65-2dd5-554c-8a94-009bce1aa78c"


# random histories

PLAYERS = st.sampled_from([controls.PLAYER] * 8 + [controls.OTHER_PLAYER, controls.STRANGER])
CURRENCIES = st.sampled_from([controls.CURRENCY] * 7 + ["JPY"])
GAMES = st.sampled_from([controls.GAME] * 9 + [controls.OTHER_GAME])
PROVIDERS = st.sampled_from([controls.PROVIDER] * 9 + [controls.OTHER_PROVIDER])
ROUNDS = st.sampled_from(["1", "2"])
REFERENCES = st.sampled_from(["a", "b", "c", "d"])
AMOUNTS = st.sampled_from(["0", "1", "30", "60"])
SESSIONS = st.sampled_from([controls.SESSION] * 3 + [controls.OTHER_SESSION])

payload = {"user": PLAYERS, "currency": CURRENCIES}
in_game = {**payload, "game": GAMES, "provider": PROVIDERS}
in_round = {**in_game, "round_id": ROUNDS}

bets = st.builds(
    controls.place_bet, **in_round, reference=REFERENCES, amount=AMOUNTS, session=SESSIONS
)
results = st.builds(
    controls.result,
    **in_round,
    kind=st.sampled_from(["result", "bonus", "jackpot"]),
    reference=REFERENCES,
    amount=AMOUNTS,
)
reversals = st.one_of(
    st.builds(controls.cancel, **in_game, reference=REFERENCES),
    st.builds(controls.cancel, **in_round, reference=REFERENCES),
    st.builds(controls.refund, **in_game, reference=REFERENCES),
    st.builds(controls.refund_later_form, **in_round, reference=REFERENCES),
    st.builds(controls.cancel_round, **in_game, reference=REFERENCES),
)
back_office = st.one_of(
    st.builds(controls.open_wallet, **payload),
    st.builds(controls.deposit, **payload, reference=REFERENCES, amount=AMOUNTS),
    st.builds(controls.withdraw, **payload, reference=REFERENCES, amount=AMOUNTS),
    st.builds(controls.freeze, **payload),
    st.builds(controls.unfreeze, **payload),
)
commands = st.one_of(
    bets,
    bets,
    results,
    reversals,
    reversals,
    st.builds(controls.end_round, **in_round),
    st.builds(controls.pay_promo, **payload, provider=PROVIDERS, reference=REFERENCES),
    st.builds(controls.expire_session, user=PLAYERS, provider=PROVIDERS, session=SESSIONS),
    back_office,
)
histories = st.lists(commands, max_size=40)
many_histories = settings(max_examples=150)
houses = st.sampled_from([House(), House(allow_cancel_completed=True)])

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


@contextmanager
def a_book(house: House, *, url: str = "memory://") -> Iterator[Book]:
    book = Book(open_store(url, IN_TRANSACTION), house, now=lambda: MIDNIGHT)
    try:
        controls.fund(book, amount="100")
        controls.fund(book, user=controls.OTHER_PLAYER, amount="50")
        yield book
    finally:
        book.close()


def answer(book: Book, command: Any) -> tuple[int, str, str]:
    try:
        outcome = book.submit(command)
    except Refusal as refusal:
        return refusal.code, refusal.word, ""
    return 0, "", outcome.transaction_id


def in_one_batch(book: Book, batch: Sequence[Any]) -> list[tuple[int, str, str]]:
    return [
        (each.code, each.word, "") if isinstance(each, Refusal) else (0, "", each.transaction_id)
        for each in book._commit(batch)
    ]


@many_histories
@given(houses, histories)
def test_replaying_a_history_from_nothing_gives_the_tables(
    house: House, history: list[Any]
) -> None:
    with a_book(house) as book:
        for command in history:
            answer(book, command)
        assert tables(book) == auditor.derive(book.store.records(after=0, limit=EVERYTHING))


@many_histories
@given(houses, histories)
def test_a_wallets_events_count_from_1_and_each_begins_where_the_last_ended(
    house: House, history: list[Any]
) -> None:
    with a_book(house) as book:
        for command in history:
            answer(book, command)
        of_wallets: dict[Any, list[Any]] = {}
        for record in book.store.records(after=0, limit=EVERYTHING):
            body = json.loads(record.state)
            if "wallet_version" in body:
                key = (body["user"], body["currency"])
                of_wallets.setdefault(key, []).append((record.topic, body))
        for seen in of_wallets.values():
            assert seen[0][0] == "WalletOpened"
            versions = [body["wallet_version"] for _, body in seen]
            assert versions == list(range(1, len(seen) + 1))
            moved = [(topic, body) for topic, body in seen if "cash_after" in body]
            assert [body["cash_before"] for _, body in moved[:1]] in ([], [0])
            for (_, before), (_, after) in pairwise(moved):
                assert after["cash_before"] == before["cash_after"]
            for topic, body in moved:
                change = body["cash_after"] - body["cash_before"]
                assert change == auditor.movement(topic, body)
                assert body["cash_after"] >= 0


@many_histories
@given(houses, histories)
def test_a_bet_is_taken_once_reversed_once_and_never_after_its_tombstone(
    house: House, history: list[Any]
) -> None:
    with a_book(house) as book:
        for command in history:
            answer(book, command)
        placed: dict[Any, int] = {}
        reversed_: set[Any] = set()
        buried: set[Any] = set()
        for record in book.store.records(after=0, limit=EVERYTHING):
            body = json.loads(record.state)
            key = (body.get("provider"), body.get("reference"))
            match record.topic:
                case "BetPlaced":
                    assert key not in placed
                    assert key not in buried
                    placed[key] = body["amount"]
                case "BetCancelled" | "BetRefunded":
                    assert key not in reversed_
                    assert body["amount"] == placed[key]
                    reversed_.add(key)
                case "TombstoneRecorded":
                    assert key not in buried
                    assert key not in placed
                    buried.add(key)


@many_histories
@given(houses, st.lists(st.one_of(bets, reversals, back_office), max_size=40))
def test_a_round_is_opened_only_for_a_wallet_that_is_open(house: House, history: list[Any]) -> None:
    with a_book(house) as book:
        for command in history:
            answer(book, command)
        purses: set[Any] = set()
        for record in book.store.records(after=0, limit=EVERYTHING):
            body = json.loads(record.state)
            if record.topic == "WalletOpened":
                purses.add((body["user"], body["currency"]))
            if record.topic == "RoundOpened":
                assert (body["user"], body["currency"]) in purses


@many_histories
@given(houses, histories)
def test_asked_again_at_once_every_command_gets_its_answer_and_records_nothing(
    house: House, history: list[Any]
) -> None:
    with a_book(house) as book:
        for command in history:
            first, head = answer(book, command), book.store.head()
            assert answer(book, command) == first
            assert book.store.head() == head


@given(houses, histories)
def test_what_is_refused_moves_no_money(house: House, history: list[Any]) -> None:
    with a_book(house) as book:
        for command in history:
            before = book.store.rows("wallets")
            code, _, _ = answer(book, command)
            if code:
                assert book.store.rows("wallets") == before


@many_histories
@given(houses, st.lists(st.lists(commands, min_size=1, max_size=8), max_size=6))
def test_commands_decided_in_batches_are_answered_as_one_by_one(
    house: House, batches: list[list[Any]]
) -> None:
    with a_book(house) as alone, a_book(house) as together:
        for batch in batches:
            one_by_one = [answer(alone, command) for command in batch]
            assert in_one_batch(together, batch) == one_by_one
        assert tables(together) == tables(alone)
        assert together.store.head() == alone.store.head()


@settings(max_examples=15)
@given(houses, histories)
def test_both_stores_answer_and_keep_the_same(
    tmp_path_factory: pytest.TempPathFactory, house: House, history: list[Any]
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('book')}/book.db"
    with a_book(house) as memory, a_book(house, url=url) as file:
        for command in history:
            assert answer(memory, command) == answer(file, command)
        assert tables(memory) == tables(file)
        assert memory.store.head() == file.store.head()
