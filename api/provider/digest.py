"""The `hash` in an operator's body. Its algorithm is not published: each operator has its own.

`md5_sorted`: without `hash`, null and empty values; keys in code point order, `key=value` joined by
`&`, the secret behind it; MD5 in hexadecimal. `hmac_sha256`: HMAC-SHA-256 of the same text, keyed
with the secret. Values are the literal text received. Source: contract.md, "hash in the body".
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any


def _md5_sorted(text: str, secret: str) -> str:
    return hashlib.md5(f"{text}{secret}".encode(), usedforsecurity=False).hexdigest()


def _hmac_sha256(text: str, secret: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


ALGORITHMS: Mapping[str, Callable[[str, str], str]] = {
    "md5_sorted": _md5_sorted,
    "hmac_sha256": _hmac_sha256,
}


def is_signed(body: Mapping[str, Any], algorithm: str, secret: str | None) -> bool:
    """Returns whether the body's hash is the one its values have; in the same time whatever it is."""
    if algorithm == "off":
        return True
    said = next((value for key, value in body.items() if key.casefold() == "hash"), "")
    wanted = ALGORITHMS[algorithm](_joined(body), secret or "")
    given = said if type(said) is str else ""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _joined(body: Mapping[str, Any]) -> str:
    texts = {key: _text(value) for key, value in body.items() if key.casefold() != "hash"}
    return "&".join(f"{key}={texts[key]}" for key in sorted(texts) if texts[key])


def _text(value: Any) -> str:
    """Returns a value as it was written; nested ones, which no call has, count as empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""
