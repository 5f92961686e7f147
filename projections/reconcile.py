"""One party's book held against the other's, reference by reference and round by round.

Both books are read once, the provider's first: it says which providers there are to compare. What
is kept of a reference is where it stands, how much it is about, and the round it belongs to.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from sys import intern
from typing import Any, Literal, NamedTuple

import msgspec

from ledger.event import Event
from ledger.money import to_text
from ledger.operator import events as operator_events
from ledger.provider import events as provider_events

Word = Literal[
    "missing-at-operator",
    "missing-at-provider",
    "amount",
    "currency",
    "round",
    "player",
    "transaction",
    "status",
    "reversal",
    "unsettled",
]
"""What differs. `transaction`: the operator's id is not the one its wallet answered;
`status`: taken by one party's book only, or a round that stands elsewhere;
`reversal`: a stake that went back in one book only; `unsettled`: the wallet has not answered yet."""


class OperatorUnknown(Exception):
    """The provider's book holds no round at this operator."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the books do not say the same.

    `kind`: bet, result, bonus, jackpot, or round, which has no reference. Provider and round are the
    provider's own, the operator's where the provider has none.
    """

    difference: Word
    kind: str
    provider: str
    round: str
    reference: str
    at_operator: str
    at_provider: str


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """How many bets, results and rounds were compared, and where they differ, sorted by round.

    `left_out` are providers whose bets the operator's book holds, and the provider's book is not of.
    """

    compared: dict[str, int]
    differences: list[Difference]
    left_out: list[str] = []


class Subject(NamedTuple):
    """Whose money it is about; one value serves a whole round."""

    provider: str
    round: str
    user: str
    currency: str


class Transaction(NamedTuple):
    """What one book has of a reference: `amount` in minor units; `recent` where it began after the cut.

    `ids` are the operator's, of what was taken or paid and of what gave it back; empty where there is none,
    and in the provider's book where the wallet's answer named none, as a Cancel's at Lucky Monaco's.
    """

    subject: Subject
    amount: int
    scale: int
    state: str
    recent: bool
    ids: tuple[str, str] = ("", "")


Key = tuple[str, str, str]
"""Provider without case, kind, reference."""

STATUSES = ("InProgress", "CancelInProcess", "CompleteInProcess", "Completed", "Cancelled")
"""A round's stages: one that it has passed does not come back."""

COMPLETED = STATUSES.index("Completed")


class OperatorRound(NamedTuple):
    """A round in the operator's book; `taken` once a stake was, `end` the id of its EndRound."""

    recent: bool
    stage: int = 0
    taken: bool = False
    end: str = ""

    @property
    def status(self) -> str:
        return STATUSES[self.stage]


class ProviderRound(NamedTuple):
    """A round in the provider's book.

    `open` counts its bets that may stay, `reversing` those whose reversal the wallet has not
    confirmed, `owing` what it has not confirmed of the outcome; `end` is the id it gave the EndRound.
    """

    subject: Subject
    scale: int
    recent: bool
    stage: int = 0
    open: int = 0
    reversing: int = 0
    owing: int = 0
    end: str = ""

    @property
    def status(self) -> str:
        if self.stage == COMPLETED and self.owing:
            return "CompleteInProcess"
        if self.stage == 0 and self.reversing and not self.open:
            return "CancelInProcess"
        return STATUSES[self.stage]


class OperatorBook(msgspec.Struct):
    """The operator's references and rounds of the compared providers; rounds by provider and id.

    `again`: what was taken, or given back, under a reference that had been already.
    """

    transactions: dict[Key, Transaction] = {}
    again: list[tuple[Key, Transaction]] = []
    rounds: dict[tuple[str, str], OperatorRound] = {}
    subject: dict[Subject, Subject] = {}
    left_out: set[str] = set()


class ProviderBook(msgspec.Struct):
    """The provider's references and rounds at one operator; rounds by id; `again` as the operator's."""

    transactions: dict[Key, Transaction] = {}
    again: list[tuple[Key, Transaction]] = []
    rounds: dict[str, ProviderRound] = {}


