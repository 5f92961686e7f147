"""Partners' tokens in what a body says: under whatever name, none reaches an event, an answer or the log."""

from collections.abc import Callable, Iterable
from typing import Any

from ledger import reader
from ledger.masking import Spelling, masked, spellings

SHORTEST = 8
"""A token of fewer characters is looked for nowhere: it may be part of any word."""

Read = Callable[[bytes], dict[str, Any]]
"""From a body to the object it holds; raises what `ledger.reader.read` raises."""


class Hidden(str):
    """Text that had a token in it. It may be kept, but is no id: two that differ in the token would be one."""

    __slots__ = ()


def masking(tokens: Iterable[str]) -> Callable[[Any], Any]:
    """Returns what gives a JSON value back with `***` for each of these tokens."""
    found = spellings(_long(tokens))
    return lambda value: _hidden(value, found)


def without(tokens: Iterable[str]) -> Read:
    """Returns what reads bodies as `ledger.reader` does, and has `***` for each of these tokens."""
    long = _long(tokens)
    found = spellings(long)
    quoted = {"\\", "%"} | {"+" for each in long if " " in each}
    signs = [each.encode() for each in (*quoted, *long)]

    def read(body: bytes) -> dict[str, Any]:
        said = reader.read(body)
        for each in signs:
            if each in body:
                return _object(said, found)
        return said

    return read


def _long(tokens: Iterable[str]) -> list[str]:
    return [token for token in tokens if len(token) >= SHORTEST]


def _object(said: dict[str, Any], tokens: list[Spelling]) -> dict[str, Any]:
    return {str(_hidden(key, tokens)): _hidden(value, tokens) for key, value in said.items()}


def _hidden(value: Any, tokens: list[Spelling]) -> Any:
    if type(value) is str:
        text = masked(value, tokens)
        return value if text == value else Hidden(text)
    if isinstance(value, dict):
        return _object(value, tokens)
    if isinstance(value, list):
        return [_hidden(each, tokens) for each in value]
    return value
