"""For whoever keeps the service running: is it alive, is it ready."""

from apiflask import APIBlueprint
from eventsourcing.persistence import PersistenceError
from flask import Response

from api.http import json_response, log_defect
from ledger.operator.book import Book


def ops(book: Book) -> APIBlueprint:
    """Returns the paths a supervisor asks."""
    blueprint = APIBlueprint("ops", __name__, tag="operations")

    @blueprint.get("/livez")
    @blueprint.doc(summary="The process answers")
    def livez() -> Response:
        return json_response({"status": "alive"})

    @blueprint.get("/readyz")
    @blueprint.doc(summary="The book can be read and written", responses=[503])
    def readyz() -> Response:
        """Reads the head from the store, and asks whether the writer takes commands."""
        if not book.writes:
            return json_response({"status": "the writer has stopped"}, 503)
        try:
            return json_response({"status": "ready", "position": book.store.head().position})
        except PersistenceError as error:
            log_defect(error)
            return json_response({"status": "the store cannot be read; the log says why"}, 503)

    return blueprint