def reconcile(
    *,
    operator: Iterable[Event],
    provider: Iterable[Event],
    operators: Collection[str] = (),
    since: str = "",
) -> Reconciled:
    """Returns where the operator's events and the provider's do not say the same.

    `operators` are secure logins, empty for all; the providers they play with are compared, and every
    provider with a book that is empty.
    `since` is a time as events keep it: what began before in both books is left out.
    Raises OperatorUnknown. Source: bets, results, reversals and rounds of both books.
    """
    theirs = _read_provider(provider, operators, since)
    providers = {_folded(round_.subject.provider) for b in theirs for round_ in b.rounds.values()}
    ours = _read_operator(operator, providers, since)
    compared: Counter[str] = Counter(bets=0, results=0, rounds=0)
    found = [*_references(ours, theirs, compared), *_rounds(ours, theirs, compared)]
    found.sort(key=lambda d: (d.provider, d.round, d.reference, d.kind, d.difference))
    return Reconciled(compared=compared, differences=found, left_out=sorted(ours.left_out))


def _folded(provider: str) -> str:
    return intern(provider.casefold())


# the operator's book

_OPERATOR_STATES: dict[type[Event], str] = {
    operator_events.BetPlaced: "placed",
    operator_events.BetRefused: "refused",
    operator_events.TombstoneRecorded: "tombstone",
    operator_events.BetCancelled: "cancelled",
    operator_events.BetRefunded: "refunded",
    operator_events.ResultRecorded: "recorded",
}
_REVERSED = {"cancelled", "refunded"}
_TAKEN = {"placed", "recorded", *_REVERSED}

_OPERATOR_STAGES: dict[type[Event], int] = {
    operator_events.RoundOpened: 0,
    operator_events.BetPlaced: 0,
    operator_events.ResultRecorded: COMPLETED,
    operator_events.RoundEnded: COMPLETED,
    operator_events.RoundCancelled: STATUSES.index("Cancelled"),
}


def _read_operator(events: Iterable[Event], providers: Collection[str], since: str) -> OperatorBook:
    book = OperatorBook()
    for event in events:
        provider = _folded(getattr(event, "provider", ""))
        if provider in providers or not providers:
            _operator_transaction(book, provider, event, recent=event.recorded_at >= since)
            _operator_round(book, provider, event, recent=event.recorded_at >= since)
        elif isinstance(event, operator_events.BetPlaced):
            book.left_out.add(event.provider)
    return book


def _operator_transaction(book: OperatorBook, provider: str, event: Any, *, recent: bool) -> None:
    state = _OPERATOR_STATES.get(type(event))
    if state is None:
        return
    key = (provider, getattr(event, "kind", "bet"), event.reference)
    known = book.transactions.get(key)
    subject = Subject(event.provider, event.round or "", event.user, event.currency)
    transaction = Transaction(
        subject=book.subject.setdefault(subject, subject),
        amount=getattr(event, "amount", 0),
        scale=getattr(event, "scale", 0),
        state=state,
        recent=known.recent if known else recent,
        ids=known.ids if known else ("", ""),
    )
    if known and _is_again(known.state, state):
        book.again.append((key, transaction._replace(recent=recent)))
    elif known and state in _REVERSED and transaction != known._replace(state=state):
        return  # what was taken is not what this gave back: it stays taken
    else:
        book.transactions[key] = _named(transaction, event)


def _named(transaction: Transaction, event: Any) -> Transaction:
    """Returns a transaction with the id that an event gives it, where it gives one."""
    named, (taken, back) = getattr(event, "transaction_id", ""), transaction.ids
    reverses = isinstance(event, _REVERSALS)
    return transaction._replace(ids=(taken, named) if reverses else (named or taken, back))


_REVERSALS = (
    operator_events.BetReversed,
    operator_events.TombstoneRecorded,
    provider_events.CancelConfirmed,
    provider_events.RefundConfirmed,
)


def _is_again(known: str, state: str) -> bool:
    """Returns whether the same was done before; no book of ours does it twice."""
    return {known, state} <= _TAKEN and (known in _REVERSED) == (state in _REVERSED)


def _operator_round(book: OperatorBook, provider: str, event: Any, *, recent: bool) -> None:
    stage = _OPERATOR_STAGES.get(type(event))
    if stage is None:
        return
    known = book.rounds.get((provider, event.round)) or OperatorRound(recent)
    book.rounds[provider, event.round] = known._replace(
        stage=max(stage, known.stage),
        taken=known.taken or isinstance(event, operator_events.BetPlaced),
        end=event.transaction_id if isinstance(event, operator_events.RoundEnded) else known.end,
    )


# the provider's book

