"""The service of one configuration: what is made sure of before it starts, how it runs, what it says of itself."""

import errno
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import click
from eventsourcing.persistence import PersistenceError
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from api import books_of, close, create_app, start
from api.folders import make_folder
from api.http import log_libraries
from api.loop import Service
from api.settings import Settings, SettingsWrong
from ledger.moments import utc_now
from ledger.money import read_text
from ledger.operator.book import Book
from ledger.operator.commands import Deposit, OpenWallet
from ledger.operator.events import CASHIER
from ledger.provider.book import Book as ProviderBook
from ledger.store import StoreUnfit, told
from projections import references
from scripts.keeper import keeping, tasks, tell_once_ended
from scripts.source import each_its_own

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STOP_S = 20
"""What the worker gets to end in, before it is killed: a killed one loses nothing either."""

MOST_CONNECTIONS = 8192
LEAST_FILES = 64
"""With fewer the loop does not even begin, or the books have none for whoever reads."""

MOST_HEAD = 64 * 1024
"""What may be read before a body, in bytes, up to one more read: so many connections must not fill the memory."""

STOPS = (signal.SIGTERM, signal.SIGINT)

TOLD_S = 0.2
"""By how much sooner a worker may end than this process hears that all of them are to stop."""

DEMO_PLAYER, DEMO_CURRENCY, DEMO_CASH = "123456", "USD", "99899.99"
DEMO_OPENING = "demo-opening"


LOGGED: dict[str, Any] = {"handlers": {}, "loggers": {"_granian": {"propagate": True}}}
"""granian's errors go the way of what every library says, and not to standard output."""


