import json

import pytest

from tests.http import wire
from tests.http.provider import problem

LM = {"providerId": "LuckyMonaco"}
STRANGER = wire.STRANGER


def line(command, *, user=None, **fields):
    shape = wire.SHAPES.get(command) or {"currency": "USD"}
    return {"command": command, **shape, "userId": user or wire.PLAYER, **fields}


def sent(service, *lines, token=wire.ADMIN):
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    answer = service.send(
        "POST", "/api/commands", text, Authorization=f"Bearer {token}", Content_Type="text/plain"
    )
    if answer.status != 200:
        return answer
    assert answer.headers["Content-Type"] == "application/jsonl"
    return [json.loads(each) for each in answer.raw.splitlines()]


EVERY_KIND = [
    line("OpenWallet", user=STRANGER),
    line("Deposit", user=STRANGER, reference="d", amount="500.00"),
    line("Withdraw", user=STRANGER, reference="w", amount="1.00"),
    line("Freeze", user=STRANGER),
    line("Unfreeze", user=STRANGER),
    line("Bet", **LM),
    line("Bet", **LM, reference="second"),
    line("Cancel", **LM, reference="second"),
    line("Result", **LM),
    line("BonusWin", **{**wire.SHAPES["Result"], **LM, "reference": "bonus"}),
    line("JackPotWin", **{**wire.SHAPES["Result"], **LM, "reference": "jackpot"}),
    line("PromoWin", **LM),
    line("EndRound", **LM),
    line("Bet", **LM, roundId="r2", reference="b2"),
    line("Refund", **{**wire.SHAPES["RoundRefund"], **LM, "roundId": "r2", "reference": "b2"}),
    line("Bet", **LM, roundId="r3", reference="b3"),
    line("CancelRound", **{**wire.SHAPES["Cancel"], **LM, "reference": "b3"}),
    line("SessionExpired", **LM),
]
TOPICS = (
    "WalletOpened DepositMade WithdrawalMade WalletFrozen WalletUnfrozen RoundOpened BetPlaced BetPlaced"
    " BetCancelled ResultRecorded ResultRecorded ResultRecorded PromoPaid RoundEnded RoundOpened BetPlaced"
    " BetRefunded RoundCancelled RoundOpened BetPlaced BetCancelled RoundCancelled SessionExpired"
)


def test_every_command_may_be_a_line_and_sent_again_none_moves_anything(service):
    before = len(service.topics())
    first = sent(service, *EVERY_KIND)
    topics, head = service.topics()[before:], service.head
    again = sent(service, *EVERY_KIND)

    assert [each["line"] for each in first] == list(range(1, len(EVERY_KIND) + 1))
    assert {each["error"] for each in first} == {0}
    assert {each["recorded"] for each in first} == {True}
    assert topics == TOPICS.split()
    switched = ("Freeze", "Unfreeze")
    for asked, one, other in zip(EVERY_KIND, first, again, strict=True):
        if asked["command"] not in switched:
            assert (one["transactionId"], other["recorded"]) == (other["transactionId"], False)
    assert service.head["position"] == head["position"] + len(switched)


def test_a_line_is_answered_as_the_call_is_and_the_cash_is_that_of_its_moment(service):
    bet, second, refused = sent(
        service,
        line("Bet", **LM),
        line("Bet", **LM, reference="second"),
        line("Bet", **LM, reference="third", amount="900000.00"),
    )

    assert tuple(bet) == ("line", *wire.TRANSACTION, "recorded")
    assert (bet["cash"], second["cash"]) == ("99899.99", "99799.98")
    assert (refused["error"], refused["cash"]) == (15, "99799.98")


def test_a_cancel_that_names_neither_session_nor_round_is_the_refund_of_seed_003_in_a_list_too(
    service,
):
    refund = {**wire.SHAPES["Refund"], **LM, "userId": wire.PLAYER}
    _, listed = sent(service, line("Bet", **LM), {"command": "Cancel", **refund})
    called = service.call("/v4/Cancel", refund)

    assert (listed["error"], listed["recorded"], listed["cash"]) == (0, True, wire.OPENING_CASH)
    assert service.topics()[-2:] == ["BetRefunded", "RoundCancelled"]
    assert (called.code, called.json["transactionId"]) == ("0", listed["transactionId"])


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("{", 57, "line: the body is not JSON"),
        ("[]", 57, "line: the body is not a JSON object"),
        ("{}", 57, "command: must be one of OpenWallet, Deposit"),
        (line("Bett"), 57, "command: must be one of"),
        ('{"command": "Bet", "command": "Result"}', 57, "command: must be one of"),
        (line("Deposit", reference="d"), 64, "amount: is mandatory"),
        (line("Deposit", reference="d", amount="-1"), 59, "amount: must be digits"),
        (line("Deposit", reference="d", amount="1", ammount="2"), 57, "ammount: is not known"),
        (line("Bet"), 64, "providerId: is mandatory"),
        (line("Bet", providerId="Nobody"), 401, "providerId: is no provider"),
        (line("Deposit", user="nobody", reference="d", amount="1.00"), 62, "userId: no such"),
        (line("OpenWallet", currency="XXQ"), 52, "currency: is neither"),
    ],
)
def test_a_line_at_fault_says_why_and_holds_no_other_up(service, wrong, code, said):
    good = line("Deposit", reference="good", amount="1.00")
    before, faulty, after = sent(service, good, wrong, {**good, "reference": "also good"})

    assert (before["error"], after["error"], after["cash"]) == (0, 0, "100002.00")
    assert (faulty["line"], faulty["error"]) == (2, code)
    assert faulty["description"].startswith(said)


def test_empty_lines_are_passed_over_and_counted(service):
    found = sent(service, "", line("Freeze"), "", "  ", line("Unfreeze"), "")

    assert [each["line"] for each in found] == [2, 5]


def test_a_provider_is_named_in_any_letter_case(service):
    (bet,) = sent(service, line("Bet", providerId="LUCKYMONACO"))

    assert bet["error"] == 0
    assert service.events()[-1]["body"]["provider"] == "LuckyMonaco"


def test_an_empty_list_is_answered_with_nothing(service):
    assert sent(service) == []


def test_a_list_that_is_too_long_is_refused_whole(service):
    head = service.head
    problem(sent(service, *['{"a":1}'] * 1001), 422, "malformed", code=57, field="body")

    assert service.head == head


def test_a_list_that_is_too_large_is_413(service):
    assert sent(service, "x" * 70_000).status == 413


@pytest.mark.parametrize(("token", "status"), [(wire.AUDITOR, 403), ("nobody", 401)])
def test_only_the_back_office_may_send_a_list(service, token, status):
    head = service.head

    assert sent(service, line("Freeze"), token=token).status == status
    assert service.head == head


def test_an_answer_to_a_list_says_how_far_the_book_goes(service):
    answer = service.send(
        "POST", "/api/commands", json.dumps(line("Freeze")), Authorization=f"Bearer {wire.ADMIN}"
    )

    assert answer.headers["Roundbook-Position"] == str(service.head["position"])


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET"])
def test_what_writes_nothing_does_not_say_how_far_the_book_goes(service, method):
    path = "/api/commands" if method == "OPTIONS" else "/api/head"
    token = {} if method == "OPTIONS" else {"Authorization": f"Bearer {wire.AUDITOR}"}
    answer = service.send(method, path, **token)

    assert answer.status == 200
    assert "Roundbook-Position" not in answer.headers
