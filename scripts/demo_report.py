"""The demo's report, as people read it, and what they can look at and run by themselves."""

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest

import click
import msgspec

from ledger.counted import many
from scripts import tables
from scripts.demo_evening import PLAYERS
from scripts.demo_proof import DAYS_AHEAD, SWEEP, Alarm, Balance, Report, Standing
from scripts.demo_side import Side, Stage, roundbook

MARGIN = 14

_PROOFS = (
    "reconcile operator/book.db provider/book.db",
    "rebuild --check --config operator/roundbook.toml",
    "rebuild --check --config provider/roundbook.toml --party provider",
    "deliveries --config provider/roundbook.toml",
)


def show(report: Report, stage: Stage) -> None:
    """Prints the report, and runs the commands of the proof for all to see."""
    with ThreadPoolExecutor(len(_PROOFS)) as pool:
        proofs = pool.map(lambda command: roundbook(command, stage.folder).said, _PROOFS)
        _title(
            f"{report.rounds} rounds, {len(PLAYERS)} players, two dialects, seed {report.seed}:"
            f" {report.seconds} s"
        )
        _tell(_story(report))
        _title("Balances by the operator's events, and the cash that the wallets quote")
        tables.show(("player", *_SUMS.values(), "= cash"), _balance_rows(report.balances))
        _title("Rounds by status")
        tables.show(("status", "operator's book", "provider's book"), _status_rows(report.statuses))
        _title(f"The proof, as anyone can run it in {stage.folder}")
        for command, said in zip(_PROOFS, proofs, strict=True):
            click.echo(f"$ roundbook {command}\n{said}")
    _title("; ".join(report.faults) or "Nothing differs, and nothing is undelivered.")


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _tell(story: Iterable[tuple[str, str]]) -> None:
    """Prints a story with its subjects in the margin, wrapped where a terminal is narrow."""
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else tables.WIDE
    wrap = partial(textwrap.wrap, width=wide - MARGIN, break_on_hyphens=False)
    for what, said in story:
        wrapped = [line for part in said.splitlines() for line in wrap(part)]
        for margin, line in zip_longest([f"  {what}"], wrapped, fillvalue=""):
            click.echo(f"{margin:<{MARGIN}}{line}")


def _story(report: Report) -> Iterator[tuple[str, str]]:
    played, carried = report.played, report.wire
    yield "bets", f"{played['bets taken']} taken, {played['bets declined']} declined"
    yield "", f"{played['bets given up']} unanswered in all their sends, given up and cancelled"
    yield "", f"{played['late bets refused']} refused: their round was over"
    yield "rounds", f"{played['won']} won, {played['lost']} lost, {played['left open']} left open"
    yield "", f"{played['by the game']} cancelled by their game"
    yield "", f"{played['by acme']} by the operator with seed 000's cancelround"
    yield "", f"{played['by acme-kyren']} by the operator with the later CancelRound"
    yield "the games", f"made {many(played['repeated'], 'call')} twice, and were answered the same"
    yield "", f"asked {many(played['asked again'], 'time')} again, until the answer was sure"
    yield (
        "the wire",
        f"took {many(played['sends'], 'send')} to carry {many(played['calls'], 'call')}",
    )
    yield "", f"lost {many(carried['lost'], 'answer')} after the operator had given them"
    yield (
        "",
        f"brought {many(carried['duplicated'], 'request')} twice, answered 500 to {carried['failed']}",
    )
    yield "", f"found nobody {many(carried['found nobody'], 'time')}"
    for kill in report.kills:
        yield "kill -9", f"of the {kill.side} after {kill.after_rounds} rounds"
        yield "", f"it answered again after {kill.down_s} s"
    yield f"{DAYS_AHEAD} days on", "the provider is started again with its clock so far ahead"
    if report.alarm:
        yield from _alarmed(report.alarm)
        yield "", f"{many(played['refunded by age'], 'round')} left open, now refunded"


def _alarmed(alarm: Alarm) -> Iterator[tuple[str, str]]:
    yield "", f"$ curl -s $PROVIDER/readyz\n{msgspec.json.encode(alarm.ready).decode()}"
    yield "", f"$ roundbook {SWEEP}\n{alarm.sweep}"
    # the command itself goes by today's clock, to which nothing is overdue
    yield "", f"$ roundbook {SWEEP} --confirm   (through demo_side, by the same clock)"
    yield "", alarm.confirmed


_SUMS = {
    "opening": "opening",
    "stakes": "- stakes",
    "wins": "+ wins",
    "reversals": "+ reversals",
}


def _balance_rows(balances: Iterable[Balance]) -> list[tuple[str, ...]]:
    found = []
    for player, balance in zip(PLAYERS, balances, strict=True):
        sums = [player.text(getattr(balance, name)) for name in _SUMS]
        cash = f"{balance.cash} {player.currency}"
        found.append((player.user, *(text.rjust(12) for text in sums), cash.rjust(16)))
    return found


def _status_rows(statuses: Mapping[str, Standing]) -> list[tuple[str, ...]]:
    return [
        (status, f"{standing.operator:>15}", f"{standing.provider:>15}")
        for status, standing in statuses.items()
    ]


def around(report: Report, stage: Stage) -> str:
    """Returns what to paste while both sides are up."""
    login, provider = stage.relations[0].login, stage.relations[0].provider
    ours, theirs = stage.operator, stage.provider
    asks = (
        f'{{"secureLogin":"{login}","token":"{stage.relations[0].token}",'
        f'"uuid":"look-1","roundId":"{report.busiest}"}}'
    )
    return "\n".join(
        [
            f"\nThe operator is on {ours.url}, the provider on {theirs.url}; calls: /docs/",
            f"{report.busiest} took the most sends. In another terminal:\n",
            _curl(theirs, f"/api/provider/rounds/{report.busiest}?operator={login}"),
            _curl(ours, f"/api/rounds/{provider}/{report.busiest}"),
            _curl(theirs, "/api/provider/deliveries"),
            _curl(theirs, "/api/provider/events?after=0&limit=10"),
            _curl(ours, "/api/events?after=0&limit=10"),
            _curl(ours, "/api/head"),
            f"curl -s '{theirs.url}/V4/GetRoundStatus' -d '{asks}'",
            "\nCtrl-C stops both.",
        ]
    )


def _curl(side: Side, path: str) -> str:
    return f"curl -s '{side.url}{path}' -H 'Authorization: Bearer {side.tokens.auditor}'"


def again(stage: Stage) -> str:
    """Returns how to start the stopped sides again."""
    return f"""
Both services are stopped, their books are kept. To start them again:

cd {shlex.quote(str(stage.folder))}
roundbook serve --config operator/roundbook.toml
roundbook serve --config provider/roundbook.toml"""
