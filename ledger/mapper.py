"""Between events and what is stored of them: a topic in plain words and a JSON body.

A topic is the name of the event's type, so that files can be renamed for ever.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import msgspec


class Unreadable(Exception):
    """A stored event is of no type this book knows, or its body is not of that type."""


class Mapper:
    """Encodes and decodes the events of one book."""

    def __init__(self, types: Iterable[type[msgspec.Struct]]) -> None:
        self.encode: Callable[[msgspec.Struct], bytes] = msgspec.json.Encoder().encode
        """Returns the body to store; its topic is the event's type name."""
        self.decoders: Mapping[str, Callable[[bytes], Any]] = _Decoders(
            (cls.__name__, msgspec.json.Decoder(cls).decode) for cls in types
        )
        """By topic, for who decodes many: raises Unreadable for no such topic, else ValueError, RecursionError."""

    def decode(self, topic: str, state: bytes) -> Any:
        """Returns the event. Raises Unreadable."""
        try:
            return self.decoders[topic](state)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Unreadable(f"{topic}: {error}") from error


class _Decoders(dict[str, Callable[[bytes], Any]]):
    def __missing__(self, topic: str) -> NoReturn:
        raise Unreadable(f"no event type is called {topic}")
