"""Counts as people say them."""


def many(count: int, what: str) -> str:
    """Returns a count of things: `1 event`, `2 events`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def differing(count: int) -> str:
    """Returns how many things differ: `nothing differs`, `1 differs`, `2 differ`."""
    if not count:
        return "nothing differs"
    return f"{count} differ{'s' if count == 1 else ''}"
