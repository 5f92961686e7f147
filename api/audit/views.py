"""What each page says: questions to an audit file, as tables and facts, before any HTML."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import asdict
from sqlite_utils import Database

from api.audit.chart import Chart, Step, step_line
from api.audit.links import page, shell
from ledger.moments import moment, text
from ledger.money import to_text
from ledger.reader import whole
from ledger.refusals import Malformed
from projections import as_of, browse
from projections.as_of import Damaged, NotThere, PastEvent, RoundAsOf
from projections.forms import Report, decimals
from projections.reports import REPORTS, Kind, Question

SHOWN = 200
"""Rows of a table on a page; its exports have them all."""

MOST_EXPORTED = 10_000
"""Events in an export; the next ones stand behind its last."""

STRETCH = 10_000
"""Events whose hashes one request computes anew: some 20 ms."""


REMARKED = ("kind", "by", "outcome", "code", "detail")


class Elsewhere(Exception):
    """What is asked has no page of its own; `url` is where it is spoken of."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Unasked(Malformed):
    """A question to an audit file that cannot be answered."""


class Look(NamedTuple):
    """A request: the file, whose it is, what is asked. `head`: the book's, where it is at hand.

    `limit`: rows where a table could be long; -1, for exports, is all.
    """

    db: Database
    party: str
    file: str
    query: Mapping[str, str]
    head: int | None
    limit: int

    def text(self, field: str) -> str:
        """Returns what the query must say. Raises Unasked."""
        found = self.query.get(field, "")
        if not found:
            raise Unasked("is missing", field=field)
        return found

    def whole(self, field: str, *, least: int = 0) -> int | None:
        """Returns a whole number that the query may say. Raises Unasked."""
        said = self.query.get(field, "").strip()
        if not said:
            return None
        found = whole(said)
        if found is None or found < least:
            raise Unasked(f"must be a whole number from {least} on", field=field)
        return found

    def about(self, view: str, **said: Any) -> str:
        """Returns the address of a page of this book."""
        return page(self.party, view, **said)


class View(NamedTuple):
    """A page before it is drawn: its facts, as JSON has them, its tables by name, what only HTML needs."""

    title: str
    facts: Mapping[str, Any]
    tables: Mapping[str, Report]
    shell: Sequence[str]
    drawn: Mapping[str, Any] = {}


def home(look: Look) -> View:
    """Returns how a book stands: head, lag, seals, types, newest events."""
    found = browse.overview(look.db)
    lag = None if look.head is None else max(0, look.head - found.position)
    tables = {
        "newest": browse.newest(look.db),
        "types": browse.topics(look.db),
        "seals": browse.seals(look.db, limit=5 if look.limit > 0 else -1),
        "contradictions": browse.contradictions(look.db),
    }
    return View(
        f"The {look.party}'s book",
        {"overview": found, "lag": lag},
        tables,
        [
            shell("report", "verification", look.file),
            f"datasette {shlex.quote(look.file)}  # pip install datasette",
        ],
    )


# rounds


def round_(look: Look) -> View:
    """Returns a round as of one of its versions, with all that was recorded of it."""
    partner, round_id = look.text("partner"), look.text("round")
    at = look.whole("at", least=1)
    try:
        now = as_of.round_as_of(look.db, partner, round_id)
    except NotThere:
        if browse.is_named(look.db, round_id, partner=partner):
            raise Elsewhere(look.about("search", q=round_id)) from None
        raise
    then = now if at is None else as_of.round_as_of(look.db, partner, round_id, at=at)
    timeline = browse.round_events(look.db, partner, round_id)
    tables = {
        "transactions": browse.transactions(then),
        "timeline": browse.table(look.db, timeline, "Timeline", without="user currency"),
        "replay": browse.comparison(look.db, now),
    }
    if look.party == "provider":
        tables["deliveries"] = browse.deliveries(look.db, partner, round_id)
    said, version = _decimal(then), [] if then is now else ["--at", str(then.version)]
    upto = then.position if then.version < now.version else as_of.head(look.db).position
    return View(
        f"Round {round_id} of {partner}" + (f" as of event {then.version}" if version else ""),
        {"round": said, "versions": now.version},
        tables,
        [
            shell("round", partner, round_id, options=[*version, "--from", look.file]),
            shell("history", round_id, options=["--from", look.file]),
        ],
        {
            "then": said,
            "now": now,
            "timeline": _lines(look, timeline, partner, round_id, upto=upto),
            "chart": _cash(timeline, then),
        },
    )


