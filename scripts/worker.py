"""`roundbook worker`: deliver to the wallets and sweep what is overdue, beside `serve` or instead of its own."""

import signal
import threading
from contextlib import closing
from pathlib import Path

import click

from api import tell_of_forsaken
from api import worker as new_worker
from api.http import log_libraries
from api.settings import SettingsWrong
from scripts import options


@click.command(short_help="Deliver what wallets are owed, and refund what is overdue.")
@options.config
def worker(config: Path | None) -> None:
    """Deliver what the operators' wallets are owed, and refund what is overdue, until stopped.

    Several may run, on one book; `serve` has one inside unless provider_book.worker is false.

    \b
    Example: roundbook worker --config roundbook.toml
    """
    log_libraries()
    if options.is_demo(config):
        raise SettingsWrong(
            "--config: the demo's `serve` delivers by itself, and nobody else has its tokens"
        )
    settings, book = options.provider_book(config)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the end of a terminal is none of a service
    with closing(book):
        tell_of_forsaken(book)
        running = new_worker(settings, book)
        running.start()
        operators = ", ".join(sorted(book.house.operators))
        click.echo(f"Roundbook worker: delivering to {operators}; Ctrl-C stops", err=True)
        stopping.wait()
        running.stop()
