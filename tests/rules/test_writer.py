import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from msgspec.structs import replace

from ledger.operator.book import Book, Outcome
from ledger.operator.events import Said
from ledger.refusals import Busy, Final, NotEnoughCash, OutcomeUnknown, Refusal, WrongCurrency
from ledger.store import Store
from ledger.store.chain import Head
from ledger.store.memory import MemoryStore
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SQLiteStore
from ledger.writer import CALM_AFTER, MOST_IN_A_BATCH, Writer, _Call, _let_go, thread_latch
from projections import IN_TRANSACTION
from tests import auditor, controls
from tests.questions import (
    EVERYTHING,
    cash,
    code,
    connections_made,
    nothing_recorded,
    tables,
    topics,
)

SOON_S = 0.5
PATIENCE_S = 10
ROOT = Path(__file__).parents[2]


class Gate:
    """A commit that answers each number with its double, once it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.batches: list[list[int]] = []

    def commit(self, batch: Sequence[int]) -> Sequence[int | Exception]:
        if batch:
            self.batches.append(list(batch))
        self.entered.set()
        assert self.open.wait(10)
        return [number * 2 for number in batch]


@contextmanager
def waiting(writer: Writer[Any, Any], gate: Gate, *commands: Any) -> Iterator[None]:
    """One command is being committed and the others wait behind it, in order."""
    with ThreadPoolExecutor(len(commands)) as pool:
        for place, command in enumerate(commands):
            pool.submit(writer.submit, command)
            assert gate.entered.wait(10)
            until(lambda place=place: writer._waiting.qsize() == place)
        try:
            yield
        finally:
            gate.open.set()
    writer.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline


# the queue


def test_a_full_queue_answers_busy_at_once_and_records_nothing() -> None:
    gate = Gate()
    writer = Writer(gate.commit, latch=thread_latch, most_waiting=2)
    with waiting(writer, gate, 1, 2, 3):
        for _ in range(3):
            with pytest.raises(Busy) as busy:
                writer.submit(4)
    assert busy.value.code == 998
    assert gate.batches == [[1], [2, 3]]


def test_the_queue_takes_commands_again_when_it_has_room() -> None:
    gate = Gate()
    gate.open.set()
    writer = Writer(gate.commit, latch=thread_latch, most_waiting=1)
    assert [writer.submit(number) for number in range(20)] == [n * 2 for n in range(20)]
    writer.close()


def test_a_deadline_that_passes_while_it_is_decided_is_an_outcome_unknown() -> None:
    gate = Gate()
    writer = Writer(gate.commit, latch=thread_latch, deadline_s=SOON_S)
    with pytest.raises(OutcomeUnknown):
        writer.submit(1)
    gate.open.set()
    writer.close()
    assert gate.batches == [[1]]


def test_a_command_nobody_took_in_time_is_answered_998_and_never_decided() -> None:
    gate = Gate()
    writer = Writer(gate.commit, latch=thread_latch, deadline_s=SOON_S)
    with pytest.raises(OutcomeUnknown):
        writer.submit(1)
    with pytest.raises(Busy) as busy:
        writer.submit(2)
    gate.open.set()
    writer.close()
    assert busy.value.code == 998
    assert gate.batches == [[1]]


def test_a_closed_writer_answers_busy_at_once() -> None:
    writer = Writer(Gate().commit)
    writer.close()
    with pytest.raises(Busy):
        writer.submit(1)


def test_a_log_that_cannot_be_written_does_not_stop_the_writer() -> None:
    def commit(batch: Sequence[int]) -> Sequence[int]:
        return [1 // number for number in batch]

    def report(_: Exception) -> None:
        raise BrokenPipeError

    writer = Writer(commit, on_defect=report)
    with pytest.raises(OutcomeUnknown):
        writer.submit(0)
    assert writer.submit(1) == 1
    writer.close()


def failing(told: list[str], *answers: Any) -> list[int]:
    """Returns how much was told after each answer that a store gave in turn: a failure, or what it wrote."""
    left, counts = list(answers), []

    def commit(_: Sequence[int]) -> Sequence[int]:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    writer = Writer(commit, on_defect=lambda failure: told.append(str(failure)))
    while left:
        with suppress(OutcomeUnknown):
            writer.submit(1)
        counts.append(len(told))
    writer.close()
    return counts


def test_a_failure_is_told_once_though_it_has_no_words() -> None:
    told: list[str] = []
    assert failing(told, OperationalError(), OperationalError()) == [1, 1]


def test_the_same_failure_is_told_again_behind_what_was_written_after_a_conflict() -> None:
    full, conflict, told = OperationalError("full"), IntegrityError("conflict"), list[str]()
    assert failing(told, full, full, conflict, 1, full, full) == [1, 1, 1, 2, 2]
    assert told == ["full", "full"]


def test_what_waits_together_is_committed_together_in_order() -> None:
    gate = Gate()
    writer = Writer(gate.commit, latch=thread_latch)
    with waiting(writer, gate, *range(MOST_IN_A_BATCH + 3)):
        pass
    sizes = [len(batch) for batch in gate.batches]
    assert sizes == [1, MOST_IN_A_BATCH, 2]
    assert [n for batch in gate.batches for n in batch] == list(range(MOST_IN_A_BATCH + 3))


def test_closing_decides_everything_that_waits() -> None:
    gate = Gate()
    writer = Writer(gate.commit, latch=thread_latch)
    with waiting(writer, gate, 1, 2, 3):
        pass
    assert [n for batch in gate.batches for n in batch] == [1, 2, 3]
    assert not writer.alive


def test_many_callers_each_get_their_own_answer() -> None:
    gate = Gate()
    gate.open.set()
    writer = Writer(gate.commit, latch=thread_latch)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(writer.submit, range(500))) == [n * 2 for n in range(500)]
    writer.close()


def test_callers_let_each_other_go_and_none_stands_behind_one_who_left() -> None:
    writer: Writer[int, int] = Writer(lambda batch: list(batch))
    calls: list[_Call[int, int]] = [_Call((number,)) for number in range(6)]
    for call in calls:
        call.done = thread_latch()
        call.left = call.commands[0] in (0, 2, 3)

    def free() -> list[int]:
        return [call.commands[0] for call in calls if not call.done.locked()]

    writer._release(calls)
    assert free() == [0, 1]
    _let_go(calls[1].behind)
    assert free() == [0, 1, 2, 3, 4]
    _let_go(calls[3].behind)  # who left lets go too, and was let go
    _let_go(calls[4].behind)
    assert free() == [0, 1, 2, 3, 4, 5]
    writer.close()


class Interrupting(SimpleQueue[Any]):
    """Takes what it is given, and interrupts the giver."""

    def put(self, *given: Any) -> None:
        super().put(*given)
        raise KeyboardInterrupt


@pytest.mark.parametrize(("queue", "end"), [(SimpleQueue, Busy), (Interrupting, KeyboardInterrupt)])
def test_who_leaves_unanswered_lets_whoever_stands_behind_go(queue: Any, end: Any) -> None:
    writer: Writer[int, int] = Writer(lambda batch: list(batch), deadline_s=0)
    call, behind = _Call[int, int]((1,)), _Call[int, int]((2,))
    call.behind, behind.done = behind, thread_latch()
    taken, writer._waiting = writer._waiting, queue()
    with pytest.raises(end):
        writer._wait(call)
    writer._waiting = taken
    writer.close()
    assert call.left
    assert not behind.done.locked()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_waits_for_a_writer_that_ends_on_its_way_gets_an_outcome_unknown() -> None:
    def end(_: Sequence[int]) -> Sequence[int]:
        raise SystemExit

    writer: Writer[int, int] = Writer(end, latch=thread_latch, deadline_s=PATIENCE_S)
    asked_at = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        writer.submit_many([1, 2])
    assert time.monotonic() < asked_at + PATIENCE_S
    writer.close()


def test_impatient_callers_get_their_answer_or_leave_and_the_rest_is_answered() -> None:
    answered: list[bool] = []

    def commit(batch: Sequence[int]) -> Sequence[int]:
        threading.Event().wait(0.001 * (batch[0] % 4) if batch else 0)
        return [number * 2 for number in batch]

    writer = Writer(commit, deadline_s=0.004)

    def ask(number: int) -> None:
        try:
            answered.append(writer.submit(number) == number * 2)
        except (Busy, OutcomeUnknown):
            answered.append(True)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(800)))
    patient = Writer(commit)
    with ThreadPoolExecutor(16) as pool:
        assert [*pool.map(patient.submit, range(200))] == [*range(0, 400, 2)]
    assert answered == [True] * 800
    for each in (writer, patient):
        each.close()


def test_a_caller_of_the_library_who_is_alone_commits_in_its_own_thread() -> None:
    seen = []
    writer = Writer(lambda batch: seen.append(threading.current_thread()) or batch)
    assert [writer.submit(number) for number in range(3)] == [0, 1, 2]
    assert set(seen) == {threading.current_thread()}
    writer.close()


def test_a_caller_who_brings_a_latch_never_commits_in_its_own_thread() -> None:
    seen = []
    writer = Writer(
        lambda batch: seen.append(threading.current_thread()) or batch, latch=thread_latch
    )
    assert writer.submit(1) == 1
    assert seen != [threading.current_thread()]
    writer.close()


def test_one_at_a_time_commits_whoever_it_is() -> None:
    inside, most, by = [], [], set()

    def commit(batch: Sequence[int]) -> Sequence[int]:
        inside.append(1)
        most.append(len(inside))
        by.add(threading.current_thread().name == "writer")
        os.sched_yield()  # lets another thread in, if it can get in
        inside.pop()
        return batch

    writer = Writer(commit)
    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(writer.submit, range(100))) == list(range(100))
        for number in range(CALM_AFTER + 2):
            assert writer.submit(number) == number
    writer.close()
    assert max(most) == 1
    assert by == {True, False}


def test_closing_waits_for_the_caller_who_commits_by_itself() -> None:
    gate = Gate()
    writer = Writer(gate.commit)
    with ThreadPoolExecutor(2) as pool:
        alone = pool.submit(writer.submit, 1)
        assert gate.entered.wait(10)
        closing = pool.submit(writer.close)
        with pytest.raises(TimeoutError):
            closing.result(SOON_S)
        gate.open.set()
        assert alone.result() == 2
        closing.result()


def test_after_an_unknown_outcome_the_same_reference_finds_out(book: Book) -> None:
    writer: Writer[Any, Outcome] = Writer(book._commit, latch=thread_latch, deadline_s=SOON_S)
    with book.store.transaction(), pytest.raises(OutcomeUnknown) as unknown:
        writer.submit(controls.place_bet())
    assert unknown.value.code == 998
    writer.close()
    with nothing_recorded(book):
        assert not book.submit(controls.place_bet()).recorded
    assert cash(book) == controls.CASH_AFTER_BET


# many at once


def test_one_reference_submitted_by_many_threads_has_one_effect(book: Book) -> None:
    bets = [controls.place_bet(uuid=str(n)) for n in range(48)]
    outcomes = submit_together(book, bets)
    assert len({outcome.transaction_id for outcome in outcomes}) == 1
    assert sorted(outcome.recorded for outcome in outcomes) == [False] * 47 + [True]
    assert {outcome.cash for outcome in outcomes} == {9989999}
    assert topics(book).count("BetPlaced") == 1


def test_reversals_of_one_bet_by_many_threads_give_back_once(book: Book) -> None:
    book.submit(controls.place_bet())
    calls = [controls.cancel(uuid=str(n)) for n in range(16)]
    calls += [controls.refund(uuid=str(n)) for n in range(16)]
    calls += [controls.cancel_round(uuid=str(n)) for n in range(16)]
    outcomes = submit_together(book, calls)
    assert len({outcome.transaction_id for outcome in outcomes}) == 1
    assert cash(book) == controls.OPENING_CASH
    assert sum(topic in {"BetCancelled", "BetRefunded"} for topic in topics(book)) == 1


def test_a_race_of_reversals_and_results_has_exactly_one_effect_a_round(book: Book) -> None:
    rounds = [str(n) for n in range(12)]
    for each in rounds:
        book.submit(controls.place_bet(reference=each, round_id=each, amount="1.00"))
    racing = [
        call
        for each in rounds
        for call in (
            controls.cancel(reference=each),
            controls.result(reference=each, round_id=each, amount="1.00"),
            controls.refund(reference=each),
        )
    ]
    answers = submit_together(book, racing)
    for place in range(0, len(racing), 3):
        cancelled, paid, refunded = (not isinstance(a, Refusal) for a in answers[place : place + 3])
        assert cancelled == refunded != paid
    assert cash(book) == controls.OPENING_CASH


def test_bets_that_the_cash_does_not_all_cover_never_overdraw_it(book: Book) -> None:
    bets = [
        controls.place_bet(reference=str(n), round_id=str(n), amount="30000.00") for n in range(12)
    ]
    answers = submit_together(book, bets)
    assert sum(isinstance(answer, NotEnoughCash) for answer in answers) == 9
    assert cash(book) == "10000.00"


def submit_together(book: Book, commands: Sequence[Any]) -> list[Any]:
    together = threading.Barrier(len(commands))

    def submit(command: Any) -> Outcome | Refusal:
        together.wait()
        try:
            return book.submit(command)
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(submit, commands))


# inside one batch, later commands see what earlier ones decided


def test_one_reference_twice_in_a_batch_has_one_effect(book: Book) -> None:
    bet, again = controls.place_bet(), controls.place_bet(uuid=controls.OTHER_UUID)
    first, second = book._commit([bet, again])
    assert first.transaction_id == second.transaction_id
    assert (first.recorded, second.recorded) == (True, False)
    assert topics(book).count("BetPlaced") == 1


def test_a_batch_may_hold_a_whole_round(book: Book) -> None:
    bet, result, cancelled, end = book._commit(
        [controls.place_bet(), controls.result(), controls.cancel(), controls.end_round()]
    )
    assert (bet.cash, result.cash, end.cash) == (9989999, 10014999, 10014999)
    assert isinstance(cancelled, Final)


def test_in_a_batch_a_reference_reused_for_something_else_is_57(book: Book) -> None:
    _, refused = book._commit([controls.place_bet(), controls.place_bet(amount="1.00")])
    assert refused.code == 57


@pytest.mark.parametrize("round_id", [None, controls.ROUND])
def test_a_tombstone_twice_in_a_batch_is_recorded_once(book: Book, round_id: str | None) -> None:
    call = controls.cancel(round_id=round_id)
    first, second = book._commit([call, call])
    assert first.transaction_id == second.transaction_id
    assert topics(book).count("TombstoneRecorded") == 1


@pytest.mark.parametrize("round_id", [None, controls.ROUND])
def test_a_bet_in_the_batch_of_its_tombstone_is_999(book: Book, round_id: str | None) -> None:
    call = controls.cancel(round_id=round_id)
    _, late, later = book._commit([call, controls.place_bet(), controls.place_bet()])
    assert (late.code, later.code) == (999, 999)
    assert topics(book).count("LateBetRefused") == 1


@pytest.mark.parametrize("round_id", [None, controls.ROUND])
def test_a_result_in_the_batch_of_its_bets_tombstone_is_999(
    book: Book, round_id: str | None
) -> None:
    result = controls.result(reference=controls.REFERENCE)
    _, refused = book._commit([controls.cancel(round_id=round_id), result])
    assert refused.code == 999


def test_a_wallet_opened_in_a_batch_is_known_to_the_rest_of_it(book: Book) -> None:
    stranger = {"user": controls.STRANGER}
    opened, other_currency, expired = book._commit(
        [
            controls.open_wallet(**stranger),
            controls.place_bet(**stranger, currency=controls.OTHER_CURRENCY),
            controls.expire_session(**stranger),
        ]
    )
    assert isinstance(opened, Outcome)
    assert isinstance(other_currency, WrongCurrency)
    assert isinstance(expired, Outcome)


def test_a_refusal_in_a_batch_leaves_the_others_alone(book: Book) -> None:
    first, refused, second = book._commit(
        [
            controls.place_bet(amount="1.00"),
            controls.place_bet(reference="x", currency=controls.OTHER_CURRENCY),
            controls.place_bet(reference="y", amount="1.00"),
        ]
    )
    assert (first.recorded, refused.code, second.recorded) == (True, 52, True)
    assert cash(book) == "99998.00"


# a defect in one command


def unencodable(reference: str) -> Any:
    bet = controls.place_bet(reference=reference, round_id=reference)
    return replace(bet, said=Said(uuid=controls.UUID, details=object()))


def test_a_defect_in_one_command_of_a_batch_does_not_hurt_the_others(book: Book) -> None:
    defects: list[Exception] = []
    gate = Gate()

    def commit(batch: Sequence[Any]) -> Sequence[Any]:
        gate.commit([0] * len(batch))
        return book._commit(batch)

    writer: Writer[Any, Outcome] = Writer(commit, latch=thread_latch, on_defect=defects.append)
    bets = [controls.place_bet(reference=n, round_id=n, amount="1.00") for n in "abc"]
    with waiting(writer, gate, bets[0], bets[1], unencodable("bad"), bets[2]):
        pass
    assert [len(batch) for batch in gate.batches] == [1, 3, 1, 1, 1]
    assert [type(defect) for defect in defects] == [TypeError, TypeError]
    assert cash(book) == "99997.00"
    with nothing_recorded(book):
        assert [code(book, bet) for bet in bets] == [0, 0, 0]
    assert book.round(controls.PROVIDER, "bad") is None


def test_a_defect_is_an_outcome_unknown_that_carries_its_cause(store_url: str) -> None:
    defects: list[Exception] = []
    book = controls.new_book(store_url)
    book.close()
    store = reopened(store_url)
    book = Book(store, on_defect=defects.append)
    controls.fund(book)
    with nothing_recorded(book), pytest.raises(OutcomeUnknown) as unknown:
        book.submit(unencodable("bad"))
    assert isinstance(unknown.value.__cause__, TypeError)
    assert defects
    assert code(book, controls.place_bet()) == 0
    book.close()


def reopened(store_url: str) -> Store:
    return store_class(store_url)(*store_path(store_url), IN_TRANSACTION)


# another writer: the batch conflicts, and is decided again


CLASSES = {"memory": MemoryStore, "sqlite": SQLiteStore, "postgresql": PostgresStore}


def store_class(store_url: str) -> type[Any]:
    return CLASSES[store_url.partition(":")[0]]


def store_path(store_url: str) -> tuple[str, ...]:
    scheme, _, path = store_url.partition(":///")
    if scheme.startswith("postgresql"):
        return (store_url,)
    return (path,) if path else ()


def raced(store_class: type[Any]) -> type[Any]:
    class Raced(store_class):
        """Decides without a lock, as several processes do, and lets a rival write before it inserts."""

        rival: Callable[[], object] | None = None

        untouched = False

        @contextmanager
        def transaction(self, ahead: Any = None, *, presumed: bool = False) -> Iterator[Head]:
            yield self.head()

        def insert_events(
            self, stored_events: Sequence[StoredEvent], *, changes: Any = None, **_: Any
        ) -> Any:
            if self.rival:
                self.rival()
            with super().transaction():
                return super().insert_events(stored_events, changes=changes)

    return Raced


class Race:
    """Two books on one store; `rival` writes each time the other book has decided and not yet inserted."""

    def __init__(self, store_url: str) -> None:
        self.failures: list[Exception] = []
        self.store = raced(store_class(store_url))(*store_path(store_url), IN_TRANSACTION)
        self.book = Book(self.store, on_defect=self.failures.append)
        self.rival = Book(self.store)
        controls.fund(self.book)

    def once(self, *commands: Any) -> None:
        """Lets the rival submit commands before the next insert, and not again."""

        def strike() -> None:
            self.store.rival = None
            for command in commands:
                self.rival.submit(command)

        self.store.rival = strike

    def always(self, command: Callable[[int], Any]) -> None:
        """Lets the rival submit the n-th command before the n-th insert."""
        struck = 0

        def strike() -> None:
            nonlocal struck
            self.store.rival = None
            struck += 1
            self.rival.submit(command(struck))
            self.store.rival = strike

        self.store.rival = strike


@pytest.fixture
def race(store_url: str) -> Iterator[Race]:
    running = Race(store_url)
    yield running
    records = running.store.records(after=0, limit=EVERYTHING)
    assert tables(running.book) == auditor.derive(records)
    assert [record.hash for record in records] == auditor.chain(records)
    running.rival.close()
    running.book.close()


def test_a_batch_really_conflicts_when_a_rival_writes_in_between(race: Race) -> None:
    race.once(controls.place_bet(uuid=controls.OTHER_UUID))
    with pytest.raises(IntegrityError):
        race.book._commit([controls.place_bet()])
    assert cash(race.book) == controls.CASH_AFTER_BET


def test_a_bet_that_a_rival_took_first_gets_its_answer(race: Race) -> None:
    race.once(controls.place_bet(uuid=controls.OTHER_UUID))
    outcome = race.book.submit(controls.place_bet())
    assert not outcome.recorded
    assert outcome.transaction_id == race.rival.submit(controls.place_bet()).transaction_id
    assert cash(race.book) == controls.CASH_AFTER_BET
    assert race.failures == []


def test_a_bet_whose_cash_a_rival_spent_is_15(race: Race) -> None:
    race.once(controls.place_bet(reference="x", round_id="x", amount=controls.OPENING_CASH))
    with pytest.raises(NotEnoughCash) as refusal:
        race.book.submit(controls.place_bet())
    assert refusal.value.cash == "0.00"


def test_a_bet_that_a_rival_cancelled_first_is_999(race: Race) -> None:
    race.once(controls.cancel(round_id=controls.ROUND))
    assert code(race.book, controls.place_bet()) == 999
    assert cash(race.book) == controls.OPENING_CASH


def test_of_a_cancel_and_a_rivals_result_the_rivals_has_its_effect(race: Race) -> None:
    race.book.submit(controls.place_bet())
    race.once(controls.result())
    assert code(race.book, controls.cancel()) == 999
    assert cash(race.book) == controls.CASH_AFTER_WIN


def test_bets_of_two_rounds_on_one_wallet_are_both_debited(race: Race) -> None:
    race.once(controls.place_bet(reference="x", round_id="x", amount="1.00"))
    assert race.book.submit(controls.place_bet(amount="1.00")).recorded
    assert cash(race.book) == "99998.00"


def test_a_refund_and_a_rivals_cancel_give_back_once(race: Race) -> None:
    race.book.submit(controls.place_bet())
    race.once(controls.cancel())
    assert not race.book.submit(controls.refund()).recorded
    assert cash(race.book) == controls.OPENING_CASH


def test_a_conflict_again_and_again_is_an_outcome_unknown_and_nothing_recorded(race: Race) -> None:
    race.always(lambda n: controls.place_bet(reference=str(n), round_id=str(n), amount="1.00"))
    with pytest.raises(OutcomeUnknown) as unknown:
        race.book.submit(controls.place_bet())
    assert isinstance(unknown.value.__cause__, IntegrityError)
    race.store.rival = None
    assert race.book.round(controls.PROVIDER, controls.ROUND) is None
    assert race.book.submit(controls.place_bet()).recorded


def test_every_command_of_a_conflicting_batch_is_answered(race: Race) -> None:
    gate = Gate()

    def commit(batch: Sequence[Any]) -> Sequence[Any]:
        gate.commit([0] * len(batch))
        return race.book._commit(batch)

    writer: Writer[Any, Outcome] = Writer(commit, latch=thread_latch)
    bets = [controls.place_bet(reference=n, round_id=n, amount="1.00") for n in "abcd"]
    race.book.submit(bets[0])
    with waiting(writer, gate, *bets):
        race.once(bets[2])
    assert [len(batch) for batch in gate.batches] == [1, 3, 1, 1, 1]
    with nothing_recorded(race.book):
        assert [code(race.book, bet) for bet in bets] == [0, 0, 0, 0]
    assert cash(race.book) == "99996.00"


# a storage error


def test_a_storage_error_is_an_outcome_unknown_for_all_and_nothing_recorded(race: Race) -> None:
    def fail() -> None:
        raise OperationalError("disk I/O error")

    race.store.rival = fail
    bets = [controls.place_bet(reference=str(n), round_id=str(n)) for n in range(8)]
    with nothing_recorded(race.book), ThreadPoolExecutor(8) as pool:
        for answer in [pool.submit(race.book.submit, bet) for bet in bets]:
            assert isinstance(answer.exception(), OutcomeUnknown)
            assert isinstance(answer.exception().__cause__, OperationalError)
    assert race.failures
    race.store.rival = None
    assert [code(race.book, bet) for bet in bets] == [0] * 8


def test_a_storage_error_is_not_tried_again(race: Race) -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise OperationalError("disk I/O error")

    race.store.rival = fail
    with pytest.raises(OutcomeUnknown):
        race.book.submit(controls.place_bet())
    assert tries == [1]
    race.store.rival = None


def test_a_full_disk_is_an_outcome_unknown_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = connections_made(monkeypatch)
    book = controls.new_book(f"sqlite:///{tmp_path}/book.db")
    controls.fund(book)
    writing = connections[0]
    (pages,) = writing.execute("pragma page_count").fetchone()
    writing.execute(f"pragma max_page_count = {pages}")
    large = replace(controls.place_bet(), said=Said(uuid=controls.UUID, details="x" * 100_000))
    with nothing_recorded(book), pytest.raises(OutcomeUnknown) as unknown:
        book.submit(large)
    assert "full" in str(unknown.value.__cause__)
    writing.execute("pragma max_page_count = 1000000")
    assert book.submit(large).recorded
    book.close()


UNFLUSHED = """
import sys
from eventsourcing.persistence import IntegrityError
from ledger.store import FlushFailed
from ledger.writer import Writer