class _Line(NamedTuple):
    """An event in a timeline: as it is stored, and the one it reverses or is reversed by."""

    event: PastEvent
    stored: browse.StoredEvent
    remark: str
    amount: str | None
    cash_before: str | None
    cash_after: str | None
    other: int | None
    reverses: bool
    later: bool


def _lines(
    look: Look, timeline: Sequence[PastEvent], partner: str, round_id: str, *, upto: int
) -> list[_Line]:
    reversed_by = browse.reversals(look.db, partner, round_id)
    bet_of = {reversal: bet for bet, reversal in reversed_by.items()}
    return [
        _line(
            event,
            browse.event(look.db, event.position),
            other=reversed_by.get(event.position) or bet_of.get(event.position),
            reverses=event.position in bet_of,
            later=event.position > upto,
        )
        for event in _near(timeline, upto)
    ]


def _near(timeline: Sequence[PastEvent], position: int) -> Sequence[PastEvent]:
    """Returns as many of a round's events as a page shows, the last one up to a position in their middle."""
    known = sum(event.position <= position for event in timeline)
    first = max(0, min(known - SHOWN // 2, len(timeline) - SHOWN))
    return timeline[first : first + SHOWN]


def _line(
    event: PastEvent, stored: browse.StoredEvent, *, other: int | None, reverses: bool, later: bool
) -> _Line:
    amount, before, after = decimals(event.scale, (event.amount, _before(event), event.cash))
    remark = _remark(stored.state)
    return _Line(event, stored, remark, amount, before, after, other, reverses, later)


def _before(event: PastEvent) -> int | None:
    """Returns the wallet's cash before an event that moved it."""
    return None if event.cash is None else event.cash - (event.amount or 0)


def _remark(state: str) -> str:
    """Returns what of an event tells it from others of its type."""
    try:
        body = msgspec.json.decode(state)
    except msgspec.MsgspecError:
        return "CANNOT BE READ"
    return " ".join(str(body[key]) for key in REMARKED if body.get(key) not in (None, ""))


def _decimal(found: RoundAsOf) -> dict[str, Any]:
    """Returns a round, its amounts as decimals, without the transactions that have a table of their own."""
    said = asdict(found)
    scale, _ = said.pop("scale"), said.pop("transactions")
    return {**said, **{f: to_text(said[f], scale) for f in ("staked", "won", "reversed")}}


def _cash(timeline: Sequence[PastEvent], then: RoundAsOf) -> Chart | None:
    """Returns the wallet's cash along the round: before its first event, after each, moved elsewhere between."""
    moved = [event for event in timeline if event.cash is not None]
    steps: list[Step] = []
    for number, event in enumerate(moved, 1):
        after, before = event.cash or 0, _before(event) or 0
        if not steps or steps[-1].value != before:
            what = "moved elsewhere" if steps else "before"
            steps.append(Step(2 * number - 1, before, f"{what}: {to_text(before, then.scale)}", ""))
        label = f"{event.topic}: {to_text(after, then.scale)}"
        steps.append(Step(2 * number, after, label, f"#p{event.position}"))
    upto = sum(event.position <= then.position for event in moved)
    return step_line(steps, scale=then.scale, upto=max(1, 2 * upto))


# wallets


def wallet(look: Look) -> View:
    """Returns a wallet as of a position or a time, with its statement and rounds."""
    user, currency = look.text("user"), look.text("currency")
    found = _balance(look, user, currency)
    at, db, limit = found.position, look.db, look.limit
    past = None if at == as_of.head(db).position else at
    option = [] if past is None else ["--at", str(at)]
    asked = [f"--user={user}", f"--currency={currency}"]
    cash, frozen = to_text(found.cash, found.scale), browse.is_frozen(db, user, currency, at=at)
    said = {field: value for field, value in asdict(found).items() if field != "scale"}
    return View(
        f"Wallet of {user} in {currency}" + (f" as of position {at}" if option else ""),
        {"wallet": {**said, "cash": cash, "frozen": frozen}},
        {
            "statement": browse.statement(db, user, currency, at=at, limit=limit),
            "rounds": browse.rounds_of(db, user, currency=currency, upto=past, limit=limit),
        },
        [
            shell("balance", user, currency, options=[*option, "--from", look.file]),
            shell("report", "daily-wallets", look.file, options=asked),
        ],
        {
            "chart": _balances(look, found),
            "at": at,
            "now": past is None,
            "earlier": _earlier(look, found),
        },
    )


def _balance(look: Look, user: str, currency: str) -> as_of.Balance:
    """Returns a wallet as it is asked for. Raises Elsewhere where only events speak of it, Unasked, NotThere."""
    try:
        return as_of.balance(look.db, user, currency, at=time_or_position(look))
    except NotThere:
        now = look.party == "operator" and not {"at", "as_of"} & look.query.keys()
        if now and browse.is_named(look.db, user, currency=currency):
            raise Elsewhere(look.about("search", q=user)) from None
        raise


def _balances(look: Look, found: as_of.Balance) -> Chart | None:
    """Returns a wallet's cash after each event that moved it, up to where it is looked at."""
    known = browse.balances(look.db, found.user, found.currency, at=found.position)
    steps = [
        Step(
            _ms(point.at),
            point.cash,
            f"{point.at}: {to_text(point.cash, found.scale)}",
            look.about("event", position=point.position),
        )
        for point in known
    ]
    return step_line(steps, scale=found.scale)


def _earlier(look: Look, found: as_of.Balance) -> int | None:
    """Returns the position before a wallet's last change; None where there was no wallet then."""
    try:
        as_of.balance(look.db, found.user, found.currency, at=found.changed_at - 1)
    except NotThere:
        return None
    return found.changed_at - 1


def time_or_position(look: Look) -> int:
    """Returns the position that is asked for, by itself or by a time. Raises Unasked, NotThere."""
    at, time, last = look.whole("at"), look.query.get("as_of", ""), as_of.head(look.db).position
    if at is not None and time:
        raise Unasked("give either at or as_of", field="as_of")
    if time:
        return as_of.position_at(look.db, read_time(time))
    if at is not None and at > last:
        raise NotThere(f"the file ends at position {last}")
    return last if at is None else at


def read_time(said: str) -> str:
    """Returns a time as events keep it; one without an offset is UTC, a date its midnight. Raises Unasked."""
    try:
        found = datetime.fromisoformat(said.strip().replace(" ", "+"))
        return text(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Unasked("must be a date or a time, as 2026-11-21T16:00:00Z", field="as_of") from None


def _ms(clock: str) -> int:
    try:
        return round(moment(clock).timestamp() * 1000)
    except ValueError:
        raise Damaged(f"{clock!r} is no time") from None


# events, and what they are found by


def search(look: Look) -> View:
    """Returns what goes by a name."""
    named = look.query.get("q", "")
    if not named.strip():
        return View("Search", {"q": ""}, {}, [])
    found = browse.find(look.db, named, limit=look.limit)
    if not found.events.rows and named != named.strip():
        named = named.strip()
        found = browse.find(look.db, named, limit=look.limit)
    tables = {"wallets": found.wallets, "rounds": found.rounds, "events": found.events}
    command = shell("history", named, options=["--from", look.file])
    return View(
        f"Search: {named}",
        {"q": named, "position": found.position},
        tables,
        [command] if found.events.rows else [],
        {"nothing": not any(report.rows for report in tables.values()) and not found.position},
    )


def events(look: Look) -> View:
    """Returns a stretch of the book, in order."""
    after, last = look.whole("after") or 0, as_of.head(look.db).position
    limit = SHOWN if look.limit > 0 else MOST_EXPORTED
    upto = min(after + limit, last)
    return View(
        f"Events {after + 1} to {upto}" if upto > after else "Events",
        {"after": after, "upto": upto, "head": last},
        {"events": browse.events(look.db, after=after, limit=limit)},
        [shell("replay", options=_stretch(look, after + 1, upto))],
        {
            "earlier": max(0, min(after, last) - SHOWN) if after else None,
            "more": upto if upto < last else None,
        },
    )


def event(look: Look) -> View:
    """Returns an event as it is stored."""
    position = look.whole("position", least=1)
    if position is None:
        raise Unasked("is missing", field="position")
    found = browse.event(look.db, position)
    tables = {"postings": browse.postings(look.db, position)} if look.party == "operator" else {}
    about = browse.table(
        look.db, as_of.events_where(look.db, "e.position = :at", {"at": position}), "About"
    )
    return View(
        f"Event {position}: {found.topic}",
        {"event": found, "holds": found.holds},
        {"about": about, **tables},
        [shell("replay", options=_stretch(look, position, position))],
    )


def _stretch(look: Look, first: int, last: int) -> list[str]:
    upto = ["--to", str(last)] if last >= first else []
    return ["--from", look.file, "--from-position", str(first), *upto, "--json"]


# reports


def reports(look: Look) -> View:
    """Returns which reports there are."""
    kinds = {name: kind for name, kind in REPORTS.items() if _is_of(kind, look.party)}
    listed = [(name, _first_line(kind), ", ".join(kind.takes)) for name, kind in kinds.items()]
    return View(
        "Reports",
        {},
        {"reports": Report("Reports", ("name", "what", "takes"), listed)},
        [shell("report", options=["--help"])],
    )


def report(look: Look, name: str) -> View:
    """Returns a report, or what it has to be asked. Raises NotThere, Unasked."""
    if name not in REPORTS or not _is_of(REPORTS[name], look.party):
        raise NotThere(f"there is no report {name} of the {look.party}'s book")
    kind = REPORTS[name]
    given = {field: look.query[field] for field in kind.takes if look.query.get(field)}
    asked = Question(**{field: _asked(field, value) for field, value in given.items()})
    if asked.since and asked.until and asked.since > asked.until:
        raise Unasked("is after until", field="since")
    needed = [field for field in kind.needs if field not in given]
    if needed and look.limit < 0:
        raise Unasked("is missing", field=needed[0])
    made = None if needed else kind.make(look.db, asked)
    options = [f"--{field.replace('_', '-')}={value}" for field, value in given.items()]
    return View(
        made.title if made else name.replace("-", " ").capitalize(),
        {"name": name, "asked": given},
        {"report": made} if made else {},
        [] if needed else [shell("report", name, look.file, options=options)],
        {"fields": kind.takes, "needed": needed, "what": _first_line(kind)},
    )


def _is_of(kind: Kind, party: str) -> bool:
    return party == "operator" or kind.any_party


def _first_line(kind: Kind) -> str:
    """Returns what a report says of itself."""
    first = re.split(r"\. |\n", kind.make.__doc__ or "")[0]
    return re.sub(r"^Returns ", "", first).rstrip(".")


def _asked(field: str, said: str) -> Any:
    if field not in ("since", "until", "as_of"):
        return said
    try:
        return date.fromisoformat(said.strip())
    except ValueError:
        raise Unasked("must be a day, as 2026-11-21", field=field) from None


# the chain


def chain(look: Look) -> View:
    """Returns the seals, and what computing a stretch of hashes anew comes to."""
    after, head = look.whole("after"), as_of.head(look.db).position
    found = None if after in (None, head) else browse.stretch(look.db, after=after, limit=STRETCH)
    known, key = browse.overview(look.db), _key(look.db)
    return View(
        "Chain and seals",
        {"overview": known, "stretch": found},
        {
            "seals": browse.seals(look.db, limit=look.limit),
            "contradictions": browse.contradictions(look.db),
        },
        [
            shell("verify", known.source, options=key),
            shell("audit-file", look.file, options=["--from", known.source, *key]),
        ],
        {"more": found.last if found and found.last < found.head and not found.broken else None},
    )


def _key(db: Database) -> list[str]:
    """Returns the option that names the first seal's key, from which the others follow."""
    found = db.execute("select key from seals order by number limit 1").fetchone()
    return ["--key", *found] if found else []


VIEWS: dict[str, Callable[[Look], View]] = {
    "home": home,
    "round": round_,
    "wallet": wallet,
    "search": search,
    "events": events,
    "event": event,
    "reports": reports,
    "chain": chain,
}
"""Every page but the reports, by its name in the address."""
