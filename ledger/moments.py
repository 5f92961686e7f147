"""Time as events keep it: text in UTC, RFC 3339 with microseconds, that sorts as time does."""

import re
from datetime import UTC, datetime, timedelta

DAY_S = 24 * 3600


def utc_now() -> datetime:
    """Returns the wall clock's time, in UTC."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """Returns a time in UTC as events keep it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def checked(text: str) -> str:
    """Returns a text that means a time as events keep it. Raises ValueError for another."""
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{text!r} is no time in UTC with microseconds")
    moment(text)
    return text


def moment(text: str) -> datetime:
    """Returns the time that a text of events means."""
    return datetime.fromisoformat(text)


def later(than: str, *, seconds: float) -> str:
    """Returns the time so many seconds after another, before it for negative ones."""
    return text(moment(than) + timedelta(seconds=seconds))


def milliseconds(moment_: str) -> int:
    """Returns how many whole milliseconds a time is after 1970 began."""
    return (moment(moment_) - _EPOCH) // timedelta(milliseconds=1)


_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
