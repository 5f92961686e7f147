import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.provider.answers import LONGEST_DETAIL, LONGEST_ID, Answer, Reply, read_answer
from ledger.reader import DEEPEST
from tests import controls
from tests.provider.examples import TRANSACTION_ID

LUCKY, KYREN = "lucky-monaco-v4", "kyren-v1"
REFERENCE, CURRENCY = controls.REFERENCE, controls.CURRENCY
JSON = "application/json"

MONEY = {
    "error": 0,
    "description": "Success",
    "currency": CURRENCY,
    "cash": "99899.99",
    "transactionId": TRANSACTION_ID,
}
SEED_002 = {"error": 0, "description": "Success", "reference": REFERENCE}
SEED_003 = {"transactionId": TRANSACTION_ID, "error": "0", "description": "Success"}
SEED_004 = {
    "error": 0,
    "description": "Success",
    "currency": "USD",
    "cash": "99899.99",
    "transactionId": TRANSACTION_ID,
}
VALID: dict[tuple[str, str], dict[str, Any]] = {
    (LUCKY, "bet"): MONEY,
    (LUCKY, "result"): MONEY,
    (LUCKY, "end"): MONEY,
    (LUCKY, "cancel"): SEED_002,
    (LUCKY, "refund"): SEED_003,
    (KYREN, "bet"): MONEY,
    (KYREN, "result"): MONEY,
    (KYREN, "end"): MONEY,
    (KYREN, "cancel"): SEED_004,
    (KYREN, "refund"): SEED_004,
}
CALLS = pytest.mark.parametrize(("dialect", "kind"), VALID)


def calls_with(field: str) -> pytest.MarkDecorator:
    """Marks every call whose valid answer has a field."""
    fitting = [call for call, body in VALID.items() if field in body]
    return pytest.mark.parametrize(("dialect", "kind"), fitting)


def read(
    dialect: Any,
    kind: Any,
    body: Any,
    *,
    status: int = 200,
    content_type: str = JSON,
    reference: str = REFERENCE,
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Reply(status, content_type, raw)
    return read_answer(reply, kind=kind, dialect=dialect, reference=reference, currency=CURRENCY)


def with_error(dialect: str, kind: str, literal: str) -> bytes:
    """Returns the valid answer with this text where its error stands."""
    body = VALID[dialect, kind]
    others = {key: value for key, value in body.items() if key != "error"}
    return b'{"error": ' + literal.encode() + b", " + json.dumps(others).encode()[1:]


def without(body: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in fields}


# what counts


@CALLS
def test_the_published_answer_counts(dialect: str, kind: str) -> None:
    found = read(dialect, kind, VALID[dialect, kind])
    named = "" if (dialect, kind) == (LUCKY, "cancel") else TRANSACTION_ID
    assert found == Answer(outcome="answered", code=0, transaction_id=named)


@CALLS
def test_nothing_else_is_needed(dialect: str, kind: str) -> None:
    assert read(dialect, kind, without(VALID[dialect, kind], "description")).code == 0


@CALLS
def test_what_else_is_said_is_no_matter(dialect: str, kind: str) -> None:
    more = {**VALID[dialect, kind], "bonus": 0, "eroor": 999, "Error": 998, "extra": [{}]}
    assert read(dialect, kind, more).code == 0


@pytest.mark.parametrize(
    "content_type",
    [JSON, "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"],
)
@CALLS
def test_json_may_be_named_in_any_of_its_ways(dialect: str, kind: str, content_type: str) -> None:
    assert read(dialect, kind, VALID[dialect, kind], content_type=content_type).code == 0


@pytest.mark.parametrize("cash", ["0", "0.00", "99899.99", "7", "0001.5", "9" * 19])
@calls_with("cash")
def test_cash_is_a_decimal_as_text(dialect: str, kind: str, cash: str) -> None:
    assert read(dialect, kind, {**VALID[dialect, kind], "cash": cash}).code == 0


@pytest.mark.parametrize("named", ["x", "t" * LONGEST_ID, "é 漢", "a/b%2F"])
@calls_with("transactionId")
def test_a_transaction_is_named_as_the_wallet_likes(dialect: str, kind: str, named: str) -> None:
    found = read(dialect, kind, {**VALID[dialect, kind], "transactionId": named})
    assert (found.code, found.transaction_id) == (0, named)


# refusals


@pytest.mark.parametrize("code", [1, 15, 16, 17, 57, 401, 998, 999])
@CALLS
def test_a_refusal_is_its_code_and_what_it_says_and_needs_no_more(
    dialect: str, kind: str, code: int
) -> None:
    said = str(code) if (dialect, kind) == (LUCKY, "refund") else code
    found = read(dialect, kind, {"error": said, "description": "no cash"})
    assert found == Answer(outcome="answered", code=code, detail="no cash")
    assert read(dialect, kind, {"error": said}) == Answer(outcome="answered", code=code)


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("a" * 1000, "a" * LONGEST_DETAIL),
        ("a\nb\x00c\u2028d", "a b c d"),
        (None, ""),
        (7, ""),
        (["a"], ""),
        ({}, ""),
    ],
)
def test_what_a_refusal_says_is_kept_short_and_printable(said: Any, detail: str) -> None:
    assert read(LUCKY, "bet", {"error": 15, "description": said}).detail == detail


