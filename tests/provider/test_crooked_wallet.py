import http.client
import json
import math
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from tests.http import wire
from tests.http.server import until
from tests.provider.crooked import (
    ABSENT,
    MEGABYTE,
    CrookedWallet,
    after,
    answer,
    code,
    drip_body,
    drip_headers,
    duplicate_keys,
    gzip_bomb,
    hang,
    honest,
    html,
    late,
    lost,
    megabyte,
    no_key,
    not_json,
    other_currency,
    other_reference,
    redirect,
    reset,
    status,
    to,
    truncated,
    twice,
    via,
    wrong_error,
)

MUCH_LESS_S = 5
"""Than what waits, even where the machine stalls."""

PATH = f"/v4/Bet?{wire.LM_PAIR}"
BET = {"reference": "b-1", "roundId": "r-1", "sessionId": "s-1", "currency": "USD"}
REFUND = {"reference": "b-1", "currency": "USD"}
SAID = {"error": 0, "description": "Success", "currency": "USD", "reference": "b-1"}


class HonestWallet:
    def __init__(self):
        self.calls, self.last_at = [], None

    def __call__(self, path, body):
        self.last_at = time.monotonic()
        self.calls.append((path, body))
        return 200, json.dumps({**SAID, "transactionId": f"t-{len(self.calls)}"}).encode()


@pytest.fixture
def behind():
    return HonestWallet()


@pytest.fixture
def wallet(behind):
    with CrookedWallet(behind) as found:
        yield found


def connect(wallet, timeout_s=5):
    return http.client.HTTPConnection(wallet.url.removeprefix("http://"), timeout=timeout_s)


def ask(connection, body=None, path=PATH):
    connection.request("POST", path, json.dumps(body or BET).encode())
    got = connection.getresponse()
    return wire.Answered(got.status, got.read(), got.headers)


def send(wallet, body=None, path=PATH, timeout_s=5):
    with closing(connect(wallet, timeout_s)) as connection:
        return ask(connection, body, path)


