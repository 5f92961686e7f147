import json
import re

import pytest
from eventsourcing.persistence import OperationalError

from api.problems import NOWHERE
from ledger.store.memory import MemoryStore
from projections import IN_TRANSACTION
from tests.http import wire
from tests.http.wire import BY_NAME, CALLS, PLAYER

each_call = pytest.mark.parametrize("call", CALLS, ids=wire.title)
each_required_field = pytest.mark.parametrize(
    ("call", "field"),
    [
        pytest.param(call, field, id=f"{wire.title(call)} {field}")
        for call in CALLS
        for field in call.required
    ],
)


def calls_where(holds):
    return pytest.mark.parametrize("call", [c for c in CALLS if holds(c)], ids=wire.title)


PREFIXES = pytest.mark.parametrize("prefix", ["/V4", "/v1"])


def prepared(service, call):
    for shape in call.needs:
        got = service.call(f"{call.path[:3]}/{shape}", call.body_of(shape))
        assert got.code == 0
    return service


def body_of(prefix, name, **changes):
    return {**BY_NAME[prefix, name].body, **changes}


def send(service, prefix, name, **changes):
    return service.call(BY_NAME[prefix, name].path, body_of(prefix, name, **changes))


def refused(call, answer, code, field=None):
    assert answer.status == 200
    assert answer.json["error"] == (str(code) if call.refund else code)
    assert answer.json["description"]
    if field:
        assert answer.json["description"].startswith(f"{field}:")


# what a call is answered


@each_call
def test_a_call_that_succeeds_has_its_keys_in_their_order_and_of_their_types(service, call):
    answer = prepared(service, call).call(call.path, call.body)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.keys == call.answer
    assert answer.code == ("0" if call.refund else 0)
    assert type(answer.code) is (str if call.refund else int)
    assert answer.json["description"] == "Success"
    for key in set(call.answer) & {"transactionId", "currency", "cash", "reference"}:
        assert type(answer.json[key]) is str
        assert answer.json[key]


@each_call
def test_a_call_sent_again_under_another_uuid_is_answered_alike_and_recorded_once(service, call):
    prepared(service, call)
    first = service.call(call.path, call.body)
    head = service.head

    again = service.call(call.path, {**call.body, "uuid": "another", "timestamp": "1800000000000"})

    assert again.raw == first.raw
    assert service.head == head


@each_call
def test_a_call_answers_under_its_path_in_any_letter_case(service, call):
    prepared(service, call)

    answers = [service.call(spell(call.path), call.body) for spell in (str.upper, str.lower)]

    assert {answer.keys for answer in answers} == {call.answer}


@each_call
def test_the_fields_of_a_call_may_be_spelt_in_any_letter_case(service, call):
    spelt = {field.swapcase(): value for field, value in call.body.items()}

    answer = prepared(service, call).call(call.path, spelt)

    assert answer.keys == call.answer


@each_call
def test_a_field_spelt_twice_with_one_value_is_taken(service, call):
    body = {**call.body, "USERID": PLAYER}

    assert prepared(service, call).call(call.path, body).keys == call.answer


@each_call
def test_a_field_spelt_twice_with_two_values_is_malformed(service, call):
    prepared(service, call)
    head = service.head

    answer = service.call(call.path, {**call.body, "USERID": "654321"})

    refused(call, answer, 57, "userId")
    assert service.head == head


@each_call
def test_the_provider_is_named_without_regard_to_letter_case(service, call):
    body = {**call.body, "providerId": call.body["providerId"].upper()}

    assert prepared(service, call).call(call.path, body).keys == call.answer


@each_required_field
@pytest.mark.parametrize("fault", ["missing", "empty", "null"])
def test_a_mandatory_field_that_is_not_there_is_named(standing, call, field, fault):
    head = standing.head
    body = {**call.body, field: "" if fault == "empty" else None}
    if fault == "missing":
        del body[field]
        if field == call.told_apart_by:
            body["roundId"] = "5103188801"  # else it would be a refund

    answer = standing.call(call.path, body)

    refused(call, answer, 64, field)
    assert standing.head == head