_, ask, conflicts = sys.argv
failures = [FlushFailed("fsync")] + [IntegrityError("conflict")] * int(conflicts)


def write(*_):
    raise failures.pop()


writer = Writer(write)
try:
    print("answered", writer.submit(1) if ask == "submit" else writer.prove(write))
except BaseException as error:
    print("answered", error)
"""


@pytest.mark.parametrize(("ask", "conflicts"), [("submit", "0"), ("submit", "1"), ("prove", "0")])
def test_a_flush_that_fails_ends_the_process_before_anyone_is_answered(
    ask: str, conflicts: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UNFLUSHED, ask, conflicts],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=20,
    )
    assert ended.returncode == 70
    assert ended.stdout == ""
    assert "did not flush" in ended.stderr


INTERRUPTED = """
import random, signal
from tests import controls

book, armed = controls.new_book("memory://"), False
controls.fund(book)
opening = book.wallet(controls.PLAYER, controls.CURRENCY).cash


def interrupt(*_):
    if armed:
        raise KeyboardInterrupt


signal.signal(signal.SIGALRM, interrupt)
interrupted = number = 0
while interrupted < 400:
    number += 1
    bet = controls.place_bet(round_id=str(number), reference=str(number), amount="0.01")
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-4))
    try:
        try:
            armed = True
            book.submit(bet)
        finally:
            armed = False
    except KeyboardInterrupt:
        interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert book.submit(bet).cash == opening - number
book.close()
print("closed")
"""


def test_a_caller_who_is_interrupted_in_a_commit_of_his_own_leaves_the_writer_free() -> None:
    said = subprocess.run(
        (sys.executable, "-c", INTERRUPTED),
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert said.stdout == "closed\n", said.stderr
