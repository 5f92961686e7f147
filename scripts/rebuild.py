"""`roundbook rebuild`: the tables again from the events, or only the check that they agree."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from api.settings import SettingsWrong
from ledger.counted import differing, many
from ledger.rebuild import RowDifference, differences
from ledger.rebuild import rebuild as rebuild_tables
from ledger.store import StoreUnfit, open_store, told
from scripts import options
from scripts.source import MAPPERS, TABLES, Party, naming, party_at
from scripts.tables import show


@click.command()
@options.config
@options.store
@click.option(
    "--party",
    type=click.Choice(get_args(Party)),
    default="operator",
    show_default=True,
    help="Whose book it is.",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where table and events differ.")
@options.as_json
def rebuild(
    config: Path | None, store: str | None, party: Party, *, check: bool, as_json: bool
) -> None:
    """Derive a book's tables again from its events.

    It takes the events as they are: verify the book first. With --store no configuration is needed.

    \b
    Example: roundbook rebuild --check --store sqlite:///roundbook.db
    """
    where, mapper = _configured(config, party) if store is None else store, MAPPERS[party]
    _check_party(where, party)
    with (
        closing(
            open_store(where, TABLES[party], create=False, read_only=check, anew=not check)
        ) as opened,
        naming(told(where)),
    ):
        about: dict[str, Any] = {"store": told(where), "position": opened.head().position}
        if not check:
            rows = rebuild_tables(opened, mapper)
            events = many(about["position"], "event")
            said = f"{many(rows, 'row')} of {about['store']} derived from {events}"
            click.echo(msgspec.json.encode({**about, "rows": rows}) if as_json else said)
            return
        altered = opened.altered()
        if altered:
            raise StoreUnfit(f"store: {about['store']}: {altered}{altered.remedy}")
        found = differences(opened, mapper)
    if as_json:
        click.echo(msgspec.json.encode({**about, "differences": found}))
    else:
        _print_table(found, **about)
    sys.exit(1 if found else 0)


def _configured(config: Path | None, party: Party) -> str:
    books = options.settings(config)[0].books()
    if party not in books:
        raise SettingsWrong("provider_book: there is none in the configuration")
    return books[party]


def _check_party(where: str, party: Party) -> None:
    whose = party_at(where, otherwise=party)
    if whose != party:
        detail = f"{told(where)} is the {whose}'s book, not the {party}'s"
        raise StoreUnfit(f"store: {detail}: give --party {whose}, or name another store")


def _print_table(found: list[RowDifference], store: str, position: int) -> None:
    if not found:
        events = "its only event" if position == 1 else f"all {position} events"
        click.echo(f"every table of {store} agrees with {events}")
        return
    rows = [(each.table, " ".join(each.key), f"{each.stored}", f"{each.derived}") for each in found]
    click.echo(f"{differing(len(found))} in {store}, at position {position}")
    show(("table", "key", "stored", "derived from events"), rows)
