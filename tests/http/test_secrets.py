import json

import pytest

from tests.http import wire
from tests.http.server import Server

CANARIES = {
    "admin": "canary-admin-0f1e2d3c",
    "auditor": "canary-auditor-1a2b3c4d",
    "new token": "canary-lm-new-5e6f7a8b",
    "old token": "canary-lm-old-9c0d1e2f",
    "kyren": "canary-kyren-3a4b5c6d",
    "wrong": "canary-wrong-7e8f9a0b",
    "hash": "canary-hash-1c2d3e4f",
    "environment": "canary-environment-5a6b7c8d",
}
LM = f"MEMB_ID=acme&HASH={CANARIES['new token']}"
OLD = f"MEMB_ID=acme&HASH={CANARIES['old token']}"
KYREN = f"MEMB_ID=acme&HASH={CANARIES['kyren']}"
WRONG = f"MEMB_ID=acme&HASH={CANARIES['wrong']}"


def document(folder):
    found = wire.document(f"sqlite:///{folder}/book.db")
    found["admin"]["token"] = CANARIES["admin"]
    found["auditor"]["token"] = "env:ROUNDBOOK_CANARY"
    found["server"] = {"log_requests": True}
    found["provider"][0]["token"] = [CANARIES["new token"], CANARIES["old token"]]
    found["provider"][1]["token"] = CANARIES["kyren"]
    return found


SECRETS = {
    "hash": CANARIES["hash"],
    "HASH": CANARIES["hash"],
    "token": CANARIES["new token"],
    "Token": CANARIES["new token"],
    "MEMB_ID": CANARIES["hash"],
    "password": CANARIES["hash"],
    "nested": {"hash": CANARIES["hash"], "deeper": [{"TOKEN": CANARIES["old token"]}]},
    "roundDetails": {"auth": {"HASH": CANARIES["hash"], "token": [CANARIES["kyren"]]}},
    "accessToken": CANARIES["new token"],
    "called": ["by", f"https://wallet.example/V4/Bet?{OLD}"],
    f"of {CANARIES['kyren']}": 1,
}


def numbered(body, number):
    ids = ("roundId", "reference", "sessionId")
    return {k: f"{v}-{number}" if k in ids else v for k, v in body.items()}


def bodies(body):
    yield {**body, **SECRETS}
    yield body
    for field in body:
        yield {**body, **SECRETS, field: None}
    yield {**body, **SECRETS, "userId": wire.STRANGER}
    yield {**body, **SECRETS, "currency": "EUR"}
    yield {**body, **SECRETS, "providerId": "Nobody"}


def raw_bodies():
    hashed = json.dumps(CANARIES["hash"])
    yield f'{{"hash": {hashed}, "hash": "another"}}'
    yield f'{{"hash": {hashed}, "HASH": "another"}}'
    yield f'{{"token": {hashed}'
    yield f'{{"token": {hashed}}} x'
    yield f'[{{"token": {hashed}}}]'
    yield f'{{"hash": {{"token": {hashed}, "token": 1}}}}'
    yield f'{{"hash": "{CANARIES["hash"]}\\ud800"}}'
    yield f'{{"hash": {hashed}, "x": {"[" * 30}{"]" * 30}}}'


def tour(server):
    for number, call in enumerate(wire.CALLS):
        pair = KYREN if call.path.startswith("/v1") else LM
        for shape in call.needs:
            yield server.send(
                "POST", f"{call.path[:3]}/{shape}?{pair}", numbered(call.body_of(shape), number)
            )
        for body in bodies(numbered(call.body, number)):
            yield server.send("POST", f"{call.path}?{pair}", body)
        for body in raw_bodies():
            yield server.send("POST", f"{call.path}?{pair}", body.encode())
        for other in (WRONG, OLD, LM, KYREN, f"{LM}&{WRONG}", f"HASH={CANARIES['hash']}"):
            yield server.send("POST", f"{call.path}?{other}", {**call.body, **SECRETS})
        for method, path in (("GET", call.path), ("POST", f"{call.path}/x"), ("PATCH", "/V4")):
            yield server.send(method, f"{path}?{pair}")
    wallet = f"/api/wallets/{wire.PLAYER}/USD"
    cash = {"reference": "c", "amount": "1"}
    for token in (*CANARIES.values(), None):
        for method, path, body in (
            ("PUT", wallet, None),
            ("GET", wallet, None),
            ("POST", f"{wallet}/deposits", cash),
            ("POST", f"{wallet}/deposits", {**cash, "token": token}),
            ("POST", f"{wallet}/withdrawals", {**cash, "amount": "x", "hash": token}),
            ("GET", "/api/events?limit=1000", None),
            ("GET", "/api/events?limit=x", None),
            ("GET", "/api/rounds/LuckyMonaco/5103188801", None),
            ("DELETE", "/api/head", None),
            ("GET", f"/api/nothing?HASH={CANARIES['hash']}", None),
        ):
            yield server.send(method, path, body, token=token)
    for path in ("/openapi.json", "/docs/", "/livez", "/readyz", f"/?HASH={CANARIES['hash']}"):
        yield server.send("GET", path, token=CANARIES["admin"])


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canaries")
    environ = {"ROUNDBOOK_CANARY": CANARIES["auditor"], "SOMETHING": CANARIES["environment"]}
    server = Server(folder, document(folder), environ=environ)
    server.start()
    try:
        server.fund(wire.PLAYER, token=CANARIES["admin"])
        answers = [(a.status, a.raw + bytes(a.headers)) for a in tour(server)]
        files = [file for file in folder.iterdir() if file.name.startswith("book.db")]
        kept = {f"while it runs {file.name}": file.read_bytes() for file in files}
        server.stop()
    finally:
        server.kill()
    return {
        "answers": b"\n".join(raw for _, raw in answers),
        "standard output": server.out.read_bytes(),
        "standard error": server.err.read_bytes(),
        **kept,
        **{f.name: f.read_bytes() for f in folder.iterdir() if f.name.startswith("book.db")},
        "statuses": {status for status, _ in answers},
    }


def test_the_tour_meets_every_kind_of_answer_and_leaves_events_and_log_lines(said):
    assert said["statuses"] >= {200, 201, 400, 401, 403, 404, 405, 422} - {201}
    assert b'"path":"/V4/Bet"' in said["standard error"]
    assert b"BetPlaced" in said["book.db"] + said["while it runs book.db-wal"]
    assert b'"nested"' in said["book.db"] + said["while it runs book.db-wal"]


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_no_secret_reaches_an_answer_a_log_or_the_database(said, canary):
    leaks = [
        place for place, text in said.items() if isinstance(text, bytes) and canary.encode() in text
    ]

    assert leaks == []


def test_no_line_of_the_log_holds_a_query(said):
    assert b"MEMB_ID" not in said["standard error"]
    assert b"HASH" not in said["standard error"]
    assert b"Bearer" not in said["standard error"]


def test_every_line_of_the_log_is_json_and_none_tells_of_a_defect(said):
    lines = [json.loads(line) for line in said["standard error"].splitlines()]

    assert lines
    assert {line["event"] for line in lines} == {"request"}
    assert all(line["status"] < 500 for line in lines)
