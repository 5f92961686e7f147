import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.provider.dates import span
from api.provider.digest import is_signed
from ledger.reader import read
from tests.clocks import Clock
from tests.http import provider, wire
from tests.http.provider import (
    GAME_CALLS,
    KYREN,
    LM,
    PREFIXES,
    REFERENCE,
    ROUND,
    SECRETS,
    SUCCESS,
    TOKENS,
    cancel_body,
    hmac_sha256,
    joined,
    later_body,
    md5_sorted,
    pair_of,
    refused,
    sign,
)
from tests.http.server import until
from tests.http.test_bad_input import BAD_IDS, NO_OBJECTS, OPENERS, spoken
from tests.provider.crooked import code, late, lost, twice

GAME_ID = wire.GAME_FIELDS["gameId"]
BRAVO = "bravo"
VECTOR = {
    "secureLogin": "testpartner",
    "externalPlayerId": "421",
    "gameId": "vs20demo",
    "roundId": "5103188801",
}
VECTOR_TEXT = "externalPlayerId=421&gameId=vs20demo&roundId=5103188801&secureLogin=testpartner"
VECTOR_MD5 = "5be0314bff9bfc8c0d06695a0018d7ee"

each_operator = pytest.mark.parametrize("operator", [LM, KYREN])
LATER_CALLS = [
    (LM, "CancelRound"),
    (KYREN, "CancelRound"),
    (LM, "GetRoundStatus"),
    (KYREN, "GetRoundStatus"),
    (LM, "history/GetGameRounds"),
    (LM, "HealthCheck"),
    (KYREN, "HealthCheck"),
]
each_later_call = pytest.mark.parametrize(("operator", "name"), LATER_CALLS)


@pytest.fixture
def pair(tmp_path):
    with provider.Pair(tmp_path) as found:
        yield found


@pytest.fixture
def three(tmp_path):
    with provider.Pair(tmp_path, logins=(LM, KYREN, BRAVO)) as found:
        yield found


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    with provider.Pair(tmp_path_factory.mktemp("standing")) as found:
        for operator in (LM, KYREN):
            assert found.bet(operator=operator).status == 200
        yield found


def succeeded(answer):
    assert (answer.status, answer.json) == (200, SUCCESS)
    assert answer.headers["Content-Type"] == "application/json"


def text_error(name):
    return name == "GetRoundStatus"


# the hash


def test_the_vector_of_the_contract_is_signed():
    assert joined(VECTOR) == VECTOR_TEXT
    assert md5_sorted(VECTOR_TEXT, "SECRETKEY") == VECTOR_MD5
    assert is_signed({**VECTOR, "hash": VECTOR_MD5}, "md5_sorted", "SECRETKEY")


def test_the_vector_may_be_signed_with_hmac_sha256():
    said = hmac_sha256(VECTOR_TEXT, "SECRETKEY")

    assert is_signed({**VECTOR, "hash": said}, "hmac_sha256", "SECRETKEY")
    assert not is_signed({**VECTOR, "hash": VECTOR_MD5}, "hmac_sha256", "SECRETKEY")
    assert not is_signed({**VECTOR, "hash": said}, "md5_sorted", "SECRETKEY")


@pytest.mark.parametrize("said", ["", "x", None, 5, VECTOR_MD5])
def test_every_body_is_signed_where_the_hash_is_off(said):
    assert is_signed({**VECTOR, "hash": said}, "off", None)
    assert is_signed({**VECTOR, "hash": said}, "off", "SECRETKEY")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "x",
        None,
        5,
        True,
        [VECTOR_MD5],
        VECTOR_MD5.upper(),
        f" {VECTOR_MD5}",
        f"{VECTOR_MD5}\n",
        VECTOR_MD5[:-1],
        f"{VECTOR_MD5}0",
        "é",
        "SECRETKEY",
    ],
)
def test_any_other_hash_is_none(said):
    assert not is_signed({**VECTOR, "hash": said}, "md5_sorted", "SECRETKEY")


def test_a_body_without_a_hash_is_not_signed():
    assert not is_signed(VECTOR, "md5_sorted", "SECRETKEY")
    assert not is_signed({}, "md5_sorted", "SECRETKEY")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"b": 421, "a": "x"}', "a=x&b=421"),
        ('{"b": 1.50, "a": "x"}', "a=x&b=1.50"),
        ('{"b": 1E2}', "b=1E2"),
        ('{"b": -0}', "b=-0"),
        ('{"b": 12345678901234567890}', "b=12345678901234567890"),
        ('{"b": true, "a": false}', "a=false&b=true"),
        ('{"b": null, "a": "x", "c": ""}', "a=x"),
        ('{"b": 0}', "b=0"),
        ('{"b": " "}', "b= "),
        ('{"a": "x", "B": "y", "b": "z"}', "B=y&a=x&b=z"),
        ('{"é": "1", "z": "2", "Z": "3"}', "Z=3&z=2&é=1"),
        ('{"a": "x&b=y", "c": "="}', "a=x&b=y&c=="),
        ('{"a": "\\u00e9"}', "a=é"),
        ('{"a": "x", "HASH": "other"}', "a=x"),
        ("{}", ""),
    ],
)
@pytest.mark.parametrize(
    ("algorithm", "digest"), [("md5_sorted", md5_sorted), ("hmac_sha256", hmac_sha256)]
)
def test_a_hash_is_of_the_literal_text_sorted_by_code_point(written, text, algorithm, digest):
    body = {"hash": digest(text, "SECRETKEY"), **read(written.encode())}

    assert is_signed(body, algorithm, "SECRETKEY")


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
KEYS = st.sampled_from(["secureLogin", "externalPlayerId", "gameId", "roundId", "extra", "é", "Z"])
ALGORITHMS = st.sampled_from(["md5_sorted", "hmac_sha256"])
DIGESTS = {"md5_sorted": md5_sorted, "hmac_sha256": hmac_sha256}


@given(st.dictionaries(KEYS, TEXTS), TEXTS, ALGORITHMS)
def test_whatever_a_body_says_its_own_hash_is_right(body, secret, algorithm):
    signed = {**body, "hash": DIGESTS[algorithm](joined(body), secret)}

    assert is_signed(signed, algorithm, secret)


@given(st.dictionaries(KEYS, TEXTS, min_size=1), TEXTS, ALGORITHMS, st.data())
def test_any_change_of_a_value_breaks_the_hash(body, secret, algorithm, data):
    said = DIGESTS[algorithm](joined(body), secret)
    field = data.draw(st.sampled_from(sorted(body)))
    other = data.draw(st.none() | st.just("") | TEXTS)
    changed = {**body, field: other, "hash": said}

    assert is_signed(changed, algorithm, secret) is (other == body[field])


