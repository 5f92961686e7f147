"""The reports that regulators ask for, each from an operator's audit file alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from sqlite_utils import Database

from ledger.counted import many
from ledger.moments import moment, text
from ledger.money import to_text
from ledger.names import name
from projections.as_of import position_at
from projections.forms import Cell, Report, Row, decimals

RETENTION = timedelta(days=90)
"""How long after it was placed a bet is refunded, where its round has no outcome."""

HALF = 32
"""Bits that a half of a sum is counted in."""

EARLIER = ""
"""Stands for all the days before the first that was asked for."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is asked about; None leaves it open. Days are UTC, and both ends count."""

    provider: str | None = None
    round: str | None = None
    user: str | None = None
    currency: str | None = None
    since: date | None = None
    until: date | None = None
    as_of: date | None = None


class RoundUnknown(Exception):
    """The file holds nothing of the round."""


# one round, and rounds


def round_history(db: Database, asked: Question) -> Report:
    """Returns all that was recorded of a round, in order. Raises RoundUnknown.

    Source: the round's stream, and tombstones elsewhere that name the round; those have no version.
    """
    assert asked.provider
    assert asked.round
    found = db.execute(
        """
select iif(e.stream = :stream, e.version, null), e.position, e.recorded_at, e.topic,
    coalesce(e.state ->> 'by', e.state ->> 'kind'), e.reference, w.scale, e.state ->> 'amount',
    nullif(e.state ->> 'win', 0), coalesce(e.state ->> 'cash_before', e.state ->> 'cash'),
    coalesce(e.state ->> 'cash_after', e.state ->> 'cash'), e.transaction_id,
    e.state ->> '$.said.uuid'
from events e left join wallets w on w.user = e.user and w.currency = e.currency
where e.stream = :stream
    or e.position in (select position from tombstones where round = :round and provider = :provider)
order by e.position""",
        {**_bound(db, asked), "stream": name("round", asked.provider, asked.round)},
    )
    rows = [(*row[:6], *decimals(row[6], row[7:11]), *row[11:]) for row in found]
    if not rows:
        raise RoundUnknown(f"nothing is recorded of round {asked.round} of {asked.provider}")
    columns = "version position at what by reference amount win_taken_back cash_before cash_after"
    return Report(
        f"Round {asked.round} of {asked.provider}",
        [*columns.split(), "transaction_id", "uuid"],
        rows,
        _upto(db),
    )


def incomplete_rounds(db: Database, asked: Question) -> Report:
    """Returns the rounds with an open bet and no outcome, the oldest first; due when such a bet is 90 days old.

    As of the end of a day, or of the file.
    """
    as_of = f"{asked.as_of}T23:59:59.999999Z" if asked.as_of else _last_clock(db)
    found = db.execute(
        """
select r.provider, r.round, r.user, r.game, r.opened_at, r.currency, count(*), sum(b.amount), b.scale,
    min(p.recorded_at) -- of the bets that are open: those before may have been refused, or gone back
from rounds r join events o on o.position = r.opened_position
join bets b on b.round = r.round and b.provider = r.provider and b.position <= :upto
    and not exists (select 1 from reversals v where v.bet = b.position and v.position <= :upto)
join events p on p.position = b.position
where r.opened_position <= :upto and (r.status = 'InProgress' or r.position > :upto)
    and not exists (select 1 from events e where e.stream = o.stream and e.position <= :upto
        and e.topic in ('ResultRecorded', 'RoundEnded', 'RoundCancelled'))
    and (:provider is null or r.provider = :provider) and (:user is null or r.user = :user)
    and (:currency is null or r.currency = :currency)
group by r.opened_position order by r.opened_position""",
        {**_bound(db, asked), "upto": position_at(db, as_of)},
    )
    rows = [_incomplete(row, as_of) for row in found]
    columns = "provider round user game opened_at currency open_bets open_stakes age_days due_at"
    overdue = sum(1 for row in rows if str(row[-1]) <= as_of)
    return Report(
        "Incomplete rounds", columns.split(), rows, f"as of {as_of}, {overdue} overdue; {_upto(db)}"
    )


def _incomplete(row: Sequence[Any], as_of: str) -> Row:
    *said, bets, stakes, scale, open_since = row
    age = (moment(as_of) - moment(row[4])).days
    due_at = text(moment(open_since) + RETENTION)
    return (*said, bets, to_text(stakes, scale), age, due_at)


