"""What a table kept in the write transaction is: derived from events alone, by one pure function."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

Key = tuple[str, ...]
Row = tuple[Any, ...]
Changes = Mapping[str, Mapping[Key, tuple[Row | None, Row]]]
"""By table, by key: the row as it was read (None for none) and as it is after a batch."""

Keys = Mapping[type, Callable[[Any], Key]]
"""By an event's type: the key of the row it touches."""


class Recorded(msgspec.Struct, frozen=True):
    """An event and its place: what read models are derived from."""

    stream: str
    version: int
    event: Any


class Projection(Protocol):
    """One table that is kept in the write transaction, derived from events alone."""

    @property
    def TABLE(self) -> str: ...  # noqa: N802  (a module's constant)
    @property
    def KEY(self) -> Sequence[str]: ...  # noqa: N802
    @property
    def COLUMNS(self) -> Sequence[str]: ...  # noqa: N802
    @property
    def SCHEMA(self) -> str: ...  # noqa: N802

    @property
    def KEYS(self) -> Keys: ...  # noqa: N802

    def evolve(self, row: Row | None, recorded: Recorded) -> Row:
        """Returns the row after the event, from the row before it. Pure."""


def key_of(projection: Projection, event: Any) -> Key | None:
    """Returns the key of the row an event touches, None for none."""
    found = projection.KEYS.get(type(event))
    return found(event) if found else None


Kept = tuple[str, Callable[[Any], Key], Callable[[Row | None, Recorded], Row]]
"""A table, the key of the row that an event touches there, and what the row becomes."""


def kept_of(projections: Sequence[Projection]) -> Mapping[type, Sequence[Kept]]:
    """Returns, by an event's type, the tables it touches; a type that touches none is absent."""
    kept: dict[type, list[Kept]] = {}
    for projection in projections:
        for kind, key_of in projection.KEYS.items():
            kept.setdefault(kind, []).append((projection.TABLE, key_of, projection.evolve))
    return kept