class WebServer(MPServer):
    """granian's, which takes a worker for fallen that was told to stop with it, and was quicker.

    `parents`: as in `run`; a worker that ends after one of them has not fallen either.
    """

    def __init__(self, target: str, *, parents: Sequence[Connection] = (), **options: Any) -> None:
        log_libraries()
        self._parents = parents
        super().__init__(target, log_level=LogLevels.error, log_dictconfig=LOGGED, **options)
        logging.getLogger("_granian").addFilter(self._is_true)

    def _is_true(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and not self.interrupt_signal:
            self.main_loop_interrupt.set()  # a signal that came to this thread is the main one's to take
            time.sleep(TOLD_S)
        return not (self.interrupt_signal or wait(self._parents, 0))

    def shutdown(self, exit_code: int = 0) -> None:
        """Ends with 1 only where a worker fell, and nobody had told anyone to stop."""
        try:
            super().shutdown(exit_code)  # type: ignore[no-untyped-call]
        except SystemExit:
            if not self.interrupt_signal:
                raise


def run(
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
    parents: Sequence[Connection] = (),
    welcome: str = "",
) -> None:
    """Serves until it is told to stop; `now` is the clock that both books go by.

    `parents`: what can be read once a process has ended that this one is not to outlive. `welcome` is
    printed once it is sure who listens. Raises SettingsWrong.
    """
    with alone_on(settings.server.host, settings.server.port) as address:
        if welcome:
            click.echo(welcome)
        server = WebServer(
            "api:create_app",
            parents=parents,
            address=address,
            port=settings.server.port,
            interface=Interfaces.RSGI,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            workers=1,
            backpressure=_connections(),
            http1_settings=HTTP1Settings(max_buffer_size=MOST_HEAD),
            workers_kill_timeout=STOP_S,
        )
        with keeping(tasks(settings), every_s=settings.audit.every_s) as keeper:
            server.serve(target_loader=partial(_load, settings, now, parents, keeper))


def _connections() -> int:
    """Returns how many connections there may be: half of the files that may be open, once more of them may.

    Raises SettingsWrong where that is none.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * MOST_CONNECTIONS
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
    if files < LEAST_FILES:
        raise SettingsWrong(
            f"server: only {files} files may be open (ulimit -n), {LEAST_FILES} are needed"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, files), most))
    return files // 2


def _load(
    settings: Settings,
    now: Callable[[], datetime],
    parents: Sequence[Connection],
    keeper: Sequence[int],
    *_: Any,
    **__: Any,
) -> Any:
    # the fork has the parent's handlers, which would swallow a signal until granian sets its own
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    _end_with(parents)
    tell_once_ended(keeper)
    try:
        with _naming_stores(settings):
            app = create_app(settings, now=now)
            start(app)
    except (SettingsWrong, StoreUnfit) as unfit:  # it was fit when the service was prepared
        raise SystemExit(f"roundbook: {unfit}") from None
    gc.collect()
    gc.freeze()  # what lives as long as the process is not looked through again, 50 ms each time
    remote = any(book.store.remote for book in books_of(app).values())
    return Service(
        app.wsgi_app,
        partial(close, app),
        app.extensions["turns"],
        direct=app.extensions["direct"],
        remote=remote,
    )


def _end_with(parents: Sequence[Connection]) -> None:
    """Ends this process after its parent, or another, has ended: it would hold a port that is begun anew.

    Watched here, in the last process that is forked, because a thread must not be there before a fork.
    """
    parent = multiprocessing.parent_process()
    assert parent

    def follow() -> None:
        wait([parent.sentinel, *parents])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, name="parents", daemon=True).start()


def check_free(host: str, port: int) -> str:
    """Returns the address of a host; raises SettingsWrong where its port cannot be listened on."""
    if not host:
        raise SettingsWrong(
            "server.host: names no address; 127.0.0.1, or 0.0.0.0 for all there are"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        address: str = probe.getsockname()[0]
    return address


@contextmanager
def alone_on(host: str, port: int) -> Iterator[str]:
    """Yields the address of a host, where nobody else begins to listen who asks here too. Raises SettingsWrong.

    A server's socket would share its port with that of another, which was begun in the same moment:
    every other request would go to the wrong book. What is taken is free once all our processes have ended.
    """
    address = check_free(host, port)
    if sys.platform != "linux":
        yield address
        return
    with socket.socket(socket.AF_UNIX) as taken:
        try:
            # a name of the kernel's: no file is left
            taken.bind(f"\0roundbook on {address} {port}")
        except OSError as error:
            raise _cannot_listen(host, port, error) from None
        yield address


def _cannot_listen(host: str, port: int, error: OSError) -> SettingsWrong:
    key = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
    return SettingsWrong(f"server.{key}: cannot listen on {host}:{port}: {error.strerror}")


def prepare(settings: Settings, *, demo: bool = False) -> list[str]:
    """Makes the service once, so that what is wrong is said before it starts; funds the demo.

    Returns the stores whose files are new.
    """
    for key, store in settings.stores().items():
        if store.startswith("memory:"):
            raise SettingsWrong(f"{key}: a service needs a store that outlives it: sqlite:///FILE")
    check_free(settings.server.host, settings.server.port)
    new = without_file(settings)
    with each_its_own(settings), _naming_stores(settings):
        app = create_app(settings)
    try:
        for task in tasks(settings):
            make_folder(task.file.parent, "audit.folder")
        if demo:
            _check_may_fund(app.extensions["book"], app.extensions["provider_book"])
            _fund(app.extensions["book"])
    finally:
        close(app)
    return new


@contextmanager
def _naming_stores(settings: Settings) -> Iterator[None]:
    """Raises StoreUnfit, which names the stores, where one of them was opened and then could not be read."""
    try:
        yield
    except PersistenceError as error:
        books = " or ".join(map(told, settings.books().values()))
        raise StoreUnfit(f"store: {books}: {error}; roundbook verify tells more") from error


def without_file(settings: Settings) -> list[str]:
    """Returns the stores that are to be files, and are none yet."""
    scheme = "sqlite:///"
    return [
        store
        for store in settings.books().values()
        if store.startswith(scheme) and not os.path.exists(store.removeprefix(scheme))
    ]


def _check_may_fund(book: Book, theirs: ProviderBook) -> None:
    """What a demo pays in would stay for ever in a book that is in earnest. Raises SettingsWrong."""
    opening = (CASHIER, "deposit", DEMO_OPENING)
    begun = book.store.head().position or theirs.store.head().position
    if begun and book.store.row(references.TABLE, opening) is None:
        raise SettingsWrong(
            "store: holds a book that is no demo's; name its configuration with --config, or go elsewhere"
        )


def _fund(book: Book) -> None:
    book.submit(OpenWallet(user=DEMO_PLAYER, currency=DEMO_CURRENCY))
    book.submit(
        Deposit(
            user=DEMO_PLAYER,
            currency=DEMO_CURRENCY,
            reference=DEMO_OPENING,
            amount=read_text(DEMO_CASH),
        )
    )


def welcome(settings: Settings, new: Collection[str], *, demo: bool = False) -> str:
    """`new`: stores that were begun just now; whoever is in the wrong folder sees it by that."""
    url = settings.server.url
    books = [
        f"{told(store)} (new, in {Path.cwd()})" if store in new else told(store)
        for store in settings.books().values()
    ]
    lines = [
        f"Roundbook on {url}   books: {', '.join(books)}   calls: {url}/docs/"
        f"   auditor's pages: {url}/audit",
        "",
    ]
    return "\n".join(lines + _demo_lines(settings, url)) if demo else lines[0]


def _demo_lines(settings: Settings, url: str) -> list[str]:
    pairs = [f"MEMB_ID={p.member}&HASH={p.tokens[0]}" for p in settings.provider]
    auditor = settings.auditor.token if settings.auditor else ""
    game = settings.provider_book.token if settings.provider_book else ""
    caller = settings.operator[0]
    return [
        "Demo: loopback only, new tokens at every start. A roundbook.toml makes it yours.",
        f"Player {DEMO_PLAYER} has a wallet in {DEMO_CURRENCY}. In another terminal:",
        "",
        f"export URL={url} LM='{pairs[0]}' KYREN='{pairs[1]}'"
        f" ADMIN='Authorization: Bearer {settings.admin.token}'"
        f" AUDITOR='Authorization: Bearer {auditor}'"
        f" GAME='Authorization: Bearer {game}'"
        f" OPERATOR='MEMB_ID={caller.secure_login}&HASH={caller.tokens[0]}'"
        f" SECRET={caller.secret}",
        "",
        f'curl -s "$URL/api/wallets/{DEMO_PLAYER}/{DEMO_CURRENCY}" -H "$AUDITOR"',
        "",
        f"In a browser: {url}/audit, with the token {auditor}",
        "",
    ]
