"""Time as events keep it: text in UTC, RFC 3339 with microseconds, that sorts as time does."""

from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """Returns the wall clock's time, in UTC."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """Returns a time in UTC as events keep it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Returns the time that a text of events means."""
    return datetime.fromisoformat(text)


def later(than: str, *, seconds: float) -> str:
    """Returns the time so many seconds after another, before it for negative ones."""
    return text(moment(than) + timedelta(seconds=seconds))


def milliseconds(moment_: str) -> int:
    """Returns how many whole milliseconds a time is after 1970 began."""
    return (moment(moment_) - _EPOCH) // timedelta(milliseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
