import json
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest

from api import http
from api import worker as new_worker
from tests.clocks import NOON
from tests.http import provider, wire
from tests.http.provider import GAME, GAME_CALLS, KYREN, LM, REFERENCE, RESULT, ROUND, problem
from tests.http.server import until
from tests.http.test_bad_input import (
    BAD_AMOUNTS,
    BAD_DETAILS,
    BAD_IDS,
    HUGE,
    NO_OBJECTS,
    OPENERS,
    spoken,
)
from tests.http.wire import ADMIN, AUDITOR
from tests.provider.crooked import after, code, hang, late, lost, status, twice

ROUNDS = "/api/provider/rounds"

each_operator = pytest.mark.parametrize("operator", [LM, KYREN])
each_verb = pytest.mark.parametrize("verb", GAME_CALLS)


@pytest.fixture
def pair(tmp_path):
    with provider.Pair(tmp_path) as found:
        yield found


@pytest.fixture
def idle(tmp_path, monkeypatch):
    provider.at_once(monkeypatch)
    with provider.Pair(tmp_path, works=False) as found:
        yield found


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    with provider.Pair(tmp_path_factory.mktemp("standing")) as found:
        assert found.bet().status == 200
        yield found


# a bet


@each_operator
def test_a_bet_the_wallet_takes_is_accepted_and_paid(pair, operator):
    answer = pair.bet(operator=operator)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {
        "operator": operator,
        "roundId": ROUND,
        "roundStatus": "InProgress",
        "reference": REFERENCE,
        "stake": "100.01",
        "outcome": "accepted",
        "code": None,
        "transactionId": pair.events()[-1]["body"]["transaction_id"],
    }
    assert pair.cash() == provider.CASH_AFTER_BET
    assert pair.topics()[-1] == "BetPlaced"


def test_a_bet_goes_to_the_wallet_of_its_operator_and_in_its_dialect(pair):
    pair.bet()
    pair.bet(operator=KYREN)

    assert [call.path for call in pair.wallet.calls] == [
        f"/V4/Bet?{wire.LM_PAIR}",
        f"/v1/Bet?{wire.KYREN_PAIR}",
    ]
    assert [json.loads(call.body)["providerId"] for call in pair.wallet.calls] == [
        "LuckyMonaco",
        "Kyren",
    ]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"amount": "100000.01"}, 15),
        ({"userId": wire.STRANGER}, 62),
        ({"currency": "EUR"}, 52),
    ],
)
@each_operator
def test_a_bet_the_wallet_refuses_is_declined_with_its_code(pair, operator, changes, refusal):
    answer = pair.bet(operator=operator, **changes)

    assert answer.status == 200
    assert (answer.json["outcome"], answer.json["code"]) == ("declined", refusal)
    assert answer.json["transactionId"] is None
    assert pair.cash() == wire.OPENING_CASH
    assert len(pair.wallet.calls) == 1


@pytest.mark.parametrize("refusal", [15, 16, 52, 53, 54, 55, 56, 57, 58, 59, 62, 64, 999])
def test_every_code_that_says_no_declines_a_bet_and_is_not_sent_again(standing, refusal):
    sent = len(standing.wallet.calls)
    standing.wallet.next(code(refusal))

    answer = standing.bet(f"declined-{refusal}", reference=f"declined-{refusal}")

    assert (answer.json["outcome"], answer.json["code"]) == ("declined", refusal)
    assert len(standing.wallet.calls) == sent + 1


def test_a_declined_bet_leaves_the_round_open_for_another(pair):
    pair.bet(amount="100000.01")

    assert pair.bet(reference="second").json["outcome"] == "accepted"
    assert [bet["outcome"] for bet in pair.found().json["bets"]] == ["declined", "accepted"]


@pytest.mark.parametrize("written", ["100.01", '"100.01"', "1.0001e2", "10001E-2"])
def test_an_amount_is_read_exactly_as_a_number_and_as_text(pair, written):
    answer = raw(pair, "bets", spoken(body_of("bets"), "amount", written))

    assert answer.json["stake"] == "100.01"
    assert json.loads(pair.wallet.calls[0].body)["amount"] == "100.01"


@pytest.mark.parametrize("mishap", [late(0.3), lost, twice, after(status(500))])
def test_a_bet_whose_answer_was_late_lost_or_doubled_is_taken_once(pair, mishap):
    pair.wallet.next(mishap)

    assert pair.bet().json["outcome"] == "accepted"
    assert pair.cash() == provider.CASH_AFTER_BET
    assert pair.topics().count("BetPlaced") == 1


def test_a_bet_is_202_while_the_wallet_has_not_answered_and_200_once_it_has(pair, monkeypatch):
    provider.at_once(monkeypatch, 0.02)
    pair.wallet.next(late(0.5))

    waits = pair.bet()
    assert (waits.status, waits.json["outcome"]) == (202, "requested")
    assert (waits.json["code"], waits.json["transactionId"]) == (None, None)

    until(lambda: pair.bet().status == 200, "the bet is answered")
    assert pair.bet().json["outcome"] == "accepted"
    assert pair.provider_topics().count("BetRequested") == 1