@given(st.dictionaries(KEYS, TEXTS, min_size=1), TEXTS, TEXTS, ALGORITHMS)
def test_another_secret_breaks_the_hash(body, secret, other, algorithm):
    said = DIGESTS[algorithm](joined(body), secret)

    assert is_signed({**body, "hash": said}, algorithm, other) is (secret == other)


# seed 000


@each_operator
def test_seed_000_is_answered_as_it_is_printed_and_the_bet_goes_back(pair, operator):
    pair.bet(operator=operator)

    answer = pair.seed_000(operator=operator)

    assert answer.raw.strip() == b'{"error":0,"description":"Success"}'
    succeeded(answer)
    assert pair.status(operator=operator) == "Cancelled"
    assert pair.cash() == wire.OPENING_CASH


def test_seed_000_is_answered_with_the_contracts_own_vector(tmp_path):
    with provider.Pair(tmp_path, logins=("testpartner",), secret="SECRETKEY") as pair:
        pair.fund("421")
        pair.bet("5103188801", operator="testpartner", userId="421", gameId="vs20demo")

        answer = pair.call(
            "/V4/cancelround",
            {**VECTOR, "hash": VECTOR_MD5},
            "MEMB_ID=testpartner&HASH=testpartner-token",
        )

        succeeded(answer)
        assert pair.status(operator="testpartner") == "Cancelled"
        assert pair.cash("421") == wire.OPENING_CASH


@pytest.mark.parametrize("algorithm", ["md5_sorted", "hmac_sha256"])
def test_an_operator_may_have_either_algorithm(tmp_path, algorithm):
    with provider.Pair(tmp_path, hash=algorithm, works=False) as pair:
        body = cancel_body(roundId=None)
        good = DIGESTS[algorithm](joined(body), SECRETS[LM])
        other = next(d for name, d in DIGESTS.items() if name != algorithm)

        succeeded(pair.seed_000(roundId=None, hash_=good))
        refused(pair.seed_000(roundId=None, hash_=other(joined(body), SECRETS[LM])), 54, "hash")


def test_an_operators_hash_may_be_off(tmp_path):
    with provider.Pair(tmp_path, hash="off", works=False) as pair:
        succeeded(pair.seed_000(roundId=None, hash_="whatever it is"))
        refused(pair.seed_000(roundId=None, pair=pair_of(token="wrong")), 401, status=401)


def test_seed_000_may_hold_numbers_and_fields_nobody_knows_if_they_are_hashed(pair):
    pair.bet()
    written = json.dumps(cancel_body())[:-1] + ', "round": 1.50, "none": null, "at": 1700000000000'
    text = f"at=1700000000000&{joined({**cancel_body(), 'round': '1.50'})}"
    said = md5_sorted(text, SECRETS[LM])

    refused(pair.raw("/V4/cancelround", f'{written}, "hash": "x"}}', pair_of()), 54, "hash")
    succeeded(pair.raw("/V4/cancelround", f'{written}, "hash": "{said}"}}', pair_of()))


def test_seed_000s_fields_may_be_spelt_in_any_letter_case(pair):
    pair.bet()
    body = {field.swapcase(): value for field, value in cancel_body().items()}

    succeeded(pair.call("/V4/cancelround", {**body, "HASH": sign(body)}, pair_of()))
    assert pair.status() == "Cancelled"


def test_the_refund_is_sent_as_seed_003_with_the_bets_own_reference(pair):
    for reference in ("b1", "b2", "b3"):
        pair.bet(reference=reference)
    sent = len(pair.wallet.calls)

    succeeded(pair.seed_000())

    refunds = pair.wallet.calls[sent:]
    assert {call.path for call in refunds} == {f"/v4/Cancel?{wire.LM_PAIR}"}
    bodies = [json.loads(call.body) for call in refunds]
    assert sorted(body["reference"] for body in bodies) == ["b1", "b2", "b3"]
    assert all({"sessionId", "roundId"}.isdisjoint(body) for body in bodies)
    assert pair.topics().count("BetRefunded") == 3


def test_without_a_round_every_open_round_of_the_player_in_the_game_is_cancelled(pair):
    pair.fund(wire.OTHER_PLAYER)
    pair.bet("one", reference="b1")
    pair.bet("two", reference="b2")
    pair.bet("won", reference="b3")
    pair.play("result", "won", reference="r3")
    pair.bet("other game", reference="b4", gameId="another")
    pair.bet("other player", reference="b5", userId=wire.OTHER_PLAYER)
    pair.bet("other operator", reference="b6", operator=KYREN)

    succeeded(pair.seed_000(roundId=None))

    assert [pair.status(each) for each in ("one", "two")] == ["Cancelled"] * 2
    assert pair.status("won") == "Completed"
    assert pair.status("other game") == pair.status("other player") == "InProgress"
    assert pair.status("other operator", operator=KYREN) == "InProgress"
    assert pair.topics().count("BetRefunded") == 2


@pytest.mark.parametrize("round_id", [None, ""])
def test_without_a_round_none_open_is_success(standing, round_id):
    heads = standing.heads
    body = {**cancel_body(roundId=None, gameId="never played")}
    said = sign(body)
    if round_id is not None:
        body["roundId"] = round_id

    answer = standing.call("/V4/cancelround", {**body, "hash": said}, pair_of())

    succeeded(answer)
    assert standing.heads == heads


def test_a_player_nobody_knows_has_no_open_round(standing):
    heads = standing.heads

    succeeded(standing.seed_000(roundId=None, externalPlayerId=wire.STRANGER))
    assert standing.heads == heads


@pytest.mark.parametrize("ends", [("result",), ("result", "end"), ("end",)])
def test_a_completed_round_is_999_and_nothing_is_sent(pair, ends):
    pair.bet()
    for verb in ends:
        assert pair.play(verb).json["roundStatus"] == "Completed"
    heads, sent = pair.heads, len(pair.wallet.calls)

    refused(pair.seed_000(), 999, "roundId")
    refused(pair.later("CancelRound"), 999, "roundId")
    succeeded(pair.seed_000(roundId=None))

    assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)


def test_a_round_whose_result_the_wallet_has_not_confirmed_is_999(pair, monkeypatch):
    pair.bet()
    provider.at_once(monkeypatch)
    pair.wallet.shut()
    assert pair.play("result").json["roundStatus"] == "CompleteInProcess"

    refused(pair.seed_000(), 999, "roundId")

    assert "RefundRequested" not in pair.provider_topics()
    pair.wallet.open_again()
    pair.gets("Completed")


