"""Secrets in what others say: none of them is kept, however an address or JSON quotes it."""

import json
import re
from collections.abc import Iterable
from string import ascii_letters, digits

Spelling = re.Pattern[str]
"""Finds a secret in every way it may be written."""

_NEVER_QUOTED = frozenset(ascii_letters + digits + "-._")

_SIGN = re.compile(r"(\\*)([^\\]|\Z)")
"""A sign, and the backslashes before it: JSON adds more to either, and all look alike."""


def spellings(secrets: Iterable[str]) -> list[Spelling]:
    """Returns what finds each of the secrets, the longest first: one may be part of another."""
    longest_first = sorted(set(secrets), key=len, reverse=True)
    return [re.compile(_SIGN.sub(_written, secret)) for secret in longest_first]


def masked(text: str, secrets: Iterable[Spelling]) -> str:
    """Returns a text with `***` for each of the secrets in it."""
    for secret in secrets:
        text = secret.sub("***", text)
    return text


def _written(found: re.Match[str]) -> str:
    """Returns a pattern of a sign as it is, and quoted: who quotes need not quote all, nor only once."""
    backslashes, sign = len(found[1]), found[2]
    if not backslashes and (sign in _NEVER_QUOTED or not sign):
        return re.escape(sign)
    backslash = _BACKSLASH if backslashes else r"\\"
    before = f"{backslash}{{{backslashes},{4 * backslashes + 3}}}"
    return f"{before}(?:{'|'.join(_ways(sign))})"


def _ways(sign: str) -> list[str]:
    """Returns patterns of which one fits: where two did, thirty signs would be read in a billion ways."""
    escaped = json.dumps(sign)[1:-1]
    in_json = [] if escaped.endswith(sign) else [f"(?i:{re.escape(escaped)})"]
    in_form = [r"\+"] if sign == " " else []
    return [re.escape(sign), _in_address(sign), *in_form, *in_json]


def _in_address(sign: str) -> str:
    quoted = (f"%(?:25)*{byte:02x}" for byte in sign.encode())
    return f"(?i:{''.join(quoted)})"


_BACKSLASH = rf"(?:\\|{_in_address(chr(92))})"
