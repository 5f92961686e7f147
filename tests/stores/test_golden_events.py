from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ledger.event import Event
from ledger.mapper import Mapper, Unreadable
from ledger.operator import events, round
from ledger.operator.book import MAPPER
from ledger.operator.round import Round

GOLDEN = Path(__file__).parents[1] / "golden" / "events.jsonl"
FIRST_LINES = 28
THEIR_HASH = "27737dd905dc79e23adca5cc285a2ba9c6b4cd39e506df99afe2a6df3dcc08c4"


class Line(msgspec.Struct, frozen=True):
    topic: str
    body: msgspec.Raw


LINES = [msgspec.json.decode(line, type=Line) for line in GOLDEN.read_bytes().splitlines()]
each_line = pytest.mark.parametrize(
    "line", LINES, ids=[f"{place}-{line.topic}" for place, line in enumerate(LINES, 1)]
)


def topics(lines: Iterable[Line]) -> set[str]:
    return {line.topic for line in lines}


@each_line
def test_a_stored_event_is_read_for_ever_and_written_as_the_same_bytes(line: Line) -> None:
    event = MAPPER.decode(line.topic, bytes(line.body))
    assert type(event).__name__ == line.topic
    assert MAPPER.encode(event) == bytes(line.body)


def test_every_type_of_event_has_a_golden_line() -> None:
    assert topics(LINES) == {cls.__name__ for cls in events.TYPES}


def test_golden_lines_are_never_edited_only_added_to() -> None:
    first = GOLDEN.read_bytes().splitlines(keepends=True)[:FIRST_LINES]
    assert sha256(b"".join(first)).hexdigest() == THEIR_HASH


def test_no_field_of_an_event_escapes_the_golden_lines() -> None:
    seen: dict[str, set[str]] = {cls.__name__: set() for cls in events.TYPES}
    said: set[str] = set()
    for line in LINES:
        body = msgspec.json.decode(line.body)
        seen[line.topic] |= body.keys()
        said |= body.get("said", {}).keys()
    for cls in events.TYPES:
        assert set(cls.__struct_fields__) - seen[cls.__name__] <= {"win"}
    assert "win" in seen["BetCancelled"]
    assert said == set(events.Said.__struct_fields__)


def test_the_golden_rounds_are_replayed() -> None:
    rounds: dict[str, Round] = {}
    for line in LINES:
        event = MAPPER.decode(line.topic, bytes(line.body))
        if isinstance(event, get_args(events.InRound)) and event.round:
            rounds[event.round] = round.evolve(rounds.get(event.round, Round()), event)
    seen = {name: (state.status, state.version) for name, state in rounds.items()}
    assert seen == {
        "5103188801": ("Cancelled", 6),
        "5103188802": ("Cancelled", 5),
        "3": ("InProgress", 2),
        "4": ("InProgress", 2),
        "5": ("Completed", 3),
    }


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
        MAPPER.decode(topic, state)


def test_a_topic_is_the_plain_name_of_its_type() -> None:
    class BetMoved(Event, frozen=True, kw_only=True):
        amount: int

    event = BetMoved(recorded_at="now", amount=1)
    mapper = Mapper([BetMoved])
    assert mapper.encode(event) == b'{"recorded_at":"now","amount":1}'
    assert mapper.decode("BetMoved", mapper.encode(event)) == event