@pytest.mark.parametrize("by_round", [True, False])
def test_a_round_cancelled_again_and_again_is_success_and_sends_nothing_twice(pair, by_round):
    named = {} if by_round else {"roundId": None}
    pair.bet()
    first = pair.seed_000(**named)
    heads, sent = pair.heads, len(pair.wallet.calls)

    for _ in range(3):
        assert pair.seed_000(**named).raw == first.raw
    assert pair.later("CancelRound").json["error"] == 0

    assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)
    assert pair.topics().count("BetRefunded") == 1


@pytest.mark.parametrize("mishap", [lost, twice, late(0.2)])
def test_a_refund_whose_answer_is_lost_late_or_doubled_gives_the_stake_back_once(pair, mishap):
    pair.bet()
    pair.wallet.on("Cancel", mishap)

    succeeded(pair.seed_000())

    assert pair.status() == "Cancelled"
    assert pair.cash() == wire.OPENING_CASH
    assert pair.topics().count("BetRefunded") == 1


@each_operator
def test_while_the_wallet_is_unreachable_the_answer_is_success_and_sending_goes_on(
    pair, monkeypatch, operator
):
    pair.bet(operator=operator)
    provider.at_once(monkeypatch, 0.05)
    pair.wallet.shut()

    succeeded(pair.seed_000(operator=operator))

    assert pair.status(operator=operator) == "CancelInProcess"
    succeeded(pair.seed_000(operator=operator))
    assert pair.provider_topics().count("RefundRequested") == 1
    assert pair.cash() == provider.CASH_AFTER_BET
    until(lambda: "DeliveryParked" in pair.provider_topics(), "the refund is parked")
    assert pair.status(operator=operator) == "CancelInProcess"
    pair.wallet.open_again()
    pair.gets("Cancelled", operator=operator)
    assert pair.cash() == wire.OPENING_CASH
    assert pair.topics()[-2:] == [
        "BetRefunded" if operator == LM else "BetCancelled",
        "RoundCancelled",
    ]


def test_a_refund_the_wallet_refuses_for_good_leaves_the_round_for_a_person(pair, monkeypatch):
    pair.bet()
    provider.at_once(monkeypatch)
    pair.wallet.always(code(999))

    succeeded(pair.seed_000())

    until(lambda: "DeliveryRefused" in pair.provider_topics(), "the refund is refused")
    sent = len(pair.wallet.calls)
    succeeded(pair.seed_000())
    assert pair.status() == "CancelInProcess"
    assert len(pair.wallet.calls) == sent
    answer = pair.later("GetRoundStatus").json
    assert answer["roundStatus"] == "CancelInProcess"


def test_a_round_whose_bet_waits_for_the_wallet_is_cancelled_once_it_has_answered(
    tmp_path, monkeypatch
):
    provider.at_once(monkeypatch)
    with provider.Pair(tmp_path, works=False) as pair:
        assert pair.bet().status == 202

        succeeded(pair.seed_000())

        assert pair.status() == "CancelInProcess"
        pair.work()
        pair.gets("Cancelled")
        assert pair.topics()[-3:] == ["BetPlaced", "BetRefunded", "RoundCancelled"]
        assert pair.cash() == wire.OPENING_CASH


# the order of its checks

WRONG_HASH = "0" * 32


def test_the_credential_is_checked_before_all_else(standing):
    heads = standing.heads

    for pair_ in (pair_of(token="wrong"), "MEMB_ID=nobody&HASH=operator-token"):
        for changes in ({}, {"secureLogin": KYREN}, {"gameId": None}, {"roundId": "unknown"}):
            for said in (None, WRONG_HASH):
                answer = standing.seed_000(pair=pair_, hash_=said, **changes)
                refused(answer, 401, status=401)
    assert standing.heads == heads


@pytest.mark.parametrize(
    "pair_",
    [
        "",
        "MEMB_ID=acme",
        f"HASH={TOKENS[LM]}",
        f"MEMB_ID=acme&HASH={TOKENS[LM]}&HASH=x",
        f"MEMB_ID=acme&HASH=x&HASH={TOKENS[LM]}",
        f"MEMB_ID=acme&MEMB_ID=acme&HASH={TOKENS[LM]}",
        f"memb_id=acme&hash={TOKENS[LM]}",
        f"MEMB_ID=ACME&HASH={TOKENS[LM]}",
        f"MEMB_ID=acme&HASH={TOKENS[LM].upper()}",
        f"MEMB_ID=acme&HASH={TOKENS[KYREN]}",
        f"MEMB_ID=acme-kyren&HASH={TOKENS[KYREN]}",
        "MEMB_ID=acme&HASH=",
        "MEMB_ID=acme&HASH=%FF",
        "MEMB_ID=acme&HASH=lm-token",
        "MEMB_ID=acme&HASH=SECRETKEY",
        "MEMB_ID=acme&HASH=game-token",
        "MEMB_ID=acme&HASH=admin-token",
    ],
)
def test_any_other_pair_is_401(standing, pair_):
    heads = standing.heads

    answer = standing.seed_000(pair=pair_)

    refused(answer, 401, status=401)
    assert answer.headers["Connection"] == "close"
    assert standing.heads == heads


def test_the_login_is_checked_before_the_hash_and_the_fields(standing):
    heads = standing.heads

    for login in (KYREN, "nobody", "ACME", "", None, 5, ["acme"]):
        for changes in ({}, {"gameId": None}, {"externalPlayerId": 5}, {"roundId": "unknown"}):
            answer = standing.seed_000(
                hash_=WRONG_HASH, path="/V4/cancelround", **{**changes, "secureLogin": login}
            )
            if login is None:  # without it, the call is the wallet's
                assert answer.status == 401
            else:
                refused(answer, 54, "secureLogin")
    assert standing.heads == heads


def test_the_login_must_be_in_the_body_where_the_path_has_no_other_owner(standing):
    answer = standing.seed_000(operator=KYREN, secureLogin=None)

    refused(answer, 54, "secureLogin")


def test_the_hash_is_checked_before_the_fields(standing):
    heads = standing.heads

    for changes in ({}, {"gameId": None}, {"externalPlayerId": 5}, {"roundId": "unknown"}):
        for said in (WRONG_HASH, "", "x"):
            refused(standing.seed_000(hash_=said, **changes), 54, "hash")
    without = standing.call("/V4/cancelround", cancel_body(), pair_of())
    refused(without, 54, "hash")
    assert standing.heads == heads