def cancelled_and_refunded(db: Database, asked: Question) -> Report:
    """Returns each stake that went back, with its bet and the call that gave it back."""
    found = db.execute(
        """
select v.position, e.recorded_at, b.status, v.by, v.provider, v.round, v.user, v.reference,
    o.recorded_at, v.currency, v.scale, b.amount, v.win, b.transaction_id, v.transaction_id,
    e.state ->> '$.said.uuid'
from reversals v join bets b on b.position = v.bet
join events e on e.position = v.position join events o on o.position = v.bet
where v.position > :after and v.position <= :upto
    and (:provider is null or v.provider = :provider) and (:user is null or v.user = :user)
    and (:currency is null or v.currency = :currency)
order by v.position""",
        _bound(db, asked),
    )
    columns = (
        "position at outcome triggered_by provider round user reference bet_at currency stake"
        " win_taken_back bet_transaction_id transaction_id uuid"
    )
    rows = [(*row[:10], *decimals(row[10], row[11:13]), *row[13:]) for row in found]
    return Report("Cancelled and refunded bets", columns.split(), rows, _upto(db))


def tombstones_and_late_bets(db: Database, asked: Question) -> Report:
    """Returns the reversals whose bet was not known, and the bets that came after one."""
    found = db.execute(
        """
select e.position, e.recorded_at, iif(e.topic = 'LateBetRefused', 'late-bet', 'tombstone'),
    e.state ->> 'by', e.provider, e.round, e.user, e.currency, e.reference, e.transaction_id,
    e.state ->> '$.said.uuid'
from (select position from tombstones union all select position from refused where amount is null) t
join events e on e.position = t.position
where e.position > :after and e.position <= :upto
    and (:provider is null or e.provider = :provider) and (:user is null or e.user = :user)
    and (:currency is null or e.currency = :currency)
order by e.position""",
        _bound(db, asked),
    )
    columns = "position at what by provider round user currency reference transaction_id uuid"
    return Report("Tombstones and late bets", columns.split(), list(found), _upto(db))


# every day


class _Line(NamedTuple):
    """A row whose last amount is its variance; amounts are minor units."""

    cells: Row
    scale: int
    amounts: Sequence[int]


def daily_wallets(db: Database, asked: Question) -> Report:
    """Returns a line for each wallet and day from its first event on, whether anything happened or not.

    Amounts come from the postings, the closing from the cash that the day's last event says.
    """
    found = db.execute(
        f"""
select e.user, e.currency, w.scale, iif(e.position > :after, substr(e.clock, 1, 10), '') as day,
    {_sum("p.amount", "e.topic = 'DepositMade'")},
    {_sum("-p.amount", "e.topic = 'WithdrawalMade'")},
    {_sum("-p.amount", "e.topic = 'BetPlaced'")},
    {_sum("p.amount", "e.topic = 'ResultRecorded'")},
    {_sum("p.amount", "e.topic = 'PromoPaid'")},
    {_sum("p.amount", "e.topic in ('BetCancelled', 'BetRefunded')")},
    e.state ->> 'cash_after', -- of the last event: where max stands, SQLite takes its row
    max(e.position)
from events e join wallets w on w.user = e.user and w.currency = e.currency
left join postings p on p.position = e.position and p.account glob 'player/*'
where e.position <= :upto and (e.topic = 'WalletOpened' or p.position is not null)
    and (:user is null or e.user = :user) and (:currency is null or e.currency = :currency)
group by e.user, e.currency, w.scale, day order by e.user, e.currency, w.scale, day""",  # noqa: S608
        _bound(db, asked),
    )
    last = _last_day(db, asked)
    columns = "day user currency opening deposits withdrawals stakes wins promos reversals closing"
    return _balanced(
        "Daily statements of wallets",
        [*columns.split(), "variance"],
        (
            _Line((day, *of), scale, amounts)
            for *of, scale, days in _grouped(found, sums=6)
            for day, amounts in _statement(days, asked, last)
        ),
        _upto(db),
    )


def _statement(
    days: dict[str, Sequence[int]], asked: Question, last: str
) -> Iterator[tuple[str, Sequence[int]]]:
    """Yields each day of one wallet: opening, what moved, closing, variance."""
    opening = days[EARLIER][6] if EARLIER in days else 0
    for day in _days(days, asked, last):
        *moved, closing, _ = days.get(day, (0,) * 6 + (opening, 0))
        deposits, withdrawals, stakes, wins, promos, reversals = moved
        expected = opening + deposits - withdrawals - stakes + wins + promos + reversals
        yield day, (opening, *moved, closing, expected - closing)
        opening = closing


