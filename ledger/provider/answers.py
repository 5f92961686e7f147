"""What a wallet's answer says: only an exactly valid one counts, all else is as if none had come.

Source: contract.md, "Types on the wire"; seeds 002, 003 and 004.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ledger.masking import Spelling, masked
from ledger.provider.events import Kind, SendOutcome
from ledger.provider.house import Dialect
from ledger.reader import LONGEST_ID, NotJson, is_id, read
from ledger.refusals import Malformed

_CASH = re.compile(r"[0-9]{1,19}(\.[0-9]{1,18})?", re.ASCII)
_CODE = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
LONGEST_DETAIL = 200


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer that came in whole."""

    status: int
    content_type: str
    body: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a send, for the record. `code` is the wallet's, None where it gave none."""

    outcome: SendOutcome
    code: int | None = None
    detail: str = ""
    transaction_id: str = ""


def read_answer(
    reply: Reply,
    *,
    kind: Kind,
    dialect: Dialect,
    reference: str,
    currency: str,
    secrets: Sequence[Spelling] = (),
) -> Answer:
    """Returns what the wallet said to a call of this kind; its outcome is `invalid` where it said nothing.

    What the wallet echoes of the `secrets` is not kept.
    """
    try:
        body = _body(reply)
        code = _code(body, text=kind == "refund" and dialect == "lucky-monaco-v4")
        if code:
            return Answer(outcome="answered", code=code, detail=_detail(body, secrets))
        if dialect == "lucky-monaco-v4" and kind == "cancel":
            _text(body, "reference", reference.__eq__, "is not the call's")
            return Answer(outcome="answered", code=0)
        if dialect == "kyren-v1" or kind != "refund":
            _text(body, "currency", currency.__eq__, "is not the call's")
            _text(body, "cash", _CASH.fullmatch, "must be a decimal, as text")
        named = _text(
            body, "transactionId", is_id, f"must be 1 to {LONGEST_ID} printable characters"
        )
        return Answer(outcome="answered", code=0, transaction_id=masked(named, secrets))
    except Malformed as error:  # its field is the wallet's own word, and may be a secret
        return Answer(outcome="invalid", detail=f"the answer {error.detail}")
    except (_Invalid, NotJson) as error:
        return Answer(outcome="invalid", detail=_printable(str(error)))


class _Invalid(Exception):
    """The answer is not what the contract says it must be."""


def _body(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        raise _Invalid(f"HTTP {reply.status}")
    if reply.content_type.partition(";")[0].strip().lower() != "application/json":
        raise _Invalid("the answer is not application/json")
    return read(reply.body)


def _code(body: dict[str, Any], *, text: bool) -> int:
    if "error" not in body:
        raise _Invalid("error: is missing")
    code = body["error"]
    if text and type(code) is str and _CODE.fullmatch(code):
        return int(code)
    if not text and type(code) is int and 0 <= code <= 999:
        return code
    raise _Invalid(f"error: must be {'text' if text else 'a number'}, from 0 to 999")


def _text(body: dict[str, Any], field: str, is_valid: Callable[[str], object], rule: str) -> str:
    value = body.get(field)
    if type(value) is not str or not is_valid(value):
        raise _Invalid(f"{field}: {rule}")
    return value


def _detail(body: dict[str, Any], secrets: Sequence[Spelling]) -> str:
    said = body.get("description")
    text = masked(said if type(said) is str else "", secrets)
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_DETAIL])
