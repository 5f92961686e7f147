import http.client
import json
import select
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from api.configuration import settle
from ledger.moments import utc_now
from scripts import cli
from tests.http import provider, wire
from tests.http.server import argv, clean, serving
from tests.provider.examples import new_book, place_bet

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


CREDENTIALS = {
    "a provider's": "lm-token",
    "the back office's": wire.ADMIN,
    "an auditor's": wire.AUDITOR,
    "a game's": provider.GAME,
    "an operator's token": provider.TOKENS[provider.LM],
    "an operator's secret": provider.SECRETS[provider.LM],
}


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/V4/Bet%3FMEMB_ID=acme&HASH={}",
        "/V4/Bet&MEMB_ID=acme&HASH={}",
        "/V4/cancelround%3FMEMB_ID=acme&HASH={}",
        "/V4/Bet/{}",
        "/api/wallets/{}/USD",
    ],
)
def test_a_credential_that_was_written_into_a_path_is_in_no_log(both, path, method, credential):
    before = both.err.stat().st_size

    assert both.send(method, path.format(credential), token=wire.ADMIN).status in {404, 405}

    said = both.err.read_text()[before:]
    assert "***" in said
    assert credential not in said


@pytest.mark.parametrize("field", ["userId", "roundId", "uuid"])
@pytest.mark.parametrize(
    "credential", ["a provider's", "an operator's token", "an operator's secret"]
)
def test_an_operators_credential_in_another_field_is_57_and_in_no_log(both, field, credential):
    said = f"my {CREDENTIALS[credential]}"

    answer = both.send(
        "POST", "/V4/CancelRound", provider.later_body("CancelRound", provider.LM, **{field: said})
    )

    assert (answer.status, answer.code) == (200, 57)
    assert answer.json["description"] == f"{field}: must hold no credential"
    assert CREDENTIALS[credential] not in both.err.read_text()


def test_a_hash_is_of_what_was_sent_though_a_credential_in_it_is_hidden(both):
    body = provider.cancel_body(provider.LM, roundId=None, note=CREDENTIALS["an operator's token"])

    answer = both.send(
        "POST",
        f"/V4/cancelround?MEMB_ID=acme&HASH={provider.TOKENS[provider.LM]}",
        {**body, "hash": provider.sign(body, provider.LM)},
    )

    assert (answer.status, answer.code) == (200, 0)


@pytest.mark.parametrize("asked", ["at=", "as_of=", "as_of=&min_position=2"])
def test_a_question_about_no_moment_is_refused_and_not_answered_as_of_some_older_one(both, asked):
    answer = both.get(f"/api/wallets/{wire.PLAYER}/USD?{asked}", wire.AUDITOR)

    assert answer.status == 422
    assert answer.json["detail"].startswith(asked.partition("=")[0])


@pytest.fixture
def on_postgres(tmp_path, postgres):
    with serving(tmp_path, wire.document(postgres.new_book())) as found:
        found.fund(wire.PLAYER)
        yield found


def asked(server, path):
    connection = socket.create_connection(("127.0.0.1", server.port), 15)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {wire.ADMIN}\r\n\r\n".encode()
    )
    return connection


def test_questions_of_the_back_office_that_wait_hold_up_no_balance(on_postgres):
    path = f"/api/head?min_position={10**9}"
    with ExitStack() as stack, on_postgres.connect() as caller:
        waiting = [stack.enter_context(asked(on_postgres, path)) for _ in range(40)]
        on_postgres.get("/livez")

        for name in ("check", "balance"):
            call = wire.BY_NAME["/V4", name]
            assert caller.call(call.path, call.body).code == 0

        assert len(select.select(waiting, [], [], 0)[0]) < len(waiting) / 2


@pytest.mark.parametrize(("more", "status"), [(62, 200), (63, 401)])
def test_a_query_of_more_than_64_fields_is_401_though_the_pair_is_in_it(both, more, status):
    call = wire.BY_NAME["/V4", "balance"]
    query = "&".join(f"%41{number}=%42" for number in range(more))

    answer = both.send("POST", f"{call.path}?{wire.LM_PAIR}&{query}", call.body)

    assert (answer.status, answer.headers["connection"]) == (status, "close" if more > 62 else None)


def login(server, **fields):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)) as connection:
        connection.request("POST", "/audit/login", urlencode(fields), kind)
        return connection.getresponse().status


def test_a_login_of_more_than_8_kib_is_413_though_the_token_is_in_it(both):
    assert login(both, token=wire.AUDITOR, next="x" * 8000) == 303
    assert login(both, token=wire.AUDITOR, next="x" * 8192) == 413


def listed(server, *options):
    command = ["deliveries", "--config", str(server.config), *options]
    return CliRunner().invoke(cli.roundbook, command)


def test_who_reads_what_wallets_owe_is_told_where_there_is_more(tmp_path):
    document = provider.document(tmp_path, "http://127.0.0.1:9")
    document["provider_book"]["worker"] = False
    store, house = document["provider_book"]["store"], settle(document, {}).provider_house()
    with (
        closing(new_book(store, now=utc_now, house=house)) as book,
        ThreadPoolExecutor(32) as together,  # in few commits
    ):
        named = ({"round_id": f"r-{n}", "reference": f"b-{n}"} for n in range(1001))
        bets = (place_bet(operator=provider.LM, **each) for each in named)
        assert len([*together.map(book.submit, bets)]) == 1001

    with serving(tmp_path, document) as server:
        said = server.get("/api/provider/deliveries").json
        assert (len(said["deliveries"]), said["has_more"]) == (1000, True)
        rest = server.get(f"/api/provider/deliveries?after={said['next']}").json
        assert (len(rest["deliveries"]), rest["has_more"]) == (1, False)
        assert "1000 and more undelivered" in listed(server).stdout
        assert "1001 undelivered" in listed(server, "--limit", "1001").stdout
        page = listed(server, "--json")
        told, _, place = page.stderr.strip().rpartition(" ")
        assert (len(json.loads(page.stdout)), told) == (1000, "more with --after")
        assert place == said["next"]
        assert json.loads(listed(server, "--json", "--after", place).stdout) == rest["deliveries"]
        wrong = listed(server, "--after", "x")
        assert (wrong.exit_code, "--after" in wrong.stderr) == (2, True)


def test_a_log_tells_at_the_start_of_an_operator_that_is_owed_calls_and_configured_no_more(
    tmp_path,
):
    document = provider.document(tmp_path, "http://127.0.0.1:9")
    store, house = document["provider_book"]["store"], settle(document, {}).provider_house()
    with closing(new_book(store, now=utc_now, house=house)) as book:
        book.submit(place_bet(operator=provider.LM))
        book.submit(place_bet(operator=provider.KYREN, round_id="another's"))

    del document["operator"][0]
    with serving(tmp_path, document) as server:
        (line,) = told(server, "an operator is not configured")
    with subprocess.Popen(
        argv("worker", "--config", server.config),
        env=clean(),
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        said = worker.stderr.readline()
        worker.terminate()

    assert line["told"].startswith(f"{provider.LM} is owed calls or has open rounds")
    assert json.loads(said)["told"] == line["told"]


def told(server, event):
    lines = map(json.loads, server.err.read_text().splitlines())
    return [line for line in lines if line["event"] == event]