PLAYED = ("bets", "stakes", "wins", "reversals", "revenue", "variance")


def daily_providers(db: Database, asked: Question) -> Report:
    """Returns a line for each provider, currency and day from the first stake on, zeros included.

    Reversals are stakes that went back, less the wins taken back with them.
    """
    last = _last_day(db, asked)
    return _balanced(
        "Daily statements of providers",
        ["day", "provider", "currency", *PLAYED],
        (
            _play((day, *of), scale, [days[day]] if day in days else [])
            for *of, scale, days in _grouped(_played(db, asked), sums=4)
            for day in _days(days, asked, last)
        ),
        _upto(db),
    )


def gaming_revenue(db: Database, asked: Question) -> Report:
    """Returns what stakes, less wins and reversals, came to for each provider and currency.

    What counts is when money moved, not when its round was opened.
    """
    return _balanced(
        "Gross gaming revenue",
        ["provider", "currency", *PLAYED],
        (
            _play(tuple(of), scale, [days[day] for day in days if day != EARLIER])
            for *of, scale, days in _grouped(_played(db, asked), sums=4)
        ),
        f"{asked.since or 'the first day'} to {_last_day(db, asked)}; {_upto(db)}",
    )


def _played(db: Database, asked: Question) -> Iterable[Sequence[Any]]:
    """Returns what each day came to: by bets, results and reversals, and by the rounds' postings."""
    return db.execute(
        f"""
select e.provider, e.currency, a.scale,
    iif(e.position > :after, substr(e.clock, 1, 10), '') as day,
    {_sum("b.amount")}, {_sum("r.amount")}, {_sum("v.amount - v.win")}, {_sum("p.amount")},
    count(b.position)
from postings p join accounts a on a.account = p.account and a.kind = 'round'
join events e on e.position = p.position left join bets b on b.position = p.position
left join results r on r.position = p.position left join reversals v on v.position = p.position
where p.position <= :upto and (:provider is null or e.provider = :provider)
    and (:currency is null or e.currency = :currency)
group by e.provider, e.currency, a.scale, day order by e.provider, e.currency, a.scale, day""",  # noqa: S608
        _bound(db, asked),
    )


def _play(of: Row, scale: int, days: Sequence[Sequence[int]]) -> _Line:
    stakes, wins, reversals, revenue, bets = (sum(day[at] for day in days) for at in range(5))
    variance = stakes - wins - reversals - revenue
    return _Line((*of, bets), scale, (stakes, wins, reversals, revenue, variance))


def _balanced(title: str, columns: Sequence[str], lines: Iterable[_Line], note: str) -> Report:
    rows: list[Row] = []
    varying = 0
    for cells, scale, amounts in lines:
        rows.append((*cells, *decimals(scale, amounts)))
        varying += amounts[-1] != 0
    verdict = f"a variance in {varying} of {many(len(rows), 'line')}" if varying else "no variance"
    return Report(title, columns, rows, f"{verdict}; {note}", holds=not varying)


def _sum(amount: str, where: str = "true") -> str:
    """Selects a sum in two halves: all of a book may come to more than SQLite's integers hold."""
    halves = f"{amount} >> {HALF}", f"({amount}) & {2**HALF - 1}"
    return ", ".join(f"sum({half}) filter (where {where})" for half in halves)


def _whole(row: Sequence[int | None], sums: int) -> list[int]:
    """Returns sums that were selected by `_sum`, and what stands behind them; nulls as zeros."""
    said = [each or 0 for each in row]
    halves = zip(said[: 2 * sums : 2], said[1 : 2 * sums : 2], strict=True)
    return [*((high << HALF) + low for high, low in halves), *said[2 * sums :]]


def _grouped(found: Iterable[Sequence[Any]], *, sums: int) -> Iterator[tuple[Any, ...]]:
    """Yields what lines are of, and their scale, with its days: sums by day, then what follows them."""
    for of, rows in groupby(found, key=lambda row: row[:3]):
        yield *of, {row[3]: _whole(row[4:], sums) for row in rows}


def _days(days: Iterable[str], asked: Question, last: str) -> Iterator[str]:
    """Yields every day from the first on, or from the one asked for; without gaps."""
    first = str(asked.since) if EARLIER in days else min(days)
    for ordinal in range(_ordinal(first), _ordinal(last) + 1):
        yield str(date.fromordinal(ordinal))


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


