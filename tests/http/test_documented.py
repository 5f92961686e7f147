import json

import pytest
from werkzeug.datastructures import ImmutableMultiDict

from api.http import StrictRequest
from api.listed import KINDS
from tests.http import provider, wire
from tests.http.wire import ADMIN, AUDITOR, PLAYER

WALLET = f"/api/wallets/{PLAYER}/USD"
TEMPLATE = "/api/wallets/{user}/{currency}"
CASH = {"reference": "d-1", "amount": "1"}
OTHER = {"reference": f"open {PLAYER} USD", "amount": "0.01"}
ROUND = "/api/rounds/{provider}/{round_id}"

ASKED = [
    ("PUT", TEMPLATE, "/api/wallets/new/USD", None, ADMIN, 201),
    ("PUT", TEMPLATE, WALLET, None, ADMIN, 200),
    ("PUT", TEMPLATE, WALLET, None, AUDITOR, 403),
    ("PUT", TEMPLATE, WALLET, None, None, 401),
    ("PUT", TEMPLATE, "/api/wallets/new/nothing", None, ADMIN, 422),
    ("GET", TEMPLATE, WALLET, None, AUDITOR, 200),
    ("GET", TEMPLATE, f"{WALLET}?as_of=2026-11-21", None, AUDITOR, 503),
    ("GET", TEMPLATE, "/api/wallets/nobody/USD", None, AUDITOR, 404),
    ("GET", TEMPLATE, f"{WALLET}?at=x", None, AUDITOR, 422),
    ("GET", TEMPLATE, f"{WALLET}?min_position=99999", None, AUDITOR, 503),
    ("POST", f"{TEMPLATE}/deposits", f"{WALLET}/deposits", CASH, ADMIN, 200),
    ("POST", f"{TEMPLATE}/deposits", f"{WALLET}/deposits", OTHER, ADMIN, 409),
    ("POST", f"{TEMPLATE}/deposits", f"{WALLET}/deposits", [], ADMIN, 400),
    ("POST", f"{TEMPLATE}/deposits", f"{WALLET}/deposits", {}, ADMIN, 422),
    ("POST", f"{TEMPLATE}/deposits", f"{WALLET}/deposits", "x" * 70_000, ADMIN, 413),
    ("POST", f"{TEMPLATE}/withdrawals", f"{WALLET}/withdrawals", CASH, ADMIN, 200),
    ("POST", f"{TEMPLATE}/withdrawals", "/api/wallets/nobody/USD/withdrawals", OTHER, ADMIN, 404),
    ("POST", f"{TEMPLATE}/freeze", f"{WALLET}/freeze", None, AUDITOR, 403),
    ("POST", f"{TEMPLATE}/unfreeze", "/api/wallets/nobody/USD/unfreeze", None, ADMIN, 404),
    ("GET", ROUND, "/api/rounds/LuckyMonaco/5103188801", None, AUDITOR, 200),
    ("GET", ROUND, "/api/rounds/LuckyMonaco/nothing", None, AUDITOR, 404),
    ("GET", ROUND, "/api/rounds/LuckyMonaco/5103188801?at=0", None, AUDITOR, 422),
    ("POST", "/api/commands", "/api/commands", {}, ADMIN, 200),
    ("POST", "/api/commands", "/api/commands", "x" * 70_000, ADMIN, 413),
    ("GET", "/api/history", "/api/history", None, AUDITOR, 422),
    ("GET", "/api/history", "/api/history?q=x", None, AUDITOR, 503),
    ("GET", "/api/events", "/api/events", None, AUDITOR, 200),
    ("GET", "/api/events", "/api/events?limit=0", None, AUDITOR, 422),
    ("GET", "/api/head", "/api/head", None, None, 401),
    ("GET", "/api/seals", "/api/seals", None, AUDITOR, 200),
    ("GET", "/livez", "/livez", None, None, 200),
    ("GET", "/readyz", "/readyz", None, None, 200),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with provider.Pair(tmp_path_factory.mktemp("running"), works=False) as pair:
        yield pair


def described(service):
    return service.send("GET", "/openapi.json").json


def schema_of(document, path):
    content = document["paths"][path]["post"]["requestBody"]["content"]
    named = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][named]