# what does not count

NUMBERS_ONLY = ('"0"', '"15"')
TEXTS_ONLY = ("0", "15")
NEVER = (
    "true", "false", "null", "1.0", "0.0", "0e0", "-0", "-1", "1000", "1e2", "NaN", "Infinity",
    "-Infinity", '""', '" 0"', '"0 "', '"00"', '"-0"', '"-1"', '"0.0"', '"+0"', '"1000"', '"true"',
    '"٠"', '"０"', "[]", "[0]", "{}", '{"error": 0}', "9" * 40,
)  # fmt: skip


@pytest.mark.parametrize("literal", NEVER)
@CALLS
def test_an_error_that_is_no_code_is_no_answer(dialect: str, kind: str, literal: str) -> None:
    found = read(dialect, kind, with_error(dialect, kind, literal))
    assert (found.outcome, found.code) == ("invalid", None)
    assert "error" in found.detail


@CALLS
def test_an_error_of_the_other_type_is_no_answer(dialect: str, kind: str) -> None:
    for literal in TEXTS_ONLY if (dialect, kind) == (LUCKY, "refund") else NUMBERS_ONLY:
        assert read(dialect, kind, with_error(dialect, kind, literal)).outcome == "invalid"


@CALLS
def test_an_answer_without_an_error_is_none(dialect: str, kind: str) -> None:
    for key in ("eroor", "Error", "ERROR", "code"):
        body = {**without(VALID[dialect, kind], "error"), key: 0}
        found = read(dialect, kind, body)
        assert (found.outcome, found.detail) == ("invalid", "error: is missing")


REQUIRED = {
    "reference": (None, "", "other", REFERENCE.upper(), REFERENCE + " ", 7, [REFERENCE], {}, True),
    "currency": (None, "", "EUR", "usd", "USD ", 840, ["USD"], True),
    "cash": (
        None, "", 99899.99, 7, "-1", "1,00", "1e2", "NaN", " 1", "1 ", ".5", "5.", "1\n", "٠",
        "9" * 20, ["1"], True,
    ),
    "transactionId": (None, "", 7, "t" * (LONGEST_ID + 1), "a\nb", "a\x00", ["t"], {}, True),
}  # fmt: skip
BROKEN = [
    pytest.param(dialect, kind, field, value, id=f"{dialect}-{kind}-{field}-{value!r}"[:70])
    for (dialect, kind), body in VALID.items()
    for field in REQUIRED.keys() & body.keys()
    for value in REQUIRED[field]
]


@pytest.mark.parametrize(("dialect", "kind", "field", "value"), sorted(BROKEN, key=str))
def test_a_success_with_a_field_that_is_not_what_it_must_be_is_no_answer(
    dialect: str, kind: str, field: str, value: Any
) -> None:
    found = read(dialect, kind, {**VALID[dialect, kind], field: value})
    assert (found.outcome, found.code, found.transaction_id) == ("invalid", None, "")
    assert field in found.detail


@CALLS
def test_a_success_without_a_field_it_must_have_is_no_answer(dialect: str, kind: str) -> None:
    for field in without(VALID[dialect, kind], "error", "description"):
        assert read(dialect, kind, without(VALID[dialect, kind], field)).outcome == "invalid"


