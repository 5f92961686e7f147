"""`roundbook books`: the books of a configuration, how far each is, and whether it is served."""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from pathlib import Path
from typing import Any

import click
import msgspec
from eventsourcing.persistence import PersistenceError

from api.settings import Settings
from ledger.store import Store, StoreUnfit, open_store, told
from projections import as_of
from scripts import options
from scripts.keeper import PARTIES
from scripts.opened import opened
from scripts.source import Party
from scripts.tables import show

COLUMNS = ("id", "party", "url", "store", "head", "bytes", "lag", "state")
PATIENCE_S = 1.0

READY, NOT_READY, NOT_RUNNING, UNREADABLE = "ready", "not ready", "not running", "unreadable"
TAKEN = "taken"
MOST_BYTES = 64 * 1024


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One party's book. `head`: a position; `lag`: events that its audit file is behind.

    `id`: None where the configuration has no [[book]]. `error`: why it cannot be read; of what cannot,
    nothing else is known.
    """

    id: str | None
    party: Party
    url: str
    store: str
    state: str
    head: int | None = None
    bytes: int | None = None
    lag: int | None = None
    error: str | None = None


@click.command(short_help="List the books of a configuration, and how each stands.")
@options.config
@options.as_json
def books(config: Path | None, *, as_json: bool) -> None:
    """List the books of a configuration: address, store, head, size, and how far its audit file is behind.

    ready: it is served. not ready: it does not answer in a second, or says that it cannot write. taken:
    who answers there has another book, or none. not running: nobody listens there. unreadable: its store
    or its audit file; exit 1.

    \b
    Example: roundbook books --json
    """
    found = listed(options.books(config)[0])
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        show(COLUMNS, map(_cells, found))
    sys.exit(1 if any(book.state == UNREADABLE for book in found) else 0)


def listed(books: Mapping[str, Settings]) -> list[Listed]:
    """Returns the books of settings in their order, an operator's before its provider's."""
    asked = [
        (id_, settings, party)
        for id_, settings in books.items()
        for party in PARTIES
        if party in settings.books()
    ]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda book: _listed(*book), asked))


def _listed(id_: str, settings: Settings, party: Party) -> Listed:
    store = settings.books()[party]
    about: dict[str, Any] = {
        "id": id_ or None,
        "party": party,
        "url": settings.server.url,
        "store": told(store),
    }
    try:
        # the file first: the book may grow meanwhile, and is never behind it then
        kept = _kept_upto(settings, party)
        with closing(open_store(store, read_only=True)) as book:
            head, size = book.head().position, book.size()
            state = _state(settings, lambda ready: _is_of(book, head, ready.head_of(party)))
    except (StoreUnfit, PersistenceError) as error:
        return Listed(**about, state=UNREADABLE, error=" ".join(str(error).split()))
    lag = None if kept is None else head - kept
    return Listed(**about, head=head, bytes=size, lag=lag, state=state)


def _kept_upto(settings: Settings, party: Party) -> int | None:
    """Returns the position an audit file holds its book up to, None where there is none."""
    file = settings.audit_files()[party]
    if not (settings.audit.keep and file.exists()):
        return None
    with opened(file) as db:
        return as_of.head(db).position


# who answers


class _Ready(msgspec.Struct):
    """What a service says of itself."""

    status: str
    position: int | None = None
    hash: str = ""
    provider_position: int | None = None
    provider_hash: str = ""

    def head_of(self, party: Party) -> tuple[int | None, str]:
        """Returns the position and the hash that a party's book ends with; None where it has none."""
        if party == "operator":
            return self.position, self.hash
        return self.provider_position, self.provider_hash


def _state(settings: Settings, is_ours: Callable[[_Ready], bool]) -> str:
    connection = HTTPConnection(settings.server.host, settings.server.port, timeout=PATIENCE_S)
    try:
        with closing(connection):
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            ready = msgspec.json.decode(response.read(MOST_BYTES), type=_Ready)
    except (TimeoutError, RemoteDisconnected):
        return NOT_READY
    except (HTTPException, msgspec.MsgspecError, UnicodeError):
        return TAKEN
    except OSError:
        return NOT_RUNNING
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return NOT_READY
    return READY if is_ours(ready) else TAKEN


def _is_of(book: Store, head: int, ends: tuple[int | None, str]) -> bool:
    """Whether a book that went up to a position a moment ago has the event that a service ends with."""
    position, hashed = ends
    if position is None or position < head:
        return False
    if position == 0:
        return True  # an empty book is like any other
    found = book.records(after=position - 1, limit=1)
    return bool(found) and found[0].hash.hex() == hashed


# printing


def _cells(book: Listed) -> tuple[str, ...]:
    numbers = ("-" if n is None else f"{n:,}" for n in (book.head, book.bytes, book.lag))
    state = f"{book.state}: {book.error}" if book.error else book.state
    return (book.id or "-", book.party, book.url, book.store, *numbers, state)