@calls_where(lambda call: "Bet" not in call.needs or call.body.get("amount"))
def test_a_player_nobody_knows_is_not_found(service, call):
    refused(call, service.call(call.path, {**call.body, "userId": wire.STRANGER}), 62, "userId")


@calls_where(lambda call: "currency" in call.body)
def test_another_currency_than_the_wallets_is_refused(service, call):
    prepared(service, call)

    refused(call, service.call(call.path, {**call.body, "currency": "EUR"}), 52, "currency")


# what is kept


@each_call
def test_fields_nobody_knows_are_kept_with_the_event(service, call):
    body = {**call.body, "bonusCode": "B1", "jackpot": {"id": 7, "share": [1, "x", None, True]}}
    prepared(service, call)
    position = service.head["position"]

    assert service.call(call.path, body).keys == call.answer

    recorded = [e for e in service.events(position) if "said" in e["body"]]
    assert bool(recorded) is (call.name not in {"check", "balance"})
    for event in recorded:
        extra = event["body"]["said"]["extra"]
        assert (extra["bonusCode"], extra["jackpot"]) == (body["bonusCode"], body["jackpot"])


def test_an_odd_number_in_a_field_nobody_knows_is_kept_as_it_was_written(service):
    spoken = (
        json.dumps(body_of("/V4", "bet"))[:-1] + ', "share": 0.10, "big": 12345678901234567890}'
    )

    assert service.raw("/V4/Bet", spoken).code == 0

    extra = service.events()[-1]["body"]["said"]["extra"]
    assert extra == {"share": "0.10", "big": "12345678901234567890"}


def test_a_timestamp_is_kept_whether_it_is_text_or_a_number(service):
    assert send(service, "/V4", "bet", timestamp=1700000000000).code == 0
    assert service.events()[-1]["body"]["said"]["provider_time"] == "1700000000000"


@pytest.mark.parametrize(
    ("written", "debited"),
    [
        ("100.01", "99899.99"),
        ('"100.01"', "99899.99"),
        ("1e2", "99900.00"),
        ("1.5E1", "99985.00"),
        ("0.29", "99999.71"),
        ("4.35", "99995.65"),
        ('"0.1"', "99999.90"),
        ("100000", "0.00"),
        ("0", "100000.00"),
    ],
)
def test_an_amount_is_read_exactly_as_a_number_and_as_text(service, written, debited):
    spoken = json.dumps(body_of("/V4", "bet")).replace('"100.01"', written)

    answer = service.raw("/V4/Bet", spoken)

    assert (answer.code, answer.json.get("cash")) == (0, debited)


# the codes


@PREFIXES
def test_too_little_cash_is_15_with_the_true_cash(service, prefix):
    answer = send(service, prefix, "bet", amount="100000.01")

    assert (answer.status, answer.code) == (200, 15)
    assert (answer.json["currency"], answer.json["cash"]) == ("USD", "100000.00")
    assert service.cash() == "100000.00"


@PREFIXES
def test_a_bet_refused_for_cash_stays_refused_once_there_is_enough(service, prefix):
    send(service, prefix, "bet", amount="100000.01")
    service.fund(currency="EUR")
    service.office(
        "POST", f"/api/wallets/{PLAYER}/USD/deposits", {"reference": "more", "amount": 50}
    )

    answer = send(service, prefix, "bet", amount="100000.01")

    assert (answer.code, answer.json["cash"]) == (15, "100050.00")


@PREFIXES
@pytest.mark.parametrize(
    "changes", [{"amount": "1"}, {"roundId": "x"}, {"gameId": "x"}, {"currency": "EUR"}]
)
@pytest.mark.parametrize("name", ["bet", "result"])
def test_a_reference_that_comes_back_with_another_payload_is_57(service, prefix, name, changes):
    call = BY_NAME[prefix, name]
    service.fund(currency="EUR")
    prepared(service, call)
    send(service, prefix, name)
    head = service.head

    refused(call, send(service, prefix, name, **changes), 57, next(iter(changes)))
    assert service.head == head


@calls_where(lambda call: call.name == "bet" or "Bet" in call.needs)
def test_another_players_reference_or_round_is_16_and_shows_no_cash(service, call):
    service.fund(wire.OTHER_PLAYER, "7.77")
    prepared(service, call)
    if "amount" in call.body:
        service.call(call.path, call.body)
    head = service.head

    answer = service.call(call.path, {**call.body, "userId": wire.OTHER_PLAYER})

    refused(call, answer, 16)
    assert "cash" not in answer.json
    assert "7.77" not in answer.json["description"]
    assert service.head == head


