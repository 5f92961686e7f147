import json
import re
from hashlib import sha256

import pytest
from eventsourcing.persistence import OperationalError

from ledger.store.memory import MemoryStore
from projections import IN_TRANSACTION
from tests.http import wire
from tests.http.wire import ADMIN, AUDITOR, PLAYER, problem

WALLET = f"/api/wallets/{PLAYER}/USD"

READS = [WALLET, "/api/rounds/LuckyMonaco/5103188801", "/api/events", "/api/head"]
WRITES = [
    ("PUT", WALLET, None),
    ("POST", f"{WALLET}/deposits", {"reference": "d", "amount": "1"}),
    ("POST", f"{WALLET}/withdrawals", {"reference": "w", "amount": "1"}),
    ("POST", f"{WALLET}/freeze", None),
    ("POST", f"{WALLET}/unfreeze", None),
]


@pytest.fixture
def busy(service):
    for name in ("bet", "result", "end of round"):
        call = wire.BY_NAME["/V4", name]
        assert service.call(call.path, call.body).code == 0
    return service


# wallets


def test_a_wallet_is_opened_once_and_found_the_second_time(opener):
    service = opener()

    first, second = (service.office("PUT", WALLET) for _ in range(2))

    assert (first.status, second.status) == (201, 200)
    assert first.json == second.json
    assert first.json == {
        "userId": PLAYER,
        "currency": "USD",
        "cash": "0.00",
        "scale": 2,
        "frozen": False,
        "version": 1,
    }
    assert service.topics() == ["WalletOpened"]


def test_a_wallet_in_a_currency_nobody_knows_is_refused(service):
    answer = service.office("PUT", f"/api/wallets/{PLAYER}/QQQ")

    problem(answer, 422, "wrong-currency", code=52, field="currency")


def test_a_wallet_nobody_opened_is_not_found(service):
    unknown = service.office("GET", "/api/wallets/nobody/USD")
    problem(unknown, 404, "player-not-found", code=62, field="userId")
    other = service.office("GET", f"/api/wallets/{PLAYER}/EUR")
    problem(other, 422, "wrong-currency", code=52, field="currency")


@pytest.mark.parametrize(("kind", "cash"), [("deposits", "100012.50"), ("withdrawals", "99987.50")])
def test_cash_in_and_out_moves_once_a_reference(service, kind, cash):
    moved = {"reference": "c1", "amount": "12.50"}

    answers = [service.office("POST", f"{WALLET}/{kind}", moved) for _ in range(3)]

    assert {answer.status for answer in answers} == {200}
    assert len({answer.raw for answer in answers}) == 1
    assert set(answers[0].keys) == {"transactionId", "reference", "currency", "cash"}
    assert service.cash() == answers[0].json["cash"] == cash


def test_a_deposit_and_a_withdrawal_may_share_a_reference(service):
    moved = {"reference": "c1", "amount": 12.5}

    ids = {
        service.office("POST", f"{WALLET}/{kind}", moved).json["transactionId"]
        for kind in ("deposits", "withdrawals")
    }

    assert len(ids) == 2
    assert service.cash() == wire.OPENING_CASH


@pytest.mark.parametrize("kind", ["deposits", "withdrawals"])
def test_a_reference_with_another_amount_or_player_is_refused(service, kind):
    service.fund("another")
    service.office("POST", f"{WALLET}/{kind}", {"reference": "c1", "amount": "1"})
    head = service.head

    other = service.office("POST", f"{WALLET}/{kind}", {"reference": "c1", "amount": "2"})
    problem(other, 409, "reference-reused", code=57, field="reference")
    path = f"/api/wallets/another/USD/{kind}"
    stolen = service.office("POST", path, {"reference": "c1", "amount": "1"})
    problem(stolen, 409, "not-together", code=16, field="reference")
    assert service.head == head