def test_a_bet_whose_wallet_is_not_there_is_given_up_and_then_cancelled_for_sure(idle):
    idle.wallet.shut()
    waits = idle.bet()
    assert (waits.status, waits.json["outcome"]) == (202, "requested")

    idle.work()

    until(lambda: "DeliveryParked" in idle.provider_topics(), "the cancel is parked")
    found = idle.found().json
    assert found["bets"][0]["outcome"] == "given-up"
    assert found["roundStatus"] == "CancelInProcess"
    assert [each["state"] for each in found["deliveries"]] in (
        ["given-up", "parked"],
        ["given-up", "sending"],
    )
    answer = idle.bet()
    assert (answer.status, answer.json["outcome"]) == (200, "given-up")
    idle.wallet.open_again()
    idle.gets("Cancelled")
    assert idle.found().json["bets"][0]["outcome"] == "cancelled"
    assert idle.topics().count("BetPlaced") == 0
    assert idle.cash() == wire.OPENING_CASH


def test_a_bet_that_was_taken_without_an_answer_goes_back(tmp_path):
    with provider.Pair(tmp_path, retries=0) as pair:
        pair.wallet.on("Bet", lost)

        assert pair.bet().json["outcome"] == "given-up"

        pair.gets("Cancelled")
        assert pair.topics()[-3:] == ["BetPlaced", "BetCancelled", "RoundCancelled"]
        assert pair.cash() == wire.OPENING_CASH


def test_a_wallet_that_hangs_holds_nobody_longer_than_the_game_waits(tmp_path, monkeypatch):
    provider.at_once(monkeypatch, 0.1)
    with provider.Pair(tmp_path, timeout_s=60.0) as pair:
        pair.wallet.always(hang)

        assert pair.bet().status == 202
        assert pair.bet("another", operator=KYREN).status == 202
        pair.wallet.shut()


# a result, the end, a cancellation


@each_operator
def test_a_round_is_won_and_completed(pair, operator):
    pair.bet(operator=operator)

    answer = pair.play("result", operator=operator)

    assert answer.status == 200
    assert answer.json == {
        "operator": operator,
        "roundId": ROUND,
        "roundStatus": "Completed",
        "reference": RESULT,
        "win": "250.00",
        "confirmed": True,
        "transactionId": pair.events()[-1]["body"]["transaction_id"],
    }
    assert pair.cash() == "100149.99"


@each_operator
def test_a_round_that_won_nothing_is_ended(pair, operator):
    pair.bet(operator=operator)
    assert pair.play("result", operator=operator, amount=0).json["win"] == "0.00"

    answer = pair.play("end", operator=operator)

    assert answer.status == 200
    assert answer.json == {"operator": operator, "roundId": ROUND, "roundStatus": "Completed"}
    assert pair.topics()[-1] == "RoundEnded"
    assert pair.cash() == provider.CASH_AFTER_BET


@each_operator
def test_a_round_is_cancelled_by_its_game_and_every_open_bet_goes_back(pair, operator):
    for reference in ("b1", "b2", "b3"):
        pair.bet(operator=operator, reference=reference)

    answer = pair.play("cancel", operator=operator)

    assert answer.status == 200
    assert answer.json == {"operator": operator, "roundId": ROUND, "roundStatus": "Cancelled"}
    assert [bet["outcome"] for bet in pair.found(operator=operator).json["bets"]] == [
        "refunded"
    ] * 3
    assert pair.cash() == wire.OPENING_CASH


@pytest.mark.parametrize(
    ("verb", "status_"), [("result", "CompleteInProcess"), ("cancel", "CancelInProcess")]
)
def test_an_outcome_the_wallet_has_not_confirmed_is_202_and_goes_on(
    pair, monkeypatch, verb, status_
):
    pair.bet()
    provider.at_once(monkeypatch, 0.02)
    pair.wallet.shut()

    answer = pair.play(verb)

    assert (answer.status, answer.json["roundStatus"]) == (202, status_)
    pair.wallet.open_again()
    pair.gets("Completed" if verb == "result" else "Cancelled")
    assert pair.play(verb).status == 200


def test_the_end_is_202_until_the_wallet_has_closed_the_round(pair, monkeypatch):
    pair.bet()
    pair.play("result")
    provider.at_once(monkeypatch, 0.02)
    pair.wallet.shut()

    assert pair.play("end").status == 202
    assert pair.status() == "CompleteInProcess"
    pair.wallet.open_again()
    until(lambda: pair.play("end").status == 200, "the wallet closes the round")


@pytest.mark.parametrize("verb", ["result", "end"])
def test_what_must_wait_for_the_wallet_is_503_and_recorded_nowhere(idle, verb):
    idle.bet()
    heads = idle.heads

    answer = idle.play(verb)

    problem(answer, 503, "unsettled", code=998)
    assert answer.headers["Retry-After"] == "1"
    assert idle.heads == heads


@pytest.mark.parametrize("verb", ["result", "end", "cancel"])
def test_a_round_nobody_knows_is_404(standing, verb):
    heads = standing.heads

    answer = standing.play(verb, "nobody's")

    problem(answer, 404, "no-such-round", code=17, field="roundId")
    assert standing.heads == heads


@each_verb
def test_a_round_of_another_player_is_409(standing, verb):
    heads = standing.heads
    body = {**new_body_of(verb), "userId": wire.OTHER_PLAYER}

    answer = raw(standing, verb, json.dumps(body), ROUND)

    problem(answer, 409, "not-together", code=16, field="userId")
    assert standing.heads == heads


def test_a_round_takes_nothing_more_once_it_is_over(pair):
    pair.bet()
    pair.bet("other")
    pair.play("result")
    pair.play("end")
    pair.bet("back", reference="back")
    pair.play("cancel", "back")
    heads = pair.heads

    for verb, round_id in (
        ("bets", ROUND),
        ("result", ROUND),
        ("cancel", ROUND),
        ("bets", "back"),
        ("result", "back"),
        ("end", "back"),
    ):
        named = {"reference": "late"} if verb in ("bets", "result") else {}
        answer = pair.play(verb, round_id, **named)
        problem(answer, 422, "refused-for-good", code=999, field="roundId")
    assert pair.heads == heads


