"""The strict JSON reader that stands in front of every call.

It keeps numbers as they were written, and refuses what other readers would silently change: two
values under one key, text that is not UTF-8, lone surrogates, and nesting nobody needs.
"""

import json
import re
from typing import Any, TypeGuard

import msgspec

from ledger.refusals import Malformed

MOST_BYTES = 64 * 1024
DEEPEST = 8
MOST_DIGITS = 18
LONGEST_ID = 128


class NotJson(Exception):
    """The body never became a call."""


class Twice:
    """Stands for a value that was given twice, in two ways."""


TWICE = Twice()


class Number(str):
    """A JSON number that is no plain integer of up to 18 digits, as it was written."""

    __slots__ = ()


def read(body: bytes) -> dict[str, Any]:
    """Returns the object a body holds.

    Two different values under one key become TWICE, for whoever knows the key to refuse.
    Raises NotJson for anything that is no JSON object in UTF-8; Malformed for one that is nested too
    deep or holds text that is no Unicode.
    """
    return _plain(body) or _read(body)


def _plain(body: bytes) -> dict[str, str] | None:
    """Returns a flat object of plain strings, as nearly every call is; None for any other body.

    Without escapes each member has four quotes: with more of them, a key was given twice.
    """
    if b"\\" in body:
        return None
    try:
        found = _decode_plain(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if body.count(b'"') == 4 * len(found) else None


def _read(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("the body is not UTF-8") from None
    _check_depth(text)
    try:
        found = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(found, dict):
        raise NotJson("the body is not a JSON object")
    if "\\u" in text:
        _check_unicode(found)
    return found


def whole(text: str) -> int | None:
    """Returns the number that up to MOST_DIGITS plain digits are, None for any other text."""
    plain = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if plain else None


def is_id(value: Any) -> TypeGuard[str]:
    """Returns whether a value is a string of 1 to LONGEST_ID printable characters."""
    return type(value) is str and 0 < len(value) <= LONGEST_ID and value.isprintable()


def same(one: Any, other: Any) -> bool:
    """Returns whether two values say the same: `1` and `true`, and `1.0` and `"1.0"`, do not."""
    return type(one) is type(other) and bool(one == other)


def _integer(literal: str) -> int | Number:
    plain = len(literal) <= MOST_DIGITS and literal != "-0"
    return int(literal) if plain else Number(literal)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if not same(found[key], value):
                found[key] = TWICE
    return found


_decode_plain = msgspec.json.Decoder(dict[str, str]).decode
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=Number, parse_constant=Number
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= DEEPEST:
        return
    depth = 0
    for sign in _STRING.sub("", text):
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        if depth > DEEPEST:
            raise Malformed(f"is nested deeper than {DEEPEST} levels", field="body")


def _check_unicode(found: dict[str, Any]) -> None:
    for key, value in found.items():
        try:
            json.dumps({key: value}, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError:
            field = key.encode("ascii", "replace").decode()[:64]
            raise Malformed("holds text that is no Unicode", field=field) from None