@PREFIXES
@pytest.mark.parametrize("name", ["result", "auto closing", "end of round"])
def test_an_unknown_round_is_17(service, prefix, name):
    head = service.head

    refused(BY_NAME[prefix, name], send(service, prefix, name), 17, "roundId")
    assert service.head == head


@PREFIXES
def test_an_expired_session_is_55_for_check_and_bet_and_for_nothing_else(service, prefix):
    send(service, prefix, "bet")
    send(service, prefix, "session expired")

    refused(BY_NAME[prefix, "check"], send(service, prefix, "check"), 55, "sessionId")
    late = send(service, prefix, "bet", reference="another")
    refused(BY_NAME[prefix, "bet"], late, 55, "sessionId")
    assert send(service, prefix, "bet").code == 0
    assert send(service, prefix, "balance").code == 0
    assert send(service, prefix, "result").code == 0


@PREFIXES
def test_a_frozen_player_is_56_for_check_and_bet_and_for_nothing_else(service, prefix):
    send(service, prefix, "bet")
    send(service, prefix, "bet", roundId="second", reference="second")
    service.office("POST", f"/api/wallets/{PLAYER}/USD/freeze")

    refused(BY_NAME[prefix, "check"], send(service, prefix, "check"), 56, "userId")
    late = send(service, prefix, "bet", reference="another")
    refused(BY_NAME[prefix, "bet"], late, 56, "userId")
    assert send(service, prefix, "result").code == 0
    again = send(service, prefix, "later refund", roundId="second", reference="second")
    assert again.code == "0"
    assert service.cash() == "100149.99"


@PREFIXES
def test_a_session_of_one_player_does_not_expire_for_another(service, prefix):
    service.fund(wire.OTHER_PLAYER)
    send(service, prefix, "session expired")

    answer = send(service, prefix, "session expired", userId=wire.OTHER_PLAYER)

    refused(BY_NAME[prefix, "session expired"], answer, 16, "sessionId")


def test_a_bet_is_53_while_its_provider_is_stopped_and_reversals_are_still_taken(opener):
    document = wire.document()
    document["provider"][0]["bets"] = False
    service = opener(wire.settle(document, {}))
    service.fund()

    refused(BY_NAME["/V4", "bet"], send(service, "/V4", "bet"), 53, "providerId")
    assert send(service, "/v1", "bet").code == 0
    assert send(service, "/V4", "cancel").code == 0


@pytest.mark.parametrize("rule", [{"games_off": ["Im_60_tumblefortune"]}, {"games": ["other"]}])
def test_a_bet_on_a_game_that_is_off_or_unknown_is_58(opener, rule):
    document = wire.document()
    document["provider"][0].update(rule)
    service = opener(wire.settle(document, {}))
    service.fund()

    refused(BY_NAME["/V4", "bet"], send(service, "/V4", "bet"), 58, "gameId")


@PREFIXES
@pytest.mark.parametrize("amount", ["10.001", 10.001, -1, "-1", "1" * 16, 10**17])
@pytest.mark.parametrize("name", ["bet", "result"])
def test_an_amount_the_currency_cannot_hold_is_59(service, prefix, name, amount):
    call = BY_NAME[prefix, name]
    prepared(service, call)

    refused(call, send(service, prefix, name, amount=amount), 59, "amount")


def test_a_currency_is_spelt_by_its_calls_as_in_the_configuration(opener):
    service = opener(wire.new_settings(currencies={"mBTC": 5, "btc": 8}))

    for currency, code in (("mBTC", 0), ("btc", 0), ("BTC", 52), ("MBTC", 52)):
        answer = service.office("PUT", f"/api/wallets/{PLAYER}/{currency}")
        assert answer.json.get("code", 0) == code
    named = {"currency": "mBTC", "amount": "0"}
    assert send(service, "/V4", "bet", **named).json["currency"] == "mBTC"