@pytest.mark.parametrize("field", ["externalPlayerId", "gameId", "roundId"])
@each_operator
def test_a_field_changed_after_it_was_hashed_is_54(standing, operator, field):
    heads = standing.heads
    said = sign(cancel_body(operator), operator)

    for value in ("another", None, "", f"{cancel_body(operator)[field]} "):
        answer = standing.seed_000(operator=operator, hash_=said, **{field: value})
        refused(answer, 54, "hash")
    assert standing.heads == heads


@pytest.mark.parametrize("field", ["externalPlayerId", "gameId"])
@pytest.mark.parametrize("fault", ["missing", "empty", "null"])
def test_a_mandatory_field_is_checked_before_the_round(standing, field, fault):
    heads = standing.heads
    body = cancel_body(roundId="unknown", **{field: None})
    said = sign(body)
    if fault != "missing":
        body[field] = "" if fault == "empty" else None

    answer = standing.call("/V4/cancelround", {**body, "hash": said}, pair_of())

    refused(answer, 64, field)
    assert standing.heads == heads


def test_fields_are_checked_before_the_round_and_the_player_before_its_state(standing):
    heads = standing.heads

    refused(standing.seed_000(externalPlayerId="x" * 129, roundId="unknown"), 57)
    refused(standing.seed_000(roundId="unknown"), 17, "roundId")
    refused(standing.seed_000(externalPlayerId=wire.OTHER_PLAYER), 16, "externalPlayerId")
    refused(standing.seed_000(gameId="another"), 57, "gameId")
    refused(standing.seed_000(externalPlayerId=wire.OTHER_PLAYER, gameId="another"), 16)
    assert standing.heads == heads


def test_another_players_round_is_16_whether_it_is_over_or_not(pair):
    pair.bet()
    pair.play("result")
    heads = pair.heads

    for answer in (
        pair.seed_000(externalPlayerId=wire.OTHER_PLAYER),
        pair.later("CancelRound", userId=wire.OTHER_PLAYER),
    ):
        refused(answer, 16)
        assert wire.PLAYER.encode() not in answer.raw
    assert pair.heads == heads


@pytest.mark.parametrize("field", ["externalPlayerId", "gameId", "roundId"])
@pytest.mark.parametrize("written", BAD_IDS.values(), ids=BAD_IDS)
def test_an_id_that_is_none_is_never_taken(standing, field, written):
    heads = standing.heads
    body = cancel_body(KYREN, **{field: None})
    said = spoken({**body, "hash": sign(body, KYREN)}, field, written)

    answer = standing.raw("/v1/cancelround", said, pair_of(KYREN))

    assert answer.code in (54, 57)
    refused(answer, answer.code)
    assert standing.heads == heads


@pytest.mark.parametrize("field", ["externalPlayerId", "gameId", "roundId"])
@pytest.mark.parametrize("value", [5, "x" * 129, "a\x00b", "a\n", "a\u200bb", "a\u202eb"])
def test_an_id_that_is_none_is_malformed_though_it_is_hashed(standing, field, value):
    heads = standing.heads
    said = sign(cancel_body(**{field: str(value)}))

    refused(standing.seed_000(hash_=said, **{field: value}), 57, field)
    assert standing.heads == heads


@pytest.mark.parametrize("path", ["/V4/cancelround", "/v1/cancelround"])
@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_body_that_is_no_json_object_is_never_a_call(standing, path, body):
    heads = standing.heads
    operator = LM if path.startswith("/V4") else KYREN

    answer = standing.raw(path, body, pair_of(operator))

    assert answer.status in (400, 401)
    refused(answer, answer.code, status=answer.status)
    assert standing.heads == heads


@pytest.mark.parametrize("body", OPENERS.values(), ids=OPENERS)
def test_a_body_nested_without_need_is_malformed(standing, body):
    heads = standing.heads

    answer = standing.raw("/v1/GetRoundStatus", body, "")

    assert answer.status in (200, 400)
    assert int(answer.code) == 57
    assert standing.heads == heads


@pytest.mark.parametrize("path", ["/V4/cancelround", "/V4/GetRoundStatus", "/v1/cancelround"])
def test_a_body_of_more_than_64_kib_is_413(standing, path):
    heads = standing.heads

    for body in (cancel_body(), later_body("GetRoundStatus")):
        answer = standing.raw(path, json.dumps(body) + " " * 65536, pair_of())
        assert answer.status in (401, 413)
        assert answer.keys == wire.PLAIN
    assert standing.heads == heads


@pytest.mark.parametrize("field", ["secureLogin", "gameId", "roundId", "hash", "externalPlayerId"])
def test_a_field_given_twice_in_two_ways_cancels_nothing(standing, field):
    heads = standing.heads
    body = {**cancel_body(), "hash": sign(cancel_body())}

    for spelt in (field, field.upper()):
        written = f'{json.dumps(body)[:-1]}, "{spelt}": "another"}}'
        answer = standing.raw("/V4/cancelround", written, pair_of())
        assert (answer.status, answer.code in (54, 57)) == (200, True)
    assert standing.heads == heads


# the later forms


@each_operator
@pytest.mark.parametrize("game", [None, GAME_ID])
def test_the_later_form_of_cancel_round_says_what_went_back(pair, operator, game):
    for reference, amount in (("b1", "100.01"), ("b2", 10)):
        pair.bet(operator=operator, reference=reference, amount=amount)
    pair.bet(operator=operator, reference="b3", amount="1000000")

    answer = pair.later("CancelRound", operator=operator, gameId=game)

    assert answer.status == 200
    assert answer.keys == ("error", "description", "currency", "amount", "transactionId")
    found = answer.json
    assert (found["error"], found["description"]) == (0, "Success")
    assert (found["currency"], found["amount"]) == ("USD", "110.01")
    assert found["transactionId"]
    assert pair.status(operator=operator) == "Cancelled"
    assert pair.cash() == wire.OPENING_CASH


def test_the_later_form_sent_again_is_answered_alike_under_any_uuid(pair):
    pair.bet()
    first = pair.later("CancelRound")
    heads, sent = pair.heads, len(pair.wallet.calls)

    again = pair.later("CancelRound", uuid="another")

    assert again.raw == first.raw
    assert (pair.heads, len(pair.wallet.calls)) == (heads, sent)


