"""What a table kept in the write transaction is: derived from events alone, by one pure function."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Key = tuple[str, ...]
Row = tuple[Any, ...]
Changes = Mapping[str, Mapping[Key, tuple[Row | None, Row]]]
"""By table, by key: the row as it was read (None for none) and as it is after a batch."""


class Recorded(NamedTuple):
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

    def key(self, event: Any) -> Key | None:
        """Returns the key of the row an event touches, None for none."""

    def evolve(self, row: Row | None, recorded: Recorded) -> Row:
        """Returns the row after the event, from the row before it. Pure."""
