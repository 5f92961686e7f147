"""`roundbook rebuild`: the tables again from the events, or only the check that they agree."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ledger.operator.book import MAPPER
from ledger.rebuild import Difference, differences
from ledger.rebuild import rebuild as rebuild_tables
from ledger.store import open_store
from projections import IN_TRANSACTION
from scripts import options


@click.command()
@options.config
@options.store
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where table and events differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rebuild(config: Path | None, store: str | None, *, check: bool, as_json: bool) -> None:
    """Derive wallets, rounds and references again from the events.

    Example: roundbook rebuild --check --store sqlite:///roundbook.db
    """
    settings, _ = options.settings(config, store=store)
    book = open_store(settings.store, IN_TRANSACTION, create=False)
    head = book.head()
    if not check:
        rows = rebuild_tables(book, MAPPER)
        _print({"position": head.position, "rows": rows}, as_json=as_json)
        return
    found = differences(book, MAPPER)
    if as_json:
        _print({"position": head.position, "differences": found}, as_json=True)
    else:
        _print_table(found, head.position)
    sys.exit(1 if found else 0)


def _print(result: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(f"{result['rows']} rows derived from {result['position']} events")


def _print_table(found: list[Difference], position: int) -> None:
    if not found:
        click.echo(f"wallets, rounds and references agree with all {position} events")
        return
    table = Table("table", "key", "stored", "derived from events", title=f"{len(found)} differ")
    for difference in found:
        key, stored = " ".join(difference.key), str(difference.stored)
        table.add_row(difference.table, key, stored, str(difference.derived))
    Console().print(table)
