"""Clocks that stand still, go where they are told to, or go on with every look."""

from datetime import UTC, datetime, timedelta

from ledger.moments import text

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """A wall clock that goes where it is told to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def go(self, seconds: float = 0, *, days: float = 0) -> None:
        self.at += timedelta(days=days, seconds=seconds)

    @property
    def text(self) -> str:
        return text(self.at)


class Clocks(Clock):
    """The wall clock beside the steady one: `go` moves both, `set_by` the wall clock alone."""

    def __init__(self) -> None:
        super().__init__()
        self.ticked = 0.0

    def go(self, seconds: float = 0, *, days: float = 0) -> None:
        super().go(seconds, days=days)
        self.ticked += timedelta(days=days, seconds=seconds).total_seconds()

    def set_by(self, seconds: float = 0, *, days: float = 0) -> None:
        super().go(seconds, days=days)

    def steady(self) -> float:
        return self.ticked
