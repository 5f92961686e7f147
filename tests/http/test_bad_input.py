import json

import pytest

from tests.http import wire
from tests.http.wire import CALLS

HUGE = "9" * 5000

# what stands where a value stands, as it is written in the body

BAD_IDS = {
    "a number": "5",
    "a fraction": "5.5",
    "a long number": HUGE,
    "not a number": "NaN",
    "infinity": "Infinity",
    "true": "true",
    "false": "false",
    "zero": "0",
    "a list": '["a"]',
    "an empty list": "[]",
    "an object": '{"a": "b"}',
    "129 characters": f'"{"x" * 129}"',
    "60,000 characters": f'"{"x" * 60_000}"',
    "a zero byte": r'"a\u0000b"',
    "a control character": r'"a\u0001b"',
    "a trailing newline": r'"a\n"',
    "a tab": r'"\t"',
    "a delete": r'"a\u007f"',
    "a zero width space": r'"a\u200bb"',
    "a byte order mark": r'"\ufeffa"',
    "text from right to left": r'"a\u202eb"',
    "a lone surrogate": r'"a\ud800"',
    "a low surrogate": r'"\udc00a"',
    "surrogates the wrong way round": r'"\udc00\ud800"',
}

BAD_AMOUNTS = {
    "not a number": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "not a number as text": '"NaN"',
    "infinity as text": '"Infinity"',
    "1e400": "1e400",
    "1e400 as text": '"1e400"',
    "1e99": "1e99",
    "1e18": "1e18",
    "a huge exponent": "1e999999999",
    "a tiny exponent": "1e-999999999",
    "1e-3": "1e-3",
    "1e2 as text": '"1e2"',
    "a negative": "-1",
    "a negative fraction": "-0.01",
    "a negative as text": '"-1"',
    "a negative zero with decimals": "-0.00",
    "3 decimals": "0.001",
    "3 decimals as text": '"0.001"',
    "19 decimals": "0.0000000000000000001",
    "19 decimals as text": '"0.0000000000000000001"',
    "5,000 digits": HUGE,
    "5,000 digits as text": f'"{HUGE}"',
    "5,000 decimals": f"0.{HUGE}",
    "16 digits as text": '"1000000000000000"',
    "more than a wallet holds": "10000000000000001",
    "2 to the 63": str(2**63),
    "full-width digits": '"１２"',
    "arabic digits": '"\u0661\u0662"',
    "superscript digits": '"²"',
    "an underscore": '"1_000"',
    "a thousands comma": '"1,000"',
    "a decimal comma": '"1,00"',
    "a trailing newline": r'"1\n"',
    "a leading blank": '" 1"',
    "a trailing blank": '"1 "',
    "a plus": '"+1"',
    "a bare point": '"."',
    "no digits before the point": '".5"',
    "no digits behind the point": '"1."',
    "two points": '"1.0.0"',
    "hexadecimal": '"0x10"',
    "a currency": '"1 USD"',
    "words": '"one"',
    "a zero byte": r'"1\u0000"',
    "true": "true",
    "false": "false",
    "a list": "[1]",
    "an empty list": "[]",
    "an object": '{"amount": 1}',
    "an empty object": "{}",
}

BAD_TIMES = {
    "not a number": "NaN",
    "minus infinity": "-Infinity",
    "true": "true",
    "a list": "[1]",
    "an object": "{}",
    "129 characters": f'"{"1" * 129}"',
    "5,000 digits": HUGE,
    "a zero byte": r'"1\u0000"',
    "a lone surrogate": r'"\ud800"',
}

BAD_DETAILS = {
    "not a number": "NaN",
    "infinity inside": '{"a": [1, Infinity]}',
    "a lone surrogate": r'"\ud800"',
    "a lone surrogate inside": r'{"a": ["\udfff"]}',
    "a lone surrogate as a key inside": r'{"a": {"\udfff": 1}}',
    "a key twice inside": '{"a": {"b": 1, "b": 2}}',
}

