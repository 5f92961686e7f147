"""Between events and what is stored of them: a topic in plain words and a JSON body.

A topic is the name of the event's type, so that files can be renamed for ever.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

import msgspec


class Unreadable(Exception):
    """A stored event is of no type this book knows, or its body is not of that type."""


class Inexact(Unreadable):
    """A body says more than an event of its type does."""


class Mapper:
    """Encodes and decodes the events of one book."""

    def __init__(self, types: Iterable[type[msgspec.Struct]]) -> None:
        self._types = tuple(types)
        self.encode: Callable[[msgspec.Struct], bytes] = msgspec.json.Encoder().encode
        """Returns the body to store; its topic is the event's type name."""
        self.decoders: Mapping[str, Callable[[bytes], Any]] = _Decoders(
            (cls.__name__, msgspec.json.Decoder(cls).decode) for cls in self._types
        )
        """By topic, for who decodes many: raises Unreadable for no such topic, else ValueError, RecursionError."""

    def exact(self) -> "Mapper":
        """Returns one whose decoders raise Inexact for a body that says a field twice, or one that nobody reads.

        What reads the first of two, or knows the field, would take another event from it.
        """
        made = Mapper(self._types)
        made.decoders = _Decoders(
            (topic, partial(self._exactly, decode)) for topic, decode in self.decoders.items()
        )
        return made

    def _exactly(self, decode: Callable[[bytes], Any], state: bytes) -> Any:
        event = decode(state)
        # as an older version of this book may have written it, or nobody
        if self.encode(event) != state:
            _check_said(json.loads(state, object_pairs_hook=_once), event)
        return event

    def decode(self, topic: str, state: bytes) -> Any:
        """Returns the event. Raises Unreadable."""
        try:
            return self.decoders[topic](state)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Unreadable(f"{topic}: {error}") from error


class _Decoders(dict[str, Callable[[bytes], Any]]):
    def __missing__(self, topic: str) -> NoReturn:
        raise Unreadable(f"no event type is called {topic}")


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object's fields. Raises Inexact where one is there twice."""
    said = dict(fields)
    if len(said) < len(fields):
        names = [name for name, _ in fields]
        raise Inexact(f"says {next(name for name in names if names.count(name) > 1)} twice")
    return said


def _check_said(said: Any, read: Any) -> None:
    """Checks that all that a body says has a field where it was read. Raises Inexact."""
    if not (isinstance(said, dict) and isinstance(read, msgspec.Struct)):
        return
    for name, value in said.items():
        if name not in read.__struct_fields__:
            raise Inexact(f"says {name}, which is no field of its type")
        _check_said(value, getattr(read, name))