def test_a_round_keeps_its_currency_and_its_game(standing):
    heads = standing.heads

    other_currency = standing.bet(reference="new", currency="EUR")
    other_game = standing.bet(reference="new", gameId="another")

    problem(other_currency, 422, "wrong-currency", code=52, field="currency")
    problem(other_game, 422, "malformed", code=57, field="gameId")
    assert standing.heads == heads


def test_a_currency_nobody_knows_is_refused(standing):
    heads = standing.heads

    answer = standing.bet("new", reference="new", currency="QQQ")

    problem(answer, 422, "wrong-currency", code=52, field="currency")
    assert standing.heads == heads


# the same again


def test_every_call_said_again_is_answered_alike_and_records_and_sends_nothing(pair):
    pair.bet("other", reference="other")
    for verb, round_id in (
        ("bets", ROUND),
        ("result", ROUND),
        ("end", ROUND),
        ("cancel", "other"),
    ):
        first = pair.play(verb, round_id)
        heads, sent = pair.heads, len(pair.wallet.calls)
        for _ in range(2):
            again = pair.play(verb, round_id)
            assert (again.status, again.raw) == (200, first.raw)
        assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)


def test_a_declined_bet_stays_declined_once_there_is_enough_cash(pair):
    first = pair.bet(amount="100000.01")
    pair.office(
        "POST", f"/api/wallets/{wire.PLAYER}/USD/deposits", {"reference": "more", "amount": 50}
    )
    heads, sent = pair.heads, len(pair.wallet.calls)

    assert pair.bet(amount="100000.01").raw == first.raw
    assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)


def test_a_bet_said_again_may_name_another_session_and_other_details(pair):
    first = pair.bet()
    heads = pair.heads

    again = pair.bet(sessionId="another", gameName="another", roundDetails={"spin": 2})

    assert again.raw == first.raw
    assert pair.heads == heads


@pytest.mark.parametrize(
    ("verb", "changes"),
    [
        ("bets", {"amount": "100.02"}),
        ("bets", {"gameId": "another"}),
        ("bets", {"currency": "EUR"}),
        ("result", {"amount": "250.01"}),
    ],
)
def test_a_reference_that_comes_back_with_another_payload_is_409(pair, verb, changes):
    pair.bet()
    pair.play("result")
    heads = pair.heads

    answer = pair.play(verb, **changes)

    problem(answer, 409, "reference-reused", code=57, field=next(iter(changes)))
    assert pair.heads == heads


@pytest.mark.parametrize("verb", ["bets", "result"])
def test_a_reference_that_comes_back_in_another_round_is_409(pair, verb):
    pair.bet()
    pair.play("result")
    pair.bet("another", reference="another")
    heads = pair.heads

    answer = pair.play(verb, "another")

    problem(answer, 409, "reference-reused", code=57, field="roundId")
    assert pair.heads == heads


@pytest.mark.parametrize("verb", ["bets", "result"])
def test_a_reference_of_another_player_is_409_and_tells_nothing_of_it(pair, verb):
    pair.bet()
    pair.play("result")
    heads = pair.heads

    answer = pair.play(verb, userId=wire.OTHER_PLAYER)

    problem(answer, 409, "not-together", code=16, field="userId")
    assert wire.PLAYER.encode() not in answer.raw
    assert b"100.01" not in answer.raw
    assert pair.heads == heads


def test_one_reference_may_be_a_bet_and_a_result_and_a_bet_at_another_operator(pair):
    pair.bet()
    assert pair.play("result", reference=REFERENCE).json["confirmed"] is True
    assert pair.bet(operator=KYREN).json["outcome"] == "accepted"


# a round as it is, and as it was


def test_a_round_shows_its_status_its_money_its_deliveries_and_its_history(pair):
    pair.bet()
    pair.bet(reference="second", amount=10)
    pair.play("result")
    pair.play("end")

    answer = pair.found()

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    found = answer.json
    topics = [event["event"] for event in found["history"]]
    assert topics == [
        *("RoundOpened", "BetRequested", "BetAccepted", "BetRequested", "BetAccepted"),
        *("ResultRequested", "ResultConfirmed", "RoundCompleted"),
        *("RoundEnded", "EndRequested", "EndConfirmed", "RoundCompleted"),
    ]
    assert [event["version"] for event in found["history"]] == list(range(1, 13))
    assert {key: found[key] for key in found if key not in ("history", "deliveries", "bets")} == {
        "operator": LM,
        "roundId": ROUND,
        "roundStatus": "Completed",
        "userId": wire.PLAYER,
        "currency": "USD",
        "gameId": wire.GAME_FIELDS["gameId"],
        "openedAt": found["history"][0]["recorded_at"],
        "version": 12,
        "staked": "110.01",
        "won": "250.00",
        "results": [
            {
                "reference": RESULT,
                "win": "250.00",
                "confirmed": True,
                "transactionId": found["results"][0]["transactionId"],
            }
        ],
    }
    assert [(bet["reference"], bet["stake"], bet["outcome"]) for bet in found["bets"]] == [
        (REFERENCE, "100.01", "accepted"),
        ("second", "10.00", "accepted"),
    ]
    assert [each["id"] for each in found["deliveries"]] == [
        f"{LM}/bet/{REFERENCE}",
        f"{LM}/bet/second",
        f"{LM}/result/{RESULT}",
        f"{LM}/end/{ROUND}",
    ]
    assert found["deliveries"][0] == {
        "id": f"{LM}/bet/{REFERENCE}",
        "roundId": ROUND,
        "state": "confirmed",
        "attempts": 1,
        "undeliveredSince": None,
        "nextSendAt": None,
        "lastError": "",
        "code": 0,
    }