NO_OBJECTS = {
    "nothing": b"",
    "a blank": b" ",
    "a word": b"hello",
    "a form": b"amount=1&reference=x",
    "xml": b"<bet/>",
    "a list": b"[]",
    "a list of a call": b'[{"providerId":"LuckyMonaco"}]',
    "text": b'"text"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "not a number": b"NaN",
    "a cut object": b'{"providerId":"LuckyMo',
    "single quotes": b"{'providerId':'LuckyMonaco'}",
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1 /* x */}',
    "two objects": b"{}{}",
    "a tail": b"{} x",
    "a bare key": b"{a:1}",
    "an octal number": b'{"a":01}',
    "a raw newline in text": b'{"a":"\n"}',
    "a raw zero byte": b'{"a":"\x00"}',
    "a bad escape": b'{"a":"\\x41"}',
    "a cut escape": b'{"a":"\\u12"}',
    "latin 1": '{"a":"é"}'.encode("latin-1"),
    "an overlong form": b'{"a":"\xc0\xaf"}',
    "an encoded surrogate": b'{"a":"\xed\xa0\x80"}',
}

OPENERS = {
    "objects": b'{"a":' * 20 + b"1" + b"}" * 20,
    "lists": b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "unclosed": b"[" * 60_000,
    "unclosed objects": b'{"a":' * 10_000,
}


def spoken(body, field, written):
    rest = json.dumps({key: value for key, value in body.items() if key != field})
    return f"{rest[:-1]}, {json.dumps(field)}: {written}}}"


def fields_with(faults, names):
    return [
        pytest.param(call, field, written, id=f"{wire.title(call)} {field} {fault}")
        for call in CALLS
        for field in names(call)
        for fault, written in faults.items()
    ]


def refused(answer, code, field):
    assert answer.status == 200
    assert int(answer.code) == code
    assert answer.json["description"].startswith(f"{field}:")
    assert len(answer.raw) < 1000
    assert "Traceback" not in answer.raw.decode()


@pytest.mark.parametrize(("call", "field", "written"), fields_with(BAD_IDS, lambda call: call.ids))
def test_an_id_that_is_none_is_malformed(standing, call, field, written):
    head = standing.head

    refused(standing.raw(call.path, spoken(call.body, field, written)), 57, field)
    assert standing.head == head


@pytest.mark.parametrize(
    ("call", "field", "written"),
    fields_with(BAD_AMOUNTS, lambda call: {"amount"} & set(call.body)),
)
def test_an_amount_that_is_none_is_59(standing, call, field, written):
    head = standing.head

    refused(standing.raw(call.path, spoken(call.body, field, written)), 59, field)
    assert standing.head == head


@pytest.mark.parametrize(
    ("call", "field", "written"),
    fields_with({"a lone surrogate": r'"\ud800"'}, lambda call: {"amount"} & set(call.body)),
)
def test_an_amount_that_is_no_text_is_malformed(standing, call, field, written):
    head = standing.head

    refused(standing.raw(call.path, spoken(call.body, field, written)), 57, field)
    assert standing.head == head


@pytest.mark.parametrize(
    ("call", "field", "written"),
    fields_with(BAD_TIMES, lambda call: {"timestamp"} & set(call.body))
    + fields_with(BAD_DETAILS, lambda call: {"roundDetails"} & set(call.body)),
)
def test_a_time_and_details_that_cannot_be_kept_are_malformed(standing, call, field, written):
    head = standing.head

    answer = standing.raw(call.path, spoken(call.body, field, written))

    assert (answer.status, answer.code) == (200, 57)
    assert standing.head == head


each_call = pytest.mark.parametrize("call", CALLS, ids=wire.title)


@each_call
@pytest.mark.parametrize("written", ["null", '""'])
def test_null_and_empty_text_are_missing_values_in_every_field(standing, call, written):
    head = standing.head

    for field in call.required:
        refused(standing.raw(call.path, spoken(call.body, field, written)), 64, field)
    assert standing.head == head