def test_an_amount_follows_its_currencys_decimals(opener):
    service = opener(wire.new_settings(currencies={"BTC": 8}))
    for currency, good, bad in (
        ("JPY", "5", "5.1"),
        ("KWD", "0.005", "0.0005"),
        ("BTC", "0.00000001", "0.000000001"),
    ):
        service.fund(currency=currency, amount="10")
        named = {"currency": currency, "roundId": currency}
        refused(
            BY_NAME["/V4", "bet"],
            send(service, "/V4", "bet", **named, reference=f"{currency}-bad", amount=bad),
            59,
            "amount",
        )
        assert send(service, "/V4", "bet", **named, reference=currency, amount=good).code == 0
    assert service.cash(currency="JPY") == "5"
    assert service.cash(currency="KWD") == "9.995"
    assert service.cash(currency="BTC") == "9.99999999"


@PREFIXES
def test_a_bet_that_comes_after_its_reversal_is_999_and_seen_in_the_history(service, prefix):
    send(service, prefix, "later refund")

    refused(BY_NAME[prefix, "bet"], send(service, prefix, "bet"), 999)
    assert service.cash() == wire.OPENING_CASH
    assert service.topics().count("LateBetRefused") == 1


@PREFIXES
@pytest.mark.parametrize("amount", ["0", "250.00"])
def test_a_reversal_after_the_result_is_999(service, prefix, amount):
    send(service, prefix, "bet")
    send(service, prefix, "result", amount=amount)
    head = service.head

    refused(BY_NAME[prefix, "later refund"], send(service, prefix, "later refund"), 999)
    assert service.head == head


@PREFIXES
def test_a_result_after_the_reversal_is_999(service, prefix):
    send(service, prefix, "bet")
    send(service, prefix, "later refund")
    head = service.head

    refused(BY_NAME[prefix, "result"], send(service, prefix, "result"), 999)
    assert service.head == head


@PREFIXES
def test_a_bet_in_an_ended_round_is_999(service, prefix):
    send(service, prefix, "bet")
    send(service, prefix, "end of round")

    refused(BY_NAME[prefix, "bet"], send(service, prefix, "bet", reference="late"), 999, "roundId")
    assert send(service, prefix, "bet").code == 0


def test_a_round_that_is_cancelled_by_any_reference_it_owns_reverses_nothing_once_it_has_a_win(
    service,
):
    send(service, "/V4", "bet")
    for name, reference in (("bonus win", "b1"), ("jackpot win", "j1"), ("result", "r1")):
        assert send(service, "/V4", name, reference=reference).code == 0
    head = service.head

    for reference in ("b1", "j1", "r1", wire.BET_REFERENCE):
        answer = send(service, "/V4", "cancel round", reference=reference)
        assert (reference, answer.code) == (reference, 999)
    assert service.head == head


class BrokenStore(MemoryStore):
    def insert_events(self, stored_events, **named):
        if any(event.topic not in {"WalletOpened", "DepositMade"} for event in stored_events):
            raise OperationalError("disk I/O error: /secret/path")
        return super().insert_events(stored_events, **named)


@calls_where(lambda call: not call.needs and call.name not in {"check", "balance"})
def test_our_own_failure_is_998_and_records_nothing(opener, call):
    service = opener(store=BrokenStore(IN_TRANSACTION))
    service.fund()
    head = service.head

    answer = service.call(call.path, call.body)

    refused(call, answer, 998)
    assert "disk" not in answer.json["description"]
    assert service.head == head


@pytest.mark.parametrize("name", ["cancel", "refund", "cancel round", "later refund"])
def test_a_reversal_that_fails_inside_us_is_998(opener, name):
    service = opener(store=BrokenStore(IN_TRANSACTION))
    service.fund()

    refused(BY_NAME["/V4", name], send(service, "/V4", name), 998)


class UnreadableStore(MemoryStore):
    def find(self, table, keys):
        raise OperationalError("disk I/O error")

    def rows(self, table, prefix=()):
        raise OperationalError("disk I/O error")

    def stream(self, name, *, upto=None):
        raise OperationalError("disk I/O error")


@each_call
def test_a_store_that_cannot_be_read_is_998(opener, call):
    service = opener(store=UnreadableStore(IN_TRANSACTION))

    refused(call, service.call(call.path, call.body), 998)