def test_the_uuid_of_a_cancellation_is_kept(pair):
    pair.bet()
    pair.later("CancelRound")

    requested = next(e for e in pair.provider_events() if e["topic"] == "CancellationRequested")
    assert (requested["body"]["uuid"], requested["body"]["by"]) == (provider.UUID, "operator")


def test_the_later_form_is_success_while_the_wallet_is_unreachable(pair, monkeypatch):
    pair.bet()
    provider.at_once(monkeypatch, 0.05)
    pair.wallet.shut()

    answer = pair.later("CancelRound")

    assert (answer.code, answer.json["amount"]) == (0, "100.01")
    assert pair.status() == "CancelInProcess"
    pair.wallet.open_again()
    pair.gets("Cancelled")
    assert pair.later("CancelRound").raw == answer.raw


@pytest.mark.parametrize(
    ("changes", "refusal", "field"),
    [
        ({"roundId": "unknown"}, 17, "roundId"),
        ({"userId": wire.OTHER_PLAYER}, 16, "userId"),
        ({"gameId": "another"}, 57, "gameId"),
    ],
)
@each_operator
def test_the_later_form_is_refused_as_the_first(standing, operator, changes, refusal, field):
    heads = standing.heads

    refused(standing.later("CancelRound", operator=operator, **changes), refusal, field)
    assert standing.heads == heads


@each_operator
@pytest.mark.parametrize("operation", ["bets", "result", "cancel"])
def test_a_rounds_status_is_told_with_its_money(pair, operator, operation):
    pair.bet(operator=operator)
    if operation != "bets":
        pair.play(operation, operator=operator)

    answer = pair.later("GetRoundStatus", operator=operator)

    assert answer.status == 200
    assert answer.keys == (
        *("error", "description", "roundId", "currency"),
        *("betAmount", "winAmount", "roundStatus"),
    )
    status, won = {
        "bets": ("InProgress", "0.00"),
        "result": ("Completed", "250.00"),
        "cancel": ("Cancelled", "0.00"),
    }[operation]
    assert answer.json == {
        "error": "0",
        "description": "Success",
        "roundId": ROUND,
        "currency": "USD",
        "betAmount": "100.01",
        "winAmount": won,
        "roundStatus": status,
    }


def test_the_error_of_a_status_is_text_whatever_it_is(standing):
    refused(standing.later("GetRoundStatus", roundId="unknown"), 17, "roundId", text_error=True)
    refused(standing.later("GetRoundStatus", roundId=None), 64, "roundId", text_error=True)
    refused(standing.later("GetRoundStatus", roundId=5), 57, "roundId", text_error=True)
    refused(standing.later("GetRoundStatus", token="wrong"), 401, status=401, text_error=True)


@each_operator
def test_health_is_success(standing, operator):
    succeeded(standing.later("HealthCheck", operator=operator))


def test_kyren_has_no_list_of_rounds(standing):
    body = later_body("history/GetGameRounds", KYREN)

    assert standing.call("/v1/history/GetGameRounds", body, "").status == 404


@each_later_call
def test_a_later_call_without_its_credential_is_401(standing, operator, name):
    heads = standing.heads

    for changes in (
        {"token": "wrong"},
        {"token": ""},
        {"token": 5},
        {"token": [TOKENS[operator]]},
        {"token": TOKENS[KYREN if operator == LM else LM]},
        {"token": SECRETS[operator]},
        {"token": "game-token"},
        {"secureLogin": "nobody"},
        {"secureLogin": ""},
        {"secureLogin": operator.upper()},
        {"secureLogin": KYREN if operator == LM else LM},
        {"secureLogin": [operator]},
        {"token": "wrong", "uuid": None, "roundId": 5},
    ):
        answer = standing.later(name, operator=operator, **changes)
        refused(answer, 401, status=401, text_error=text_error(name))
        assert answer.json["description"] == "secureLogin or token is wrong"
    assert standing.heads == heads


def test_the_document_calls_a_credential_as_its_call_does(standing):
    paths = standing.send("GET", "/openapi.json").json["paths"]

    for path, pair_ in (
        ("/V4/GetRoundStatus", "secureLogin or token"),
        ("/v1/HealthCheck", "secureLogin or token"),
        ("/V4/Cancel", "MEMB_ID or HASH"),
    ):
        stranger = paths[path]["post"]["responses"]["401"]["content"]["application/json"]
        assert stranger["example"]["description"] == f"{pair_} is wrong"


@pytest.mark.parametrize("missing", ["token", "secureLogin"])
@each_later_call
def test_a_later_call_without_token_or_login_is_401(standing, operator, name, missing):
    answer = standing.later(name, operator=operator, **{missing: None})

    assert answer.status == 401
    assert int(answer.code) == 401


@each_later_call
def test_a_pair_in_the_query_does_not_replace_the_token_in_the_body(standing, operator, name):
    body = later_body(name, operator, token="wrong")

    answer = standing.call(f"{PREFIXES[operator]}/{name}", body, pair_of(operator))

    refused(answer, 401, status=401, text_error=text_error(name))


@each_later_call
@pytest.mark.parametrize("fault", ["missing", "empty", "null"])
def test_a_later_calls_mandatory_fields_are_named(standing, operator, name, fault):
    heads = standing.heads
    fields = [f for f in later_body(name, operator) if f not in ("secureLogin", "token")]

    for field in fields:
        body = later_body(name, operator)
        body[field] = "" if fault == "empty" else None
        if fault == "missing":
            del body[field]
        answer = standing.call(f"{PREFIXES[operator]}/{name}", body, "")
        refused(answer, 64, field, text_error=text_error(name))
    assert standing.heads == heads


@each_later_call
def test_a_later_calls_ids_are_checked(standing, operator, name):
    heads = standing.heads
    ids = {"uuid", "userId", "roundId"} & set(later_body(name, operator))

    for field in ids:
        for written in BAD_IDS.values():
            if "\\u" in written:  # what is no text is refused before it is a call
                continue
            body = spoken(later_body(name, operator), field, written)
            answer = standing.raw(f"{PREFIXES[operator]}/{name}", body, "")
            refused(answer, 57, field, text_error=text_error(name))
    assert standing.heads == heads


UNREAD = {
    "a lone surrogate": spoken(later_body("GetRoundStatus"), "roundId", r'"\ud800"'),
    "nesting nobody needs": spoken(later_body("GetRoundStatus"), "x", "[" * 20 + "]" * 20),
    "no json": "{",
    "too much": json.dumps(later_body("GetRoundStatus")) + " " * 65536,
}


