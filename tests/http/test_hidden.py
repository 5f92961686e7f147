import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest

from api.hidden import SHORTEST
from ledger.masking import masked, spellings
from tests.http import wire

TOKEN = "lm/token+of é 4711"
QUOTED = "lm%2Ftoken%2Bof%20%C3%A9%204711"
PLUSSED = "lm%2Ftoken%2Bof+%C3%A9+4711"
HALF_QUOTED = "lm/token+of%20%c3%a9%204711"
HALF_PLUSSED = "lm/token%2Bof+é+4711"
BET = wire.BY_NAME["/V4", "bet"]
PAIR = f"MEMB_ID=acme&HASH={QUOTED}"


def with_token(token):
    document = wire.document()
    document["provider"][0]["token"] = ["another-lm-token", token]
    return wire.settle(document, {})


@pytest.fixture
def service(opener):
    found = opener(with_token(TOKEN))
    found.fund()
    return found


def place(service, **more):
    return service.call(BET.path, {**BET.body, **more}, PAIR)


def holds_it(text):
    spelt = {TOKEN, json.dumps(TOKEN)[1:-1], QUOTED, PLUSSED, "another-lm-token", "4711"}
    return [each for each in spelt if each in text]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"accessToken": TOKEN}, {"accessToken": "***"}),
        ({"accessToken": "another-lm-token"}, {"accessToken": "***"}),
        ({"x": [{"y": f"<{TOKEN}>"}, 1, None]}, {"x": [{"y": "<***>"}, 1, None]}),
        ({"url": f"/V4/Bet?HASH={QUOTED}&x"}, {"url": "/V4/Bet?HASH=***&x"}),
        ({"url": f"/V4/Bet?HASH={PLUSSED}&x"}, {"url": "/V4/Bet?HASH=***&x"}),
        ({"url": f"/V4/Bet?HASH={HALF_QUOTED}&x"}, {"url": "/V4/Bet?HASH=***&x"}),
        ({"url": f"/V4/Bet?HASH={HALF_PLUSSED}&x"}, {"url": "/V4/Bet?HASH=***&x"}),
        ({"x": f"100%, {HALF_QUOTED[:-1]}"}, {"x": f"100%, {HALF_QUOTED[:-1]}"}),
        ({f"my {TOKEN}": {f"{TOKEN}": True}}, {"my ***": {"***": True}}),
        ({"x": "lm/token"}, {"x": "lm/token"}),
        ({"\\": 1.50}, {"\\": "1.5"}),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_event_has_no_token_whatever_its_name(service, more, kept, ascii_only):
    text = json.dumps({**BET.body, **more}, ensure_ascii=ascii_only)

    assert service.raw(BET.path, text.encode(), PAIR).code == 0

    event = service.events()[-1]
    assert event["body"]["said"]["extra"] == kept
    assert not holds_it(json.dumps(event, ensure_ascii=False))


def test_details_have_no_token_either(service):
    assert place(service, roundDetails=f"see /V4/Bet?{PAIR}").code == 0

    assert service.events()[-1]["body"]["said"]["details"] == "see /V4/Bet?MEMB_ID=acme&HASH=***"


def test_a_token_may_be_written_with_any_escapes(service):
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in TOKEN)
    text = json.dumps({**BET.body, "x": "?"}).replace('"?"', f'"{escaped}"')

    assert service.raw(BET.path, text, PAIR).code == 0
    assert service.events()[-1]["body"]["said"]["extra"] == {"x": "***"}


@pytest.mark.parametrize("field", BET.ids)
def test_an_id_with_a_token_is_57_for_another_one_would_be_the_same_without_it(service, field):
    before = service.head

    answer = place(service, **{field: f"a {TOKEN}"})

    assert (answer.status, answer.code) == (200, 57)
    assert answer.json["description"] == f"{field}: must hold no credential"
    assert service.head == before


def test_no_answer_names_a_field_by_its_token(service):
    once = json.dumps(BET.body, ensure_ascii=False)[:-1]

    answer = service.raw(BET.path, f'{once}, "{TOKEN}": 1, "{TOKEN}": 2}}'.encode(), PAIR)

    assert (answer.code, answer.json["description"]) == (
        57,
        "***: is given twice, with different values",
    )


def test_a_line_of_a_list_keeps_no_token(service):
    line = {"command": "Bet", **BET.body, "accessToken": TOKEN}

    assert service.office("POST", "/api/commands", line).code == 0
    assert service.events()[-1]["body"]["said"]["extra"] == {"accessToken": "***"}


SIGNS = 'a\\b "c"\n/+%é&=?#<>\'()*~'
WRITTEN = {
    "as it is": SIGNS,
    "in an address": quote(SIGNS, safe=""),
    "in a path": quote(SIGNS),
    "in an address twice": quote(quote(SIGNS)),
    "in lower case": re.sub("%..", lambda found: found[0].lower(), quote(SIGNS)),
    "in a form": quote_plus(SIGNS),
    "in JSON": json.dumps(SIGNS)[1:-1],
    "in JSON in JSON": json.dumps(json.dumps(SIGNS))[3:-3],
    "in PHP's JSON": json.dumps(SIGNS)[1:-1].replace("/", "\\/"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_secret_is_found_however_it_is_written(written):
    assert masked(f"<{written}>", spellings([SIGNS])) == "<***>"


@pytest.mark.parametrize("sign", SIGNS)
def test_what_lacks_a_sign_of_a_secret_is_left_as_it_is(sign):
    said = SIGNS.replace(sign, "")

    assert masked(said, spellings([SIGNS])) == said


@pytest.mark.parametrize("sign", SIGNS)
def test_what_is_nearly_a_secret_of_many_signs_is_looked_through_at_once(sign):
    secret = sign * 16 + "!"
    began = time.process_time()

    for written in (sign, quote(sign, safe=""), json.dumps(sign)[1:-1], "\\" + sign):
        said = written * 1000 + "?"
        assert masked(said, spellings([secret])) == said
    assert time.process_time() - began < 1


def test_of_two_secrets_the_longer_one_is_looked_for_first():
    assert masked("key-1-2 key-1", spellings(["key-1", "key-1-2"])) == "*** ***"


def test_a_token_that_may_be_part_of_any_word_is_not_looked_for(opener):
    short = "tumblefo"[: SHORTEST - 1]
    service = opener(with_token(short))
    service.fund()

    assert service.call(BET.path, BET.body, f"MEMB_ID=acme&HASH={short}").code == 0
    assert service.events()[-1]["body"]["game"] == wire.GAME_FIELDS["gameId"]