def test_a_round_can_be_seen_as_of_each_of_its_versions(pair):
    pair.bet()
    pair.play("cancel")
    statuses = {
        version: pair.found(query=f"&at={version}").json["roundStatus"] for version in range(1, 9)
    }

    assert statuses == {
        1: "InProgress",
        2: "InProgress",
        3: "InProgress",
        4: "CancelInProcess",
        5: "CancelInProcess",
        6: statuses[6],
        7: "Cancelled",
        8: "Cancelled",
    }
    third = pair.found(query="&at=3").json
    assert third["version"] == 3
    assert [event["event"] for event in third["history"]] == [
        "RoundOpened",
        "BetRequested",
        "BetAccepted",
    ]
    assert third["bets"][0]["outcome"] == "accepted"


@pytest.mark.parametrize("at", ["0", "-1", "x", "1.5", "", "1e3", HUGE, "%D9%A1"])
def test_a_version_that_is_none_is_refused(standing, at):
    problem(standing.found(query=f"&at={at}"), 422, code=57, field="at")


def test_a_round_says_what_the_wallet_last_said_and_when_it_is_asked_again(idle):
    idle.bet()
    waiting = idle.found().json["deliveries"][0]
    assert (waiting["state"], waiting["attempts"]) == ("waiting", 0)
    assert waiting["undeliveredSince"] == waiting["nextSendAt"] is not None
    idle.wallet.always(code(998))
    idle.work()

    until(lambda: "BetGivenUp" in idle.provider_topics(), "the bet is given up")

    given_up = idle.found().json["deliveries"][0]
    assert (given_up["state"], given_up["attempts"]) == ("given-up", 4)
    assert (given_up["code"], given_up["lastError"]) == (998, "refused")
    assert given_up["undeliveredSince"] is given_up["nextSendAt"] is None


def test_a_round_nobody_opened_is_not_found_whatever_is_wrong_with_its_operator(standing):
    for path in (
        f"{ROUNDS}/unknown?operator={LM}",
        f"{ROUNDS}/{ROUND}?operator={KYREN}",
        f"{ROUNDS}/{ROUND}?operator=nobody",
    ):
        answer = standing.office("GET", path, token=GAME)
        problem(answer, 404, "no-such-round", code=17, field="roundId")


def test_the_operator_must_be_named_where_there_are_several(standing):
    answer = standing.office("GET", f"{ROUNDS}/{ROUND}")

    problem(answer, 422, "field-missing", code=64, field="operator")
    assert "several operators" in answer.json["detail"]


def test_the_operator_may_be_left_out_where_there_is_one(tmp_path):
    with provider.Pair(tmp_path, logins=(LM,)) as pair:
        pair.bet()

        answer = pair.office("GET", f"{ROUNDS}/{ROUND}")

        assert (answer.status, answer.json["operator"]) == (200, LM)


@pytest.mark.parametrize("named", ["", "%00", "x" * 129, "%E2%80%8B"])
def test_an_operator_in_the_query_that_is_none_is_malformed(standing, named):
    answer = standing.office("GET", f"{ROUNDS}/{ROUND}?operator={named}")

    problem(answer, 422, "malformed", code=57, field="operator")


@pytest.mark.parametrize(
    "round_id",
    [
        "a/b",
        "a//b",
        "a/",
        "/a",
        "/",
        "a%b",
        "a%2Fb",
        "a b",
        " ",
        "é",
        "e\u0301",
        "😀",
        "a?b",
        "a#b",
        "a;b",
        "..",
        "a/../b",
        "x/bets",
        "x/end",
        "'; drop table rounds; --",
        "x" * 128,
    ],
)
def test_a_round_is_kept_under_its_exact_id(pair, round_id):
    answer = pair.bet(quote(round_id, safe=""))

    assert (answer.status, answer.json["roundId"]) == (200, round_id)
    found = pair.found(quote(round_id, safe=""))
    assert (found.status, found.json["roundId"]) == (200, round_id)
    assert pair.provider_events()[0]["body"]["round"] == round_id


@pytest.mark.parametrize("round_id", ["%2Fa", "%2F%2Fa"])
def test_a_path_never_leads_to_another_round_than_it_names(pair, round_id):
    pair.bet("a")
    heads = pair.heads

    bet, found = pair.bet(round_id, reference="second"), pair.found(round_id)

    assert pair.heads == heads or bet.json["roundId"] != "a"
    assert not 300 <= bet.status < 400
    assert not 300 <= found.status < 400


@pytest.mark.parametrize(
    "round_id", ["x" * 129, "%00", "a%09", "%7F", "%E2%80%8B", "%E2%80%AE", "%EF%BB%BF"]
)
@each_verb
def test_a_round_id_that_is_none_is_refused(standing, verb, round_id):
    heads = standing.heads

    answer = raw(standing, verb, json.dumps(new_body_of(verb)), round_id)

    problem(answer, 422, "malformed", code=57, field="roundId")
    assert standing.heads == heads


# deliveries


