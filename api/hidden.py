"""Partners' tokens in what a body says: under whatever name, none reaches an event, an answer or the log."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from ledger import reader

SHORTEST = 8
"""A token of fewer characters is looked for nowhere: it may be part of any word."""

Read = Callable[[bytes], dict[str, Any]]
"""From a body to the object it holds; raises what `ledger.reader.read` raises."""


class Hidden(str):
    """Text that had a token in it. It may be kept, but is no id: two that differ in the token would be one."""

    __slots__ = ()


def masking(tokens: Iterable[str]) -> Callable[[Any], Any]:
    """Returns what gives a JSON value back with `***` for each of these tokens."""
    texts = _spellings(tokens)
    return lambda value: _hidden(value, texts)


def without(tokens: Iterable[str]) -> Read:
    """Returns what reads bodies as `ledger.reader` does, and has `***` for each of these tokens."""
    texts = _spellings(tokens)
    encoded = [text.encode() for text in texts]

    def read(body: bytes) -> dict[str, Any]:
        said = reader.read(body)
        if b"\\" in body:  # it may be written with escapes
            return _object(said, texts)
        for each in encoded:
            if each in body:
                return _object(said, texts)
        return said

    return read


def _spellings(tokens: Iterable[str]) -> list[str]:
    long = [token for token in tokens if len(token) >= SHORTEST]
    spelt = {each for t in long for each in (t, quote(t, safe=""), quote_plus(t))}
    return sorted(spelt, key=len, reverse=True)  # one may be part of another


def _object(said: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    return {str(_hidden(key, texts)): _hidden(value, texts) for key, value in said.items()}


def _hidden(value: Any, texts: list[str]) -> Any:
    if type(value) is str:
        text = reader.masked(value, texts)
        return value if text == value else Hidden(text)
    if isinstance(value, dict):
        return _object(value, texts)
    if isinstance(value, list):
        return [_hidden(each, texts) for each in value]
    return value
