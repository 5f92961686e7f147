import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.moments import later
from ledger.provider import commands
from ledger.provider.book import MAPPER, Book, Outcome
from ledger.provider.delivery import Delivery
from ledger.provider.house import House, Operator
from ledger.rebuild import differences, rebuild
from ledger.refusals import Refusal, Unsettled
from ledger.store import Record, Store, open_store
from projections.provider import IN_TRANSACTION
from projections.provider.rounds import RoundRow
from tests import auditor, controls
from tests.provider import examples
from tests.provider.examples import EVERYTHING, KY, LEASE_S, LM, end_send, start_send
from tests.questions import tables

HOUSE = House(
    operators={
        LM: Operator(
            id=LM, dialect="lucky-monaco-v4", provider="LuckyMonaco", retries=1, result_retries=2
        ),
        KY: Operator(id=KY, dialect="kyren-v1", provider="Kyren", retries=1, result_retries=1),
    }
)

OPERATORS = st.sampled_from([LM] * 4 + [KY])
ROUNDS = st.sampled_from(["1", "2", "3"])
USERS = st.sampled_from([controls.PLAYER] * 8 + [controls.OTHER_PLAYER])
GAMES = st.sampled_from([controls.GAME] * 8 + [controls.OTHER_GAME])
CURRENCIES = st.sampled_from([controls.CURRENCY] * 9 + ["JPY", "BTC"])
REFERENCES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
AMOUNTS = st.sampled_from(["0", "1", "2.50", "30"])
CODES = st.sampled_from([0] * 7 + [15, 999, 998, 57, 7] + [None] * 4)
PLACES = st.integers(0, 50)
WAITS = st.sampled_from([0.0, 1.0, 60.0])

GOES_TO = {
    "InProgress": {"CompleteInProcess", "Completed", "CancelInProcess", "Cancelled"},
    "CompleteInProcess": {"Completed"},
    "Completed": {"CompleteInProcess"},
    "CancelInProcess": {"Cancelled"},
    "Cancelled": set[str](),
}
ENDS_WITH_A_REFUSED_REVERSAL = {"CompleteInProcess", "Completed"}