@pytest.mark.parametrize("body", UNREAD.values(), ids=UNREAD)
def test_the_error_of_a_status_is_text_though_the_body_cannot_be_read(standing, body):
    answer = standing.raw("/V4/GetRoundStatus", body, "")

    assert (answer.keys, answer.code) == (wire.PLAIN, "57")


@pytest.mark.parametrize(("operator", "name"), LATER_CALLS[2:])
def test_a_later_call_may_hold_fields_nobody_knows_in_any_spelling(standing, operator, name):
    body = {f.swapcase(): v for f, v in later_body(name, operator, extra={"a": [1]}).items()}

    assert int(standing.call(f"{PREFIXES[operator]}/{name}", body, "").code) == 0


# the list of rounds

DAY = datetime(2026, 11, 21, tzinfo=UTC)


OPENED = {
    "r0": DAY - timedelta(microseconds=1),
    "r1": DAY,
    "r2": DAY + timedelta(hours=10),
    "r3": DAY + timedelta(hours=15, minutes=30),
    "r4": DAY + timedelta(hours=24, microseconds=-1),
    "r5": DAY + timedelta(hours=24),
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    clock = Clock(DAY)
    folder = tmp_path_factory.mktemp("listed")
    with provider.Pair(folder, now=clock, logins=(LM, KYREN, BRAVO)) as found:
        found.fund(wire.OTHER_PLAYER)
        for number, (round_id, opened_at) in enumerate(OPENED.items()):
            clock.at = opened_at
            player = wire.OTHER_PLAYER if round_id == "r3" else wire.PLAYER
            game = "another" if round_id in ("r2", "r3") else GAME_ID
            bet = found.bet(
                round_id, reference=f"b{number}", userId=player, gameId=game, amount=number + 1
            )
            assert bet.json["outcome"] == "accepted"
        found.bet("bravo's", operator=BRAVO, reference="bravo's")
        yield found


def asked(listed, **changes):
    answer = listed.later("history/GetGameRounds", **changes)
    assert (answer.status, answer.code) == (200, 0), answer.raw
    assert answer.keys == ("error", "description", "totalRounds", "rounds")
    return answer.json


def ids(found):
    return [each["roundId"] for each in found["rounds"]]


def test_the_rounds_of_a_day_are_those_opened_in_it_the_oldest_first(listed):
    found = asked(listed)

    assert (found["error"], found["totalRounds"]) == (0, 4)
    assert ids(found) == ["r1", "r2", "r3", "r4"]
    assert found["rounds"][0] == {
        "roundId": "r1",
        "userId": wire.PLAYER,
        "gameId": GAME_ID,
        "currency": "USD",
        "betAmount": "2.00",
        "winAmount": "0.00",
        "roundStatus": "InProgress",
        "dateStart": "2026-11-21T00:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("start", "end", "zone", "expected"),
    [
        ("2026-11-21", "2026-11-21", "UTC", ["r1", "r2", "r3", "r4"]),
        ("2026-11-20", "2026-11-22", "UTC", list(OPENED)),
        ("2026-11-22", "2026-11-22", "UTC", ["r5"]),
        ("2026-11-20", "2026-11-20", "UTC", ["r0"]),
        ("2026-11-21", "2026-11-21", "+09:00", ["r0", "r1", "r2"]),
        ("2026-11-22", "2026-11-22", "+09:00", ["r3", "r4", "r5"]),
        ("2026-11-21", "2026-11-21", "GMT+9", ["r0", "r1", "r2"]),
        ("2026-11-21", "2026-11-21", "utc+0900", ["r0", "r1", "r2"]),
        ("2026-11-21", "2026-11-21", "Asia/Tokyo", ["r0", "r1", "r2"]),
        ("2026-11-21", "2026-11-21", "-05:00", ["r2", "r3", "r4", "r5"]),
        ("2026-11-21", "2026-11-21", "Europe/Malta", ["r0", "r1", "r2", "r3"]),
        ("2026-11-21", "2026-11-21", "GMT", ["r1", "r2", "r3", "r4"]),
        ("2026-11-21T00:00:00", "2026-11-21T10:00:00", "UTC", ["r1"]),
        ("2026-11-21T10:00:00", "2026-11-21T15:30:01", "UTC", ["r2", "r3"]),
        ("2026-11-21 10:00:00", "2026-11-21 15:30:01", "UTC", ["r2", "r3"]),
        ("2026-11-21T10:00:00", "2026-11-21T10:00:00", "UTC", []),
        ("2026-11-21T00:00:00Z", "2026-11-21", "+09:00", ["r1", "r2"]),
        ("2026-11-21T19:00:00+09:00", "2026-11-21", "UTC", ["r2", "r3", "r4"]),
        ("2026-11-21T10:00:00.000000", "2026-11-21T10:00:00.000001", "UTC", ["r2"]),
        ("2026-01-01", "2026-01-31", "UTC", []),
    ],
)
def test_a_span_is_read_in_its_time_zone_and_its_last_day_is_whole(
    listed, start, end, zone, expected
):
    found = asked(listed, dateStart=start, dateEnd=end, timeZone=zone)

    assert (found["totalRounds"], ids(found)) == (len(expected), expected)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-20", "9999-12-31"),
        ("0001-01-01", "2026-11-22"),
        ("0001-01-01", "9999-12-31"),
        ("0001-01-01T00:00:00", "9999-12-31T23:59:59"),
    ],
)
def test_a_span_may_reach_from_the_first_to_the_last_day_there_is(listed, start, end):
    assert ids(asked(listed, dateStart=start, dateEnd=end)) == list(OPENED)


@pytest.mark.parametrize(
    ("day", "zone", "after", "upto"),
    [
        (
            "2026-10-25",
            "Europe/Malta",
            "2026-10-24T21:59:59.999999Z",
            "2026-10-25T22:59:59.999999Z",
        ),
        (
            "2026-03-29",
            "Europe/Malta",
            "2026-03-28T22:59:59.999999Z",
            "2026-03-29T21:59:59.999999Z",
        ),
        (
            "2026-W43-7",
            "Europe/Malta",
            "2026-10-24T21:59:59.999999Z",
            "2026-10-25T22:59:59.999999Z",
        ),
        (
            "2026-11-01",
            "America/Havana",
            "2026-11-01T03:59:59.999999Z",
            "2026-11-02T04:59:59.999999Z",
        ),
        (
            "2018-11-04",
            "America/Sao_Paulo",
            "2018-11-04T02:59:59.999999Z",
            "2018-11-05T01:59:59.999999Z",
        ),
    ],
)
def test_a_day_on_which_the_clocks_are_changed_has_all_of_its_hours_and_no_more(
    day, zone, after, upto
):
    assert span(day, day, zone) == (after, upto)


