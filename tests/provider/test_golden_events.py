from hashlib import sha256
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ledger.provider import events, round
from ledger.provider.book import MAPPER
from ledger.provider.round import Round

GOLDEN = Path(__file__).parents[1] / "golden" / "provider_events.jsonl"
FIRST_LINES = 72
THEIR_HASH = "d4c5e273d6c8f89c9a8c15c60f929a215f2e66c947793403e7ae073bfd849dbd"


class Line(msgspec.Struct, frozen=True):
    topic: str
    body: msgspec.Raw


LINES = [msgspec.json.decode(line, type=Line) for line in GOLDEN.read_bytes().splitlines()]


@pytest.mark.parametrize(
    "line", LINES, ids=[f"{place}-{line.topic}" for place, line in enumerate(LINES, 1)]
)
def test_a_stored_event_is_read_for_ever_and_written_as_the_same_bytes(line: Line) -> None:
    event = MAPPER.decode(line.topic, bytes(line.body))
    assert type(event).__name__ == line.topic
    assert MAPPER.encode(event) == bytes(line.body)


def test_no_type_of_event_and_none_of_its_fields_escapes_the_golden_lines() -> None:
    seen: dict[str, set[str]] = {cls.__name__: set() for cls in events.TYPES}
    for line in LINES:
        seen[line.topic] |= msgspec.json.decode(line.body).keys()
    missing = {
        cls.__name__: set(cls.__struct_fields__) - seen[cls.__name__] for cls in events.TYPES
    }
    assert {topic: fields for topic, fields in missing.items() if fields} == {
        "EndConfirmed": {"amount"},  # no money moves
    }


def test_golden_lines_are_never_edited_only_added_to() -> None:
    first = GOLDEN.read_bytes().splitlines(keepends=True)[:FIRST_LINES]
    assert sha256(b"".join(first)).hexdigest() == THEIR_HASH


def test_the_golden_rounds_are_replayed() -> None:
    rounds: dict[str, Round] = {}
    for line in LINES:
        event = MAPPER.decode(line.topic, bytes(line.body))
        if isinstance(event, get_args(events.InRound)):
            rounds[event.round] = round.evolve(rounds.get(event.round, Round()), event)
    assert {name: (state.status, state.version) for name, state in rounds.items()} == {
        "5103188801": ("Completed", 10),
        "5103188802": ("Cancelled", 6),
        "5103188803": ("Cancelled", 14),
        "5103188804": ("InProgress", 3),
    }
