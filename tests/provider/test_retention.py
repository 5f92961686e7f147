import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.moments import text
from ledger.periodic import Periodic
from ledger.provider import commands, events
from ledger.provider.book import Book, OpenRound
from ledger.provider.house import House, Operator
from ledger.provider.retention import (
    DAY_S,
    LONGEST_SILENCE_S,
    MOST_AHEAD_S,
    MOST_STEP_S,
    Sweeper,
    Swept,
    steady,
)
from ledger.refusals import Busy
from tests import controls
from tests.clocks import Clocks
from tests.provider import examples
from tests.provider.examples import (
    EVERYTHING,
    KY,
    LM,
    accepted_bet,
    answer,
    ask,
    history,
    status,
)
from tests.questions import nothing_recorded, topics

FIRST, SECOND, THIRD = controls.REFERENCE, controls.SECOND_REFERENCE, controls.THIRD_REFERENCE
FOURTH = "585c1306f89c56f5ecfc2f60"
ROUND, OTHER_ROUND = controls.ROUND, controls.OTHER_ROUND
RETENTION_DAYS = 90
MICROSECOND = 0.000_001
CAP = 10
ENOUGH_S = 10


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def book(store_url: str, clocks: Clocks) -> Iterator[Book]:
    opened = examples.new_book(store_url, now=clocks)
    yield opened
    opened.close()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/book.db"


def sweeper(book: Book, clocks: Clocks, *, cap: int = CAP, kind: Any = Sweeper) -> Sweeper:
    made: Sweeper = kind(book, cap=cap, steady=clocks.steady)
    return made


def stay_awake(book: Book) -> None:
    """Says that a sweep was made now, which trusts the clock."""
    book.submit(commands.NoteSweep())


def open_bets(book: Book, count: int, *, operator: str = LM, first: int = 0) -> list[str]:
    """Opens so many rounds with an accepted bet each, of the same name as its round."""
    names = [f"{number:03}" for number in range(first, first + count)]
    for name in names:
        accepted_bet(book, reference=name, round_id=name, operator=operator)
    return names


def refunds(book: Book) -> list[str]:
    return [event.reference for event in history(book) if isinstance(event, events.RefundRequested)]


def names(found: Sequence[OpenRound]) -> list[str]:
    return [each.round for each in found]


def overdue_book(book: Book, clocks: Clocks, count: int) -> list[str]:
    """Lets so many rounds become overdue, in a book that is awake."""
    opened = open_bets(book, count)
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    return opened


# the boundary