# the text of a refund's error


@pytest.mark.parametrize("name", ["refund", "later refund"])
def test_the_error_of_a_refund_is_text_whatever_it_says(service, name):
    send(service, "/V4", "bet")
    answers = [
        send(service, "/V4", name),
        send(service, "/V4", name, userId=wire.STRANGER),
        send(service, "/V4", name, currency="EUR"),
        send(service, "/V4", name, gameId="x"),
        send(service, "/V4", name, uuid=""),
    ]

    assert [answer.code for answer in answers] == ["0", "16", "52", "57", "64"]


@pytest.mark.parametrize("name", ["refund", "later refund"])
def test_the_error_of_a_refund_is_text_when_its_fields_contradict_each_other(service, name):
    call = BY_NAME["/V4", name]
    spoken = json.dumps(call.body)[:-1] + ', "userId": "another"}'

    assert service.raw(call.path, spoken).code == "57"


# cancel, told apart


def test_a_cancel_with_a_round_and_no_session_is_no_refund(service):
    call = BY_NAME["/V4", "cancel"]

    answer = service.call(call.path, {**BY_NAME["/V4", "refund"].body, "ROUNDID": "5103188801"})

    refused(call, answer, 64, "sessionId")


@PREFIXES
def test_an_auto_closing_is_recorded_without_a_session(service, prefix):
    send(service, prefix, "bet")

    answer = send(service, prefix, "auto closing")

    assert answer.json["cash"] == "100149.99"
    assert "session" not in service.events()[-1]["body"]["said"]


# balance


def test_a_balance_without_a_currency_is_the_only_wallets(service):
    assert send(service, "/V4", "balance").json["cash"] == wire.OPENING_CASH


def test_a_balance_without_a_currency_is_asked_for_one_where_there_are_two_wallets(service):
    service.fund(currency="EUR", amount="5")

    refused(BY_NAME["/V4", "balance"], send(service, "/V4", "balance"), 64, "currency")
    answer = send(service, "/V4", "balance", currency="EUR")
    assert (answer.json["currency"], answer.json["cash"]) == ("EUR", "5.00")


# one reference, two kinds


@PREFIXES
def test_a_bet_and_its_result_may_share_a_reference(service, prefix):
    bet = send(service, prefix, "bet", reference="shared")
    result = send(service, prefix, "result", reference="shared")

    assert (bet.code, result.code) == (0, 0)
    assert bet.json["transactionId"] != result.json["transactionId"]
    assert result.json["cash"] == "100149.99"


def test_one_reference_at_two_providers_is_two_bets(service):
    ids = {send(service, prefix, "bet").json["transactionId"] for prefix in ("/V4", "/v1")}

    assert len(ids) == 2
    assert service.cash() == "99799.98"


# the credential

WRONG_PAIRS = {
    "an unknown member": "MEMB_ID=nobody&HASH=lm-token",
    "a wrong token": "MEMB_ID=acme&HASH=wrong",
    "the other provider's token": wire.KYREN_PAIR,
    "no member": "HASH=lm-token",
    "no token": "MEMB_ID=acme",
    "an empty token": "MEMB_ID=acme&HASH=",
    "nothing": "",
    "a token in other letters": "MEMB_ID=acme&HASH=LM-TOKEN",
    "a member in other letters": "MEMB_ID=ACME&HASH=lm-token",
    "keys in other letters": "memb_id=acme&hash=lm-token",
    "two tokens, the right one first": f"{wire.LM_PAIR}&HASH=wrong",
    "two tokens, the right one last": "MEMB_ID=acme&HASH=wrong&HASH=lm-token",
    "two members": f"{wire.LM_PAIR}&MEMB_ID=other",
    "a token with a tail": "MEMB_ID=acme&HASH=lm-token%00",
    "a token that is no text": "MEMB_ID=acme&HASH=%ff%fe",
    "a token of another script": "MEMB_ID=acme&HASH=%F0%9F%98%80",
}


def unauthorised(answer):
    assert (answer.status, answer.code, answer.keys) == (401, 401, wire.PLAIN)