_PROVIDER_STATES: dict[type[Event], tuple[str, str]] = {
    provider_events.BetRequested: ("bet", "requested"),
    provider_events.BetAccepted: ("bet", "accepted"),
    provider_events.BetDeclined: ("bet", "declined"),
    provider_events.BetGivenUp: ("bet", "given-up"),
    provider_events.CancelRequested: ("bet", "given-up"),
    provider_events.CancelConfirmed: ("bet", "cancelled"),
    provider_events.RefundRequested: ("bet", "refunding"),
    provider_events.RefundConfirmed: ("bet", "refunded"),
    provider_events.ResultRequested: ("result", "requested"),
    provider_events.ResultConfirmed: ("result", "confirmed"),
}
"""Kind and state of the reference that an event names."""

_SETTLED = {"bet": "accepted", "result": "confirmed"}

_PROVIDER_STAGES: dict[type[Event], int] = {
    provider_events.CancellationRequested: STATUSES.index("CancelInProcess"),
    provider_events.ResultRequested: STATUSES.index("CompleteInProcess"),
    provider_events.RoundEnded: STATUSES.index("CompleteInProcess"),
    provider_events.RoundCompleted: COMPLETED,
    provider_events.RoundCancelled: STATUSES.index("Cancelled"),
}

_COUNTED: dict[type[Event], tuple[int, int, int]] = {
    provider_events.BetRequested: (1, 0, 0),
    provider_events.BetDeclined: (-1, 0, 0),
    provider_events.BetGivenUp: (-1, 1, 0),
    provider_events.CancelConfirmed: (0, -1, 0),
    provider_events.RefundRequested: (-1, 1, 0),
    provider_events.RefundConfirmed: (0, -1, 0),
    provider_events.ResultRequested: (0, 0, 1),
    provider_events.ResultConfirmed: (0, 0, -1),
    provider_events.EndRequested: (0, 0, 1),
    provider_events.EndConfirmed: (0, 0, -1),
}
"""By how much an event changes what a round has open, reversing and owing."""


def _read_provider(
    events: Iterable[Event], operators: Collection[str], since: str
) -> list[ProviderBook]:
    books: dict[str, ProviderBook] = {}
    for event in events:
        if isinstance(event, provider_events.RoundEvent) and (
            not operators or event.operator in operators
        ):
            book = books.setdefault(event.operator, ProviderBook())
            _provider_round(book, event, recent=event.recorded_at >= since)
            _provider_transaction(book, event, recent=event.recorded_at >= since)
    unknown = sorted(set(operators) - books.keys())
    if unknown:
        raise OperatorUnknown(f"the provider's book has no round at {', '.join(unknown)}")
    return list(books.values())


def _provider_round(book: ProviderBook, event: provider_events.RoundEvent, *, recent: bool) -> None:
    if isinstance(event, provider_events.RoundOpened):
        subject = Subject(event.provider, event.round, event.user, event.currency)
        book.rounds[event.round] = ProviderRound(subject, event.scale, recent)
        return
    known = book.rounds[event.round]
    open_, reversing, owing = _COUNTED.get(type(event), (0, 0, 0))
    book.rounds[event.round] = known._replace(
        stage=max(_PROVIDER_STAGES.get(type(event), 0), known.stage),
        open=known.open + open_,
        reversing=known.reversing + reversing,
        owing=known.owing + owing,
        end=event.transaction_id if isinstance(event, provider_events.EndConfirmed) else known.end,
    )


def _provider_transaction(book: ProviderBook, event: Any, *, recent: bool) -> None:
    if type(event) not in _PROVIDER_STATES:
        return
    kind, state = _PROVIDER_STATES[type(event)]
    subject, scale, *_ = book.rounds[event.round]
    key = (_folded(subject.provider), kind, event.reference)
    if isinstance(event, provider_events.BetRequested | provider_events.ResultRequested):
        transaction = Transaction(subject, event.amount, scale, state, recent)
        if key in book.transactions:
            book.again.append((key, transaction._replace(state=_SETTLED[kind])))
        else:
            book.transactions[key] = transaction
    else:
        book.transactions[key] = _named(book.transactions[key]._replace(state=state), event)


# one against the other


class Expected(NamedTuple):
    """What a reference's state at the provider asks of the operator's book; None: either will do."""

    taken: bool | None = None
    reversed: bool | None = None
    settled: bool = True


_EXPECTED = {
    "requested": Expected(settled=False),
    "accepted": Expected(taken=True, reversed=False),
    "declined": Expected(taken=False),
    "given-up": Expected(settled=False),
    "cancelled": Expected(reversed=True),
    "refunding": Expected(taken=True, settled=False),
    "refunded": Expected(taken=True, reversed=True),
    "confirmed": Expected(taken=True),
}

_IN_PROCESS = {"CompleteInProcess", "CancelInProcess"}


