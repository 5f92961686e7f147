"""The span of time that GetGameRounds asks for. Its format is not published: ISO 8601 is read."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ledger.moments import text
from ledger.refusals import Malformed

_OFFSET = re.compile(r"(?:UTC|GMT)?(?:([+-])(\d{1,2})(?::?(\d{2}))?)?", re.ASCII | re.IGNORECASE)
_INSTANT = timedelta(microseconds=1)


class Span(NamedTuple):
    """Times as events keep them: later than `after`, no later than `upto`."""

    after: str
    upto: str


def span(start: str, end: str, zone: str) -> Span:
    """Returns the span from `start` until before `end`; an end without a time of day is the whole day.

    Raises Malformed.
    """
    where = _zone(zone)
    begins = _moment(start, where, "dateStart")
    ends = _moment(end, where, "dateEnd") + (timedelta(days=1) if _is_day(end) else timedelta())
    if ends < begins:
        raise Malformed("is before dateStart", field="dateEnd")
    return Span(text(begins - _INSTANT), text(ends - _INSTANT))


def _zone(said: str) -> tzinfo:
    found = _OFFSET.fullmatch(said)
    try:
        if not found:
            return ZoneInfo(said)
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return timezone(-offset if sign == "-" else offset)
    except (ValueError, KeyError, OSError):
        raise Malformed("is no time zone: UTC, +09:00 or Europe/Malta", field="timeZone") from None


def _moment(said: str, where: tzinfo, field: str) -> datetime:
    try:
        found = datetime.fromisoformat(said)
        return (found if found.tzinfo else found.replace(tzinfo=where)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("is no date: 2026-11-21 or 2026-11-21T10:00:00", field=field) from None


def _is_day(said: str) -> bool:
    try:
        date.fromisoformat(said)
    except ValueError:
        return False
    return True