@each_call
def test_a_key_twice_with_one_value_is_taken(standing, call):
    for field, value in call.body.items():
        twice = f'{json.dumps(call.body)[:-1]}, "{field}": {json.dumps(value)}}}'
        assert standing.raw(call.path, twice).code != 57


@each_call
def test_a_key_twice_with_two_values_is_malformed(standing, call):
    head = standing.head

    for field in call.body:
        twice = f'{json.dumps(call.body)[:-1]}, "{field}": "another"}}'
        answer = standing.raw(call.path, twice)
        assert (answer.status, int(answer.code)) == (200, 57)
        assert field in answer.json["description"]
    assert standing.head == head


@pytest.mark.parametrize(
    "pair",
    [
        '"amount": true, "amount": 1',
        '"amount": 1, "amount": true',
        '"amount": false, "amount": 0',
        '"amount": true, "Amount": 1',
        '"amount": 1.5, "amount": 1.50',
        '"amount": 1, "amount": "1"',
        '"amount": NaN, "amount": NaN',
        '"amount": null, "amount": 1',
        '"amount": 1, "AMOUNT": 2, "Amount": 1',
    ],
)
def test_an_amount_given_twice_in_two_ways_moves_nothing(standing, pair):
    head = standing.head
    body = {**wire.BY_NAME["/V4", "bet"].body, "reference": "twice", "roundId": "twice"}
    del body["amount"]

    answer = standing.raw("/V4/Bet", f"{json.dumps(body)[:-1]}, {pair}}}")

    assert answer.status == 200
    assert answer.code in (57, 59)
    assert standing.head == head


@each_call
@pytest.mark.parametrize(
    "extra",
    [
        r'"\ud800": 1',
        r'"a": "\ud800"',
        r'"a": {"b": ["\udc00"]}',
        r'"a": {"\udc00": 1}',
        '"a": NaN',
        '"a": [-Infinity]',
        '"a": 1, "a": 2',
    ],
)
def test_a_field_nobody_knows_must_still_be_json_that_can_be_kept(standing, call, extra):
    head = standing.head

    answer = standing.raw(call.path, f"{json.dumps(call.body)[:-1]}, {extra}}}")

    assert (answer.status, int(answer.code)) == (200, 57)
    assert standing.head == head


@pytest.mark.parametrize(
    "extra",
    [
        f'"a": {HUGE}',
        f'"a": -{HUGE}',
        '"a": 1e999999999',
        f'"{"k" * 20_000}": 1',
        r'"a\u0000": 1',
        r'"a": "\u0000"',
        '"": 1',
        '"a": [[[[[[1]]]]]]',
    ],
)
def test_an_odd_field_nobody_knows_is_kept_or_refused_and_never_our_failure(
    opener, extra, tmp_path
):
    service = opener(wire.new_settings(store=f"sqlite:///{tmp_path}/book.db"))
    service.fund()

    body = wire.BY_NAME["/V4", "bet"].body
    answer = service.raw("/V4/Bet", f"{json.dumps(body)[:-1]}, {extra}}}")

    assert (answer.status, answer.code) in {(200, 0), (200, 57)}
    assert len(service.events()) == service.head["position"]


@each_call
@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_body_that_is_no_json_object_is_400(standing, call, body):
    head = standing.head

    answer = standing.raw(call.path, body)

    assert (answer.status, answer.keys) == (400, wire.PLAIN)
    assert int(answer.code) == 57
    assert answer.json["description"].startswith("body:")
    assert standing.head == head


@each_call
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_good_call_in_another_encoding_is_400(standing, call, encoding):
    head = standing.head
    text = json.dumps({**call.body, "reference": "é"}, ensure_ascii=False)

    answer = standing.raw(call.path, text.encode(encoding))

    assert (answer.status, int(answer.code)) == (400, 57)
    assert standing.head == head