def test_more_than_a_wallet_holds_cannot_be_withdrawn_and_can_be_once_it_is_there(service):
    asked = {"reference": "w", "amount": "100000.01"}
    answer = service.office("POST", f"{WALLET}/withdrawals", asked)
    problem(answer, 409, "not-enough-cash", code=15, field="amount")
    assert service.cash() == wire.OPENING_CASH

    service.office("POST", f"{WALLET}/deposits", {"reference": "d", "amount": "0.01"})

    assert service.office("POST", f"{WALLET}/withdrawals", asked).json["cash"] == "0.00"


@pytest.mark.parametrize("kind", ["deposits", "withdrawals"])
@pytest.mark.parametrize("amount", ["0", 0, "-1", -1, "1.001", "NaN", True, "1e2", [], "1_0"])
def test_an_amount_that_is_none_is_refused(service, kind, amount):
    head = service.head

    answer = service.office("POST", f"{WALLET}/{kind}", {"reference": "c", "amount": amount})

    problem(answer, 422, "amount-invalid", code=59, field="amount")
    assert service.head == head


@pytest.mark.parametrize("kind", ["deposits", "withdrawals"])
@pytest.mark.parametrize("field", ["reference", "amount"])
def test_a_missing_field_of_cash_in_or_out_is_named(service, kind, field):
    body = {"reference": "c", "amount": "1"}
    del body[field]

    answer = service.office("POST", f"{WALLET}/{kind}", body)

    problem(answer, 422, "field-missing", code=64, field=field)


def test_a_field_the_back_office_does_not_know_is_refused_and_moves_nothing(service):
    body = {"reference": "c", "amount": "1", "amonut": "2"}

    answer = service.office("POST", f"{WALLET}/deposits", body)

    problem(answer, 422, "validation-error", code=57, field="amonut")
    assert answer.json["detail"] == "amonut: Unknown field."
    assert service.cash() == wire.OPENING_CASH


def test_a_frozen_wallet_is_frozen_once_and_thaws_once(service):
    for verb, frozen in (("freeze", True), ("freeze", True), ("unfreeze", False)):
        answer = service.office("POST", f"{WALLET}/{verb}")
        assert (answer.status, answer.json["frozen"]) == (200, frozen)
    assert service.office("POST", f"{WALLET}/unfreeze").json["version"] == 4
    assert service.topics()[-2:] == ["WalletFrozen", "WalletUnfrozen"]


def test_cash_goes_in_and_out_of_a_frozen_wallet(service):
    service.office("POST", f"{WALLET}/freeze")

    for kind in ("deposits", "withdrawals"):
        body = {"reference": "c", "amount": "1"}
        assert service.office("POST", f"{WALLET}/{kind}", body).status == 200


@pytest.mark.parametrize("fault", ["%00", "a%01b", "x" * 129, "%7F", "%E2%80%8B"])
def test_an_id_in_a_path_is_held_to_the_rule_of_ids(service, fault):
    head = service.head

    for field, path in (("userId", f"{fault}/USD"), ("currency", f"{PLAYER}/{fault}")):
        answer = service.office("PUT", f"/api/wallets/{path}")
        problem(answer, 422, "malformed", code=57, field=field)
    assert service.head == head


# rounds


def test_a_round_is_shown_as_it_is_and_as_of_each_of_its_versions(busy):
    path = "/api/rounds/LuckyMonaco/5103188801"
    now = busy.office("GET", path).json

    assert (now["status"], now["version"]) == ("Completed", 4)
    assert (now["staked"], now["won"], now["reversed"]) == ("100.01", "250.00", "0.00")
    assert now["bets"][0]["reference"] == wire.BET_REFERENCE
    assert now["results"][0]["win"] == "250.00"
    at = [busy.office("GET", f"{path}?at={version}").json for version in (1, 2, 3, 4)]
    assert [found["version"] for found in at] == [1, 2, 3, 4]
    assert [found["staked"] for found in at] == ["0.00", "100.01", "100.01", "100.01"]
    assert [found["status"] for found in at] == ["InProgress"] * 2 + ["Completed"] * 2
    assert at[3] == now