def test_a_list_that_says_that_there_is_more_says_in_the_document_how_to_go_on(tmp_path):
    with provider.Pair(tmp_path, works=False) as pair:
        document = pair.send("GET", "/openapi.json").json

        for path in ("/api/events", "/api/provider/events", "/api/provider/deliveries"):
            page = pair.office("GET", path).json
            told = {each["name"] for each in document["paths"][path]["get"]["parameters"]}
            assert {"has_more", "next"} < set(page)
            assert {"after", "limit"} <= told


def assert_told(document, method, path, answer):
    told = document["paths"][path][method.lower()]["responses"]
    assert str(answer.status) in told
    assert answer.headers["Content-Type"] in told[str(answer.status)]["content"]


@pytest.mark.parametrize(("method", "path", "asked", "body", "token", "status"), ASKED)
def test_what_the_back_office_is_answered_stands_in_the_document(
    standing, method, path, asked, body, token, status
):
    answer = standing.office(method, asked, body, token)

    assert answer.status == status
    assert_told(described(standing), method, path, answer)


@pytest.mark.parametrize(
    ("data", "pair", "status"),
    [
        ("{}", wire.LM_PAIR, 200),
        ("[]", wire.LM_PAIR, 400),
        ("{}", "MEMB_ID=acme&HASH=wrong", 401),
        (json.dumps("x" * 70_000), wire.LM_PAIR, 413),
    ],
)
def test_what_a_wallet_call_is_answered_stands_in_the_document(standing, data, pair, status):
    answer = standing.raw("/V4/Bet", data, pair)

    assert answer.status == status
    assert_told(described(standing), "POST", "/V4/Bet", answer)


class Noted(ImmutableMultiDict):
    def get(self, key, *given, **named):
        READ.add(key)
        return super().get(key, *given, **named)

    def getlist(self, key, *given, **named):
        READ.add(key)
        return super().getlist(key, *given, **named)

    def __getitem__(self, key):
        READ.add(key)
        return super().__getitem__(key)


READ = set()
IN_PATHS = {
    "user": PLAYER,
    "currency": "USD",
    "provider": "LuckyMonaco",
    "round_id": "5103188801",
}


def test_whatever_of_its_query_a_route_reads_stands_in_the_document(tmp_path, monkeypatch):
    monkeypatch.setattr(StrictRequest, "parameter_storage_class", Noted)
    with provider.Pair(tmp_path, works=False) as pair:
        for path, item in described(pair)["paths"].items():
            READ.clear()
            if path.startswith("/api") and "get" in item:
                pair.office("GET", path.format(**IN_PATHS))
                told = item["get"].get("parameters", [])
                assert {each["name"] for each in told if each["in"] == "query"} == READ, path


def test_the_bounds_of_a_page_of_rounds_stand_in_the_document_and_are_kept(running):
    path = "/V4/history/GetGameRounds"
    fields = schema_of(described(running), path)["properties"]

    def told(name, value):
        body = provider.later_body("history/GetGameRounds", **{name: value})
        return running.raw(path, json.dumps(body), "").json["error"]

    for name in ("page", "limit"):
        number, _ = fields[name]["oneOf"]
        least, most = number["minimum"], number["maximum"]
        asked = (least - 1, least, most, most + 1)
        assert [told(name, value) for value in asked] == [57, 0, 0, 57]
    assert most == 1000


def test_how_long_a_name_may_be_stands_in_the_document_and_holds(standing):
    fields = schema_of(described(standing), "/V4/SessionExpired")["properties"]
    longest, least = fields["userId"]["maxLength"], fields["userId"]["minLength"]

    def told(length):
        body = {"providerId": "LuckyMonaco", "sessionId": "s", "userId": "u" * length, "uuid": "u"}
        return standing.raw("/V4/SessionExpired", json.dumps(body), wire.LM_PAIR).json["error"]

    assert [told(n) for n in (least - 1, least, longest, longest + 1)] == [64, 62, 62, 57]


def test_whole_numbers_of_a_query_begin_somewhere(standing):
    for path, item in described(standing)["paths"].items():
        for asked in item.get("get", {}).get("parameters", []):
            if asked["schema"]["type"] == "integer":
                assert "minimum" in asked["schema"], (path, asked["name"])


