"""`roundbook deliveries`: what the wallets still owe an answer to, and to send it again."""

import shlex
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from api.provider.games import delivery_json
from ledger.moments import moment, utc_now
from ledger.names import parts
from ledger.provider.commands import RetryDelivery
from ledger.provider.delivery import Delivery
from ledger.refusals import Malformed, Refusal
from scripts import options
from scripts.tables import show

COLUMNS = ("id", "round", "state", "attempts", "age", "code", "last error")


@click.group(
    invoke_without_command=True, short_help="List the calls that wallets have not answered validly."
)
@options.config
@options.as_json
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most.")
@click.option("--after", default="", help="Begin behind what an earlier list ended with.")
@click.pass_context
def deliveries(
    context: click.Context, config: Path | None, limit: int, after: str, *, as_json: bool
) -> None:
    """List the calls that wallets have not answered validly, the oldest first.

    waiting: sent again soon. parked: a burst was in vain, it is tried slowly for ever. refused: the
    wallet refused for good, it waits for a person. Exits 0 whatever there is.

    \b
    Example: roundbook deliveries --json
    """
    context.obj = config
    if context.invoked_subcommand:
        return
    _, book = options.provider_book(config, read_only=True)
    with closing(book):
        try:
            found = book.undelivered(after=after, limit=limit + 1)
        except Malformed as wrong:
            raise click.BadParameter(wrong.detail, param_hint="--after") from None
    found, more = found[:limit], " and more" * (len(found) > limit)
    if as_json:
        click.echo(msgspec.json.encode([delivery_json(each) for each in found]))
    elif found:
        show(COLUMNS, map(_cells, found), title=f"{len(found)}{more} undelivered")
    else:
        click.echo("every call is answered" if not after else "no more are undelivered")
    if more:
        click.echo(f"more with --after {shlex.quote(found[-1].place)}", err=True)


@deliveries.command(short_help="Send a delivery again, now.")
@click.argument("id_", metavar="ID")
@options.as_json
@click.pass_obj
def retry(config: Path | None, id_: str, *, as_json: bool) -> None:
    """Send a delivery again, now: a new burst begins, whoever runs the worker.

    `roundbook deliveries` lists the IDs. Its --config and --book stand before `retry`.

    \b
    Example: roundbook deliveries retry acme/refund/b-1
    """
    named: list[Any] = parts(id_)
    if len(named) != 3:
        raise click.BadParameter("must be OPERATOR/KIND/REFERENCE, as `roundbook deliveries` shows")
    operator, kind, reference = named
    _, book = options.provider_book(config)
    with closing(book):
        try:
            command = RetryDelivery(operator=operator, kind=kind, reference=reference)
            recorded = book.submit(command).recorded
        except Refusal as refusal:
            raise click.ClickException(f"{id_}: {refusal.detail}") from None
    if as_json:
        click.echo(msgspec.json.encode({"id": id_, "retried": recorded}))
    else:
        click.echo(f"{id_} {'is due now' if recorded else 'needs no retry'}")


def _cells(found: Delivery) -> tuple[str, ...]:
    return (
        found.id,
        found.round,
        delivery_json(found)["state"],
        str(found.attempts),
        age(found.undelivered_since or ""),
        "" if found.code is None else str(found.code),
        found.last_error,
    )


def age(since: str) -> str:
    """Returns how long ago a time was, as people say it: `2 days, 3:04:05`."""
    return str(timedelta(seconds=max(0, int((utc_now() - moment(since)).total_seconds()))))