@pytest.mark.parametrize("zone", ["+14:00", "-12:00", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_edge_of_time_is_no_failure_of_ours_in_any_zone(listed, day, zone):
    answer = listed.later(
        "history/GetGameRounds", dateStart=day, dateEnd=day, timeZone=zone, page=1
    )

    assert (answer.status, answer.code in (0, 57)) == (200, True), answer.raw


@pytest.mark.parametrize(
    ("page", "limit", "expected"),
    [
        (1, 2, ["r1", "r2"]),
        (2, 2, ["r3", "r4"]),
        (3, 2, []),
        (1, 3, ["r1", "r2", "r3"]),
        (2, 3, ["r4"]),
        (1, 1000, ["r1", "r2", "r3", "r4"]),
        ("2", "1", ["r2"]),
        (4, 1, ["r4"]),
        (10**9, 1000, []),
    ],
)
def test_rounds_come_page_by_page_and_the_total_is_of_all(listed, page, limit, expected):
    found = asked(listed, page=page, limit=limit)

    assert (found["totalRounds"], ids(found)) == (4, expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"userId": wire.OTHER_PLAYER}, ["r3"]),
        ({"userId": wire.PLAYER}, ["r1", "r2", "r4"]),
        ({"gameId": "another"}, ["r2", "r3"]),
        ({"gameId": "another", "userId": wire.PLAYER}, ["r2"]),
        ({"userId": wire.STRANGER}, []),
        ({"gameId": "Another"}, []),
        ({"userId": ""}, ["r1", "r2", "r3", "r4"]),
    ],
)
def test_rounds_may_be_of_one_player_and_of_one_game(listed, changes, expected):
    found = asked(listed, **changes)

    assert (found["totalRounds"], ids(found)) == (len(expected), expected)


BAD_SPANS = [
    *(
        (field, value)
        for field in ("dateStart", "dateEnd")
        for value in ("yesterday", "2026-13-01", "2026-02-30", "21.11.2026", "1795278442", "T", "x")
    ),
    *(
        ("timeZone", value)
        for value in ("Nowhere/City", "x", "+99:00", "+24:00", "../../etc/passwd", "/etc/passwd")
    ),
    *(("timeZone", value) for value in ("UTC+", "+", "+09:60", "+1:2:3", "Europe", "EST5EDT4,x")),
    *(
        (field, value)
        for field in ("page", "limit")
        for value in (0, -1, 1.5, "x", "0", "-1", "+1", "1.0", "1 ", "१", True, [1], {}, 10**18)
    ),
    ("limit", 1001),
    ("limit", "1001"),
    ("page", 10**9 + 1),
    ("dateEnd", "2026-11-20"),
    ("dateEnd", "2026-11-20T23:59:59"),
]


@pytest.mark.parametrize(("field", "value"), BAD_SPANS)
def test_a_span_or_a_page_that_is_none_is_57_and_named(listed, field, value):
    refused(listed.later("history/GetGameRounds", **{field: value}), 57, field)


def test_a_round_that_changed_is_listed_as_it_is_now(pair):
    pair.bet()
    pair.play("result")
    pair.bet("second", reference="second")
    pair.play("cancel", "second")
    span = {"dateStart": "2020-01-01", "dateEnd": "2090-01-01"}

    rounds = asked(pair, **span)["rounds"]

    assert [(each["roundStatus"], each["betAmount"], each["winAmount"]) for each in rounds] == [
        ("Completed", "100.01", "250.00"),
        ("Cancelled", "100.01", "0.00"),
    ]


# paths

PATHS = [
    ("/V4/cancelround", LM),
    ("/v1/cancelround", KYREN),
    ("/V4/GetRoundStatus", LM),
    ("/v1/GetRoundStatus", KYREN),
    ("/V4/history/GetGameRounds", LM),
    ("/V4/HealthCheck", LM),
    ("/v1/HealthCheck", KYREN),
]


def sent_to(pair, path, operator, spelt):
    if "cancelround" in path:
        body = {**cancel_body(operator, roundId=None, gameId="never played")}
        return pair.call(spelt, {**body, "hash": sign(body, operator)}, pair_of(operator))
    name = path.partition("/")[2].partition("/")[2]
    return pair.call(spelt, later_body(name, operator), "")


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, str.swapcase, str.title])
@pytest.mark.parametrize(("path", "operator"), PATHS)
def test_a_path_answers_in_any_letter_case(standing, path, operator, spell):
    answer = sent_to(standing, path, operator, spell(path))

    assert (answer.status, int(answer.code)) == (200, 0)


@pytest.mark.parametrize(("path", "operator"), PATHS)
def test_an_operator_of_one_dialect_may_not_call_the_others_paths(standing, path, operator):
    other = KYREN if operator == LM else LM

    answer = sent_to(standing, path, other, path)

    assert (answer.status, int(answer.code)) == (401, 401)


