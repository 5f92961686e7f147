"""Between events and what is stored of them: a topic in plain words and a JSON body.

A topic is the name of the event's type, so that files can be renamed for ever.
"""

from collections.abc import Iterable
from typing import Any

import msgspec


class Unreadable(Exception):
    """A stored event is of no type this book knows, or its body is not of that type."""


class Mapper:
    """Encodes and decodes the events of one book."""

    def __init__(self, types: Iterable[type[msgspec.Struct]]) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._decoders = {cls.__name__: msgspec.json.Decoder(cls) for cls in types}

    def encode(self, event: msgspec.Struct) -> bytes:
        """Returns the body to store; its topic is the event's type name."""
        return self._encode(event)

    def decode(self, topic: str, state: bytes) -> Any:
        """Returns the event. Raises Unreadable."""
        try:
            return self._decoders[topic].decode(state)
        except KeyError:
            raise Unreadable(f"no event type is called {topic}") from None
        except msgspec.MsgspecError as error:
            raise Unreadable(f"{topic}: {error}") from error
