"""`roundbook serve`: the service, one process, over HTTP."""

import gc
import signal
import socket
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from api import close, create_app, start
from api.loop import Service
from api.settings import Settings, SettingsWrong
from ledger.moments import utc_now
from ledger.money import read_text
from ledger.operator.book import Book
from ledger.operator.commands import Deposit, OpenWallet
from ledger.store import told
from scripts import options
from scripts.keeper import keeping, tasks

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STOP_S = 20
"""What the worker gets to end in, before it is killed: a killed one loses nothing either."""

DEMO_PLAYER, DEMO_CURRENCY, DEMO_CASH = "123456", "USD", "99899.99"


@click.command()
@options.config
@click.option("--host", help="The address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="The port [default: 8080].")
@options.store
def serve(config: Path | None, host: str | None, port: int | None, store: str | None) -> None:
    """Start the service.

    Without a configuration file it is a demo: loopback only, random tokens, player 123456 funded.

    Example: roundbook serve --config roundbook.toml --port 8080
    """
    settings, demo = options.settings(config, host=host, port=port, store=store)
    if demo and settings.server.host not in LOOPBACK:
        raise SettingsWrong(
            "server.host: the demo listens on loopback only; write a roundbook.toml"
        )
    provider = (
        {"provider_book.store": settings.provider_book.store} if settings.provider_book else {}
    )
    for key, store in {"store": settings.store, **provider}.items():
        if store.startswith("memory:"):
            raise SettingsWrong(f"{key}: a service needs a store that outlives it: sqlite:///FILE")
    check_free(settings.server.host, settings.server.port)
    _prepare(settings, demo=demo)
    click.echo(_welcome(settings, demo=demo))
    run(settings)


def run(settings: Settings, *, now: Callable[[], datetime] = utc_now) -> None:
    """Serves until it is told to stop; `now` is the clock that both books go by."""
    server = Server(
        "api:create_app",
        address=settings.server.host,
        port=settings.server.port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        workers=1,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels.error,
    )
    with keeping(tasks(settings), every_s=settings.audit.every_s):
        server.serve(target_loader=partial(_load, settings, now))


def _load(settings: Settings, now: Callable[[], datetime], *_: Any, **__: Any) -> Any:
    # the fork has the parent's handlers, which would swallow a signal until granian sets its own
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    app = create_app(settings, now=now)
    start(app)
    gc.collect()
    gc.freeze()  # what lives as long as the process is not looked through again, 50 ms each time
    remote = any(store.startswith("postgres") for store in settings.books().values())
    return Service(app.wsgi_app, partial(close, app), app.extensions["turns"], remote=remote)


def check_free(host: str, port: int) -> None:
    """Raises SettingsWrong where a port cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsWrong(
                f"server.port: cannot listen on {host}:{port}: {error.strerror}"
            ) from None


def _prepare(settings: Settings, *, demo: bool) -> None:
    """Makes the service once, so that what is wrong is said before it starts; funds the demo."""
    app = create_app(settings)
    try:
        if demo:
            _fund(app.extensions["book"])
    finally:
        close(app)


def _fund(book: Book) -> None:
    book.submit(OpenWallet(user=DEMO_PLAYER, currency=DEMO_CURRENCY))
    book.submit(
        Deposit(
            user=DEMO_PLAYER,
            currency=DEMO_CURRENCY,
            reference="demo-opening",
            amount=read_text(DEMO_CASH),
        )
    )


def _welcome(settings: Settings, *, demo: bool) -> str:
    url = f"http://{settings.server.host}:{settings.server.port}"
    books = [settings.store, *([settings.provider_book.store] if settings.provider_book else [])]
    lines = [
        f"Roundbook on {url}   books: {', '.join(map(told, books))}   calls: {url}/docs/"
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
        f"curl -s '{url}/V4/Bet?{pairs[0]}' -d '{_bet(settings.provider[0].id)}'",
        "",
        f"In a browser: {url}/audit, with the token {auditor}",
        "",
    ]


def _bet(provider: str) -> str:
    return (
        f'{{"providerId":"{provider}","userId":"{DEMO_PLAYER}","sessionId":"s1",'
        f'"currency":"{DEMO_CURRENCY}","gameId":"Im_60_tumblefortune","gameName":"tumblefortune",'
        '"roundId":"5103188800","reference":"585c1306f89c56f5ecfc2f5c","amount":"10.00",'
        '"timestamp":"1700000000000","roundDetails":"spin",'
        '"uuid":"4a5d375ac1311b04fba2ea66d067b8e4"}'
    )
