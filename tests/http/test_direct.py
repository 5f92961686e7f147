import http.client
import json
from contextlib import closing

import pytest

from tests.http import wire
from tests.http.server import serving

HEADERS = ("content-type", "content-length", "connection")
WRONG = "MEMB_ID=acme&HASH=wrong"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    plain = wire.Service()
    plain.fund()
    with serving(tmp_path_factory.mktemp("direct")) as served:
        served.fund(wire.PLAYER, amount=wire.OPENING_CASH)
        with closing(
            http.client.HTTPConnection("127.0.0.1", served.port, timeout=15)
        ) as connection:
            yield connection, plain
    plain.close()


def asked_of(both, path, query, body):
    connection, plain = both
    connection.request("POST", f"{path}?{query}", body, {"Content-Type": "application/json"})
    got = connection.getresponse()
    status, raw, headers = got.status, got.read(), got.headers
    direct = (status, raw, [headers.get(name) for name in HEADERS])
    found = plain.send("POST", f"{path}?{query}", body, Content_Type="application/json")
    return direct, (found.status, found.raw, [found.headers.get(name) for name in HEADERS])


def numbered(body, number):
    ids = ("roundId", "reference", "sessionId")
    return {key: f"{value}-{number}" if key in ids else value for key, value in body.items()}


def spoilt(body):
    yield body
    yield body
    yield {**body, "extra": {"kept": [1, 2.5, None]}, "HASH": "secret"}
    yield {key.upper(): value for key, value in body.items()}
    for field in body:
        yield {**body, field: None}
    yield {**body, "userId": wire.STRANGER}
    yield {**body, "providerId": "Nobody"}
    yield {**body, "userId": "a\n"}
    yield {**body, "x": [[[[[[[[[1]]]]]]]]]}


@pytest.mark.parametrize("call", wire.CALLS, ids=wire.title)
def test_a_service_answers_each_call_as_flask_does(both, call):
    pair = wire.pair_of(call.path)
    for shape in call.needs:
        path = f"{call.path[:3]}/{shape}"
        bet = numbered(call.body_of(shape), wire.title(call))
        direct, flask = asked_of(both, path, pair, json.dumps(bet))
        assert direct == flask
        assert json.loads(direct[1])["error"] == 0

    for body in spoilt(numbered(call.body, wire.title(call))):
        direct, flask = asked_of(both, call.path, pair, json.dumps(body))
        assert direct == flask


@pytest.mark.parametrize("path", ["/V4/Bet", "/v4/bET", "/V4/Cancel", "/v1/Cancel"])
@pytest.mark.parametrize(
    ("query", "body"),
    [
        (WRONG, "{}"),
        ("", "{}"),
        (f"{wire.LM_PAIR}&HASH=again", "{}"),
        ("MEMB_ID=acme&HASH=%ff%00", "{}"),
        (None, ""),
        (None, "[]"),
        (None, '{"a": 1'),
        (None, '{"a": "\ud800"}'.encode("utf-8", "surrogatepass")),
        (None, b'{"a": "\xff"}'),
        (None, '{"userId": "1", "userId": "2"}'),
        (None, '{"userId": "1", "USERID": "2"}'),
        (None, b'{"userId": "' + b"x" * 70_000 + b'"}'),
        (WRONG, b"x" * 70_000),
    ],
)
def test_a_service_refuses_what_flask_refuses_alike(both, path, query, body):
    pair = wire.pair_of(path) if query is None else query
    direct, flask = asked_of(both, path, pair, body)

    assert direct == flask


@pytest.mark.parametrize("path", ["/V4/Re%C5%BFult", "/V4/Chec%E2%84%AA"])
def test_a_letter_outside_ascii_is_another_case_of_none(both, path):
    direct, flask = asked_of(both, path, wire.LM_PAIR, "{}")

    assert (direct[0], flask[0]) == (404, 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_what_is_no_call_is_flasks_to_answer(both, method):
    connection, plain = both
    connection.request(method, f"/V4/Bet?{wire.LM_PAIR}")
    got = connection.getresponse()
    raw = got.read()
    found = plain.send(method, f"/V4/Bet?{wire.LM_PAIR}")

    assert (got.status, raw) == (found.status, found.raw)


@pytest.mark.parametrize(("path", "code"), [("/V4/Refund", "57"), ("/V4/Bet", 57)])
def test_a_body_that_is_nested_too_deep_is_refused_with_the_calls_own_kind_of_code(
    both, path, code
):
    deep = '{"a": ' * 9 + "1" + "}" * 9
    direct, flask = asked_of(both, path, wire.LM_PAIR, deep)

    assert direct == flask
    assert json.loads(direct[1])["error"] == code
