"""`roundbook audit-serve`: the auditor's pages over audit files, on the auditor's own machine."""

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask, abort, redirect, request
from granian.constants import HTTPModes, Interfaces
from werkzeug.exceptions import HTTPException

from api.audit.door import Door
from api.audit.pages import pages, refused
from api.audit.shelf import Shelf
from api.settings import Server
from projections import as_of
from scripts import options
from scripts.opened import opened
from scripts.service import LOOPBACK, WebServer, alone_on, check_free

THREADS = 4


@click.command("audit-serve", short_help="Show audit files as pages, on your own machine.")
@click.argument("files", nargs=-1, required=True, type=options.AuditFile(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8081, show_default=True, help="The port."
)
@click.option(
    "--token",
    envvar="ROUNDBOOK_AUDITOR_TOKEN",
    help="Asked of whoever looks; without one, only this machine may.",
)
def audit_serve(*, files: tuple[Path, ...], host: str, port: int, token: str | None) -> None:
    """Show audit files as pages: one of an operator's book, one of a provider's, or both.

    The files are only read, and may be continued meanwhile.

    \b
    Example: roundbook audit-serve audit.db
    """
    token = token or None  # an empty one would open to everybody
    if token is None and host not in LOOPBACK:
        raise click.UsageError("others can reach this address: give a --token")
    shelf = Shelf(_by_party(files))
    check_free(host, port)
    url = f"{Server(host=host, port=port).url}/audit"
    with alone_on(host, port) as address:
        click.echo(f"{', '.join(map(str, files))} on {url}")
        server = WebServer(
            "scripts.audit_serve:app",
            address=address,
            port=port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            workers=1,
            blocking_threads=THREADS,
        )
        server.serve(target_loader=partial(_load, shelf, token))


def _by_party(files: tuple[Path, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        with opened(file) as db:
            party = as_of.head(db).party
        if party in found:
            raise click.UsageError(f"{found[party]} and {file} are both of the {party}'s book")
        found[party] = file
    return found


def _load(shelf: Shelf, token: str | None, *_: Any, **__: Any) -> Any:
    return app(shelf, token)


def app(shelf: Shelf, token: str | None) -> Flask:
    """Returns the pages as an application of their own. Without a token, this machine's own."""
    found = Flask("audit")
    if token is None:
        found.before_request(_check_host)
    found.register_blueprint(pages(shelf, Door({"auditor": token}) if token else None))
    found.add_url_rule("/", "root", lambda: redirect("/audit"))
    found.register_error_handler(HTTPException, refused)
    return found


def _check_host() -> None:
    """Another site's name may lead to this machine, and its pages would read ours."""
    if urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname not in LOOPBACK:
        abort(400)
