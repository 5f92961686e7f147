import json

import pytest

from tests.http import provider, wire
from tests.http.server import serving

BET = wire.BY_NAME["/V4", "bet"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wire")
    document = provider.document(folder, "http://127.0.0.1:9")
    with serving(folder, {**document, "server": {"log_requests": True}}) as found:
        found.fund(wire.PLAYER)
        yield found


def head(server):
    return server.get("/api/head").json


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity"])
def test_a_time_that_json_does_not_have_is_57_and_nothing_is_recorded(both, written):
    before = head(both)
    body = json.dumps({**BET.body, "timestamp": "?"}).replace('"?"', written).encode()

    answer = both.send("POST", f"{BET.path}?{wire.LM_PAIR}", body)

    assert (answer.status, answer.code) == (200, 57)
    assert answer.json["description"] == "timestamp: is not a finite number"
    assert head(both) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/api/wallets/Ren%E9/USD", "/api/wallets/Ren%E8/USD"),
        ("/api/wallets/%C3/USD", "/api/wallets/%E2%82/USD"),
    ],
)
def test_two_players_whose_ids_are_no_utf_8_do_not_share_a_wallet(both, one, other):
    before = head(both)

    for path in (one, other):
        opened = both.send("PUT", path, token=wire.ADMIN)
        assert (opened.status, opened.json["code"], opened.json["field"]) == (422, 57, "userId")

    assert both.get(one).json["field"] == "userId"
    assert head(both) == before


@pytest.mark.parametrize("verb", ["bets", "result", "end", "cancel"])
def test_a_round_whose_id_is_no_utf_8_is_not_played(both, verb):
    body = {"operator": provider.LM, **provider.GAME_CALLS[verb]}

    answer = both.send("POST", f"/api/provider/rounds/%E9/{verb}", body, token=provider.GAME)

    assert (answer.status, answer.json["field"]) == (422, "roundId")


def test_an_id_in_utf_8_has_its_own_address(both):
    for user in ("Ren%C3%A9", "Ren%C3%A8"):
        assert both.send("PUT", f"/api/wallets/{user}/USD", token=wire.ADMIN).status == 201