@pytest.mark.parametrize(("path", "operator"), PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_is_posted_to(standing, path, operator, method):
    answer = standing.send(method, f"{path}?{pair_of(operator)}")

    assert answer.status == 405


def test_the_shared_path_is_the_providers_with_a_secure_login_and_else_the_wallets(pair):
    pair.bet()
    wallets = {**wire.BY_NAME["/V4", "cancel round"].body, "reference": REFERENCE}

    mine = pair.seed_000(path="/V4/CancelRound")
    theirs = pair.call("/V4/cancelround", wallets, wire.LM_PAIR)

    succeeded(mine)
    assert (theirs.status, theirs.keys) == (200, wire.REFERENCE)
    assert theirs.json["reference"] == REFERENCE
    assert pair.cash() == wire.OPENING_CASH
    assert pair.topics().count("BetRefunded") == 1


@pytest.mark.parametrize(
    "path", ["/V4/CancelRound", "/v4/CancelRound", "/V4/cancelround", "/v4/CANCELROUND"]
)
@pytest.mark.parametrize("login", ["secureLogin", "SECURELOGIN", "securelogin"])
def test_the_shared_path_is_told_by_its_body_in_any_spelling(standing, path, login):
    body = cancel_body(roundId=None, gameId="never played")
    spelt = {login if field == "secureLogin" else field: body[field] for field in body}
    wallets = wire.BY_NAME["/V4", "cancel round"].body

    succeeded(standing.call(path, {**spelt, "hash": sign(spelt)}, pair_of()))
    later = standing.call(path, later_body("CancelRound", roundId="unknown"), "")
    refused(later, 17, "roundId")
    refused(standing.call(path, {**wallets, "reference": None}, wire.LM_PAIR), 64, "reference")


def test_neither_side_of_the_shared_path_takes_the_others_credential(standing):
    heads = standing.heads
    wallets = wire.BY_NAME["/V4", "cancel round"].body

    refused(standing.seed_000(path="/V4/CancelRound", pair=wire.LM_PAIR), 401, status=401)
    refused(standing.call("/V4/CancelRound", wallets, pair_of()), 401, status=401)
    assert standing.heads == heads


def test_a_wallet_alone_keeps_the_shared_path(opener):
    service = opener()
    service.fund()
    body = {**wire.BY_NAME["/V4", "cancel round"].body, "secureLogin": LM}

    assert service.call("/V4/cancelround", body).keys == wire.REFERENCE
    assert service.call("/v1/cancelround", body).status == 404
    assert service.call("/V4/GetRoundStatus", body).status == 404
    assert service.office("GET", "/api/provider/head").status == 404


# tenants and tokens


@pytest.mark.parametrize("ask", ["seed 000", "CancelRound", "GetRoundStatus"])
@pytest.mark.parametrize("stranger", [BRAVO, KYREN])
def test_another_operators_round_is_answered_as_one_nobody_knows(three, ask, stranger):
    three.bet()
    heads, sent = three.heads, len(three.wallet.calls)

    def answer(round_id):
        if ask == "seed 000":
            return three.seed_000(operator=stranger, path=path(), roundId=round_id)
        return three.later(ask, operator=stranger, path=path(), roundId=round_id)

    def path():
        prefix = "/v1" if stranger == KYREN else "/V4"
        return f"{prefix}/cancelround" if ask == "seed 000" else f"{prefix}/{ask}"

    assert answer(ROUND).raw == answer("unknown").raw
    assert int(answer(ROUND).code) == 17
    assert (three.heads, len(three.wallet.calls)) == (heads, sent)
    assert three.status() == "InProgress"


def test_a_cancellation_without_a_round_stays_with_its_operator(three):
    three.bet()
    three.bet(operator=BRAVO)

    succeeded(three.seed_000(operator=BRAVO, path="/V4/cancelround", roundId=None))

    assert three.status(operator=BRAVO) == "Cancelled"
    assert three.status() == "InProgress"


def test_an_operator_lists_its_own_rounds_alone(listed):
    found = listed.later(
        "history/GetGameRounds",
        operator=BRAVO,
        path="/V4/history/GetGameRounds",
        dateStart="2020-01-01",
        dateEnd="2090-01-01",
    ).json

    assert (found["totalRounds"], ids(found)) == (1, ["bravo's"])
    assert "bravo's" not in ids(asked(listed, dateStart="2020-01-01", dateEnd="2090-01-01"))


def test_one_rounds_id_at_two_operators_is_two_rounds(three):
    three.bet()
    three.bet(operator=BRAVO, reference="bravo's", amount=7)

    status = three.later("GetRoundStatus", operator=BRAVO, path="/V4/GetRoundStatus").json

    assert status["betAmount"] == "7.00"
    assert three.later("GetRoundStatus").json["betAmount"] == "100.01"


@pytest.mark.parametrize(
    ("token", "admitted"), [("new-token", True), ("old-token", True), (TOKENS[LM], False)]
)
def test_two_tokens_may_be_alive_while_one_replaces_the_other(tmp_path, token, admitted):
    with provider.Pair(
        tmp_path, works=False, logins=(LM,), token=["new-token", "old-token"]
    ) as pair:
        answers = [
            pair.seed_000(roundId=None, pair=pair_of(token=token)),
            pair.later("HealthCheck", token=token),
        ]

        for answer in answers:
            if admitted:
                succeeded(answer)
            else:
                refused(answer, 401, status=401)


# our own failure


@pytest.mark.parametrize("name", ["GetRoundStatus", "HealthCheck"])
def test_our_own_failure_is_998_and_tells_nothing(pair, monkeypatch, name):
    def broken(*_, **__):
        raise OSError("disk I/O error: /secret/path")

    pair.bet()
    monkeypatch.setattr(pair.provider.store, "stream", broken)
    monkeypatch.setattr(pair.provider.store, "head", broken)

    answer = pair.later(name)

    refused(answer, 998, text_error=text_error(name))
    assert b"disk" not in answer.raw


# in a process of their own


@each_operator
def test_a_provider_cancels_a_round_at_the_wallet_of_its_own_process(server, operator):
    bet = {"operator": operator, **GAME_CALLS["bets"]}
    placed = server.send("POST", f"/api/provider/rounds/{operator}/bets", bet, token="game-token")
    assert placed.json["outcome"] == "accepted"
    body = cancel_body(operator, roundId=operator)
    path = f"{PREFIXES[operator]}/cancelround?{pair_of(operator)}"

    answers = [server.send("POST", path, {**body, "hash": sign(body, operator)}) for _ in range(2)]

    for answer in answers:
        succeeded(answer)
    status = later_body("GetRoundStatus", operator, roundId=operator)
    answer = server.send("POST", f"{PREFIXES[operator]}/getroundstatus", status)
    assert answer.json["roundStatus"] == "Cancelled"
    assert server.get(f"/api/wallets/{wire.PLAYER}/USD").json["cash"] == wire.OPENING_CASH


@pytest.mark.parametrize("path", ["/V4/CancelRound", "/v4/cancelround"])
def test_a_process_with_both_books_tells_the_shared_path_by_its_body(server, path):
    body = cancel_body(roundId=None, gameId="never played")
    wallets = {**wire.BY_NAME["/V4", "cancel round"].body, "reference": None}

    succeeded(server.send("POST", f"{path}?{pair_of()}", {**body, "hash": sign(body)}))
    refused(server.send("POST", f"{path}?{wire.LM_PAIR}", wallets), 64, "reference")


@pytest.mark.parametrize("path", ["/V4/CancelRound", "/v4/cancelround", "/v1/cancelround"])
@pytest.mark.parametrize("said", [cancel_body(), wire.BY_NAME["/V4", "cancel round"].body])
@pytest.mark.parametrize("excess", [1, 100_000])
def test_a_process_with_both_books_refuses_a_body_that_is_too_large(server, path, said, excess):
    text = json.dumps(said)
    body = text + " " * (64 * 1024 - len(text) + excess)

    answer = server.send("POST", f"{path}?{wire.LM_PAIR}", body.encode())

    refused(answer, answer.json["error"], status=413)