def test_an_open_bet_is_refunded_at_90_times_24_hours_and_not_a_microsecond_before(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    clocks.go(-MICROSECOND, days=RETENTION_DAYS)
    stay_awake(book)
    with nothing_recorded(book):
        assert sweeping.sweep().refunded == []
    clocks.go(MICROSECOND)
    assert names(sweeping.sweep().refunded) == [ROUND]
    refund = history(book)[-1]
    assert isinstance(refund, events.RefundRequested)
    assert (refund.reference, refund.amount, refund.by, refund.open_since) == (
        FIRST,
        10001,
        "retention",
        "",
    )
    assert refund.recorded_at == text(examples.NOON + timedelta(hours=90 * 24))
    assert status(book) == "CancelInProcess"
    answer(book, LM, "refund", FIRST)
    assert status(book) == "Cancelled"


def test_a_bets_age_counts_from_its_acceptance_and_not_from_its_placing(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    ask(book, examples.place_bet())
    clocks.go(days=2)
    answer(book, LM, "bet", FIRST)
    clocks.go(days=RETENTION_DAYS - 1)
    stay_awake(book)
    assert sweeping.sweep().refunded == []
    clocks.go(days=1)
    assert names(sweeping.sweep().refunded) == [ROUND]


@pytest.mark.parametrize("days", [1, 30, 365])
def test_the_number_of_days_is_a_setting_of_each_operator(
    store_url: str, clocks: Clocks, days: int
) -> None:
    operators = {
        LM: Operator(id=LM, dialect="lucky-monaco-v4", provider="LuckyMonaco", retention_days=days),
        KY: Operator(id=KY, dialect="kyren-v1", provider="Kyren", retention_days=days + 1),
    }
    book = examples.new_book(store_url, now=clocks, house=House(operators=operators))
    sweeping = sweeper(book, clocks)
    for operator in operators:
        accepted_bet(book, operator=operator)
    clocks.go(-MICROSECOND, days=days)
    stay_awake(book)
    assert sweeping.sweep().refunded == []
    clocks.go(MICROSECOND)
    assert [each.operator for each in sweeping.sweep().refunded] == [LM]
    clocks.go(days=1)
    assert [each.operator for each in sweeping.sweep().refunded] == [KY]
    assert len(refunds(book)) == 2
    book.close()


def test_what_is_overdue_names_player_and_time_the_oldest_first(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    clocks.go(1)
    accepted_bet(book, reference=SECOND, round_id=OTHER_ROUND, user=controls.OTHER_PLAYER)
    clocks.go(days=RETENTION_DAYS)
    assert sweeping.overdue() == [
        OpenRound(LM, ROUND, controls.PLAYER, text(examples.NOON)),
        OpenRound(
            LM, OTHER_ROUND, controls.OTHER_PLAYER, text(examples.NOON + timedelta(seconds=1))
        ),
    ]


def test_whoever_wants_to_know_is_told_of_every_round_that_was_refunded(
    book: Book, clocks: Clocks
) -> None:
    told: list[OpenRound] = []
    sweeping = Sweeper(book, cap=CAP, steady=clocks.steady, on_refunded=told.append)
    opened = overdue_book(book, clocks, 3)
    assert names(sweeping.sweep().refunded) == names(told) == opened


# once


def test_a_bet_is_refunded_once_however_often_it_is_swept(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    overdue_book(book, clocks, 1)
    sweeping.sweep()
    for _ in range(3):
        clocks.go(days=1)
        assert sweeping.sweep().refunded == []
    assert refunds(book) == ["000"]


def test_a_sweep_says_once_a_day_that_it_trusts_the_clock(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    for _ in range(5):
        sweeping.sweep()
        clocks.go(DAY_S / 2)
    assert topics(book) == ["SweepMade"] * 2


def test_a_jump_while_nobody_looked_stops_the_sweep_whatever_was_recorded_since(
    file_url: str, clocks: Clocks
) -> None:
    book = examples.new_book(file_url, now=clocks)
    sweeper(book, clocks).sweep()
    open_bets(book, 3)
    book.close()
    clocks.set_by(days=RETENTION_DAYS + 1)
    book = examples.new_book(file_url, now=clocks)
    open_bets(book, 3, first=3)
    swept = sweeper(book, clocks).sweep()
    assert "no sweep was made since" in swept.stopped
    assert refunds(book) == []
    book.close()


def test_a_bet_is_refunded_once_across_restarts(file_url: str, clocks: Clocks) -> None:
    book = examples.new_book(file_url, now=clocks)
    open_bets(book, 1)
    for days in (RETENTION_DAYS - 1, 1, 1, 1):
        book.close()
        book = examples.new_book(file_url, now=clocks)
        clocks.go(days=days)
        stay_awake(book)
        sweeper(book, clocks).sweep()
    assert refunds(book) == ["000"]
    book.close()


def test_what_became_overdue_between_two_runs_is_refunded_at_the_next(
    file_url: str, clocks: Clocks
) -> None:
    book = examples.new_book(file_url, now=clocks)
    open_bets(book, 1)
    clocks.go(days=RETENTION_DAYS - 1)
    stay_awake(book)
    book.close()
    clocks.go(days=3)
    book = examples.new_book(file_url, now=clocks)
    assert names(sweeper(book, clocks).sweep().refunded) == ["000"]
    book.close()


def test_two_sweepers_of_one_book_refund_once(book: Book, clocks: Clocks) -> None:
    first, second = sweeper(book, clocks), sweeper(book, clocks)
    opened = overdue_book(book, clocks, 3)
    assert names(first.sweep().refunded) == opened
    with nothing_recorded(book):
        assert second.sweep().refunded == []
    assert refunds(book) == opened


def test_of_two_sweepers_that_overlap_only_the_one_that_refunded_says_so(
    book: Book, clocks: Clocks
) -> None:
    second = sweeper(book, clocks)
    told: list[OpenRound] = []

    def sweep_once_more(found: OpenRound) -> None:
        told.append(found)
        if len(told) == 1:
            told.extend(second.sweep().refunded)

    first = Sweeper(book, cap=CAP, steady=clocks.steady, on_refunded=sweep_once_more)
    opened = overdue_book(book, clocks, 2)
    first.sweep()
    assert refunds(book) == opened
    assert names(told) == opened


def test_two_processes_on_one_file_refund_every_round_once(file_url: str, clocks: Clocks) -> None:
    books = [examples.new_book(file_url, now=clocks) for _ in range(2)]
    sweepers = [sweeper(book, clocks, cap=50) for book in books]
    opened = overdue_book(books[0], clocks, 20)
    together = threading.Barrier(len(books))
    failed: list[Exception] = []

    def sweep(sweeping: Sweeper) -> None:
        together.wait(ENOUGH_S)
        try:
            sweeping.sweep()
        except Exception as error:  # noqa: BLE001  (a thread's failure is the test's)
            failed.append(error)

    threads = [threading.Thread(target=sweep, args=(each,)) for each in sweepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENOUGH_S)
    assert failed == []
    assert sorted(refunds(books[0])) == sorted(refunds(books[1])) == opened
    examples.agree(books[0])
    for book in books:
        book.close()


def test_an_operators_cancellation_before_the_sweep_leaves_it_nothing(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    clocks.go(days=RETENTION_DAYS)
    ask(book, examples.cancel_round())
    stay_awake(book)
    with nothing_recorded(book):
        assert sweeping.sweep().refunded == []
    assert refunds(book) == [FIRST]


def test_an_operators_cancellation_behind_the_sweep_refunds_nothing_again(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    sweeping.sweep()
    ask(book, examples.cancel_round())
    answer(book, LM, "refund", FIRST)
    assert refunds(book) == [FIRST]
    assert status(book) == "Cancelled"


# which bets


SETTLED: dict[str, Callable[[Book], Any]] = {
    "an outcome that is owed": lambda book: ask(book, examples.report_result()),
    "an outcome that is paid": lambda book: (
        ask(book, examples.report_result()),
        answer(book, LM, "result", controls.RESULT_REFERENCE),
    ),
    "an outcome of nothing": lambda book: ask(book, examples.report_result(amount="0")),
    "an outcome the wallet refuses": lambda book: (
        ask(book, examples.report_result()),
        answer(book, LM, "result", controls.RESULT_REFERENCE, 999),
    ),
    "an end": lambda book: ask(book, examples.end_round()),
    "a refund that is owed": lambda book: ask(book, examples.cancel_round()),
    "a refund that is refused": lambda book: (
        ask(book, examples.cancel_round()),
        answer(book, LM, "refund", FIRST, 999),
    ),
    "a refund that is confirmed": lambda book: (
        ask(book, examples.cancel_round()),
        answer(book, LM, "refund", FIRST),
    ),
}


@pytest.mark.parametrize("case", SETTLED)
def test_a_bet_is_never_refunded_by_age_once_its_round_has(
    book: Book, clocks: Clocks, case: str
) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    SETTLED[case](book)
    before = refunds(book)
    clocks.go(days=10 * RETENTION_DAYS)
    stay_awake(book)
    with nothing_recorded(book):
        assert sweeping.sweep().refunded == []
        assert sweeping.overdue() == []
        ask(book, examples.refund_overdue(upto=clocks.text))
    assert refunds(book) == before


@pytest.mark.parametrize("said", [15, None])
def test_a_bet_that_was_never_accepted_is_never_refunded_by_age(
    book: Book, clocks: Clocks, said: int | None
) -> None:
    sweeping = sweeper(book, clocks)
    ask(book, examples.place_bet())
    if said:
        answer(book, LM, "bet", FIRST, said)
    else:
        examples.give_bet_up(book)
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    with nothing_recorded(book):
        assert sweeping.sweep().refunded == []
        ask(book, examples.refund_overdue(upto=clocks.text))


def test_only_the_overdue_bets_of_a_round_go_back_and_the_next_oldest_is_open_since(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    references = [FIRST, SECOND, THIRD, FOURTH]
    since = []
    for reference in references:
        accepted_bet(book, reference=reference)
        since.append(clocks.text)
        clocks.go(days=1)
    clocks.go(days=RETENTION_DAYS - 3)
    stay_awake(book)
    assert [each.open_since for each in sweeping.overdue()] == since[:1]
    sweeping.sweep()
    assert refunds(book) == references[:2]
    assert status(book) == "InProgress"
    for gone in (2, 3):
        assert [each.open_since for each in book.open_rounds(LM, limit=CAP)] == [since[gone]]
        with nothing_recorded(book):
            sweeping.sweep()
        clocks.go(days=1)
        sweeping.sweep()
        assert refunds(book) == references[: gone + 1]
    assert book.open_rounds(LM, limit=CAP) == []
    for reference in references:
        answer(book, LM, "refund", reference)
    assert status(book) == "Cancelled"


def test_a_round_some_of_whose_bets_went_back_by_age_can_still_be_won(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    accepted_bet(book)
    clocks.go(days=1)
    accepted_bet(book, reference=SECOND)
    clocks.go(days=RETENTION_DAYS - 1)
    stay_awake(book)
    sweeping.sweep()
    answer(book, LM, "refund", FIRST)
    ask(book, examples.report_result())
    answer(book, LM, "result", controls.RESULT_REFERENCE)
    assert status(book) == "Completed"
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    assert sweeping.sweep().refunded == []


def test_the_overdue_of_a_round_nobody_has_spoken_of_is_nothing(book: Book, clocks: Clocks) -> None:
    with nothing_recorded(book):
        assert not ask(book, examples.refund_overdue(upto=clocks.text)).recorded


# the crowd


def test_as_many_rounds_as_the_cap_are_refunded_without_alarm(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks, cap=3)
    opened = overdue_book(book, clocks, 3)
    swept = sweeping.sweep()
    assert (names(swept.refunded), swept.more, swept.stopped) == (opened, False, "")


def test_one_round_more_than_the_cap_stops_the_sweep_and_nothing_is_refunded(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks, cap=3)
    overdue_book(book, clocks, 4)
    swept = sweeping.sweep()
    assert (swept.refunded, swept.more) == ([], False)
    assert "crowd" in swept.stopped
    assert refunds(book) == []
    stopped = history(book)[-1]
    assert isinstance(stopped, events.SweepStopped)
    assert stopped.reason == swept.stopped == book.sweep().reason
    assert book.sweep().stopped_at == clocks.text


def test_a_crowd_is_of_all_operators_together(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks, cap=3)
    open_bets(book, 2)
    open_bets(book, 2, operator=KY)
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    assert "crowd" in sweeping.sweep().stopped
    assert refunds(book) == []


def test_a_crowd_that_was_confirmed_is_not_refunded_before_what_was_overdue_sooner(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks, cap=3)
    (sooner,) = open_bets(book, 1, operator=max(LM, KY), first=9)
    clocks.go(1)
    open_bets(book, 5, operator=min(LM, KY))
    clocks.go(days=RETENTION_DAYS)
    stay_awake(book)
    assert "crowd" in sweeping.sweep().stopped
    sweeping.confirm()
    assert names(sweeping.sweep().refunded)[0] == sooner


def test_a_sweep_that_stopped_records_it_once_and_stays_stopped_until_a_person_confirms(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks, cap=1)
    overdue_book(book, clocks, 2)
    reason = sweeping.sweep().stopped
    for _ in range(3):
        clocks.go(days=1)
        with nothing_recorded(book):
            assert sweeping.sweep().stopped == reason
    assert topics(book).count("SweepStopped") == 1


def test_the_first_reason_to_stop_is_the_one_that_is_kept(book: Book) -> None:
    assert ask(book, commands.StopSweep(reason="the first")).recorded
    with nothing_recorded(book):
        assert not ask(book, commands.StopSweep(reason="the second")).recorded
    assert book.sweep().reason == "the first"


def test_a_sweep_that_stopped_stays_stopped_across_a_restart(file_url: str, clocks: Clocks) -> None:
    book = examples.new_book(file_url, now=clocks)
    overdue_book(book, clocks, 2)
    reason = sweeper(book, clocks, cap=1).sweep().stopped
    book.close()
    book = examples.new_book(file_url, now=clocks)
    with nothing_recorded(book):
        assert sweeper(book, clocks, cap=CAP).sweep().stopped == reason
    assert refunds(book) == []
    book.close()


def test_a_crowd_that_a_person_confirmed_is_refunded_sweep_by_sweep(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks, cap=2)
    opened = overdue_book(book, clocks, 5)
    assert sweeping.sweep().stopped
    sweeping.confirm()
    assert book.sweep() == (None, "", clocks.text, clocks.text)
    found = [sweeping.sweep() for _ in range(4)]
    assert [len(swept.refunded) for swept in found] == [2, 2, 1, 0]
    assert [swept.more for swept in found] == [True, True, False, False]
    assert refunds(book) == opened


def test_a_confirmation_holds_across_a_restart(file_url: str, clocks: Clocks) -> None:
    book = examples.new_book(file_url, now=clocks)
    opened = overdue_book(book, clocks, 3)
    first = sweeper(book, clocks, cap=1)
    first.sweep()
    first.confirm()
    for _ in opened:
        book.close()
        book = examples.new_book(file_url, now=clocks)
        assert len(sweeper(book, clocks, cap=1).sweep().refunded) == 1
    assert refunds(book) == opened
    book.close()


def test_a_confirmation_speaks_only_for_what_was_overdue_by_then(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks, cap=2)
    confirmed = open_bets(book, 3)
    clocks.go(days=1)
    open_bets(book, 6, first=3)
    clocks.go(days=RETENTION_DAYS - 1)
    stay_awake(book)
    assert sweeping.sweep().stopped
    sweeping.confirm()
    clocks.go(days=1)
    for _ in range(9):
        sweeping.sweep()
    assert "crowd" in book.sweep().reason
    assert refunds(book)[:3] == confirmed
    assert len(refunds(book)) <= 3 + 2


# the clock was set


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_wall_clock_set_91_days_ahead_stops_the_sweep_however_little_is_overdue(
    book: Book, clocks: Clocks, count: int
) -> None:
    sweeping = sweeper(book, clocks)
    open_bets(book, count)
    sweeping.sweep()
    clocks.set_by(days=RETENTION_DAYS + 1)
    stay_awake(book)
    swept = sweeping.sweep()
    assert (swept.refunded, refunds(book)) == ([], [])
    assert "clock was set by 91 days" in swept.stopped


def test_a_step_that_could_not_be_recorded_stops_the_next_sweep(
    book: Book, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping = sweeper(book, clocks)
    open_bets(book, 1)
    for _ in range(RETENTION_DAYS - 5):
        clocks.go(days=1)
        sweeping.sweep()
    clocks.set_by(days=6)
    with monkeypatch.context() as full:
        full.setattr(book._writer, "_most_waiting", 0)
        with pytest.raises(Busy):
            sweeping.sweep()
    swept = sweeping.sweep()
    assert (swept.refunded, refunds(book)) == ([], [])
    assert "clock was set by 6 days" in swept.stopped


def test_a_wall_clock_set_back_stops_the_sweep(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    overdue_book(book, clocks, 1)
    clocks.set_by(-3600)
    assert "the clock was set back by 1:00:00, to" in sweeping.sweep().stopped
    assert refunds(book) == []


@pytest.mark.parametrize(
    ("step_s", "stops"),
    [
        (MOST_STEP_S, False),
        (-MOST_STEP_S, False),
        (MOST_STEP_S + 1, True),
        (-MOST_STEP_S - 1, True),
    ],
)
def test_a_step_is_more_than_five_minutes_either_way(
    book: Book, clocks: Clocks, step_s: float, *, stops: bool
) -> None:
    sweeping = sweeper(book, clocks)
    clocks.go(3600)
    clocks.set_by(step_s)
    assert bool(sweeping.sweep().stopped) == stops


def test_a_clock_that_drifts_a_little_every_sweep_is_trusted(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    for _ in range(100):
        clocks.go(600)
        clocks.set_by(30)
        assert not sweeping.sweep().stopped


def test_a_steady_clock_that_ran_ahead_stops_the_sweep(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    clocks.ticked += MOST_STEP_S + 1
    assert "clock was set" in sweeping.sweep().stopped


def test_a_clock_set_ahead_and_back_needs_a_person_and_then_refunds_nothing_too_early(
    book: Book, clocks: Clocks
) -> None:
    sweeping = sweeper(book, clocks)
    open_bets(book, 3)
    clocks.set_by(days=RETENTION_DAYS + 1)
    assert sweeping.sweep().stopped
    clocks.set_by(days=-RETENTION_DAYS - 1)
    clocks.go(60)
    assert sweeping.sweep().stopped
    sweeping.confirm()
    assert not sweeping.sweep().stopped
    assert refunds(book) == []
    assert topics(book).count("SweepStopped") == 1


def test_a_clock_that_jumped_while_nobody_looked_stops_for_the_silence(
    file_url: str, clocks: Clocks
) -> None:
    book = examples.new_book(file_url, now=clocks)
    open_bets(book, 3)
    book.close()
    clocks.set_by(days=RETENTION_DAYS + 1)
    book = examples.new_book(file_url, now=clocks)
    swept = sweeper(book, clocks).sweep()
    assert swept.refunded == []
    assert "no sweep was made since" in swept.stopped
    assert refunds(book) == []
    book.close()


def test_a_clock_that_is_set_while_a_sweep_refunds_makes_nothing_more_overdue(
    book: Book, clocks: Clocks
) -> None:
    opened = open_bets(book, 2)
    clocks.go(days=1)
    for name in opened:
        accepted_bet(book, reference=f"{name} later", round_id=name)
    clocks.go(days=RETENTION_DAYS - 1)
    stay_awake(book)
    jumping = Sweeper(
        book,
        cap=CAP,
        steady=clocks.steady,
        on_refunded=lambda _: clocks.set_by(days=RETENTION_DAYS),
    )
    jumping.sweep()
    assert refunds(book) == opened


@pytest.mark.parametrize("days", [RETENTION_DAYS + 1, -RETENTION_DAYS - 1])
def test_a_clock_that_was_wrong_between_two_starts_refunds_nothing_too_early(
    file_url: str, clocks: Clocks, days: int
) -> None:
    for number, jump in enumerate((0, days, -days, days)):
        clocks.set_by(days=jump)
        book = examples.new_book(file_url, now=clocks)
        sweeper(book, clocks).sweep()
        assert refunds(book) == []
        open_bets(book, min(number, 1), first=number)
        book.close()


def test_a_clock_that_is_behind_the_last_sweep_stops_it_though_nothing_is_overdue_yet(
    file_url: str, clocks: Clocks
) -> None:
    book = examples.new_book(file_url, now=clocks)
    sweeper(book, clocks).sweep()
    book.close()
    clocks.set_by(days=-1)
    book = examples.new_book(file_url, now=clocks)
    open_bets(book, 1)
    assert "before the last sweep" in sweeper(book, clocks).sweep().stopped
    book.close()


def test_a_clock_that_was_ahead_and_that_a_person_has_corrected_and_confirmed_is_trusted(
    file_url: str, clocks: Clocks
) -> None:
    for days in (RETENTION_DAYS + 1, -RETENTION_DAYS - 1):
        clocks.set_by(days=days)
        book = examples.new_book(file_url, now=clocks)
        sweeping = sweeper(book, clocks)
        stopped = sweeping.sweep().stopped
        open_bets(book, 1, first=days)
        book.close()
    assert stopped
    book = examples.new_book(file_url, now=clocks)
    sweeping = sweeper(book, clocks)
    sweeping.confirm()
    for _ in range(3):
        assert sweeping.sweep() == Swept()
        clocks.go(days=1)
    assert refunds(book) == []
    book.close()


class Trusting(Sweeper):
    """The control: a sweeper that trusts every clock and every crowd."""

    def _fault(self, found: list[OpenRound], clocks: tuple[datetime, float]) -> str:
        return ""


def test_without_its_checks_a_sweep_would_refund_every_open_bet_after_a_jump(
    book: Book, clocks: Clocks
) -> None:
    checking = sweeper(book, clocks)
    trusting = sweeper(book, clocks, kind=Trusting)
    opened = open_bets(book, CAP + 5)
    clocks.set_by(days=RETENTION_DAYS + 1)
    stay_awake(book)
    assert trusting.sweep().more
    assert not trusting.sweep().more
    assert refunds(book) == opened
    assert checking.sweep().stopped


# silence


@pytest.mark.parametrize(("more_s", "stops"), [(0, False), (MICROSECOND, True)])
def test_a_book_silent_for_more_than_seven_days_wants_a_persons_eye(
    book: Book, clocks: Clocks, more_s: float, *, stops: bool
) -> None:
    sweeping = sweeper(book, clocks)
    open_bets(book, 1)
    clocks.go(-LONGEST_SILENCE_S, days=RETENTION_DAYS)
    stay_awake(book)
    clocks.go(LONGEST_SILENCE_S + more_s)
    swept = sweeping.sweep()
    assert ("no sweep was made since" in swept.stopped) == stops
    assert refunds(book) == ([] if stops else ["000"])


def test_silence_stops_nothing_where_nothing_is_overdue(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    open_bets(book, 1)
    clocks.go(days=RETENTION_DAYS - 1)
    assert not sweeping.sweep().stopped
    assert refunds(book) == []


def test_an_empty_book_has_nothing_to_stop_for(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    clocks.go(days=1000)
    assert sweeping.sweep() == Swept()


def test_what_was_silent_is_refunded_once_a_person_confirms(book: Book, clocks: Clocks) -> None:
    sweeping = sweeper(book, clocks)
    opened = open_bets(book, 2)
    clocks.go(days=RETENTION_DAYS)
    assert sweeping.sweep().stopped
    sweeping.confirm()
    assert names(sweeping.sweep().refunded) == opened


@pytest.mark.parametrize(("ahead_s", "stops"), [(MOST_AHEAD_S, False), (MOST_AHEAD_S + 1, True)])
def test_a_clock_that_stands_before_the_last_event_stops_the_sweep(
    book: Book, clocks: Clocks, ahead_s: float, *, stops: bool
) -> None:
    open_bets(book, 1)
    clocks.go(days=RETENTION_DAYS + 1)
    stay_awake(book)
    clocks.set_by(-ahead_s)
    swept = sweeper(book, clocks).sweep()
    assert ("stands before the last event" in swept.stopped) == stops
    assert refunds(book) == ([] if stops else ["000"])


# in its thread


def test_the_steady_clock_goes_on_and_never_back() -> None:
    readings = [steady() for _ in range(100)]
    assert readings == sorted(readings)


def test_it_sweeps_by_itself_until_it_is_stopped(book: Book, clocks: Clocks) -> None:
    refunded = threading.Event()
    sweeping = Sweeper(book, cap=CAP, steady=clocks.steady, on_refunded=lambda _: refunded.set())
    overdue_book(book, clocks, 1)
    defects: list[Exception] = []
    retention = Periodic(sweeping.sweep, every_s=3600, name="retention", on_defect=defects.append)
    retention.start()
    assert refunded.wait(ENOUGH_S)
    retention.stop()
    assert refunds(book) == ["000"]
    assert defects == []


def test_a_sweep_that_fails_is_reported_and_the_next_one_comes(book: Book, clocks: Clocks) -> None:
    reported, swept = threading.Event(), threading.Event()

    class Failing(Sweeper):
        def overdue(self) -> list[OpenRound]:
            if not reported.is_set():
                raise RuntimeError("the disk is away")
            swept.set()
            return []

    sweeping = Failing(book, cap=CAP, steady=clocks.steady)
    retention = Periodic(
        sweeping.sweep, every_s=0.001, name="retention", on_defect=lambda _: reported.set()
    )
    retention.start()
    assert reported.wait(ENOUGH_S)
    assert swept.wait(ENOUGH_S)
    retention.stop()


def test_open_rounds_are_listed_by_operator_and_age(book: Book, clocks: Clocks) -> None:
    open_bets(book, 3)
    open_bets(book, 1, operator=KY)
    clocks.go(1)
    open_bets(book, 1, first=3)
    assert names(book.open_rounds(LM, limit=EVERYTHING)) == ["000", "001", "002", "003"]
    assert names(book.open_rounds(LM, upto=text(examples.NOON), limit=2)) == ["000", "001"]
    assert names(book.open_rounds(LM, upto=text(examples.NOON), limit=9)) == ["000", "001", "002"]
    assert names(book.open_rounds(KY, limit=EVERYTHING)) == ["000"]
