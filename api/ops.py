"""For whoever keeps the service running: is it alive, is it ready."""

from apiflask import APIBlueprint
from flask import Response

from api.http import json_response
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
        head = book.store.head()
        if not book.writes:
            return json_response({"status": "the writer has stopped"}, 503)
        return json_response({"status": "ready", "position": head.position})

    return blueprint