def _references(
    ours: OperatorBook, theirs: list[ProviderBook], compared: Counter[str]
) -> Iterator[Difference]:
    for key, at_operator, at_provider in _pairs(ours, theirs):
        if any(transaction.recent for transaction in (at_operator, at_provider) if transaction):
            compared["bets" if key[1] == "bet" else "results"] += 1
            for word in _words(at_operator, at_provider):
                yield _difference(word, key, at_operator, at_provider)


def _pairs(
    ours: OperatorBook, theirs: list[ProviderBook]
) -> Iterator[tuple[Key, Transaction | None, Transaction | None]]:
    """Returns every reference the provider has, then those that took or paid money without it, or again."""
    for book in theirs:
        for key, transaction in book.transactions.items():
            yield key, ours.transactions.get(key), transaction
        for key, transaction in book.again:
            yield key, None, transaction
    for key, transaction in ours.again:
        yield key, transaction, None
    for key, transaction in ours.transactions.items():
        if transaction.state in _TAKEN and not any(key in book.transactions for book in theirs):
            yield key, transaction, None


def _words(ours: Transaction | None, theirs: Transaction | None) -> Iterator[Word]:
    if theirs is None:
        yield "missing-at-provider"
        return
    expected = _EXPECTED[theirs.state]
    taken = ours is not None and ours.state in _TAKEN
    if not expected.settled:
        yield "unsettled"
    if expected.taken and ours is None:
        yield "missing-at-operator"
    elif expected.taken not in (None, taken):
        yield "status"
    if ours is not None and taken:
        if expected.reversed not in (None, ours.state in _REVERSED):
            yield "reversal"
        yield from _facts(ours, theirs)
    if ours is not None and any(map(_differ, ours.ids, theirs.ids)):
        yield "transaction"


def _differ(at_operator: str, at_provider: str) -> bool:
    """Returns whether two ids of one transaction differ; where a book has none, it says nothing else."""
    return "" != at_operator != at_provider != ""


def _facts(ours: Transaction, theirs: Transaction) -> Iterator[Word]:
    # as values: the parties may count a currency's minor units differently
    if ours.amount * 10**theirs.scale != theirs.amount * 10**ours.scale:
        yield "amount"
    if ours.subject.currency != theirs.subject.currency:
        yield "currency"
    if ours.subject.round != theirs.subject.round:
        yield "round"
    if ours.subject.user != theirs.subject.user:
        yield "player"


def _difference(
    word: Word, key: Key, at_operator: Transaction | None, at_provider: Transaction | None
) -> Difference:
    known = at_provider or at_operator
    assert known is not None
    return Difference(
        difference=word,
        kind=key[1],
        provider=known.subject.provider,
        round=known.subject.round,
        reference=key[2],
        at_operator=_said(word, at_operator),
        at_provider=_said(word, at_provider),
    )


def _said(word: Word, transaction: Transaction | None) -> str:
    if transaction is None:
        return "absent"
    if word == "round":
        return transaction.subject.round
    if word == "player":
        return transaction.subject.user
    if word == "transaction":
        return ", ".join(filter(None, transaction.ids))
    if transaction.state in ("refused", "tombstone"):
        return transaction.state
    return f"{to_text(transaction.amount, transaction.scale)} {transaction.subject.currency} {transaction.state}"


def _rounds(
    ours: OperatorBook, theirs: list[ProviderBook], compared: Counter[str]
) -> Iterator[Difference]:
    """Compares the rounds that both have and in which the operator took a stake."""
    for at_provider in (round_ for book in theirs for round_ in book.rounds.values()):
        subject = at_provider.subject
        at_operator = ours.rounds.get((_folded(subject.provider), subject.round))
        if at_operator and at_operator.taken and (at_operator.recent or at_provider.recent):
            compared["rounds"] += 1
            for word, said, told in _round_words(at_operator, at_provider):
                yield Difference(
                    difference=word,
                    kind="round",
                    provider=subject.provider,
                    round=subject.round,
                    reference="",
                    at_operator=said,
                    at_provider=told,
                )


def _round_words(ours: OperatorRound, theirs: ProviderRound) -> Iterator[tuple[Word, str, str]]:
    """Returns what differs, and what either book says."""
    in_process = theirs.status in _IN_PROCESS
    if in_process or ours.status != theirs.status:
        yield "unsettled" if in_process else "status", ours.status, theirs.status
    if _differ(ours.end, theirs.end):
        yield "transaction", ours.end, theirs.end
