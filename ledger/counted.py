"""Counts as people say them."""


def many(count: int, what: str) -> str:
    """Returns a count of things: `1 event`, `2 events`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
