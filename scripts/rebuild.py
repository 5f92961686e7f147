"""`roundbook rebuild`: the tables again from the events, or only the check that they agree."""

import sys
from pathlib import Path
from typing import get_args

import click
import msgspec

from api.settings import SettingsWrong
from ledger.rebuild import Difference, differences
from ledger.rebuild import rebuild as rebuild_tables
from ledger.store import open_store
from scripts import options
from scripts.source import MAPPERS, TABLES, Party
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

    \b
    Example: roundbook rebuild --check --store sqlite:///roundbook.db
    """
    opened = open_store(_store(config, store, party), TABLES[party], create=False)
    mapper, head = MAPPERS[party], opened.head()
    if not check:
        rows = rebuild_tables(opened, mapper)
        _print({"position": head.position, "rows": rows}, as_json=as_json)
        return
    found = differences(opened, mapper)
    if as_json:
        _print({"position": head.position, "differences": found}, as_json=True)
    else:
        _print_table(found, head.position)
    sys.exit(1 if found else 0)


def _store(config: Path | None, store: str | None, party: Party) -> str:
    stores = options.settings(config)[0].books()
    if store is None and party not in stores:
        raise SettingsWrong("provider_book: there is none in the configuration")
    return store or stores[party]


def _print(result: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(f"{result['rows']} rows derived from {result['position']} events")


def _print_table(found: list[Difference], position: int) -> None:
    if not found:
        click.echo(f"every table agrees with all {position} events")
        return
    rows = [(each.table, " ".join(each.key), f"{each.stored}", f"{each.derived}") for each in found]
    show(("table", "key", "stored", "derived from events"), rows, title=f"{len(found)} differ")
