"""`roundbook serve`: the service over HTTP; of several books each in a process of its own.

Who serves several does nothing else: what a book does, costs, or dies of is its own process's.
"""

import errno
import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType
from typing import Any

import click
from eventsourcing.persistence import PersistenceError
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from api import BOOKS, close, create_app, start
from api.folders import make_folder
from api.http import log_defect, log_for
from api.loop import Service
from api.settings import ALONE, Settings, SettingsWrong
from ledger.moments import utc_now
from ledger.money import read_text
from ledger.operator.book import Book
from ledger.operator.commands import Deposit, OpenWallet
from ledger.operator.events import CASHIER
from ledger.provider.book import Book as ProviderBook
from ledger.store import StoreUnfit, told
from projections import references
from scripts import options
from scripts.keeper import keeping, tasks, tell_once_ended
from scripts.private_postgres import NoPostgres, running

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STOP_S = 20
"""What the worker gets to end in, before it is killed: a killed one loses nothing either."""

MOST_CONNECTIONS = 8192
MOST_HEAD = 64 * 1024
"""What may be read before a body, in bytes, up to one more read: so many connections must not fill the memory."""

STOPS = (signal.SIGTERM, signal.SIGINT)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
STEADY_S = 60
"""Whose process stood so long is begun again as soon as one that never fell."""

DEMO_PLAYER, DEMO_CURRENCY, DEMO_CASH = "123456", "USD", "99899.99"
DEMO_OPENING = "demo-opening"


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
    Example: roundbook serve --config roundbook.toml --port 8080
    """
    if postgres:
        with _private_postgres(store) as url:
            _start(config, host, port, url)
    else:
        _start(config, host, port, store)


@contextmanager
def _private_postgres(store: str | None) -> Iterator[str]:
    """Yields a new server's URL. Raises SettingsWrong, StoreUnfit."""
    if store is not None:
        raise SettingsWrong("--postgres: is a store of its own; leave --store out")
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the service has handlers of its own
        signal.signal(number, _exit)
    try:
        with running() as server:
            yield server.url
    except NoPostgres as error:
        raise StoreUnfit(f"--postgres: {error}") from error


def _exit(number: int, _: FrameType | None) -> None:
    """Ends in order: a server that was begun here must not outlive us."""
    sys.exit(128 + number)


def _start(config: Path | None, host: str | None, port: int | None, store: str | None) -> None:
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
    if demo and settings.server.host not in LOOPBACK:
        raise SettingsWrong(
            "server.host: the demo listens on loopback only; write a roundbook.toml"
        )
    _prepare(settings, demo=demo)
    run(settings, welcome=_welcome(settings, demo=demo))


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
        server = Server(
            "api:create_app",
            address=address,
            port=settings.server.port,
            interface=Interfaces.RSGI,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            workers=1,
            backpressure=_connections(),
            http1_settings=HTTP1Settings(max_buffer_size=MOST_HEAD),
            workers_kill_timeout=STOP_S,
            log_level=LogLevels.error,
        )
        with keeping(tasks(settings), every_s=settings.audit.every_s) as keeper:
            server.serve(target_loader=partial(_load, settings, now, parents, keeper))


def _connections() -> int:
    """Returns how many connections there may be: half of the files that may be open, once more of them may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * MOST_CONNECTIONS
    if most != resource.RLIM_INFINITY:
        files = min(files, most)
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
    app = create_app(settings, now=now)
    start(app)
    gc.collect()
    gc.freeze()  # what lives as long as the process is not looked through again, 50 ms each time
    remote = any(
        app.extensions[name].store.remote for name in BOOKS.values() if name in app.extensions
    )
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


def _prepare(settings: Settings, *, demo: bool = False) -> None:
    """Makes the service once, so that what is wrong is said before it starts; funds the demo."""
    theirs = settings.provider_book
    for key, store in {
        "store": settings.store,
        "read_store": settings.read_store,
        "provider_book.store": theirs and theirs.store,
        "provider_book.read_store": theirs and theirs.read_store,
    }.items():
        if store and store.startswith("memory:"):
            raise SettingsWrong(f"{key}: a service needs a store that outlives it: sqlite:///FILE")
    check_free(settings.server.host, settings.server.port)
    try:
        app = create_app(settings)
    except PersistenceError as error:
        books = " or ".join(map(told, settings.books().values()))
        raise StoreUnfit(f"store: {books}: {error}; roundbook verify tells more") from error
    try:
        for task in tasks(settings):
            make_folder(task.file.parent, "audit.folder")
        if demo:
            _check_may_fund(app.extensions["book"], app.extensions["provider_book"])
            _fund(app.extensions["book"])
    finally:
        close(app)


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


def _welcome(settings: Settings, *, demo: bool = False) -> str:
    url = settings.server.url
    lines = [
        f"Roundbook on {url}   books: {', '.join(map(told, settings.books().values()))}   calls: {url}/docs/"
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


# several books


class BookEnded(Exception):
    """A book's process has ended by itself; the text says how, and what happens now."""


def serve_each(books: Mapping[str, Settings]) -> None:
    """Serves books until told to stop, each in a process of its own that is begun again where it ends.

    Raises SettingsWrong, StoreUnfit, where one of them cannot be served, before any is.
    """
    for id_, settings in books.items():
        with _naming(id_):
            _prepare(settings)
    for id_, settings in books.items():
        click.echo(f"{id_}: {_welcome(settings)}")
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


@contextmanager
def _naming(id_: str) -> Iterator[None]:
    try:
        yield
    except (SettingsWrong, StoreUnfit) as unfit:
        raise type(unfit)(f"book {id_}: {unfit}") from unfit


def _told_to_stop() -> int:
    """Returns what can be read once this process is told to stop; it does not end by that any more."""
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    signal.set_wakeup_fd(teller)
    for number in STOPS:
        signal.signal(number, lambda *_: None)
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
        with _naming(id_):
            _prepare(settings)
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
