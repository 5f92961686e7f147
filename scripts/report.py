"""`roundbook report`: what a regulator asks for, from an audit file."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from sqlite_utils import Database

from ledger.store import StoreUnfit
from projections.forms import Report, as_csv, as_plain, said
from projections.reports import REPORTS, Question, RoundUnknown
from scripts import options, tables
from scripts.opened import opened


class Day(click.ParamType[date]):
    """A date, as 2026-11-21."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007  (a day)
        except ValueError:
            self.fail(f"{value!r} is no day, as 2026-11-21", param, ctx)


DAY = Day()


@click.command(short_help="Print a report of an operator's audit file.")
@click.argument("name", type=click.Choice(list(REPORTS)), metavar="NAME")
@click.argument("file", type=options.AuditFile(path_type=Path))
@click.option("--provider", metavar="ID", help="Only this provider's.")
@click.option("--round", "round_id", metavar="ID", help="The round of a round-history.")
@click.option("--user", metavar="ID", help="Only this player's.")
@click.option("--currency", metavar="CODE", help="Only in this currency.")
@click.option("--since", type=DAY, help="From this day on, UTC.")
@click.option("--until", type=DAY, help="Up to the end of this day, UTC [default: the last].")
@click.option("--as-of", type=DAY, help="As things stood at the end of this day, UTC.")
@tables.form
def report(
    *,
    name: str,
    file: Path,
    form: str,
    provider: str | None,
    round_id: str | None,
    user: str | None,
    currency: str | None,
    since: date | None,
    until: date | None,
    as_of: date | None,
) -> None:
    """Print a report of an operator's audit file, which is only read.

    \b
    round-history             all that was recorded of a round, cash before and after
    incomplete-rounds         rounds without an outcome: age, open stakes, when they are due
    cancelled-and-refunded    stakes that went back, by which call and when
    daily-wallets             each wallet, day by day: opening, what moved, closing
    daily-providers           each provider, day by day: stakes, wins, reversals, revenue
    gaming-revenue            gross gaming revenue of a period
    tombstones-and-late-bets  reversals of bets that are not known, and bets that came after
    adjustments               deposits, withdrawals, freezes, unfreezes, promos
    verification              what the file was copied from, up to where, and its seals

    Exits 1 where a variance is not zero or the round is not known, 2 where the report cannot be made.

    \b
    Example: roundbook report daily-wallets audit.db --user 123456 --csv
    """
    asked = Question(
        provider=provider,
        round=round_id,
        user=user,
        currency=currency,
        since=since,
        until=until,
        as_of=as_of,
    )
    _check(name, asked)
    try:
        with opened(file) as db:
            _check_party(name, db, file)
            made = REPORTS[name].make(db, asked)
    except RoundUnknown as unknown:
        raise click.ClickException(str(unknown)) from None
    _print(made, form)
    sys.exit(0 if made.holds else 1)


def _check(name: str, asked: Question) -> None:
    for option, value in msgspec.structs.asdict(asked).items():
        said = f"--{option.replace('_', '-')}"
        if value is None and option in REPORTS[name].needs:
            raise click.UsageError(f"{name} needs {said}")
        if value is not None and option not in REPORTS[name].takes:
            raise click.UsageError(f"{name} takes no {said}")
    if asked.since and asked.until and asked.since > asked.until:
        raise click.BadParameter(
            f"{asked.since} is after --until {asked.until}", param_hint="--since"
        )


def _check_party(name: str, db: Database, file: Path) -> None:
    (party,) = db.execute("select party from audit").fetchone()
    if party != "operator" and not REPORTS[name].any_party:
        raise StoreUnfit(f"{file} is of a {party}'s book; {name} is made of an operator's")


# printing


def _print(made: Report, form: str) -> None:
    if form == "json":
        click.echo(msgspec.json.encode(as_plain(made)))
    elif form == "csv":
        click.echo(as_csv(made), nl=False)
    else:
        _print_table(made)


def _print_table(made: Report) -> None:
    if made.rows:
        tables.show(made.columns, (list(map(said, row)) for row in made.rows), title=made.title)
    else:
        click.echo(f"{made.title}: none")
    click.echo(made.note)