def seconds_of(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_an_honest_answer_is_that_of_the_wallet_behind(wallet, behind):
    got = send(wallet)

    assert (got.status, got.json) == (200, {**SAID, "transactionId": "t-1"})
    assert behind.calls == [(PATH, json.dumps(BET).encode())]


def test_the_honest_wallet_may_be_the_operators_own_service():
    service = wire.Service()
    service.fund()
    bet = wire.BY_NAME["/V4", "bet"]
    with CrookedWallet(via(service)) as wallet, ThreadPoolExecutor(4) as pool:
        path = f"{bet.path}?{wire.LM_PAIR}"
        answers = list(pool.map(lambda _: send(wallet, bet.body, path), range(8)))
        refused = send(wallet, bet.body, f"{bet.path}?MEMB_ID=acme&HASH=wrong")
    service.close()

    assert {(got.status, got.code) for got in answers} == {(200, 0)}
    assert len({got.json["transactionId"] for got in answers}) == 1
    assert refused.status == 401


def test_the_honest_wallet_may_be_a_server_of_its_own():
    server = SimpleNamespace(send=lambda *asked: wire.Answered(200, repr(asked).encode(), {}))
    with CrookedWallet(to(server)) as wallet:
        got = send(wallet)

    assert got.raw == repr(("POST", PATH, json.dumps(BET).encode())).encode()


def test_a_behaviour_serves_one_call_and_the_default_serves_the_rest(wallet):
    wallet.next(status(500), status(404))
    assert [send(wallet).status for _ in range(3)] == [500, 404, 200]

    wallet.always(status(503))
    wallet.next(honest)
    assert [send(wallet).status for _ in range(3)] == [200, 503, 503]


def test_a_behaviour_for_one_path_is_taken_first_and_leaves_the_others(wallet):
    wallet.next(status(500))
    wallet.on("cancel", status(404))

    paths = ["/v4/CancelRound", "/V4/Cancel?HASH=x", "/v4/cancel"]
    assert [send(wallet, path=path).status for path in paths] == [500, 404, 200]


def test_calls_are_kept_in_their_order_with_their_time(wallet):
    send(wallet)
    send(wallet, REFUND, "/V4/Cancel")

    assert [call.path for call in wallet.calls] == [PATH, "/V4/Cancel"]
    assert wallet.calls[0].at < wallet.calls[1].at < time.monotonic()
    assert wallet.bodies("cancel") == [json.dumps(REFUND).encode()]


def test_one_connection_serves_many_calls_whatever_its_pieces(wallet):
    body = json.dumps(BET).encode()
    text = f"POST {PATH} HTTP/1.1\r\ncontent-length:{len(body)}\r\n\r\n".encode() + body
    address = ("127.0.0.1", int(wallet.url.rpartition(":")[2]))
    with socket.create_connection(address, 5) as connection, connection.makefile("rb") as answers:
        for piece in (text + text[:9], text[9:40], text[40:]):
            connection.sendall(piece)
        heads = [line for line in (answers.readline() for _ in range(8)) if b"HTTP/1.1" in line]

    assert heads[0] == b"HTTP/1.1 200 OK\r\n"
    with closing(connect(wallet)) as connection:
        assert [ask(connection).status for _ in range(2)] == [200, 200]
        first = connection.sock
        ask(connection)
        assert connection.sock is first
    assert {call.body for call in wallet.calls} == {body}


def test_late_forwards_at_once_and_answers_after_its_time(wallet, behind):
    wallet.next(late(0.2))
    send(wallet)

    assert time.monotonic() - behind.last_at >= 0.2


def test_lost_takes_the_call_and_hangs_up_without_a_word(wallet, behind):
    wallet.next(lost)

    with pytest.raises(http.client.RemoteDisconnected):
        send(wallet)
    assert len(behind.calls) == 1


def test_twice_takes_the_call_twice_and_tells_the_second_answer(wallet, behind):
    wallet.next(twice)

    assert send(wallet).json["transactionId"] == "t-2"
    assert len(behind.calls) == 2


@pytest.mark.parametrize("number", [204, 299, 404, 500])
def test_a_status_is_as_chosen_and_the_connection_goes_on(wallet, number):
    wallet.next(status(number))
    with closing(connect(wallet)) as connection:
        assert ask(connection).status == number
        assert ask(connection).status == 200


def test_html_is_a_page_with_200(wallet):
    wallet.next(html)
    got = send(wallet)

    assert (got.status, got.headers["content-type"]) == (200, "text/html")
    assert got.raw.startswith(b"<!doctype html>")


def test_not_json_lacks_but_its_end(wallet):
    wallet.next(not_json)
    got = send(wallet)

    assert json.loads(got.raw + b"}")["error"] == 0
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(got.raw)


def test_truncated_ends_before_its_length(wallet):
    wallet.next(truncated)

    with pytest.raises(http.client.IncompleteRead) as caught:
        send(wallet)
    assert json.loads(caught.value.partial)["error"] == 0


def test_a_megabyte_is_good_json_and_that_long(wallet):
    wallet.next(megabyte)
    got = send(wallet)

    assert (got.code, len(got.raw)) == (0, MEGABYTE)


def test_a_gzip_bomb_is_small_until_it_is_unpacked(wallet):
    wallet.next(gzip_bomb)
    got = send(wallet)

    assert got.headers["content-encoding"] == "gzip"
    assert len(got.raw) < MEGABYTE
    assert len(zlib.decompress(got.raw, wbits=31)) > 32 * MEGABYTE


@pytest.mark.parametrize("drip", [drip_headers, drip_body])
def test_a_drip_takes_its_time_for_every_byte_and_comes_whole(wallet, drip):
    wallet.next(drip(0.001))
    answers = []

    assert seconds_of(lambda: answers.append(send(wallet))) > 0.05
    assert answers[0].code == 0


@pytest.mark.parametrize("behaviour", [hang, drip_headers(9), drip_body(9), late(9)])
def test_what_waits_lets_its_caller_wait_and_ends_with_the_wallet(behind, behaviour):
    with CrookedWallet(behind) as wallet, closing(connect(wallet, 0.1)) as connection:
        wallet.always(behaviour)
        with pytest.raises(TimeoutError):
            ask(connection)
        started = time.monotonic()

    assert time.monotonic() - started < MUCH_LESS_S
    assert not [thread for thread in threading.enumerate() if thread.name == "crooked wallet"]


def test_reset_is_no_orderly_end(wallet, behind):
    wallet.next(reset)

    with pytest.raises(ConnectionResetError):
        send(wallet)
    assert not behind.calls


def test_a_redirect_names_another_place(wallet):
    wallet.next(redirect("http://127.0.0.1/elsewhere"), redirect(wallet.url, 307))
    first, second = send(wallet), send(wallet)

    assert (first.status, first.headers["location"]) == (302, "http://127.0.0.1/elsewhere")
    assert (second.status, second.headers["location"]) == (307, wallet.url)


def test_an_answer_is_exactly_what_was_chosen(wallet):
    wallet.next(answer(b"[] "), answer({"error": "0"}))

    assert [send(wallet).raw for _ in range(2)] == [b"[] ", b'{"error": "0"}']


@pytest.mark.parametrize("error", ["0", 0, None, True, 1.0])
def test_a_wrong_error_is_in_place_of_the_right_one(wallet, error):
    wallet.next(wrong_error(error), after(wrong_error(error)))
    first, second = send(wallet), send(wallet)

    assert (first.code, type(first.code)) == (error, type(error))
    assert second.json == {**SAID, "error": error, "transactionId": "t-1"}


def test_a_wrong_error_may_be_no_number_or_missing(wallet):
    wallet.next(wrong_error(math.nan), wrong_error(ABSENT))

    assert b'"error": NaN' in send(wallet).raw
    assert "error" not in send(wallet).json


def test_no_key_leaves_one_out_of_the_honest_answer(wallet):
    wallet.next(no_key("transactionId"))

    assert send(wallet).json == SAID


def test_another_reference_or_currency_is_all_that_differs(wallet):
    wallet.next(other_reference, other_currency)
    first, second = send(wallet).json, send(wallet).json

    assert first == {**SAID, "transactionId": "t-1", "reference": first["reference"]}
    assert second == {**SAID, "transactionId": "t-2", "currency": second["currency"]}
    assert (first["reference"], second["currency"]) != ("b-1", "USD")


def test_a_code_is_a_number_but_text_for_a_refund_and_nothing_is_taken(wallet, behind):
    wallet.next(code(15), code(15), code(15))
    bodies = BET, REFUND, {**REFUND, "ROUNDID": "r-1"}

    assert [send(wallet, body).code for body in bodies] == [15, "15", 15]
    assert not behind.calls


def test_duplicate_keys_say_999_first_and_the_truth_last(wallet):
    wallet.next(duplicate_keys)
    pairs = json.loads(send(wallet).raw, object_pairs_hook=list)

    assert pairs[0] == ("error", 999)
    assert pairs[-1] == ("error", 0)
    assert len(pairs) == len(SAID) + 2


TWO_FORMS = [
    status(500),
    status(204),
    html,
    not_json,
    truncated,
    megabyte,
    gzip_bomb,
    drip_body(0),
    drip_headers(0),
    hang,
    reset,
    redirect("/"),
    answer({}),
    wrong_error(None),
]


@pytest.mark.parametrize("behaviour", TWO_FORMS)
def test_a_behaviour_leaves_the_honest_wallet_out_unless_it_comes_after_success(
    wallet, behind, behaviour
):
    for form, taken in ((behaviour, 0), (after(behaviour), 1)):
        wallet.next(form)
        try:
            send(wallet, timeout_s=0.1 if behaviour is hang else 5)
        except (OSError, http.client.IncompleteRead):
            assert behaviour in (truncated, reset, hang)
        until(lambda taken=taken: len(behind.calls) >= taken, "the call is forwarded")
        assert len(behind.calls) == taken


def test_a_success_that_never_was_looks_like_one(wallet, behind):
    wallet.next(megabyte, megabyte)

    assert send(wallet).json.items() >= SAID.items()
    assert send(wallet, REFUND).code == "0"
    assert not behind.calls


def test_a_shut_wallet_refuses_resets_and_answers_when_it_is_open_again(wallet, behind):
    url = wallet.url
    with closing(connect(wallet)) as idle, closing(connect(wallet)) as waiting:
        assert ask(idle).status == 200
        wallet.next(hang)
        waiting.request("POST", PATH, b"{}")
        until(lambda: len(wallet.calls) == 2, "the second call comes")
        wallet.shut()

        with pytest.raises(ConnectionResetError):
            waiting.getresponse()
        with pytest.raises(ConnectionResetError):
            idle.sock.recv(1)
        with pytest.raises(ConnectionRefusedError):
            send(wallet)

    wallet.open_again()
    assert wallet.url == url
    assert send(wallet).status == 200
    assert len(behind.calls) == 2


def test_a_caller_who_does_not_read_is_no_reason_to_stay(wallet):
    wallet.always(megabyte)
    with closing(connect(wallet)) as connection:
        body = json.dumps(BET).encode()
        text = f"POST {PATH} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        connection.connect()
        connection.sock.sendall(text * 20)
        until(lambda: wallet.calls, "the first call comes")

        assert seconds_of(wallet.shut) < MUCH_LESS_S


@pytest.mark.parametrize(
    ("forward", "method", "defect"),
    [
        (None, "POST", "no honest answer was expected to /v4/Bet"),
        (HonestWallet(), "GET", "GET /v4/Bet"),
    ],
)
def test_what_should_not_have_been_asked_loses_its_answer_and_is_told_on_exit(
    forward, method, defect
):
    wallet = CrookedWallet(forward)

    with pytest.raises(AssertionError, match=defect):
        lose_an_answer(wallet, method)
    assert len(wallet.errors) == len(wallet.calls) == 1


def lose_an_answer(wallet, method):
    with wallet, closing(connect(wallet)) as connection:
        connection.request(method, "/v4/Bet")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