@pytest.mark.parametrize(
    ("reference", "literal"),
    [("12345678901234567890", "12345678901234567890"), ("1.50", "1.50"), ("NaN", "NaN")],
)
def test_a_reference_that_is_a_number_is_not_the_text_it_looks_like(
    reference: str, literal: str
) -> None:
    body = b'{"error": 0, "reference": ' + literal.encode() + b"}"
    assert read(LUCKY, "cancel", body, reference=reference).outcome == "invalid"


def test_seed_002s_answer_is_none_to_a_refund_and_seed_003s_none_to_a_cancel() -> None:
    assert read(LUCKY, "refund", SEED_002).outcome == "invalid"
    assert read(LUCKY, "cancel", SEED_003).outcome == "invalid"
    assert read(KYREN, "cancel", SEED_002).outcome == "invalid"
    assert read(KYREN, "refund", SEED_003).outcome == "invalid"


@pytest.mark.parametrize("field", ["error", "reference"])
def test_a_field_said_twice_in_two_ways_is_no_answer(field: str) -> None:
    for other in (b"999", b'"x"', b"null"):
        for twice in (
            b"{" + b'"%s": %s, ' % (field.encode(), other) + json.dumps(SEED_002).encode()[1:],
            json.dumps(SEED_002).encode()[:-1] + b', "%s": %s}' % (field.encode(), other),
        ):
            assert read(LUCKY, "cancel", twice).outcome == "invalid"


@CALLS
def test_every_field_of_a_success_said_twice_in_two_ways_is_no_answer(
    dialect: str, kind: str
) -> None:
    body = VALID[dialect, kind]
    for field in without(body, "description"):
        twice = json.dumps(body).encode()[:-1] + b', "%s": "x"}' % field.encode()
        assert read(dialect, kind, twice).outcome == "invalid"


@pytest.mark.parametrize("status", [100, 201, 202, 204, 301, 302, 400, 401, 404, 500, 502, 503])
@CALLS
def test_only_200_counts(dialect: str, kind: str, status: int) -> None:
    found = read(dialect, kind, VALID[dialect, kind], status=status)
    assert (found.outcome, found.code) == ("invalid", None)
    assert str(status) in found.detail


@pytest.mark.parametrize("status", [401, 500])
@CALLS
def test_a_refusal_under_another_status_is_none(dialect: str, kind: str, status: int) -> None:
    assert read(dialect, kind, {"error": 999}, status=status).outcome == "invalid"


@pytest.mark.parametrize(
    "content_type",
    ["", "text/html", "text/plain", "text/json", "application/jsonp", "application/json+x", ";"],
)
@CALLS
def test_only_application_json_counts(dialect: str, kind: str, content_type: str) -> None:
    found = read(dialect, kind, VALID[dialect, kind], content_type=content_type)
    assert (found.outcome, found.code) == ("invalid", None)


NO_OBJECTS: Sequence[bytes] = (
    b"", b" ", b"null", b"0", b'"0"', b"[]", b'[{"error": 0}]', b"{", b"{}", b"error=0", b"\xff",
    b"<!doctype html><title>200 OK</title>", b'{"error": 0}}', b'{"error": 0,}', b"{'error': 0}",
    b"\xef\xbb\xbf" + json.dumps(SEED_002).encode(), json.dumps(SEED_002).encode("utf-16"),
    json.dumps(SEED_002).encode()[:-1], json.dumps(SEED_002).encode() * 2, b"\x00" * 100,
)  # fmt: skip


@pytest.mark.parametrize("body", NO_OBJECTS)
@CALLS
def test_what_is_no_json_object_is_no_answer(dialect: str, kind: str, body: bytes) -> None:
    found = read(dialect, kind, body)
    assert (found.outcome, found.code) == ("invalid", None)
    assert 0 < len(found.detail) <= LONGEST_DETAIL


@pytest.mark.parametrize(
    "surrogate", [b'"\\ud800"', b'["\\udfff"]', b'{"\\udc00": 1}', b'"\\ude00\\ud83d"']
)
@CALLS
def test_a_lone_surrogate_anywhere_is_no_answer(dialect: str, kind: str, surrogate: bytes) -> None:
    body = json.dumps(VALID[dialect, kind]).encode()[:-1] + b', "note": ' + surrogate + b"}"
    found = read(dialect, kind, body)
    assert found.outcome == "invalid"
    found.detail.encode()


