"""`roundbook rebuild`: the tables again from the events, or only the check that they agree."""

import sys
from pathlib import Path

import click
import msgspec

from api.settings import SettingsWrong
from ledger.mapper import Mapper
from ledger.operator.book import MAPPER as OPERATOR
from ledger.provider.book import MAPPER as PROVIDER
from ledger.rebuild import Difference, differences
from ledger.rebuild import rebuild as rebuild_tables
from ledger.store import Store, open_store
from projections import IN_TRANSACTION as OPERATOR_TABLES
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from scripts import options
from scripts.tables import show


@click.command()
@options.config
@options.store
@click.option(
    "--party",
    type=click.Choice(["operator", "provider"]),
    default="operator",
    show_default=True,
    help="Whose book it is.",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where table and events differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rebuild(
    config: Path | None, store: str | None, party: str, *, check: bool, as_json: bool
) -> None:
    """Derive a book's tables again from its events.

    \b
    Example: roundbook rebuild --check --store sqlite:///roundbook.db
    """
    mapper, opened = _opened(config, store, party)
    head = opened.head()
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


def _opened(config: Path | None, store: str | None, party: str) -> tuple[Mapper, Store]:
    settings, _ = options.settings(config)
    if party == "operator":
        return OPERATOR, open_store(store or settings.store, OPERATOR_TABLES, create=False)
    if store is None and settings.provider_book is None:
        raise SettingsWrong("provider_book: there is none in the configuration")
    where = store or settings.provider_book.store  # type: ignore[union-attr]
    return PROVIDER, open_store(where, PROVIDER_TABLES, create=False)


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
