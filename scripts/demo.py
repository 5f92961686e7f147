"""`roundbook demo`: both sides of the wire, an evening with kills and lost answers, and the proof."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ledger.store import open_store
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from projections.provider.rounds import RoundRow
from projections.reconcile import reconcile
from scripts.demo_evening import PLAYERS, Evening, Plan, plans
from scripts.demo_proof import (
    DAYS_AHEAD,
    SWEEP,
    Alarm,
    Kill,
    Report,
    balance_of,
    busiest_of,
    played,
    read_both,
    statuses_of,
)
from scripts.demo_report import again, around, show
from scripts.demo_side import Side, Stage, roundbook, set_up

GAMES_AT_ONCE = 24
POWER_CUT_S = 0.3
PATIENCE_S, POLL_S = 60.0, 0.1
USUALLY_OVERDUE = 30
"""One round in so many may become overdue at once without alarm; the evening leaves one in ten open."""


@click.command(short_help="Play an evening between two services, and prove it.")
@click.option(
    "--rounds",
    default=300,
    show_default=True,
    type=click.IntRange(20, 10_000),
    help="How many rounds are played.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed, another evening.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where both sides live, new or empty [default: a temporary one, kept].",
)
@click.option(
    "--stay/--no-stay",
    default=None,
    help="Keep both sides up afterwards, to look around [default: on a terminal].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and do not stay.")
def demo(rounds: int, seed: int, folder: Path | None, *, stay: bool | None, as_json: bool) -> None:
    """Play a casino evening between two services, and prove that their books agree.

    On the way answers are lost, requests come twice, both services are killed, and a clock jumps
    three months. Exits 1 where anything differs, or is undelivered, in the end.

    \b
    Example: roundbook demo --rounds 1000 --no-stay
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    stays = not as_json and (sys.stdout.isatty() if stay is None else stay)
    cap = rounds // USUALLY_OVERDUE + 1
    with set_up(_new_folder(folder), sweep_cap=cap, seed=seed) as stage:
        with Watch() as watch:
            report = perform(stage, watch, rounds=rounds, seed=seed)
        if as_json:
            said = {**msgspec.structs.asdict(report), "faults": report.faults}
            click.echo(msgspec.json.encode(said))
        else:
            show(report, stage)
        if stays:
            _stay(report, stage)
    if not as_json:
        click.echo(again(stage))
    sys.exit(1 if report.faults else 0)


