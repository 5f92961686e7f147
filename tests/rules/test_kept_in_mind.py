from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing

import pytest
from eventsourcing.persistence import IntegrityError
from hypothesis import given
from hypothesis import strategies as st

from ledger.batch import Recent
from ledger.operator.book import MAPPER, Book
from ledger.rebuild import derive, differences, rebuild
from ledger.store import Store, open_store
from ledger.store.sqlite import SQLiteStore
from projections import IN_TRANSACTION
from tests import controls

CASH, STAKE = 10_000, 59
SOON_S = 0.3


@pytest.fixture
def book(store_url: str) -> Iterator[Book]:
    with closing(controls.new_book(store_url)) as opened:
        controls.fund(opened, amount="100")
        yield opened


def bet(book: Book, number: int) -> int:
    """Returns the cash a bet leaves."""
    placed = controls.place_bet(reference=f"bet {number}", amount="0.59", round_id=f"{number // 4}")
    return book.submit(placed).cash


@pytest.fixture
def other(book: Book, store_url: str) -> Iterator[Store]:
    """What another process would open."""
    if store_url.startswith("memory"):
        yield book.store
        return
    with closing(open_store(store_url, IN_TRANSACTION)) as opened:
        yield opened


def test_a_book_reads_nothing_twice_that_only_it_has_written(book, monkeypatch) -> None:
    bet(book, 0)
    asked: list[object] = []
    load = book.store.load

    def recorded(some):
        asked.append(some)
        return load(some)

    monkeypatch.setattr(book.store, "load", recorded)
    assert bet(book, 1) == CASH - 2 * STAKE
    reference = {("LuckyMonaco", "bet", "bet 1")}
    assert asked == [(set(), {"reference_index": reference, "wallets": set(), "rounds": set()})]


def test_two_books_on_one_store_see_each_others_bets(book, other) -> None:
    rival = Book(other)
    cash = [bet(each, number) for number, each in enumerate([book, rival] * 6)]
    repeated = [bet(each, number) for number, each in enumerate([rival, book] * 6)]
    assert cash == [CASH - STAKE * placed for placed in range(1, 13)]
    assert repeated == [cash[-1]] * 12


def nothing() -> None:
    pass


def spoil_and_mend(book: Book, store: Store, *, between: Callable[[], None] = nothing) -> list[int]:
    """Returns the cash after a bet on a wallet's wrong row, and after one once the tables are right."""
    with store.transaction():
        row = store.row("wallets", (controls.PLAYER, "USD"))
        store.clear("wallets")
        wrong = (row[0] + 1_000_000, *row[1:])
        store.write({"wallets": {(controls.PLAYER, "USD"): (None, wrong)}})
    spoilt = bet(book, 1)
    with store.transaction():
        row = store.row("wallets", (controls.PLAYER, "USD"))
        store.clear("wallets")
        right = (row[0] - 1_000_000, *row[1:])
        store.write({"wallets": {(controls.PLAYER, "USD"): (None, right)}})
    between()
    return [spoilt, bet(book, 2)]


def test_tables_that_were_made_anew_are_read_anew(book, other) -> None:
    assert bet(book, 0) == CASH - STAKE
    assert spoil_and_mend(book, other) == [CASH - 2 * STAKE + 1_000_000, CASH - 3 * STAKE]


def test_tables_that_were_made_anew_are_read_anew_behind_a_seal_too(book, other) -> None:
    def seal() -> None:
        book.store.add_seal(1, b'{"position":1}', after=None)

    cash = spoil_and_mend(book, other, between=seal)
    assert cash == [CASH - STAKE + 1_000_000, CASH - 2 * STAKE]


def test_the_tables_of_a_book_at_work_can_be_rebuilt(book, other) -> None:
    assert bet(book, 0) == CASH - STAKE
    rebuild(other, MAPPER)
    assert bet(book, 1) == CASH - 2 * STAKE


@pytest.fixture
def bets_meanwhile(book, monkeypatch) -> Iterator[list[Future[int]]]:
    """A bet comes whenever the tables are derived, and waits if it has to."""
    asked: list[Future[int]] = []
    with ThreadPoolExecutor(1) as pool:

        def derived(store, mapper):
            tables = derive(store, mapper)
            asked.append(pool.submit(bet, book, len(asked)))
            wait(asked, SOON_S)
            return tables

        monkeypatch.setattr("ledger.rebuild.derive", derived)
        yield asked


def test_what_is_written_while_the_tables_are_made_anew_is_in_them(other, bets_meanwhile) -> None:
    rebuild(other, MAPPER)
    assert bets_meanwhile[0].result() == CASH - STAKE
    assert differences(other, MAPPER) == []


def test_what_is_written_while_the_tables_are_checked_makes_no_difference(
    other, bets_meanwhile
) -> None:
    assert differences(other, MAPPER) == []
    assert bets_meanwhile[0].result() == CASH - STAKE


def test_a_book_that_forgot_nothing_would_not_see_it(tmp_path, monkeypatch) -> None:
    url = f"sqlite:///{tmp_path}/book.db"
    monkeypatch.setattr(SQLiteStore, "untouched", True)
    with (
        closing(controls.new_book(url)) as book,
        closing(open_store(url, IN_TRANSACTION)) as other,
    ):
        controls.fund(book, amount="100")
        bet(book, 0)
        with pytest.raises(IntegrityError):
            spoil_and_mend(book, other)


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first() -> None:
    recent: Recent[str, str] = Recent(2)
    for keys in ("ab", "c", "a", "d", "a"):
        recent.keep(dict.fromkeys(keys, "kept"))
    assert [key for key in "abcd" if key in recent] == ["a", "d"]
    assert recent.lacks("abcd") == {"b", "c"}


@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(), max_size=4)))
def test_what_is_kept_is_what_it_was_last_and_the_last_of_it_is_there(batches) -> None:
    most, last = 3, {}
    recent: Recent[int, int] = Recent(most)
    for batch in batches:
        recent.keep(batch)
        last = {key: value for key, value in last.items() if key not in batch} | batch
        held = {key: recent.get(key) for key in last if key in recent}
        assert held.items() <= last.items()
        assert set([*last][-most:]) <= held.keys()
        assert len(held) <= 2 * (most + 4)


@given(st.lists(st.dictionaries(st.integers(0, 40), st.integers(0, 5), max_size=2), min_size=20))
def test_what_is_kept_weighs_no_more_than_it_may_and_what_came_last_is_there(batches) -> None:
    most, heaviest = 100, 8
    recent: Recent[int, int] = Recent(most, weigh=abs, heaviest=heaviest)
    for batch in batches:
        recent.keep(batch)
        assert {key: recent.get(key) for key in batch} == batch
        held = [recent.get(key) or 0 for key in range(41) if key in recent]
        assert sum(held) <= 2 * (heaviest + 2 * 5)


def test_a_few_long_rounds_are_kept_and_many_are_not() -> None:
    recent: Recent[str, int] = Recent(1000, weigh=abs, heaviest=100)
    for name in "abcdef":
        recent.keep({name: 40})
        recent.keep({"always": 5})
    assert [name for name in ("always", *"abcdef") if name in recent] == ["always", *"def"]
