"""What every event of every book is."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something that happened. `recorded_at` is UTC, RFC 3339; order is the position's, not its.

    Like the states it leads to it is a tree of values, which no collector has to look through (`gc`).
    """

    recorded_at: str


def time_of(body: bytes) -> str:
    """Returns when an event of any type was recorded, by its stored body. Raises MsgspecError."""
    return _timed(body).recorded_at


_timed = msgspec.json.Decoder(Event).decode