def test_what_the_wallets_owe_an_answer_to_is_listed_the_oldest_first(idle):
    idle.bet("first", reference="b1")
    idle.bet("second", reference="b2", operator=KYREN)

    answer = idle.office("GET", "/api/provider/deliveries")

    assert answer.status == 200
    assert [each["id"] for each in answer.json["deliveries"]] == [
        f"{LM}/bet/b1",
        f"{KYREN}/bet/b2",
    ]
    assert [each["state"] for each in answer.json["deliveries"]] == ["waiting"] * 2


def listed(pair, **query):
    return pair.office("GET", f"/api/provider/deliveries?{urlencode(query)}")


def test_what_the_wallets_owe_is_read_to_its_end_though_many_are_asked_at_once(
    tmp_path, monkeypatch
):
    provider.at_once(monkeypatch)
    with provider.Pair(tmp_path, works=False, now=lambda: NOON) as idle:
        for number in range(5):
            idle.bet(f"r-{number}", reference=f"b/{number}%")
        whole = listed(idle).json
        found, page = [], {"has_more": True, "next": ""}

        while page["has_more"]:
            page = listed(idle, after=page["next"], limit=2).json
            assert len(page["deliveries"]) in (1, 2)
            found += page["deliveries"]

        assert found == whole["deliveries"]
        assert [each["roundId"] for each in found] == [f"r-{number}" for number in range(5)]
        assert (page["next"], page["has_more"]) == (whole["next"], whole["has_more"])
        assert listed(idle, after=page["next"]).json == {**page, "deliveries": []}


@pytest.mark.parametrize(
    ("behaviour", "state", "why"),
    [
        (code(999), "refused", {"outcome": "answered", "code": 999}),
        (lost, "parked", {"outcome": "invalid"}),
    ],
)
def test_a_log_tells_once_of_a_delivery_that_nobody_takes(pair, monkeypatch, behaviour, state, why):
    told = []
    monkeypatch.setattr(http, "warn", lambda event, **said: told.append({"event": event, **said}))
    provider.at_once(monkeypatch)
    pair.bet()
    pair.wallet.on("Cancel", *[behaviour] * 8)
    pair.play("cancel")
    topic = "DeliveryRefused" if state == "refused" else "DeliveryParked"
    until(lambda: topic in pair.provider_topics(), f"it is {state}")
    if state == "refused":
        pair.office("POST", f"/api/provider/deliveries/{LM}/refund/{REFERENCE}/retry")
        until(lambda: pair.provider_topics().count(topic) == 2, "it is refused again")
    else:
        pair.gets("Cancelled")

    line = {"event": f"a delivery is {state}", "delivery": f"{LM}/refund/{REFERENCE}", **why}
    until(lambda: len(told) == (2 if state == "refused" else 1), "it is told")
    for each in told:
        assert {key: each[key] for key in line} == line
        assert "detail" not in each
        assert each["told"].startswith("roundbook deliveries")


def test_a_page_goes_on_behind_a_delivery_that_was_answered_meanwhile(pair, monkeypatch):
    provider.at_once(monkeypatch)
    pair.wallet.on("Cancel", *[code(999)] * 3)
    for number in range(3):
        pair.bet(f"r-{number}", reference=f"b-{number}")
        pair.play("cancel", f"r-{number}")
        until(
            lambda upto=number + 1: pair.provider_topics().count("DeliveryRefused") == upto,
            "it is refused",
        )
    first = listed(pair, limit=1).json

    pair.office("POST", f"/api/provider/deliveries/{first['deliveries'][0]['id']}/retry")
    pair.gets("Cancelled", "r-0")

    rest = listed(pair, after=first["next"]).json["deliveries"]
    assert [each["roundId"] for each in rest] == ["r-1", "r-2"]


@pytest.mark.parametrize(
    "after",
    ["x", f"{LM}/refund/b-1", f"yesterday/{LM}/refund/b-1", "2026-11-21T10:00:00.000000Z/a/b/\0"],
)
def test_a_place_that_no_page_told_is_refused(standing, after):
    problem(listed(standing, after=after), 422, "malformed", code=57, field="after")


@pytest.mark.parametrize("limit", ["0", "1001", "x", ""])
def test_a_page_of_deliveries_has_1_to_1000(standing, limit):
    problem(listed(standing, limit=limit), 422, code=57, field="limit")


def test_what_a_wallet_refused_for_good_waits_until_the_admin_sends_it_again(pair, monkeypatch):
    pair.bet()
    pair.wallet.on("Cancel", code(999))
    provider.at_once(monkeypatch)
    pair.play("cancel")
    until(lambda: "DeliveryRefused" in pair.provider_topics(), "the wallet refuses the refund")
    owed = pair.office("GET", "/api/provider/deliveries").json["deliveries"]
    assert [(each["id"], each["state"], each["code"]) for each in owed] == [
        (f"{LM}/refund/{REFERENCE}", "refused", 999)
    ]
    assert owed[0]["nextSendAt"] is None

    answer = pair.office("POST", f"/api/provider/deliveries/{LM}/refund/{REFERENCE}/retry")

    assert (answer.status, answer.json["roundId"]) == (200, ROUND)
    pair.gets("Cancelled")
    assert pair.office("GET", "/api/provider/deliveries").json == {
        "deliveries": [],
        "has_more": False,
        "next": "",
    }
    assert pair.cash() == wire.OPENING_CASH


def test_a_delivery_that_is_closed_is_not_sent_again(pair):
    pair.bet()
    heads, sent = pair.heads, len(pair.wallet.calls)

    answer = pair.office("POST", f"/api/provider/deliveries/{LM}/bet/{REFERENCE}/retry")

    assert answer.status == 200
    assert answer.json == pair.found().json
    assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)