def _new_folder(given: Path | None) -> Path:
    folder = (given or Path(mkdtemp(prefix="roundbook-demo-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise click.BadParameter(f"{folder} is not empty", param_hint="--folder")
    return folder


def _stay(report: Report, stage: Stage) -> None:
    """Keeps both sides up until Ctrl-C."""
    click.echo(around(report, stage))
    with suppress(KeyboardInterrupt):
        signal.pause()


# the performance


class Watch:
    """Says on standard error what is being done: bars on a terminal, elsewhere a line a phase."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:<36}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[count]}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> "Watch":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def phase(self, what: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """Yields what is told how much of a phase is done."""
        began = time.monotonic()
        task = self._progress.add_task(what, total=total, count="")
        of = f" of {total}" if total > 1 else ""

        def tell(done: int) -> None:
            self._progress.update(task, completed=done, count=of and f"{done}{of}")

        yield tell
        tell(total)
        if self._progress.disable:
            self.say(f"{what:<36} {time.monotonic() - began:5.1f} s")

    def say(self, text: str) -> None:
        """Says a line, above the bars where there are any."""
        self._progress.console.print(Text(text), soft_wrap=True)


def perform(stage: Stage, watch: Watch, *, rounds: int, seed: int) -> Report:
    """Plays the evening, turns the clock, and compares the books. Raises ClickException."""
    began = time.monotonic()
    evening = Evening(operator=stage.operator, provider=stage.provider)
    watch.say(f"both sides live in {stage.folder}")
    with watch.phase("both sides start"):
        stage.start()
    with watch.phase(f"{len(PLAYERS)} wallets funded"):
        evening.fund()
    kills = _play(stage, evening, list(plans(rounds, seed=seed, relations=stage.relations)), watch)
    _all_delivered(evening, watch)
    alarm = _three_months_later(stage, watch)
    undelivered = _all_delivered(evening, watch)
    with watch.phase("books compared"):
        books = read_both(stage)
    return Report(
        folder=str(stage.folder),
        rounds=rounds,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        played=played(evening, books),
        wire=dict(stage.wire.counts),
        kills=kills,
        alarm=alarm,
        undelivered=undelivered,
        balances=[balance_of(player, books.operator, evening.cash(player)) for player in PLAYERS],
        statuses=statuses_of(stage, books),
        busiest=busiest_of(stage.relations[0].login, books.provider),
        reconciled=reconcile(operator=books.operator.events, provider=books.provider.events),
        rebuilt={"operator": books.operator.differences, "provider": books.provider.differences},
    )


def _play(stage: Stage, evening: Evening, rounds: Sequence[Plan], watch: Watch) -> list[Kill]:
    """Plays all rounds; on the way the power goes off at the operator's, then at the provider's."""
    cuts = {len(rounds) // 3: stage.operator, len(rounds) * 2 // 3: stage.provider}
    kills = []
    with watch.phase("rounds played", len(rounds)) as tell, _games(evening, rounds, tell) as games:
        for done, game in enumerate(as_completed(games), 1):
            game.result()
            if done in cuts:
                kills.append(_power_cut(cuts[done], done, watch))
    return kills


@contextmanager
def _games(
    evening: Evening, rounds: Sequence[Plan], tell: Callable[[int], None]
) -> Iterator[list[Future[None]]]:
    """Yields the rounds, being played; what breaks the block ends them."""
    played = count(1)
    with ThreadPoolExecutor(GAMES_AT_ONCE) as pool:
        try:
            games = [pool.submit(evening.play, plan) for plan in rounds]
            for game in games:
                game.add_done_callback(lambda _: tell(next(played)))
            yield games
        except BaseException:
            evening.stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _power_cut(side: Side, after_rounds: int, watch: Watch) -> Kill:
    began = time.monotonic()
    side.kill()
    time.sleep(POWER_CUT_S)
    side.start()
    down_s = round(time.monotonic() - began, 1)
    watch.say(f"the {side.name} was killed (SIGKILL), and answers again after {down_s} s")
    return Kill(side=side.name, after_rounds=after_rounds, down_s=down_s)


def _all_delivered(evening: Evening, watch: Watch) -> int:
    most = evening.undelivered()
    return _none_left("every call delivered", evening.undelivered, watch, most=most)


def _none_left(what: str, left: Callable[[], int], watch: Watch, *, most: int) -> int:
    """Waits until nothing is left of so many, for a minute at most; returns what is."""
    end, now = time.monotonic() + PATIENCE_S, left()
    with watch.phase(what, max(most, now)) as tell:
        while now and time.monotonic() < end:
            tell(max(most - now, 0))
            time.sleep(POLL_S)
            now = left()
    return now


def _three_months_later(stage: Stage, watch: Watch) -> Alarm | None:
    """Turns the provider's clock, sees its sweep stop, and confirms; None where no round is open."""
    url = f"sqlite:///{stage.provider.book}"
    with closing(open_store(url, PROVIDER_TABLES, create=False)) as store:

        def left() -> int:
            rows = [RoundRow(*row[2:]) for row in store.rows("rounds")]
            return sum(row.open_since is not None for row in rows)

        left_open = left()
        with watch.phase(f"the provider's clock {DAYS_AHEAD} days on"):
            stage.provider.stop()
            stage.provider.start(days=DAYS_AHEAD)
        if not left_open:
            return None
        alarm = _alarm(stage, watch)
        _none_left("open rounds refunded", left, watch, most=left_open)
        return alarm


def _alarm(stage: Stage, watch: Watch) -> Alarm:
    """Waits until the sweep has stopped itself, looks at it as a person would, and confirms."""
    with watch.phase("the sweep stops itself"):
        ready = _stopped(stage.provider)
        looked = roundbook(SWEEP, stage.folder)
    watch.say(f"roundbook sweep says: {looked.said}")
    with watch.phase("a person confirms"):
        confirmed = stage.provider.confirm_sweep(days=DAYS_AHEAD)
    return Alarm(ready=ready, sweep=looked.said, status=looked.status, confirmed=confirmed.said)


def _stopped(provider: Side) -> dict[str, Any]:
    """Returns what /readyz says once the sweep has stopped. Raises ClickException."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        ready = provider.ready()
        if ready.get("sweep") == "stopped":
            return ready
        time.sleep(POLL_S)
    raise click.ClickException("the sweep did not stop itself when the clock jumped")