@each_call
@pytest.mark.parametrize("body", OPENERS.values(), ids=OPENERS)
def test_a_body_nested_without_need_is_malformed(standing, call, body):
    head = standing.head

    answer = standing.raw(call.path, body)

    assert answer.status in (200, 400)
    assert int(answer.code) == 57
    assert standing.head == head


def test_a_body_may_be_nested_eight_levels_deep_and_no_deeper(service):
    body = wire.BY_NAME["/V4", "bet"].body
    for levels, code in ((7, 0), (8, 57)):
        nested = "[" * levels + "]" * levels
        answer = service.raw("/V4/Bet", spoken(body, "roundDetails", nested))
        assert (levels, answer.code) == (levels, code)
        body = {**body, "reference": "second"}


def test_brackets_in_text_are_no_nesting(service):
    body = {**wire.BY_NAME["/V4", "bet"].body, "roundDetails": '[[[[[[[[[["{{{{\\"[[[['}

    assert service.call("/V4/Bet", body).code == 0


@each_call
@pytest.mark.parametrize("excess", [1, 100_000])
def test_a_body_of_more_than_64_kib_is_413(standing, call, excess):
    head = standing.head
    text = json.dumps(call.body)

    answer = standing.raw(call.path, text + " " * (64 * 1024 - len(text) + excess))

    assert (answer.status, answer.keys) == (413, wire.PLAIN)
    assert standing.head == head


def test_a_body_of_64_kib_is_taken(service):
    text = json.dumps(wire.BY_NAME["/V4", "bet"].body)

    assert service.raw("/V4/Bet", text + " " * (64 * 1024 - len(text))).code == 0


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "",
        "x",
    ],
)
def test_a_content_type_changes_nothing(service, kind):
    body = json.dumps(wire.BY_NAME["/V4", "bet"].body)

    answer = service.send("POST", f"/V4/Bet?{wire.LM_PAIR}", body, Content_Type=kind)

    assert (answer.status, answer.code) == (200, 0)


@pytest.mark.parametrize("field", ["uſerId", "ſessionId", "amouńt"])
def test_a_field_is_known_by_its_own_letters_only(standing, field):
    head = standing.head
    body = {**wire.BY_NAME["/V4", "bet"].body, "reference": "folded"}
    known = field.replace("ſ", "s").replace("ń", "n")
    body[field] = body.pop(known)

    refused(standing.call("/V4/Bet", body), 64, known)
    assert standing.head == head


@pytest.mark.parametrize(
    "value",
    [
        "e\u0301",
        "\u00e9",
        "😀",
        " ",
        "a b",
        "'; drop table wallets; --",
        "<script>",
        "../../etc",
        "%00",
        "a/b",
        "null",
        "0",
        "${x}",
    ],
)
def test_an_id_is_kept_exactly_whatever_printable_characters_it_holds(opener, value, tmp_path):
    service = opener(wire.new_settings(store=f"sqlite:///{tmp_path}/book.db"))
    service.fund()
    ids = dict.fromkeys(("reference", "roundId", "gameId", "sessionId", "uuid", "gameName"), value)

    answer = service.call("/V4/Bet", {**wire.BY_NAME["/V4", "bet"].body, **ids})

    assert answer.code == 0
    event = service.events()[-1]["body"]
    assert (event["reference"], event["round"], event["game"]) == (value, value, value)
    assert event["said"]["game_name"] == value


def test_ids_that_look_alike_are_two(service):
    body = wire.BY_NAME["/V4", "bet"].body
    ids = {
        service.call("/V4/Bet", {**body, "reference": reference, "amount": "1"}).json[
            "transactionId"
        ]
        for reference in ("r1", "R1", "é", "e\u0301", "r1 ", " r1", "а", "a")
    }

    assert len(ids) == 8
    assert service.cash() == "99992.00"
