from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

from ledger.event import Event
from ledger.mapper import Mapper, Unreadable
from ledger.operator import events as ours
from ledger.operator import round as operator_round
from ledger.operator.book import MAPPER as OPERATOR
from ledger.provider import events as theirs
from ledger.provider import round as provider_round
from ledger.provider.book import MAPPER as PROVIDER

GOLDEN = Path(__file__).parents[1] / "golden"


class Line(msgspec.Struct, frozen=True):
    topic: str
    body: msgspec.Raw


class Golden(NamedTuple):
    """One party's golden lines, its events, and what the lines' rounds come to.

    `first` lines have this `hash`; no line gives the fields that are `missing`, by topic.
    """

    file: str
    first: int
    hash: str
    mapper: Mapper
    events: ModuleType
    round: ModuleType
    missing: Mapping[str, set[str]]
    rounds: Mapping[str, tuple[str, int]]

    @property
    def stored(self) -> list[bytes]:
        return (GOLDEN / self.file).read_bytes().splitlines(keepends=True)

    @property
    def lines(self) -> list[Line]:
        return [msgspec.json.decode(line, type=Line) for line in self.stored]


PARTIES = {
    "operator": Golden(
        "events.jsonl",
        28,
        "27737dd905dc79e23adca5cc285a2ba9c6b4cd39e506df99afe2a6df3dcc08c4",
        OPERATOR,
        ours,
        operator_round,
        {"BetRefunded": {"win"}},
        {
            "5103188801": ("Cancelled", 6),
            "5103188802": ("Cancelled", 5),
            "3": ("InProgress", 2),
            "4": ("InProgress", 2),
            "5": ("Completed", 3),
        },
    ),
    "provider": Golden(
        "provider_events.jsonl",
        72,
        "d4c5e273d6c8f89c9a8c15c60f929a215f2e66c947793403e7ae073bfd849dbd",
        PROVIDER,
        theirs,
        provider_round,
        {"EndConfirmed": {"amount"}},  # no money moves
        {
            "5103188801": ("Completed", 10),
            "5103188802": ("Cancelled", 6),
            "5103188803": ("Cancelled", 14),
            "5103188804": ("InProgress", 3),
        },
    ),
}
each_party = pytest.mark.parametrize("golden", PARTIES.values(), ids=PARTIES)


@pytest.mark.parametrize(
    ("mapper", "line"),
    [
        pytest.param(golden.mapper, line, id=f"{party}-{place}-{line.topic}")
        for party, golden in PARTIES.items()
        for place, line in enumerate(golden.lines, 1)
    ],
)
def test_a_stored_event_is_read_for_ever_and_written_as_the_same_bytes(
    mapper: Mapper, line: Line
) -> None:
    event = mapper.decode(line.topic, bytes(line.body))
    assert type(event).__name__ == line.topic
    assert mapper.encode(event) == bytes(line.body)


@each_party
def test_every_type_of_event_has_a_golden_line(golden: Golden) -> None:
    assert {line.topic for line in golden.lines} == {cls.__name__ for cls in golden.events.TYPES}


@each_party
def test_golden_lines_are_never_edited_only_added_to(golden: Golden) -> None:
    assert sha256(b"".join(golden.stored[: golden.first])).hexdigest() == golden.hash


@each_party
def test_no_field_of_an_event_escapes_the_golden_lines(golden: Golden) -> None:
    missing = {cls.__name__: set(cls.__struct_fields__) for cls in golden.events.TYPES}
    for line in golden.lines:
        missing[line.topic] -= msgspec.json.decode(line.body).keys()
    assert {topic: fields for topic, fields in missing.items() if fields} == golden.missing


def test_nothing_that_a_call_says_escapes_the_golden_lines() -> None:
    bodies = [msgspec.json.decode(line.body) for line in PARTIES["operator"].lines]
    said = {field for body in bodies for field in body.get("said", {})}
    assert said == set(ours.Said.__struct_fields__)


@each_party
def test_the_golden_rounds_are_replayed(golden: Golden) -> None:
    rounds: dict[str, Any] = {}
    for line in golden.lines:
        event = golden.mapper.decode(line.topic, bytes(line.body))
        if isinstance(event, get_args(golden.events.InRound)) and event.round:
            state = rounds.get(event.round, golden.round.Round())
            rounds[event.round] = golden.round.evolve(state, event)
    assert {name: (state.status, state.version) for name, state in rounds.items()} == golden.rounds


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("BetForgotten", b"{}"),
        ("BetPlaced", b"{}"),
        ("BetPlaced", b"not JSON"),
        ("WalletFrozen", b'{"recorded_at":1}'),
    ],
)
def test_what_is_no_event_of_this_book_is_unreadable(topic: str, state: bytes) -> None:
    with pytest.raises(Unreadable):
        OPERATOR.decode(topic, state)


def test_a_topic_is_the_plain_name_of_its_type() -> None:
    class BetMoved(Event, frozen=True, kw_only=True):
        amount: int

    event = BetMoved(recorded_at="now", amount=1)
    mapper = Mapper([BetMoved])
    assert mapper.encode(event) == b'{"recorded_at":"now","amount":1}'
    assert mapper.decode("BetMoved", mapper.encode(event)) == event