@pytest.mark.parametrize("pair", WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_a_wrong_credential_is_401_and_records_nothing(service, pair):
    head = service.head

    unauthorised(service.call("/V4/Bet", body_of("/V4", "bet"), pair))
    assert service.head == head


@each_call
def test_every_call_asks_for_its_credential(standing, call):
    unauthorised(standing.call(call.path, call.body, "MEMB_ID=acme&HASH=wrong"))


@each_call
def test_a_credential_is_not_valid_in_the_other_dialect(standing, call):
    other = "/v1" if call.path.startswith("/V4") else "/V4"
    pair = wire.pair_of(call.path)

    answer = standing.call(other + call.path[3:], call.body, pair)

    assert answer.status in (401, 404)
    assert answer.status == 404 or answer.code == 401


@each_call
def test_a_body_that_names_another_provider_than_the_credentials_is_401(standing, call):
    for provider in ("Kyren" if call.path.startswith("/V4") else "LuckyMonaco", "Nobody"):
        unauthorised(standing.call(call.path, {**call.body, "providerId": provider}))


def test_a_credential_is_not_valid_for_another_provider_of_the_same_dialect(opener):
    document = wire.document()
    second = {"id": "Second", "dialect": "lucky-monaco-v4", "member": "acme", "token": "t2"}
    document["provider"].append(second)
    service = opener(wire.settle(document, {}))
    service.fund()

    unauthorised(service.call("/V4/Bet", body_of("/V4", "bet"), "MEMB_ID=acme&HASH=t2"))
    unauthorised(service.call("/V4/Bet", body_of("/V4", "bet", providerId="Second")))
    good = service.call(
        "/V4/Bet", body_of("/V4", "bet", providerId="Second"), "MEMB_ID=acme&HASH=t2"
    )
    assert good.code == 0


def test_one_pair_may_be_two_providers_of_a_dialect_for_each_body_names_its_own(opener):
    document = wire.document()
    document["provider"].append({**document["provider"][0], "id": "Second"})
    service = opener(wire.settle(document, {}))
    service.fund()

    first = service.call("/V4/Bet", body_of("/V4", "bet"))
    second = service.call("/V4/Bet", body_of("/V4", "bet", providerId="second"))

    assert (first.code, second.code) == (0, 0)
    assert first.json["transactionId"] != second.json["transactionId"]
    placed = [each["stream"] for each in service.events() if each["topic"] == "BetPlaced"]
    assert [stream.split("/")[1] for stream in placed] == ["LuckyMonaco", "Second"]
    unauthorised(service.call("/V4/Bet", body_of("/V4", "bet", providerId="Kyren")))
    missing = service.call("/V4/Bet", body_of("/V4", "bet", providerId=""))
    assert missing.code == 64


def test_both_tokens_are_valid_while_a_token_is_rotated(opener):
    document = wire.document()
    document["provider"][0]["token"] = ["new", "old"]
    service = opener(wire.settle(document, {}))
    service.fund()

    for token in ("new", "old"):
        assert (
            service.call("/V4/Bet", body_of("/V4", "bet"), f"MEMB_ID=acme&HASH={token}").code == 0
        )
    unauthorised(service.call("/V4/Bet", body_of("/V4", "bet"), "MEMB_ID=acme&HASH=lm-token"))


def test_a_wrong_credential_is_said_before_anything_of_the_body(standing):
    for body in (b"", b"no json", b"[]", b"{" * 100):
        unauthorised(standing.raw("/V4/Bet", body, "MEMB_ID=acme&HASH=wrong"))


# the paths


@pytest.mark.parametrize(
    "path", ["/V4/Nothing", "/v2/Bet", "/V4", "/V4/Bet/x", "/v1/CancelRound", "/v1/PromoWin"]
)
def test_a_path_nobody_knows_is_404(standing, path):
    assert standing.call(path, {}).status == 404


def test_whoever_opens_a_path_where_nothing_is_is_told_where_to_go(standing):
    detail = standing.office("GET", "/").json["detail"]
    assert detail == NOWHERE
    for place in re.findall(r"/\w+/", detail):
        assert standing.office("GET", place).status in (200, 302)


@each_call
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_call_is_a_post(standing, call, method):
    answer = standing.send(method, f"{call.path}?{wire.pair_of(call.path)}")

    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