def test_a_key_that_is_no_unicode_is_no_answer_and_can_be_recorded() -> None:
    found = read(LUCKY, "cancel", json.dumps(SEED_002).encode()[:-1] + b', "\\ud800": 1}')
    assert found.outcome == "invalid"
    found.detail.encode()


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
@CALLS
def test_what_is_nested_too_deep_is_no_answer(
    dialect: str, kind: str, brackets: tuple[bytes, bytes]
) -> None:
    opened, closed = brackets
    start = json.dumps(VALID[dialect, kind]).encode()[:-1] + b', "note": '
    for depth, outcome in ((DEEPEST - 1, "answered"), (DEEPEST, "invalid"), (9000, "invalid")):
        note = opened * depth + b"0" + closed * depth
        assert read(dialect, kind, start + note + b"}").outcome == outcome
    assert read(dialect, kind, start + opened * 9000).outcome == "invalid"


# any answer at all


def strictly_valid(dialect: str, kind: str, raw: bytes) -> bool:
    """Says by the contract's own words whether an answer is a success, with none of the code's means."""
    try:
        pairs = json.loads(raw.decode("utf-8"), object_pairs_hook=list)
    except ValueError:
        return False
    if not isinstance(pairs, list) or any(not isinstance(pair, tuple) for pair in pairs):
        return False
    if any(key == other and repr(said) != repr(too) for key, said in pairs for other, too in pairs):
        return False
    body = dict(pairs)
    text = (dialect, kind) == (LUCKY, "refund")
    if type(body.get("error")) is not (str if text else int) or body["error"] not in ("0", 0):
        return False
    if (dialect, kind) == (LUCKY, "cancel"):
        return bool(body.get("reference") == REFERENCE)
    named = body.get("transactionId")
    if not isinstance(named, str) or not named:
        return False
    return text or (body.get("currency") == CURRENCY and isinstance(body.get("cash"), str))


scalars = st.one_of(
    st.sampled_from([0, "0", 15, "15", -1, 1000, 0.0, True, None, "", REFERENCE, CURRENCY, "9.99"]),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)
fields = st.sampled_from([*MONEY, "reference", "eroor"])
bodies = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.dictionaries(fields | st.text(max_size=4), values).map(lambda body: json.dumps(body).encode()),
    st.tuples(st.sampled_from(list(VALID.values())), st.dictionaries(fields, values, max_size=2)).map(
        lambda case: json.dumps({**case[0], **case[1]}).encode()
    ),
    st.sampled_from([json.dumps(body).encode() for body in VALID.values()]),
)  # fmt: skip
types = st.sampled_from([JSON] * 6 + ["text/html", ""]) | st.text(max_size=20)
statuses = st.sampled_from([200] * 6 + [204, 302, 401, 500]) | st.integers()


@given(st.sampled_from(list(VALID)), bodies, statuses, types)
@example((LUCKY, "bet"), b'{"error": 0', 200, JSON)
@example((LUCKY, "cancel"), json.dumps(SEED_002).encode(), 200, JSON)
@example((KYREN, "refund"), json.dumps(SEED_004).encode(), 200, JSON)
@example((LUCKY, "bet"), b'{"error": 0, "cash": "' + b"\\" * 999, 200, JSON)
def test_any_answer_is_read_and_only_a_strictly_valid_one_is_a_success(
    call: tuple[str, str], body: bytes, status: int, content_type: str
) -> None:
    found = read(*call, body, status=status, content_type=content_type)
    assert found.outcome in ("answered", "invalid")
    assert (found.code is None) == (found.outcome == "invalid")
    assert len(found.detail) <= LONGEST_DETAIL
    assert found.detail.isprintable()
    if found.code == 0:
        assert status == 200
        assert content_type.lower().strip().startswith(JSON)
        assert strictly_valid(*call, body)


@given(st.sampled_from(list(VALID)), st.dictionaries(fields, values, max_size=2))
def test_a_valid_answer_that_was_changed_counts_only_where_it_is_still_valid(
    call: tuple[str, str], changes: dict[str, Any]
) -> None:
    body = json.dumps({**VALID[call], **changes}).encode()
    if read(*call, body).code == 0:
        assert strictly_valid(*call, body)


@given(
    st.sampled_from(list(VALID)), st.lists(st.sampled_from('{}[]":, \\u0d8error1e-"'), max_size=40)
)
def test_what_almost_is_json_never_raises(call: tuple[str, str], text: list[str]) -> None:
    assert read(*call, "".join(text).encode()).outcome in ("answered", "invalid")
