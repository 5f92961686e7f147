"""Keeps an audit file beside each book, in a process of its own: no bet waits for what it computes."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

from api.http import log_defect
from api.settings import Settings
from ledger.periodic import Periodic
from ledger.rebuild import without_collector
from ledger.store import news
from scripts.audit_file import catch_up
from scripts.source import Party, open_source

STEP = 10_000
"""Events between two openings of the book: a snapshot that is held for long lets its WAL grow."""

LEAST_S = 0.2
"""Between two looks at a book that tells when it grew."""

Wait = Callable[[float], object]

PARTIES: tuple[Party, ...] = ("operator", "provider")


class Task(NamedTuple):
    """A book, by its store, and the audit file that is kept of it."""

    party: Party
    store: str
    file: Path


def tasks(settings: Settings) -> list[Task]:
    """Returns what is to be kept of the settings' books; nothing where they say so."""
    books, files = settings.books() | settings.copies(), settings.audit_files()
    kept = PARTIES if settings.audit.keep else ()
    return [Task(party, books[party], files[party]) for party in kept if party in books]


class KeeperEnded(Exception):
    """Who keeps the audit files has ended, though nobody told it to."""


@contextmanager
def keeping(wanted: Sequence[Task], *, every_s: float) -> Iterator[list[int]]:
    """Keeps audit files up to date while the block runs; yields what can be read once their keeper has ended."""
    if not wanted:
        yield []
        return
    # forked before any thread is there, as the server's own workers are
    process = multiprocessing.get_context("fork").Process(
        target=_keep, args=(wanted, every_s), name="audit files", daemon=True
    )
    process.start()
    try:
        yield [process.sentinel]
    finally:
        process.kill()
        process.join()


def tell_once_ended(keeper: Sequence[int]) -> None:
    """Has the log say it: bets go on, and pages show what is old."""

    def tell() -> None:
        wait(keeper)
        log_defect(
            KeeperEnded("the audit files stay as they are until the service is started anew")
        )

    if keeper:
        threading.Thread(target=tell, name="keeper", daemon=True).start()


def bring_up(task: Task) -> None:
    """Brings an audit file to where its book is, in steps. Raises Contradiction, StoreUnfit."""
    held, head = 0, 1
    while held < head:
        with open_source(task.store, party=task.party) as source, without_collector():
            head = source.head().position
            held = catch_up(task.file, source, party=task.party, upto=held + STEP).position


def _unhurried(wait: Wait | None) -> Wait | None:
    """Has a book that grows all the time looked at so often, and not more."""

    if wait is None:
        return None

    def waited(seconds: float) -> None:
        time.sleep(LEAST_S)
        wait(seconds)

    return waited


def _keep(wanted: Sequence[Task], every_s: float) -> None:
    """Ends when its parent does, however that ends; a file that is cut short is continued next time."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the parent's, who ends it
        signal.signal(number, signal.SIG_IGN)
    for task in wanted:
        task.file.parent.mkdir(parents=True, exist_ok=True)
        name = f"{task.party}'s audit file"
        Periodic(
            partial(bring_up, task),
            every_s=every_s,
            name=name,
            on_defect=log_defect,
            wait=_unhurried(news(task.store)),
        ).start()
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
