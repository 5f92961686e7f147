"""`roundbook serve`: the service over HTTP; of several books each in a process of its own.

Who serves several does nothing else: what a book does, costs, or dies of is its own process's.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

import click
from msgspec.structs import replace

from api.configuration import ALONE, naming
from api.http import log_defect, log_for, log_libraries
from api.settings import Settings, SettingsWrong
from ledger.store import StoreUnfit
from scripts import options
from scripts.private_postgres import NoPostgres, Server, running
from scripts.service import LOOPBACK, STOP_S, STOPS, prepare, run, welcome, without_file

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
STEADY_S = 60
"""Whose process stood so long is begun again as soon as one that never fell."""


@click.command()
@options.config
@click.option("--host", help="The address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="The port [default: 8080].")
@options.store
@click.option(
    "--postgres",
    is_flag=True,
    help="For a look: on a PostgreSQL server of its own, which is gone afterwards with all it holds.",
)
def serve(
    config: Path | None, host: str | None, port: int | None, store: str | None, *, postgres: bool
) -> None:
    """Start the service.

    Without a configuration file it is a demo: loopback only, random tokens, player 123456 funded.
    Of a configuration with several books each is served by a process of its own, on its own port,
    which is begun again where it dies; --book serves one of them alone.

    \b
    Example: roundbook serve --port 8081
    """
    log_libraries()
    if postgres:
        with _private_postgres(store) as server:
            _start(config, host, port, server.url, server)
    else:
        _start(config, host, port, store)


@contextmanager
def _private_postgres(store: str | None) -> Iterator[Server]:
    """Yields a new server. Raises SettingsWrong, StoreUnfit."""
    if store is not None:
        raise SettingsWrong("--postgres: is a store of its own; leave --store out")
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the service has handlers of its own
        signal.signal(number, _exit)
    try:
        with running() as server:
            yield server
    except NoPostgres as error:
        raise StoreUnfit(f"--postgres: {error}") from error


def _exit(number: int, _: FrameType | None) -> None:
    """Ends in order: a server that was begun here must not outlive us."""
    sys.exit(128 + number)


def _all_on(server: Server, settings: Settings) -> Settings:
    """Returns settings that leave nothing when the server is gone, and touch nothing that was there."""
    theirs = settings.provider_book
    return replace(
        settings,
        read_store=None,
        provider_book=theirs
        and replace(theirs, store=f"{server.url}?schema=provider", read_store=None),
        audit=replace(settings.audit, folder=str(server.folder / "audit")),
        seals=None,
    )


def _start(
    config: Path | None,
    host: str | None,
    port: int | None,
    store: str | None,
    private: Server | None = None,
) -> None:
    books, _ = options.books(config)
    if ALONE not in books and options.named_book() is None:
        for option, value in {"--host": host, "--port": port, "--store": store}.items():
            if value is not None:
                raise SettingsWrong(
                    f"{option}: is for one book; --book names it: {', '.join(books)}"
                )
        serve_each(books)
        return
    if book := options.named_book():
        log_for(book)
    settings, demo = options.settings(config, host=host, port=port, store=store)
    if private:
        settings = _all_on(private, settings)
    if demo and settings.server.host not in LOOPBACK:
        raise SettingsWrong(
            "server.host: the demo listens on loopback only; write a roundbook.toml"
        )
    new = prepare(settings, demo=demo)
    run(settings, welcome=welcome(settings, new, demo=demo))


# several books


class BookEnded(Exception):
    """A book's process has ended by itself; the text says how, and what happens now."""


def serve_each(books: Mapping[str, Settings]) -> None:
    """Serves books until told to stop, each in a process of its own that is begun again where it ends.

    Raises SettingsWrong, StoreUnfit, where one of them cannot be served, before any is.
    """
    new: dict[str, list[str]] = {}
    for id_, settings in books.items():
        with naming(f"book {id_}"):
            new[id_] = prepare(settings)
    for id_, settings in books.items():
        click.echo(f"{id_}: {welcome(settings, new[id_])}")
    ours, theirs = multiprocessing.Pipe(duplex=False)
    told = _told_to_stop()
    served = [
        _Served(id_, partial(_serve, id_, settings, ours, theirs))
        for id_, settings in books.items()
    ]
    try:
        while not _waited(served, told):
            pass
    finally:
        _stop(served)


def _told_to_stop() -> int:
    """Returns what can be read once this process is told to stop; it does not end by that any more."""
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    signal.set_wakeup_fd(teller)
    for number in STOPS:
        signal.signal(number, lambda *_: None)
    # the end of a terminal is none of a service: of one book it has never been
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return told


def _serve(id_: str, settings: Settings, parent: Connection, own_end: Connection) -> None:
    """Serves one book, in its own process."""
    own_end.close()  # with it open here too, nobody would see that the parent has ended
    signal.set_wakeup_fd(-1)
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    log_for(id_)
    try:
        with naming(f"book {id_}"):
            for gone in without_file(settings):  # a disk that went away must not begin another book
                raise StoreUnfit(f"store: {gone} was there, and is gone")
            prepare(settings)
            run(settings, parents=[parent])
    except (SettingsWrong, StoreUnfit) as unfit:
        raise SystemExit(f"roundbook: {unfit}") from None


class _Served:
    """A book that is served: its process, or when there is to be one again."""

    def __init__(self, id_: str, serve: Callable[[], None]) -> None:
        self._id, self._serve = id_, serve
        self._pause_s, self._begun = FIRST_PAUSE_S, 0.0
        self.process: ForkProcess | None = None
        self.due = 0.0

    def begin(self) -> None:
        """Begins its process."""
        self._begun = time.monotonic()
        self.process = multiprocessing.get_context("fork").Process(
            target=self._serve, name=self._id
        )
        # what is told between the fork and the child's own handlers would be lost to it
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def ended(self) -> None:
        """Says in the log that it has, and when it is begun again: later, the more often it ended."""
        assert self.process
        self.process.join()
        now, how = time.monotonic(), _how(self.process.exitcode or 0)
        if now - self._begun > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        said = f"book {self._id} ended {how}, and is begun again in {self._pause_s:g} s"
        log_defect(BookEnded(said))
        self.process, self.due = None, now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def _how(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"


def _waited(served: Sequence[_Served], told: int) -> bool:
    """Begins what is due, waits until something happens, and returns whether that is the end of all."""
    for book in served:
        if not book.process and book.due <= time.monotonic():
            book.begin()
    # one is ready once the book's last process has ended: they all have what its first was given
    running = {book.process.sentinel: book for book in served if book.process}
    pauses = [book.due - time.monotonic() for book in served if not book.process]
    ready = wait([told, *running], max(0.0, min(pauses)) if pauses else None)
    for sentinel in running.keys() & set(ready):
        running[sentinel].ended()
    return told in ready


def _stop(served: Sequence[_Served]) -> None:
    """Ends all processes; who takes too long is killed."""
    processes = [book.process for book in served if book.process]
    for process in processes:
        process.terminate()
    end = time.monotonic() + STOP_S + 5
    for process in processes:
        if not wait([process.sentinel], max(0.0, end - time.monotonic())):
            process.kill()
        process.join()