@pytest.mark.parametrize(
    "named",
    [
        f"{LM}/bet/unknown",
        f"{LM}/refund/{REFERENCE}",
        f"{KYREN}/bet/{REFERENCE}",
        f"{LM}/nothing/{REFERENCE}",
        f"nobody/bet/{REFERENCE}",
        f"{LM}/bet/{'x' * 129}",
        f"{LM}/bet/%00",
    ],
)
def test_a_delivery_nobody_owes_cannot_be_sent_again(standing, named):
    heads = standing.heads

    answer = standing.office("POST", f"/api/provider/deliveries/{named}/retry")

    problem(answer, 422, "malformed", code=57, field="reference")
    assert standing.heads == heads


def test_a_delivery_whose_reference_holds_slashes_can_be_sent_again(pair):
    pair.bet(reference="a/b/c")

    answer = pair.office(
        "POST", f"/api/provider/deliveries/{LM}/bet/{quote('a/b/c', safe='')}/retry"
    )

    assert answer.status == 200


# who may what

PLAYS = [("POST", f"{ROUNDS}/{ROUND}/{verb}") for verb in GAME_CALLS]
READS = [
    ("GET", f"{ROUNDS}/{ROUND}?operator={LM}"),
    ("GET", "/api/provider/deliveries"),
    ("GET", "/api/provider/events"),
    ("GET", "/api/provider/head"),
]
ACTS = [("POST", f"/api/provider/deliveries/{LM}/bet/{REFERENCE}/retry")]


def asked(pair, method, path, token):
    verb = path.rpartition("/")[2]
    body = {"operator": LM, **GAME_CALLS[verb]} if verb in GAME_CALLS else None
    return pair.office(method, path, body, token=token)


@pytest.mark.parametrize(("method", "path"), READS)
@pytest.mark.parametrize("token", [GAME, AUDITOR, ADMIN])
def test_game_auditor_and_admin_may_read(standing, method, path, token):
    answer = asked(standing, method, path, token)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("method", "path"), PLAYS)
@pytest.mark.parametrize("token", [AUDITOR, ADMIN])
def test_nobody_but_a_game_may_play(standing, method, path, token):
    heads = standing.heads

    problem(asked(standing, method, path, token), 403, "forbidden")
    assert standing.heads == heads


@pytest.mark.parametrize(("method", "path"), ACTS)
@pytest.mark.parametrize("token", [AUDITOR, GAME])
def test_nobody_but_the_admin_may_send_again(standing, method, path, token):
    heads = standing.heads

    problem(asked(standing, method, path, token), 403, "forbidden")
    assert standing.heads == heads
    assert asked(standing, method, path, ADMIN).status == 200


@pytest.mark.parametrize(("method", "path"), PLAYS + READS + ACTS)
@pytest.mark.parametrize(
    "token", [None, "", "wrong", GAME.upper(), GAME[:-1], provider.TOKENS[LM], "lm-token", "é"]
)
def test_any_other_token_is_401(standing, method, path, token):
    heads = standing.heads

    answer = asked(standing, method, path, token)

    problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Connection"] == "close"
    assert standing.heads == heads


def test_a_token_in_the_query_or_as_another_scheme_is_none(standing):
    for path, headers in (
        (f"/api/provider/head?token={GAME}", {}),
        ("/api/provider/head", {"Authorization": f"Basic {GAME}"}),
        ("/api/provider/head", {"Authorization": GAME}),
    ):
        problem(standing.send("GET", path, **headers), 401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/wallets/{wire.PLAYER}/USD"),
        ("PUT", f"/api/wallets/{wire.PLAYER}/USD"),
        ("GET", "/api/events"),
        ("GET", "/api/head"),
    ],
)
def test_a_game_has_no_business_in_the_operators_book(standing, method, path):
    problem(standing.office(method, path, token=GAME), 401, "unauthorized")


# bad input

FIELDS = [(verb, field) for verb, body in GAME_CALLS.items() for field in ("operator", *body)]
REQUIRED = [(v, f) for v, f in FIELDS if f != "userId" or v == "bets"]
IDS = [(verb, field) for verb, field in FIELDS if field != "amount"]
AMOUNTS = [(verb, field) for verb, field in FIELDS if field == "amount"]


def with_faults(fields, faults):
    return [
        pytest.param(verb, field, written, id=f"{verb} {field} {fault}")
        for verb, field in fields
        for fault, written in faults.items()
    ]


def body_of(verb, **changes):
    return {"operator": LM, **GAME_CALLS[verb], **changes}


def new_body_of(verb):
    body = body_of(verb)
    return {**body, "reference": "new"} if "reference" in body else body


def raw(pair, verb, data, round_id="new"):
    return pair.send(
        "POST",
        f"{ROUNDS}/{round_id}/{verb}",
        data,
        Authorization=f"Bearer {GAME}",
        Content_Type="application/json",
    )


@pytest.mark.parametrize(("verb", "field"), REQUIRED)
@pytest.mark.parametrize("fault", ["missing", "empty", "null"])
def test_a_mandatory_field_that_is_not_there_is_named(standing, verb, field, fault):
    heads = standing.heads
    body = body_of(verb, **{field: "" if fault == "empty" else None})
    if fault == "missing":
        del body[field]

    answer = raw(standing, verb, json.dumps(body))

    problem(answer, 422, "field-missing", code=64, field=field)
    assert standing.heads == heads


@pytest.mark.parametrize(("verb", "field", "written"), with_faults(IDS, BAD_IDS))
def test_an_id_that_is_none_is_malformed(standing, verb, field, written):
    heads = standing.heads

    answer = raw(standing, verb, spoken(body_of(verb), field, written))

    problem(answer, 422, "malformed", code=57, field=field)
    assert standing.heads == heads


