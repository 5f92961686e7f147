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
