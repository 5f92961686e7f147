import json
from pathlib import Path

import pytest

from tests.http import wire

SEEDS = Path(__file__).parent / "seeds"
CASH = "99899.99"

PATHS = {
    "001_cancel_round": "/V4/CancelRound",
    "002_cancel": "/V4/Cancel",
    "003_refund": "/v4/Cancel",
    "004_cancel_bet": "/v1/Cancel",
}


def request_of(seed):
    return (SEEDS / f"{seed}.request.json").read_bytes()


def printed(seed):
    return json.loads((SEEDS / f"{seed}.response.json").read_bytes())


def as_printed(seed, answer):

    expected = printed(seed)
    if "transactionId" in expected:
        expected["transactionId"] = answer.json["transactionId"]
    return json.dumps(expected, separators=(",", ":")).encode()


def place_the_bet(service, seed):
    asked = json.loads(request_of(seed))
    named = {key: asked[key] for key in asked if key != "uuid"}
    bet = {
        **wire.SHAPES["Bet"],
        "sessionId": "<sessionId>",
        "roundId": "<roundId>",
        **named,
        "amount": "100.01",
    }
    got = service.call(f"{PATHS[seed][:3]}/Bet", bet)
    assert got.code == 0
    return got


@pytest.fixture
def funded(opener):
    service = opener()
    service.fund(amount=CASH)
    return service


@pytest.mark.parametrize("seed", PATHS)
def test_a_seeds_request_is_answered_as_its_seed_prints(funded, seed):
    place_the_bet(funded, seed)

    answer = funded.raw(PATHS[seed], request_of(seed))

    assert (answer.status, answer.raw.strip()) == (200, as_printed(seed, answer))
    assert answer.headers["Content-Type"] == "application/json"
    assert funded.cash() == CASH


@pytest.mark.parametrize("seed", PATHS)
def test_a_seeds_request_for_an_unknown_bet_is_answered_alike_and_moves_no_money(funded, seed):
    answer = funded.raw(PATHS[seed], request_of(seed))

    assert answer.raw.strip() == as_printed(seed, answer)
    assert funded.cash() == CASH


@pytest.mark.parametrize("seed", PATHS)
def test_a_seeds_request_sent_again_gets_the_very_same_bytes(funded, seed):
    place_the_bet(funded, seed)

    answers = [funded.raw(PATHS[seed], request_of(seed)) for _ in range(3)]

    assert len({answer.raw for answer in answers}) == 1
    assert funded.cash() == CASH


@pytest.mark.parametrize("spell", [str.upper, str.lower, str.swapcase, str.title])
@pytest.mark.parametrize("seed", PATHS)
def test_a_seeds_path_answers_in_any_letter_case(funded, seed, spell):
    answer = funded.raw(spell(PATHS[seed]), request_of(seed))

    assert answer.raw.strip() == as_printed(seed, answer)


@pytest.mark.parametrize("seed", PATHS)
def test_every_value_of_a_seeds_answer_has_the_printed_type(funded, seed):
    place_the_bet(funded, seed)

    answer = funded.raw(PATHS[seed], request_of(seed)).json

    assert {key: type(value) for key, value in answer.items()} == {
        key: type(value) for key, value in printed(seed).items()
    }
    assert all(answer.values()) or answer["error"] == 0


def test_a_bet_and_its_cancel_leave_the_cash_that_seed_004_prints(funded):
    bet = place_the_bet(funded, "004_cancel_bet")

    cancel = funded.raw("/v1/Cancel", request_of("004_cancel_bet"))

    assert bet.json["cash"] == "99799.98"
    assert cancel.json["cash"] == printed("004_cancel_bet")["cash"] == CASH
    assert cancel.json["transactionId"] != bet.json["transactionId"]


def test_the_refund_of_seed_003_is_told_from_the_cancel_of_seed_002_by_its_body_alone(funded):
    cancel = funded.raw("/v4/Cancel", request_of("002_cancel"))
    refund = funded.raw("/v4/Cancel", request_of("003_refund"))

    assert cancel.keys == tuple(printed("002_cancel"))
    assert refund.keys == tuple(printed("003_refund"))
    assert refund.json["error"] == "0"
    assert cancel.json["error"] == 0


def test_all_three_v4_reversals_of_one_bet_give_its_stake_back_once(funded):
    place_the_bet(funded, "002_cancel")

    for seed in ("002_cancel", "003_refund", "001_cancel_round", "003_refund"):
        assert int(funded.raw(PATHS[seed], request_of(seed)).json["error"]) == 0

    assert funded.cash() == CASH
    assert funded.topics().count("BetCancelled") == 1
    assert funded.topics().count("BetRefunded") == 0