def test_a_round_is_found_under_its_provider_in_any_letter_case_and_by_its_exact_id(busy):
    assert busy.office("GET", "/api/rounds/luckymonaco/5103188801").status == 200
    answer = busy.office("GET", "/api/rounds/Kyren/5103188801")
    problem(answer, 404, "no-such-round", code=17, field="roundId")


@pytest.mark.parametrize("at", [5, 77])
def test_a_version_that_a_round_has_not_come_to_is_not_found(busy, at):
    answer = busy.office("GET", f"/api/rounds/LuckyMonaco/5103188801?at={at}")

    problem(answer, 404, "no-such-round", code=17, field="roundId")


@pytest.mark.parametrize("at", ["0", "-1", "x", "1.5", "", "1e1"])
def test_a_version_that_is_none_is_refused(busy, at):
    answer = busy.office("GET", f"/api/rounds/LuckyMonaco/5103188801?at={at}")

    problem(answer, 422, code=57, field="at")


# events


def test_the_events_come_in_pages_that_leave_none_out(busy):
    whole = busy.events()
    found, after, more = [], 0, True
    while more:
        page = busy.office("GET", f"/api/events?after={after}&limit=2").json
        assert set(page) == {"events", "has_more", "next"}
        assert len(page["events"]) <= 2
        found, after, more = found + page["events"], page["next"], page["has_more"]

    assert found == whole
    assert [event["position"] for event in whole] == list(range(1, len(whole) + 1))
    assert after == busy.head["position"]
    assert busy.office("GET", f"/api/events?after={after}").json == {
        "events": [],
        "has_more": False,
        "next": after,
    }


def test_a_page_that_ends_with_the_last_event_has_no_more(busy):
    position = busy.head["position"]

    assert busy.office("GET", f"/api/events?limit={position}").json["has_more"] is False
    assert busy.office("GET", f"/api/events?limit={position - 1}").json["has_more"] is True


def test_the_hash_of_every_event_follows_from_the_bytes_that_are_shown(busy):
    raw = busy.office("GET", "/api/events?limit=1000").raw.decode()
    bodies = re.findall(r'"body":(\{.*?\})\}(?=[,\]])(?=,\{"position"|\])', raw)
    events = json.loads(raw)["events"]
    assert len(bodies) == len(events)

    previous = bytes(32)
    for event, body in zip(events, bodies, strict=True):
        assert json.loads(body) == event["body"]
        named = f"{event['stream']}\0{event['version']}\0{event['topic']}\0{body}"
        previous = sha256(previous + named.encode()).digest()
        assert event["hash"] == previous.hex()
    assert busy.head == {"position": len(events), "hash": previous.hex()}


def test_every_event_says_when_it_was_recorded(busy):
    for event in busy.events():
        assert event["recorded_at"] == event["body"]["recorded_at"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["recorded_at"])


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after=x", "after=1.5", "limit=-5"]
)
def test_a_page_that_is_none_is_refused(busy, query):
    field, _, _ = query.partition("=")
    problem(busy.office("GET", f"/api/events?{query}"), 422, code=57, field=field)


@pytest.mark.parametrize("after", [10**6, 2**63 - 1, 2**63, 10**30])
def test_a_position_beyond_the_last_is_an_empty_page_or_refused(tmp_path, opener, after):
    service = opener(wire.new_settings(store=f"sqlite:///{tmp_path}/book.db"))

    assert service.office("GET", f"/api/events?after={after}").status in (200, 422)


@pytest.mark.parametrize("at", [2**63 - 1, 2**63, 10**30])
def test_a_version_beyond_the_last_is_never_our_failure(tmp_path, opener, at):
    service = opener(wire.new_settings(store=f"sqlite:///{tmp_path}/book.db"))

    assert service.office("GET", f"/api/rounds/LuckyMonaco/x?at={at}").status in (404, 422)


# who may