@pytest.mark.parametrize(("verb", "field", "written"), with_faults(AMOUNTS, BAD_AMOUNTS))
def test_an_amount_that_is_none_is_59(standing, verb, field, written):
    heads = standing.heads
    round_id = "new" if verb == "bets" else ROUND

    answer = raw(standing, verb, spoken(new_body_of(verb), field, written), round_id)

    problem(answer, 422, "amount-invalid", code=59, field="amount")
    assert standing.heads == heads


@pytest.mark.parametrize("verb", ["bets", "result"])
@pytest.mark.parametrize("written", BAD_DETAILS.values(), ids=BAD_DETAILS)
def test_details_that_cannot_be_kept_are_malformed(standing, verb, written):
    heads = standing.heads

    answer = raw(standing, verb, spoken(body_of(verb), "roundDetails", written))

    assert answer.json["code"] == 57
    assert answer.status == 422
    assert standing.heads == heads


@each_verb
def test_an_operator_nobody_configured_is_malformed(standing, verb):
    heads = standing.heads

    answer = standing.play(verb, "new", operator="nobody")

    problem(answer, 422, "malformed", code=57, field="operator")
    assert standing.heads == heads


@each_verb
@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_body_that_is_no_json_object_is_400(standing, verb, body):
    heads = standing.heads

    problem(raw(standing, verb, body), 400, "not-json", code=57, field="body")
    assert standing.heads == heads


@each_verb
@pytest.mark.parametrize("body", OPENERS.values(), ids=OPENERS)
def test_a_body_nested_without_need_is_malformed(standing, verb, body):
    heads = standing.heads

    answer = raw(standing, verb, body)

    assert answer.status in (400, 422)
    problem(answer, answer.status, code=57, field="body")
    assert standing.heads == heads


@each_verb
def test_a_body_of_more_than_64_kib_is_413(standing, verb):
    heads = standing.heads

    problem(raw(standing, verb, json.dumps(body_of(verb)) + " " * 65536), 413)
    assert standing.heads == heads


@each_verb
def test_a_key_twice_with_two_values_is_malformed(standing, verb):
    heads = standing.heads

    for field in body_of(verb):
        twice_ = f'{json.dumps(body_of(verb))[:-1]}, "{field}": "another"}}'
        problem(raw(standing, verb, twice_), 422, "malformed", code=57, field=field)
    assert standing.heads == heads