def test_a_call_with_its_pair_in_the_query_says_so_in_the_document_beside_its_later_form(tmp_path):
    with provider.Pair(tmp_path, works=False) as pair:
        paths = described(pair)["paths"]

    for path in ("/V4/cancelround", "/v1/cancelround"):
        assert paths[path]["post"]["security"] == [{"MEMB_ID": [], "HASH": []}, {}]


def test_every_line_that_a_list_may_have_stands_in_the_document(standing):
    document = described(standing)
    (told,) = document["paths"]["/api/commands"]["post"]["requestBody"]["content"].items()
    mimetype, lines = told
    fields = {}
    for line in lines["schema"]["anyOf"]:
        schema, named = line["allOf"]
        (command,) = named["properties"]["command"]["enum"]
        shape = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        fields.setdefault(command, []).append(set(shape["properties"]))

    assert mimetype == "application/jsonl"
    assert set(fields) == set(KINDS)
    assert fields["Deposit"] == [{"userId", "currency", "reference", "amount"}]
    assert len(fields["Cancel"]) == 2


def test_the_documents_example_of_a_list_is_taken(service):
    told = described(service)["paths"]["/api/commands"]["post"]["requestBody"]["content"]
    lines = told["application/jsonl"]["example"]

    answer = service.send("POST", "/api/commands", lines, Authorization=f"Bearer {ADMIN}")

    assert [json.loads(each)["error"] for each in answer.raw.splitlines()] == [0, 0]


@pytest.mark.parametrize(
    ("path", "data", "query"),
    [
        (path, data, query)
        for path, wrong in {
            "/V4/Bet": "MEMB_ID=acme&HASH=wrong",
            "/v1/Refund": "MEMB_ID=acme&HASH=wrong",
            "/V4/GetRoundStatus": "",
            "/v1/HealthCheck": "",
        }.items()
        for data, query in (
            ("[]", None),
            (json.dumps("x" * 70_000), None),
            ('{"secureLogin":"nobody","token":"wrong"}', wrong),
        )
    ],
)
def test_what_never_became_a_call_is_answered_as_the_document_says(running, path, data, query):
    answer = running.raw(path, data, query)

    responses = described(running)["paths"][path]["post"]["responses"]
    assert answer.json == responses[f"{answer.status}"]["content"]["application/json"]["example"]
    assert answer.status in (400, 401, 413)


def test_the_document_says_how_a_page_of_rounds_is_asked_for(running):
    told = schema_of(described(running), "/V4/history/GetGameRounds")["properties"]

    for field in ("page", "limit"):
        assert [each["type"] for each in told[field]["oneOf"]] == ["integer", "string"]
    assert all(told[field]["description"] for field in ("dateStart", "dateEnd", "timeZone"))


def test_every_operation_tells_what_a_success_is_and_no_partners_call_tells_of_a_422(tmp_path):
    with provider.Pair(tmp_path, works=False) as pair:
        document = pair.send("GET", "/openapi.json").json

    for path, item in document["paths"].items():
        for operation in item.values():
            assert "200" in operation["responses"], path
            if not path.startswith(("/api", "/livez", "/readyz")):
                assert set(operation["responses"]) == {"200", "400", "401", "413"}, path


@pytest.mark.parametrize(
    ("path", "forms"),
    [
        ("/V4/Cancel", {"Cancel", "Refund"}),
        ("/V4/cancelround", {"CancelRound", "LaterCancelRound"}),
        ("/v1/cancelround", {"CancelRound", "LaterCancelRound"}),
    ],
)
def test_what_is_told_by_its_body_stands_in_the_document_in_each_of_its_forms(
    tmp_path, path, forms
):
    with provider.Pair(tmp_path, works=False) as pair:
        document = pair.send("GET", "/openapi.json").json
    content = document["paths"][path]["post"]["requestBody"]["content"]
    told = content["application/json"]["schema"]["anyOf"]

    assert {each["$ref"].rpartition("/")[2] for each in told} == forms
    assert forms <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("path", "field"),
    [("/V4/Bet", "amount"), ("/V4/Bet", "timestamp"), (f"{TEMPLATE}/deposits", "amount")],
)
def test_an_amount_and_a_time_may_be_a_string_or_a_number_in_the_document(standing, path, field):
    told = schema_of(described(standing), path)["properties"][field]

    assert {each["type"] for each in told["oneOf"]} == {"string", "number"}
    assert "type" not in told
