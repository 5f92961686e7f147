"""Reading one's own writes from a copy that is a moment behind: whoever wrote says up to which position."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Response, request

from api.http import WRITES
from ledger.operator.book import Book
from ledger.reader import whole
from ledger.refusals import Malformed
from ledger.store import Store

WAIT_S = 1.0
LOOK_AGAIN_S = 0.02

HEADER = "Roundbook-Position"
"""On the answer to what wrote: so far a copy must be, to show it."""

View = TypeVar("View", bound=Callable[..., Any])


class NotYet(Exception):
    """The copy does not go as far as it was asked to; soon it will."""


def fresh(store: Store) -> Callable[[View], View]:
    """Has a view wait until the store goes as far as `?min_position=` says, and see it as it is then.

    Another connection may lead to another copy, which goes less far. Raises NotYet, Malformed.
    """

    def waiting(view: View) -> View:
        @wraps(view)
        def waited(*args: Any, **named: Any) -> Any:
            wanted, late = _wanted(), time.monotonic() + WAIT_S
            if wanted is None:
                return view(*args, **named)
            while True:
                with store.snapshot() as head:
                    if head.position >= wanted:
                        return view(*args, **named)
                _wait(head.position, wanted, late=late)

        return waited  # type: ignore[return-value]

    return waiting


def placed(book: Book) -> Callable[[Response], Response]:
    """Says on every answer to a write how far the book goes."""

    def place(response: Response) -> Response:
        if request.method in WRITES and response.status_code < 300:
            response.headers[HEADER] = str(book.position)
        return response

    return place


def await_position(reached: Callable[[], int]) -> None:
    """Waits until it goes as far as the request's `?min_position=` says. Raises NotYet, Malformed."""
    wanted, late = _wanted(), time.monotonic() + WAIT_S
    while wanted is not None and (position := reached()) < wanted:
        _wait(position, wanted, late=late)


def _wait(position: int, wanted: int, *, late: float) -> None:
    if time.monotonic() > late:
        raise NotYet(f"this copy ends at position {position}, {wanted} is asked for")
    time.sleep(LOOK_AGAIN_S)


def _wanted() -> int | None:
    asked = request.args.get("min_position")
    if asked is None:
        return None
    wanted = whole(asked)
    if wanted is None:
        raise Malformed("must be a position: a whole number", field="min_position")
    return wanted