# what people did, and what the file is


def adjustments(db: Database, asked: Question) -> Report:
    """Returns what changed a wallet outside any round: by the back office, or by a campaign."""
    found = db.execute(
        """
select position, recorded_at,
    case topic when 'DepositMade' then 'deposit' when 'WithdrawalMade' then 'withdrawal'
        when 'PromoPaid' then 'promo' when 'WalletFrozen' then 'freeze' else 'unfreeze' end,
    user, currency, state ->> 'scale', state ->> 'amount', state ->> 'cash_before',
    state ->> 'cash_after', provider, state ->> 'campaign', reference, transaction_id
from events
where position > :after and position <= :upto
    and topic in ('DepositMade', 'WithdrawalMade', 'PromoPaid', 'WalletFrozen', 'WalletUnfrozen')
    and (:provider is null or provider = :provider) and (:user is null or user = :user)
    and (:currency is null or currency = :currency)
order by position""",
        _bound(db, asked),
    )
    columns = (
        "position at what user currency amount cash_before cash_after provider campaign reference"
        " transaction_id"
    )
    rows = [(*row[:5], *decimals(row[5], row[6:9]), *row[9:]) for row in found]
    return Report("Adjustments", columns.split(), rows, _upto(db))


def verification(db: Database, _asked: Question) -> Report:
    """Returns what was copied from where, verified while it was, its seals, and what contradicted it."""
    found = db.execute(
        """
select 'copied', party, source, position, hash, updated_at, null, null, null, 0 as part, 0 as number
from audit union all
select 'sealed', null, null, position, hash, sealed_at, key, nullif(next_key, ''), null, 1, number
from seals union all
select 'contradicted', null, null, position, null, found_at, null, null, what, 2, number
from contradictions
order by part, number"""
    )
    columns = "what party source position hash at key next_key contradiction"
    rows = [row[:-2] for row in found]
    seals, holds = db.table("seals").count, not db.table("contradictions").count
    verdict = f"seals: {seals}; {'nothing contradicted it' if holds else 'CONTRADICTED'}"
    return Report("Verification", columns.split(), rows, f"{verdict}; {_upto(db)}", holds=holds)


# what reports share


def _bound(db: Database, asked: Question) -> dict[str, Cell]:
    """Returns what is bound: positions behind `after`, up to `upto`."""
    return {
        "provider": asked.provider,
        "round": asked.round,
        "user": asked.user,
        "currency": asked.currency,
        "after": position_at(db, str(asked.since or "")),
        "upto": position_at(db, f"{asked.until or ''}~"),
    }


def _last_clock(db: Database) -> str:
    found: str | None = db.execute("select max(clock) from events").fetchone()[0]
    return found or "none"


def _last_day(db: Database, asked: Question) -> str:
    """Returns the day a report ends with: of none behind its own last copy does the file know anything."""
    last = _last_clock(db)[:10]
    (copied,) = db.execute("select substr(updated_at, 1, 10) from audit").fetchone()
    return min(str(asked.until), max(last, copied)) if asked.until else last


def _upto(db: Database) -> str:
    (position,) = db.execute("select position from audit").fetchone()
    return f"the file ends at position {position}, {_last_clock(db)}"


class Kind(NamedTuple):
    """A report: how it is made, what it takes and cannot do without; `any_party`: of a provider's file too."""

    make: Callable[[Database, Question], Report]
    takes: Sequence[str]
    needs: Sequence[str] = ()
    any_party: bool = False


PERIOD = ("since", "until")
ALL = ("provider", "user", "currency", *PERIOD)

REPORTS = {
    "round-history": Kind(round_history, ("provider", "round"), ("provider", "round")),
    "incomplete-rounds": Kind(incomplete_rounds, ("provider", "user", "currency", "as_of")),
    "cancelled-and-refunded": Kind(cancelled_and_refunded, ALL),
    "daily-wallets": Kind(daily_wallets, ("user", "currency", *PERIOD)),
    "daily-providers": Kind(daily_providers, ("provider", "currency", *PERIOD)),
    "gaming-revenue": Kind(gaming_revenue, ("provider", "currency", *PERIOD)),
    "tombstones-and-late-bets": Kind(tombstones_and_late_bets, ALL),
    "adjustments": Kind(adjustments, ALL),
    "verification": Kind(verification, (), any_party=True),
}
"""Every report, by its stable name."""