class Audit:
    """What the stored text alone says of every bet, with none of the book's code."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.times: Counter[tuple[str, ...]] = Counter()
        self.staked: Counter[tuple[str, str]] = Counter()
        self.won: Counter[tuple[str, str]] = Counter()
        self.given_back: Counter[tuple[str, str]] = Counter()
        self._stakes: dict[tuple[str, str], int] = {}
        self._out: set[tuple[str, str]] = set()
        self._unheard_of: set[tuple[str, str]] = set()
        for record in records:
            body = json.loads(record.state)
            if "reference" in body:
                self._read(record.topic, body, (body["operator"], body["reference"]))

    def _read(self, topic: str, body: dict[str, Any], bet: tuple[str, str]) -> None:
        if topic in {"SendStarted", "SendEnded"}:
            if body["kind"] == "bet":
                self._read_send(topic, body, bet)
            return
        self.times[topic, *bet] += 1
        place = body["operator"], body["round"]
        match topic:
            case "BetRequested":
                self._stakes[bet] = body["amount"]
            case "BetAccepted":
                self.staked[place] += self._stakes[bet]
            case "BetDeclined":
                assert bet not in self._unheard_of
            case "ResultRequested":
                self.won[place] += body["amount"]
            case "RefundRequested":
                assert body["amount"] == self._stakes[bet]
                self.given_back[place] += self._stakes[bet]

    def _read_send(self, topic: str, body: dict[str, Any], bet: tuple[str, str]) -> None:
        if topic == "SendStarted":
            if bet in self._out:
                self._unheard_of.add(bet)
            self._out.add(bet)
            return
        self._out.discard(bet)
        if body["outcome"] != "answered":
            self._unheard_of.add(bet)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = examples.Clock()
        self.store: Store = open_store("memory://", IN_TRANSACTION)
        self.book = Book(self.store, HOUSE, now=self.clock)
        self.sends: list[tuple[Delivery, int]] = []
        self.words: dict[tuple[str, str], str] = {}

    def teardown(self) -> None:
        try:
            self.everything_is_answered_in_the_end()
            self.tables_are_what_a_replay_makes()
            records = self.store.records(after=0, limit=EVERYTHING)
            assert [record.hash for record in records] == auditor.chain(records)
        finally:
            self.book.close()

    def ask(self, command: commands.Command) -> Outcome | None:
        try:
            return self.book.submit(command)
        except (Refusal, Unsettled):
            return None

    def deliveries(self) -> list[Delivery]:
        return [Delivery(*row) for row in self.store.rows("deliveries")]

    def start(self, found: Delivery, worker: str) -> list[int]:
        """Returns the attempt that was taken, none where there is none to be had."""
        outcome = self.ask(
            start_send(found.kind, found.reference, operator=found.operator, worker=worker)
        )
        if not outcome or not outcome.send:
            return []
        self.sends.append((found, outcome.send.attempt))
        return [outcome.send.attempt]

    def end(self, found: Delivery, attempt: int, code: int | None, wait_s: float) -> None:
        self.ask(
            end_send(
                found.kind,
                found.reference,
                attempt=attempt,
                code=code,
                operator=found.operator,
                wait_s=wait_s,
                parked_wait_s=wait_s,
            )
        )

    def deliver(self, operator: str, code: int | None, wait_s: float, most: int) -> None:
        for found in self.book.due(operator, limit=most):
            for attempt in self.start(found, examples.WORKER):
                self.end(found, attempt, code, wait_s)

    # what the game and the operator ask

    @rule(
        operator=OPERATORS, round_id=ROUNDS, user=USERS, game=GAMES, currency=CURRENCIES,
        reference=REFERENCES, amount=AMOUNTS,
    )  # fmt: skip
    def place_a_bet(self, **said: str) -> None:
        self.ask(examples.place_bet(**said))

    @rule(
        operator=OPERATORS, round_id=ROUNDS, references=st.lists(REFERENCES, max_size=3),
        amount=AMOUNTS, code=CODES,
    )  # fmt: skip
    def place_bets_and_deliver_them(
        self, operator: str, round_id: str, references: list[str], amount: str, code: int | None
    ) -> None:
        for reference in references:
            self.ask(
                examples.place_bet(
                    operator=operator, round_id=round_id, reference=reference, amount=amount
                )
            )
        self.deliver(operator, code, 0, 4)

    @rule(operator=OPERATORS, round_id=ROUNDS, reference=REFERENCES, amount=AMOUNTS)
    def report_a_result(self, **said: str) -> None:
        self.ask(examples.report_result(**said))

    @rule(operator=OPERATORS, round_id=ROUNDS)
    def end_a_round(self, **said: str) -> None:
        self.ask(examples.end_round(**said))

    @rule(
        operator=OPERATORS, round_id=ROUNDS, user=USERS, game=GAMES, age_s=WAITS,
        how=st.sampled_from(["cancel", "overdue", "overdue", "cancel all"]),
    )  # fmt: skip
    def give_back(
        self, operator: str, round_id: str, user: str, game: str, age_s: float, how: str
    ) -> None:
        match how:
            case "cancel":
                named = {"operator": operator, "round_id": round_id, "user": user, "game": game}
                self.ask(examples.cancel_round(**named))
            case "cancel all":
                self.ask(examples.cancel_rounds(operator=operator, user=user, game=game))
            case _:
                upto = later(self.clock.text, seconds=-age_s)
                self.ask(examples.refund_overdue(operator=operator, round_id=round_id, upto=upto))

    # what couriers do

    @precondition(lambda self: self.deliveries())
    @rule(place=PLACES, worker=st.sampled_from([examples.WORKER, examples.OTHER_WORKER]))
    def start_a_send(self, place: int, worker: str) -> None:
        found = self.deliveries()
        self.start(found[place % len(found)], worker)

    @precondition(lambda self: self.sends)
    @rule(place=PLACES, code=CODES, wait_s=WAITS)
    def hear_of_any_send_there_was(self, place: int, code: int | None, wait_s: float) -> None:
        found, attempt = self.sends[place % len(self.sends)]
        self.end(found, attempt, code, wait_s)

    @rule(operator=OPERATORS, code=CODES, wait_s=WAITS, most=st.integers(1, 6))
    def deliver_what_is_due(
        self, operator: str, code: int | None, wait_s: float, most: int
    ) -> None:
        self.deliver(operator, code, wait_s, most)

    @rule(operator=OPERATORS, code=st.sampled_from([None, 998]), times=st.integers(2, 4))
    def hear_nothing_for_long(self, operator: str, code: int | None, times: int) -> None:
        for _ in range(times):
            self.clock.go(LEASE_S)
            self.deliver(operator, code, 0, 6)

    @precondition(lambda self: self.deliveries())
    @rule(place=PLACES)
    def retry_a_delivery(self, place: int) -> None:
        found = self.deliveries()
        each = found[place % len(found)]
        self.ask(examples.retry(each.kind, each.reference, operator=each.operator))

    # what happens around the book

    @rule(seconds=st.sampled_from([1.0, LEASE_S, 3600.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.clock.go(seconds)

    @rule(what=st.sampled_from(["restart", "rebuild", "stop", "confirm"]))
    def look_after_the_book(self, what: str) -> None:
        match what:
            case "restart":
                self.book.close()
                self.book = Book(self.store, HOUSE, now=self.clock)
            case "rebuild":
                before = tables(self.book)
                rebuild(self.store, MAPPER)
                assert tables(self.book) == before
            case "stop":
                self.ask(commands.StopSweep(reason="a test"))
            case "confirm":
                self.ask(commands.ConfirmSweep(upto=self.clock.text))

    # what always holds

    @invariant()
    def tables_are_what_a_replay_makes(self) -> None:
        assert differences(self.store, MAPPER) == []
        examples.agree(self.book)

    @invariant()
    def every_bet_goes_back_once_and_one_way(self) -> None:
        audit = Audit(self.store.records(after=0, limit=EVERYTHING))
        for (topic, *bet), times in audit.times.items():
            if not topic.startswith("Delivery"):
                assert times == 1, (topic, bet)
        for topic, *bet in audit.times:
            ends = {"BetAccepted", "BetDeclined", "BetGivenUp"}
            answers = sum(audit.times[end, *bet] for end in ends)
            assert answers <= 1
            if topic == "RefundRequested":
                assert audit.times["BetAccepted", *bet] == 1
                assert ("CancelRequested", *bet) not in audit.times
            if topic == "CancelRequested":
                assert audit.times["BetGivenUp", *bet] == 1

    @invariant()
    def sums_agree(self) -> None:
        audit = Audit(self.store.records(after=0, limit=EVERYTHING))
        for operator, round_id, *row in self.store.rows("rounds"):
            found, state = RoundRow(*row), self.book.round(operator, round_id)
            place = operator, round_id
            assert found.staked == state.staked == audit.staked[place]
            assert found.won == state.won == audit.won[place]
            if found.status == "Cancelled":
                assert audit.given_back[place] == audit.staked[place]
                assert found.won == 0
            assert audit.given_back[place] <= audit.staked[place]

    @invariant()
    def nothing_is_closed_and_due(self) -> None:
        for found in self.deliveries():
            assert not (found.closed and found.due_at)
            assert found.closed == (found.undelivered_since is None)
            assert (found.due_at is None) == (found.closed or found.state == "refused")
            assert found.sends <= found.attempts

    @invariant()
    def rounds_go_only_where_they_may(self) -> None:
        for operator, round_id, *row in self.store.rows("rounds"):
            word = RoundRow(*row).status
            before = self.words.get((operator, round_id), "InProgress")
            may = {before} | GOES_TO[before]
            if before == "CancelInProcess" and self.book.round(operator, round_id).refused:
                may |= ENDS_WITH_A_REFUSED_REVERSAL
            assert word in may, (before, word)
            self.words[operator, round_id] = word

    def everything_is_answered_in_the_end(self) -> None:
        """However a history went, nothing is owed once the wallets answer 0 and a person retries."""
        for _ in range(20):
            owed = self.book.undelivered(limit=EVERYTHING)
            if not owed:
                break
            self.clock.go(3600)
            for found in owed:
                if found.state == "refused":
                    self.ask(examples.retry(found.kind, found.reference, operator=found.operator))
                for attempt in self.start(found, examples.WORKER):
                    self.end(found, attempt, 0, 0)
        assert self.book.undelivered(limit=EVERYTHING) == []
        for row in self.store.rows("rounds"):
            found = RoundRow(*row[2:])
            assert found.status in {"InProgress", "Completed", "Cancelled"}
            assert (found.unanswered, found.reversing) == (0, 0)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


# what a command came to


class Retries(NamedTuple):
    kind: Any
    reference: str


class Hears(NamedTuple):
    kind: Any
    reference: str
    code: int | None


Step = commands.Command | Retries | Hears


def take(book: Book, step: Step) -> Outcome:
    """Returns what a step came to. Raises what the book does."""
    match step:
        case Retries():
            return book.submit(examples.retry(step.kind, step.reference))
        case Hears():
            outcome = book.submit(start_send(step.kind, step.reference))
            if not outcome.send:
                return outcome
            attempt = outcome.send.attempt
            end = end_send(step.kind, step.reference, attempt=attempt, code=step.code, wait_s=0)
            return book.submit(end)
    return book.submit(step)


def code_of(book: Book, step: Step) -> int:
    try:
        take(book, step)
    except (Refusal, Unsettled) as denial:
        return denial.code
    return 0


owed = st.one_of(
    st.tuples(st.sampled_from(["bet", "bet", "cancel", "refund"]), REFERENCES),
    st.sampled_from([("result", "a"), ("end", controls.ROUND)]),
)
steps = st.one_of(
    st.builds(examples.place_bet, reference=REFERENCES),
    st.sampled_from(
        [examples.report_result(reference="a"), examples.end_round(), examples.cancel_round()]
    ),
    st.builds(lambda named, code: Hears(*named, code), owed, CODES),
    st.builds(lambda named, code: Hears(*named, code), owed, CODES),
    st.builds(lambda named: Retries(*named), owed),
)
stories = st.lists(steps, max_size=40)


@settings(max_examples=120)
@given(stories)
def test_what_a_command_came_to_is_what_a_replay_says(story: list[Step]) -> None:
    book = examples.new_book("memory://", now=examples.Clock(), house=HOUSE)
    for step in story:
        try:
            outcome = take(book, step)
        except (Refusal, Unsettled):
            continue
        if outcome.round.version:
            assert outcome.round == book.round(LM, controls.ROUND)
    book.close()


@settings(max_examples=120)
@given(stories)
def test_a_book_that_restarts_after_every_step_decides_nothing_else(story: list[Step]) -> None:
    clock = examples.Clock()
    steady = Book(open_store("memory://", IN_TRANSACTION), HOUSE, now=clock)
    store = open_store("memory://", IN_TRANSACTION)
    for step in story:
        restarted = Book(store, HOUSE, now=clock)
        assert code_of(steady, step) == code_of(restarted, step)
        restarted.close()
    assert steady.store.head() == store.head()
    steady.close()


@settings(max_examples=30)
@given(stories)
def test_both_stores_decide_and_keep_the_same(
    tmp_path_factory: pytest.TempPathFactory, story: list[Step]
) -> None:
    clock = examples.Clock()
    url = f"sqlite:///{tmp_path_factory.mktemp('book')}/book.db"
    memory, file = (examples.new_book(each, now=clock, house=HOUSE) for each in ("memory://", url))
    for step in story:
        assert code_of(memory, step) == code_of(file, step)
    assert memory.store.head() == file.store.head()
    assert tables(memory) == tables(file)
    assert differences(file.store, MAPPER) == []
    memory.close()
    file.close()
