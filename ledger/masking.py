"""Secrets in what others say: none of them is kept, however an address or JSON quotes it."""

import json
import re
from collections.abc import Iterable
from string import ascii_letters, digits

Spelling = re.Pattern[str]
"""Finds a secret in every way it may be written."""

_NEVER_QUOTED = frozenset(ascii_letters + digits + "-._")


def spellings(secrets: Iterable[str]) -> list[Spelling]:
    """Returns what finds each of the secrets, the longest first: one may be part of another."""
    longest_first = sorted(set(secrets), key=len, reverse=True)
    return [re.compile("".join(map(_written, secret))) for secret in longest_first]


def masked(text: str, secrets: Iterable[Spelling]) -> str:
    """Returns a text with `***` for each of the secrets in it."""
    for secret in secrets:
        text = secret.sub("***", text)
    return text


def _written(sign: str) -> str:
    """Returns a pattern of a sign as it is, and quoted: who quotes need not quote all, nor only once."""
    if sign in _NEVER_QUOTED:
        return re.escape(sign)
    in_address = "".join(f"%(?:25)*{byte:02x}" for byte in sign.encode())
    in_form = [r"\+"] if sign == " " else []
    in_json = re.escape(json.dumps(sign)[1:-1])
    ways = [re.escape(sign), f"(?i:{in_address})", *in_form, f"(?i:{in_json})"]
    return rf"\\{{0,3}}(?:{'|'.join(ways)})"
