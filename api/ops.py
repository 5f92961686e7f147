"""For whoever keeps the service running: is it alive, is it ready."""

from typing import Any

from apiflask import APIBlueprint
from eventsourcing.persistence import PersistenceError
from flask import Response

from api.http import JSON, json_response, log_defect
from ledger.operator.book import Book
from ledger.provider.book import Book as ProviderBook

READINESS: Any = {
    200: "Ready",
    503: {"description": "Not ready", "content": {JSON: {"schema": {}}}},
}


def ops(book: Book, provider: ProviderBook | None) -> APIBlueprint:
    """Returns the paths a supervisor asks."""
    blueprint = APIBlueprint("ops", __name__, tag="operations")

    @blueprint.get("/livez")
    @blueprint.doc(summary="The process answers")
    def livez() -> Response:
        return json_response({"status": "alive"})

    @blueprint.get("/readyz")
    @blueprint.doc(summary="The book can be read and written", responses=READINESS)
    def readyz() -> Response:
        """Reads the heads from the stores, and asks whether the writers take commands, and can write them.

        `hash`: of the last event, by which a book is told from another. `copies`: "synchronous" where
        another machine holds what is answered too.
        """
        if not (book.writes and (provider is None or provider.writes)):
            return json_response({"status": "the writer has stopped"}, 503)
        try:
            return json_response(_ready(book, provider))
        except PersistenceError as error:
            log_defect(error)
            said = "the store cannot be read or written; the log says why"
            return json_response({"status": said}, 503)

    return blueprint


def _ready(book: Book, provider: ProviderBook | None) -> dict[str, Any]:
    """Returns how far the books go, which can be written. Raises PersistenceError."""
    book.check_writing()
    if provider:
        provider.check_writing()
    position, hashed = book.store.head()
    copies = book.store.copies()
    ready = {"status": "ready", "position": position, "hash": hashed.hex(), "copies": copies}
    if provider is None:
        return ready
    position, hashed = provider.store.head()
    sweep = "stopped" if provider.sweep().stopped_at else "running"
    return {**ready, "provider_position": position, "provider_hash": hashed.hex(), "sweep": sweep}
