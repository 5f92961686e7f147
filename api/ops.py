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
            book.check_writing()
            if provider:
                provider.check_writing()
            head = book.store.head()
            ready = {
                "status": "ready",
                "position": head.position,
                "hash": head.hash.hex(),
                "copies": book.store.copies(),
            }
            if provider:
                head = provider.store.head()
                ready["provider_position"] = head.position
                ready["provider_hash"] = head.hash.hex()
                ready["sweep"] = "stopped" if provider.sweep().stopped_at else "running"
            return json_response(ready)
        except PersistenceError as error:
            log_defect(error)
            said = "the store cannot be read or written; the log says why"
            return json_response({"status": said}, 503)

    return blueprint
