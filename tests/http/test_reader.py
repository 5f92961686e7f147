import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.fields import MOST_PLANNED, MOST_PLANS
from api.operator.schemas import Bet
from ledger import reader
from ledger.reader import NotJson, read
from ledger.refusals import Refusal

# what the way for plain bodies must never be asked to tell apart is in these alphabets
TEXTS = st.text(max_size=8) | st.sampled_from(["", '"', "\\", "a\\", '","a":"', "é", "\x7f"])
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.floats(), st.lists, max_leaves=3
)
BYTES = [b"{", b"}", b'"', b":", b",", b" ", b"a", b"\\", b"\\u0061", b"\x00", b"\x1f", b"\n", b"/"]
NO_TEXT = [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xc3\xa9"]
MEMBERS = [b'"a":"b"', b'"a":"c"', b'"b":"\xff"', b'"\xff":"b"', b'"c":1', b'"":""', b'"d":null']
PIECES = st.lists(st.sampled_from([*BYTES, *NO_TEXT, *MEMBERS]), max_size=12)


def outcome(reading, body):
    try:
        return reading(body)
    except (NotJson, Refusal) as error:
        return type(error), str(error)


@given(st.lists(st.tuples(TEXTS, VALUES), max_size=6), st.booleans())
def test_an_object_is_read_by_read_as_by_the_strict_reader(members, escaped):
    pairs = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=escaped)}" for k, v in members)
    body = f"{{{', '.join(pairs)}}}".encode("utf-8", "surrogatepass")

    assert outcome(read, body) == outcome(reader._read, body)


@given(PIECES)
@example([b'"a":"b"', b",", b'"a":"b"'])
@example([b'"a":"b"', b",", b'"a":"c"'])
def test_no_bytes_are_read_otherwise_by_either(pieces):
    for body in (b"".join(pieces), b"".join([b"{", *pieces, b"}"])):
        assert outcome(read, body) == outcome(reader._read, body)


def test_the_plain_way_is_taken_and_a_key_given_twice_is_not_lost_on_it():
    assert reader._plain(b'{"a": "b", "c": ""}') == {"a": "b", "c": ""}
    assert reader._plain(b'{"a": "b", "a": "c"}') is None


@pytest.mark.parametrize("keys", [["userId", "uuid"], ["USERID", "x"], ["userId", "userid"], ["é"]])
def test_a_body_is_read_alike_whether_its_keys_were_met_before_or_not(keys):
    body = dict.fromkeys(keys, "1") | {"providerId": "P"}
    again = Bet()
    first, second = outcome(again.take, body), outcome(again.take, dict(body))

    assert first == second == outcome(Bet().take, body)


def test_bodies_with_ever_other_keys_are_not_remembered_without_end():
    bet = Bet()
    for number in range(2 * MOST_PLANS):
        outcome(bet.take, {f"key {number}": "1"})
    assert len(bet._plans) == MOST_PLANS
    long = Bet()
    outcome(long.take, {"x" * MOST_PLANNED: "1", "y": "2"})
    assert not long._plans