@pytest.mark.parametrize("path", READS)
def test_the_auditor_may_read(busy, path):
    answer = busy.office("GET", path, token=AUDITOR)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_the_auditor_may_not_write(busy, method, path, body):
    head = busy.head

    problem(busy.office(method, path, body, token=AUDITOR), 403)
    assert busy.head == head


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_the_admin_may_write(busy, method, path, body):
    assert busy.office(method, path, body, token=ADMIN).status == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {ADMIN}",
        ADMIN,
        f"Bearer {ADMIN} x",
        f"Bearer {ADMIN.upper()}",
        "Bearer \xff\xfe",
        f"Bearer {ADMIN},{AUDITOR}",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", path) for path in READS] + [(m, p) for m, p, _ in WRITES]
)
def test_nobody_else_may_do_anything(standing, header, method, path):
    head = standing.head
    headers = {} if header is None else {"Authorization": header}

    answer = standing.send(method, path, "{}", **headers)

    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert standing.head == head


@pytest.mark.parametrize(
    ("question", "code", "field"),
    [
        ("/api/events?limit=many", 57, "limit"),
        ("/api/events?after=-1", 57, "after"),
        (f"{WALLET}?at=soon", 57, "at"),
        ("/api/history", 64, "q"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_its_field_its_rule_and_its_code(
    standing, question, code, field
):
    answer = standing.office("GET", question)

    problem(answer, 422, "validation-error", code=code, field=field)
    assert answer.json["detail"].startswith(f"{field}: ")


def test_whoever_has_no_token_or_another_is_told_which_is_needed(standing):
    nobody = standing.send("GET", "/api/head")
    another = standing.office("PUT", WALLET, token=AUDITOR)

    assert "Authorization: Bearer" in nobody.json["detail"]
    assert "/docs/" in another.json["detail"]


def test_without_an_auditor_the_admin_alone_may_read(opener):
    document = wire.document()
    del document["auditor"]
    service = opener(wire.settle(document, {}))

    assert service.office("GET", "/api/head").status == 200
    problem(service.office("GET", "/api/head", token=AUDITOR), 401)


# what is no call


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", WALLET, {"GET", "PUT"}),
        ("GET", f"{WALLET}/deposits", {"POST"}),
        ("PUT", f"{WALLET}/freeze", {"POST"}),
        ("POST", "/api/events", {"GET"}),
        ("POST", "/api/head", {"GET"}),
        ("PUT", "/api/rounds/LuckyMonaco/1", {"GET"}),
        ("POST", "/livez", {"GET"}),
        ("DELETE", "/readyz", {"GET"}),
    ],
)
def test_a_method_that_is_not_allowed_is_405_and_says_which_are(standing, method, path, allowed):
    answer = standing.office(method, path)

    problem(answer, 405)
    assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")}


@pytest.mark.parametrize("path", ["/", "/api", "/api/nothing", "/api/wallets/a", "/V4/Nothing"])
def test_a_path_nobody_knows_is_a_problem_too(standing, path):
    problem(standing.office("GET", path), 404)


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b"\xff", b'{"reference":"a","reference":"b"}', b"null"]
)
def test_a_body_that_is_no_json_object_is_a_problem(standing, body):
    head = standing.head

    answer = standing.send("POST", f"{WALLET}/deposits", body, Authorization=f"Bearer {ADMIN}")

    assert answer.status in (400, 422)
    problem(answer, answer.status, code=57, field="reference" if b"reference" in body else "body")
    assert standing.head == head


def test_a_body_that_is_too_large_is_413(standing):
    body = json.dumps({"reference": "r", "amount": "1", "note": "x" * 65536})

    answer = standing.send("POST", f"{WALLET}/deposits", body, Authorization=f"Bearer {ADMIN}")

    problem(answer, 413)


# for whoever runs it


def test_a_service_that_runs_is_alive_and_ready(busy):
    assert busy.send("GET", "/livez").json == {"status": "alive"}
    ready = busy.send("GET", "/readyz")
    assert ready.status == 200
    assert ready.json == {
        "status": "ready",
        **busy.head,
        "copies": "none",
    }