@each_verb
@pytest.mark.parametrize("field", ["extra", "OPERATOR", "roundId", "reference ", "ſessionId", ""])
def test_a_field_nobody_knows_is_refused(standing, verb, field):
    heads = standing.heads

    answer = raw(standing, verb, json.dumps(body_of(verb, **{field: "x"})))

    problem(answer, 422, code=57, field=field)
    assert standing.heads == heads


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/provider/head"),
        ("GET", f"{ROUNDS}/{ROUND}/bets/x?operator={LM}"),
        ("PUT", f"{ROUNDS}/{ROUND}"),
        ("POST", f"{ROUNDS}/{ROUND}"),
        ("GET", "/api/provider/nothing"),
        ("GET", "/api/provider/events?limit=0"),
        ("GET", "/api/provider/events?after=x"),
    ],
)
def test_every_error_is_a_problem(standing, method, path):
    answer = standing.office(method, path)

    assert answer.status in (404, 405, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == answer.status


def test_details_are_kept_with_the_event_and_sent_without_what_has_a_secrets_name(pair):
    details = {"spin": 1, "reels": ["a", "b"], "token": "t", "deeper": {"HASH": "h", "x": None}}
    told = {"spin": 1, "reels": ["a", "b"], "deeper": {"x": None}}

    pair.bet(roundDetails=details)

    requested = pair.provider_events()[1]["body"]
    assert requested["details"] == told
    assert json.loads(pair.wallet.calls[0].body)["roundDetails"] == told


@pytest.mark.parametrize(
    ("currency", "good", "bad"), [("JPY", "5", "5.1"), ("KWD", "0.005", "0.0005")]
)
def test_an_amount_follows_its_currencys_decimals(pair, currency, good, bad):
    pair.fund(currency=currency, amount="10")

    refused = pair.bet(currency=currency, amount=bad)
    taken = pair.bet(currency=currency, amount=good)

    problem(refused, 422, "amount-invalid", code=59, field="amount")
    assert (taken.json["outcome"], taken.json["stake"]) == ("accepted", good)


# the book


def test_the_providers_book_is_read_event_by_event_to_its_head(pair):
    pair.bet()
    whole = pair.office("GET", "/api/provider/events?limit=1000", token=AUDITOR).json

    page = pair.office("GET", "/api/provider/events?after=1&limit=2", token=AUDITOR).json
    head = pair.office("GET", "/api/provider/head", token=AUDITOR).json

    last = whole["events"][-1]
    assert page == {"events": whole["events"][1:3], "has_more": True, "next": 3}
    assert (whole["has_more"], whole["next"]) == (False, last["position"])
    assert head == {"position": last["position"], "hash": last["hash"]}
    assert pair.provider_topics() == [
        *("RoundOpened", "BetRequested", "SendStarted", "SendEnded", "BetAccepted"),
    ]
    assert head != pair.head
    assert pair.topics() == ["WalletOpened", "DepositMade", "RoundOpened", "BetPlaced"]


def test_whether_the_provider_is_ready_is_said_beside_the_wallet(pair):
    pair.bet()
    heads = pair.heads

    assert pair.send("GET", "/readyz").json == {
        "status": "ready",
        "copies": "none",
        "position": heads[0].position,
        "hash": heads[0].hash.hex(),
        "provider_position": heads[1].position,
        "provider_hash": heads[1].hash.hex(),
        "sweep": "running",
    }


def test_a_provider_whose_book_takes_nothing_is_not_ready(tmp_path):
    with provider.Pair(tmp_path, works=False) as pair:
        pair.provider._writer.close()

        answer = pair.send("GET", "/readyz")

        assert (answer.status, answer.json) == (503, {"status": "the writer has stopped"})


def test_what_the_games_call_stands_in_the_description_of_the_service(standing):
    paths = standing.send("GET", "/openapi.json").json["paths"]

    for verb in GAME_CALLS:
        assert f"/api/provider/rounds/{{round_id}}/{verb}" in paths
    assert "/api/provider/deliveries/{operator}/{kind}/{reference}/retry" in paths


def test_times_are_those_of_the_clock_the_service_was_given(tmp_path):
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    with provider.Pair(tmp_path, now=lambda: noon) as pair:
        pair.bet()

        assert pair.found().json["openedAt"] == "2026-11-21T12:00:00.000000Z"
        assert {event["recorded_at"] for event in pair.provider_events()} == {
            "2026-11-21T12:00:00.000000Z"
        }


# its worker


def test_a_worker_stops_though_it_is_woken_at_the_same_moment(tmp_path, monkeypatch):
    with provider.Pair(tmp_path, works=False) as pair:
        worker = new_worker(pair.settings, pair.provider)
        worker.start()
        courier = worker._courier
        lanes, stop = courier._lanes.values(), courier._stopping.set

        def wake_and_stop():
            for lane in lanes:
                lane.wake()
            stop()

        monkeypatch.setattr(courier._stopping, "set", wake_and_stop)
        until(lambda: all(lane._woken._waiters for lane in lanes), "nothing is to be sent")

        provider.ends("the worker", worker.stop)


def test_a_worker_that_was_never_started_can_be_stopped(tmp_path):
    with provider.Pair(tmp_path, works=False) as pair:
        provider.ends("the worker", new_worker(pair.settings, pair.provider).stop)


# in a process of their own


@each_operator
def test_a_provider_plays_a_round_at_the_wallet_of_its_own_process(server, operator):
    def play(verb, **changes):
        body = {"operator": operator, **GAME_CALLS[verb], **changes}
        return server.send("POST", f"{ROUNDS}/{operator}/{verb}", body, token=GAME)

    bet, result, end = play("bets"), play("result"), play("end")

    assert (bet.status, bet.json["outcome"]) == (200, "accepted")
    assert (result.status, result.json["confirmed"]) == (200, True)
    assert (end.status, end.json["roundStatus"]) == (200, "Completed")
    wallets = server.get(
        f"/api/rounds/{'Kyren' if operator == KYREN else 'LuckyMonaco'}/{operator}"
    )
    assert (wallets.json["staked"], wallets.json["won"]) == ("100.01", "250.00")
    assert wallets.json["bets"][0]["transactionId"] == bet.json["transactionId"]
    found = server.get(f"{ROUNDS}/{operator}?operator={operator}", token=AUDITOR)
    assert (found.status, found.json["roundStatus"]) == (200, "Completed")


@pytest.mark.parametrize("name", ["a/b", "/a//b/", "a%2Fb/..", "/"])
def test_a_name_with_slashes_has_an_address_in_the_service(server, name):
    at, reference = quote(name, safe=""), quote(f"{name}bet", safe="")
    body = {"operator": LM, **GAME_CALLS["bets"], "reference": f"{name}bet"}

    bet = server.send("POST", f"{ROUNDS}/{at}/bets", body, token=GAME)
    retried = server.send(
        "POST", f"/api/provider/deliveries/{LM}/bet/{reference}/retry", token=ADMIN
    )

    assert [each.json["roundId"] for each in (bet, retried)] == [name, name]
    for round_ in (f"{ROUNDS}/{at}?operator={LM}", f"/api/rounds/LuckyMonaco/{at}"):
        assert server.get(round_, token=AUDITOR).json["roundId"] == name


def test_a_process_with_both_books_says_so_when_it_is_ready(server):
    ready = server.get("/readyz").json

    assert set(ready) == {
        *("status", "position", "hash", "copies"),
        *("provider_position", "provider_hash", "sweep"),
    }
    ours, theirs = (server.get(f"{api}/head").json for api in ("/api", "/api/provider"))
    assert ours == {"position": ready["position"], "hash": ready["hash"]}
    assert theirs == {"position": ready["provider_position"], "hash": ready["provider_hash"]}


def test_what_was_owed_when_the_process_died_is_delivered_by_the_next(tmp_path):
    both = provider.Both(tmp_path)
    try:
        both.start()
        both.fund(wire.PLAYER, amount=wire.OPENING_CASH)
        assert (
            both.send("POST", f"{ROUNDS}/{ROUND}/bets", body_of("bets"), token=GAME).status == 200
        )
        both.kill()
        both.start()
        answer = both.send("POST", f"{ROUNDS}/{ROUND}/cancel", body_of("cancel"), token=GAME)
        assert (answer.status, answer.json["roundStatus"]) == (200, "Cancelled")
        assert both.get(f"/api/wallets/{wire.PLAYER}/USD").json["cash"] == wire.OPENING_CASH
        assert both.stop() == 0
    finally:
        both.kill()
