"""The span of time that GetGameRounds asks for. Its format is not published: ISO 8601 is read."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ledger.moments import text
from ledger.provider.book import EVER
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
    begins, until = _moment(start, where, "dateStart"), _moment(end, where, "dateEnd")
    if _is_day(end):
        try:  # the next day's midnight: where clocks are changed, a day has 23 hours, or 25
            until = _moment(_day_after(end), where, "dateEnd")
        except OverflowError:
            return Span(_before(begins), EVER)
    if until < begins or (until == begins and _is_day(end)):
        raise Malformed("is before dateStart", field="dateEnd")
    return Span(_before(begins), _before(until))


def _before(moment: datetime) -> str:
    try:
        return text(moment - _INSTANT)
    except OverflowError:
        return ""


def _zone(said: str) -> tzinfo:
    found = _OFFSET.fullmatch(said)
    try:
        if not found:
            return ZoneInfo(said)
        sign, hours, minutes = found.groups()
        if int(minutes or 0) > 59:
            raise ValueError(minutes)
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


def _day_after(day: str) -> str:
    return str(date.fromisoformat(day) + timedelta(days=1))


def _is_day(said: str) -> bool:
    try:
        date.fromisoformat(said)
    except ValueError:
        return False
    return True