def test_a_service_whose_writer_has_stopped_is_alive_and_not_ready():
    service = wire.Service()
    service.close()

    assert service.send("GET", "/livez").status == 200
    assert service.send("GET", "/readyz").status == 503


class LostStore(MemoryStore):
    is_lost = False

    def head(self):
        if self.is_lost:
            raise OperationalError("disk I/O error: /secret/path")
        return super().head()


def test_a_service_whose_store_cannot_be_read_is_alive_and_not_ready(opener):
    store = LostStore(IN_TRANSACTION)
    service = opener(store=store)
    store.is_lost = True

    assert service.send("GET", "/livez").status == 200
    ready = service.send("GET", "/readyz")
    assert ready.status == 503
    assert "secret" not in ready.raw.decode()


# the documentation

WALLET_PATHS = {call.path for call in wire.CALLS}
OFFICE_PATHS = {
    "/api/wallets/{user}/{currency}",
    "/api/wallets/{user}/{currency}/deposits",
    "/api/wallets/{user}/{currency}/withdrawals",
    "/api/wallets/{user}/{currency}/freeze",
    "/api/wallets/{user}/{currency}/unfreeze",
    "/api/rounds/{provider}/{round_id}",
    "/api/events",
    "/api/head",
}


@pytest.fixture(scope="module")
def openapi(standing):
    return standing.send("GET", "/openapi.json").json


def operations(openapi):
    return [
        (path, method, operation)
        for path, item in openapi["paths"].items()
        for method, operation in item.items()
        if method in {"get", "put", "post", "delete", "patch"}
    ]


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_openapi_document_names_every_path(openapi):
    assert openapi["openapi"].startswith("3.")
    assert {"title", "version"} <= set(openapi["info"])
    assert set(openapi["paths"]) >= WALLET_PATHS | OFFICE_PATHS | {"/livez", "/readyz"}


def test_every_operation_is_described_and_its_parameters_are_the_paths(openapi):
    for path, _, operation in operations(openapi):
        assert operation["summary"]
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", status)
            assert response["description"]
        named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert all(p["required"] for p in operation.get("parameters", []) if p["in"] == "path")
    ids = [o["operationId"] for _, _, o in operations(openapi) if "operationId" in o]
    assert len(ids) == len(set(ids))


def test_every_reference_of_the_openapi_document_leads_somewhere(openapi):
    for reference in references(openapi):
        node = openapi
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_component_of_the_openapi_document_has_a_name_that_may_be_one(openapi):
    names = {name for kind in openapi["components"].values() for name in kind}

    assert {name for name in names if not re.fullmatch(r"[a-zA-Z0-9._-]+", name)} == set()


def test_every_operation_behind_a_credential_says_which(openapi):
    schemes = openapi["components"]["securitySchemes"]
    for path, _, operation in operations(openapi):
        asked = operation.get("security", [])
        assert all(name in schemes for one in asked for name in one)
        assert bool(asked) is (path not in {"/livez", "/readyz"})


def test_every_mandatory_field_of_a_call_is_mandatory_in_the_document(openapi):
    told_by_body = {"/V4/Cancel"}
    for call in wire.CALLS:
        if call.path in told_by_body or call.name == "auto closing":
            continue
        content = openapi["paths"][call.path]["post"]["requestBody"]["content"]
        schema = content["application/json"]["schema"]
        if "$ref" in schema:
            schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(schema["required"]) == set(call.required), call.path


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_of_the_documentation_fetches_nothing_from_elsewhere(standing, path):
    page = standing.send("GET", path)
    if page.status in (301, 302, 308):
        page = standing.send("GET", page.headers["Location"].removeprefix("http://localhost"))
    text = page.raw.decode()

    assert page.status == 200
    links = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
    assert links
    for link_to in links:
        assert not re.match(r"(?i)(https?:)?//", link_to)
        assert standing.send("GET", link_to).status == 200
    assert "/openapi.json" in text
