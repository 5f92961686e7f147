import ast
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.http import provider, wire
from tests.http.provider import KYREN, LM, PREFIXES, cancel_body, joined, later_body
from tests.http.server import Server, until
from tests.provider.crooked import CrookedWallet, answer, as_json, honest, to

CANARIES = {
    "admin": "a0f1e2d3c4-canary-admin",
    "auditor": "b0f1e2d3c4-canary-auditor",
    "game": "c0f1e2d3c4-canary-game",
    "new token": "d0f1e2d3c4-canary-operator-new",
    "old token": "e0f1e2d3c4-canary-operator-old",
    "kyren token": "f0f1e2d3c4-canary-operator-kyren",
    "secret": "a1f1e2d3c4-canary-secret",
    "kyren secret": "b1f1e2d3c4-canary-secret-kyren",
    "wallet token": "c1f1e2d3c4-canary-wallet",
    "odd wallet token": "d1f1e2d3c4/canary+wallet=kyren&more é!'()*",
    "wrong": "e1f1e2d3c4-canary-wrong",
    "hash": "f1f1e2d3c4-canary-hash",
}
LOGIN_TOKENS = {LM: CANARIES["new token"], KYREN: CANARIES["kyren token"]}
LOGIN_SECRETS = {LM: CANARIES["secret"], KYREN: CANARIES["kyren secret"]}
WALLET_TOKENS = {LM: CANARIES["wallet token"], KYREN: CANARIES["odd wallet token"]}


def document(folder, wallet_url):
    found = provider.document(folder, wallet_url)
    found["admin"]["token"] = CANARIES["admin"]
    found["auditor"]["token"] = CANARIES["auditor"]
    found["server"] = {"log_requests": True}
    found["provider_book"]["token"] = "env:CANARY_GAME"
    for login, wallet in zip((LM, KYREN), found["provider"], strict=True):
        wallet["token"] = WALLET_TOKENS[login]
    for block in found["operator"]:
        login = block["secure_login"]
        block["token"] = LOGIN_TOKENS[login]
        block["secret"] = LOGIN_SECRETS[login]
        block["wallet_token"] = WALLET_TOKENS[login]
        block["retries"], block["parked_retry_s"] = 0, 0.05
    found["operator"][0]["token"] = [CANARIES["new token"], CANARIES["old token"]]
    return found


SECRETS = {
    "HASH": CANARIES["hash"],
    "Token": CANARIES["new token"],
    "password": CANARIES["hash"],
    "nested": {"hash": CANARIES["hash"], "deeper": [{"TOKEN": CANARIES["old token"]}]},
}


# what a wallet may say that knows our HASH: it stands in the query of every call


def token_of(call):
    return CANARIES["odd wallet token" if call.path.startswith("/v1") else "wallet token"]


def says(describe):
    def behaviour(call):
        refund = {"sessionId", "roundId"}.isdisjoint(json.loads(call.body))
        error = "998" if refund else 998
        call.answer(as_json({"error": error, "description": describe(call)}))

    return behaviour


QUOTED = {
    "in full": lambda token: quote(token, safe=""),
    "as a path": quote,
    "as a form": quote_plus,
    "as encodeURIComponent does": lambda token: quote(token, safe="!'()*"),
    "as encodeURI does": lambda token: quote(token, safe=";,/?:@&=+$!*'()#"),
    "in lower case": lambda token: re.sub("%..", lambda it: it[0].lower(), quote(token)),
    "twice": lambda token: quote(quote(token)),
    "in JSON": lambda token: json.dumps({"HASH": token}),
    "in JSON as PHP does": lambda token: json.dumps(token).replace("/", "\\/"),
}

ECHOES = {
    "the token": says(token_of),
    "the token twice": says(lambda call: f"{token_of(call)} is not {token_of(call)}"),
    "the whole address": says(lambda call: f"no such page: {call.path}"),
    **{
        f"the token, quoted {how}": says(lambda call, quoted=quoted: quoted(token_of(call)))
        for how, quoted in QUOTED.items()
    },
    "the token at the end of what is kept": says(lambda call: "x" * 190 + token_of(call)),
    "the token, cut by what is kept": says(lambda call: "x" * 185 + token_of(call)),
    "the token behind odd characters": says(lambda call: f"\x00\n{token_of(call)}\u202e"),
    "the token as the error": lambda call: call.answer(as_json({"error": token_of(call)})),
    "the token as a key": lambda call: call.answer(
        b'{"%s\\ud800": 1}' % token_of(call).encode(),
    ),
    "the token and no json": lambda call: call.answer(token_of(call).encode()),
    "the token as a type": lambda call: call.answer(b"{}", kind=quote(token_of(call))),
    "the token as a header": lambda call: call.answer(
        b"{}", f"X-Said: {quote(token_of(call))}", status=401
    ),
    "the token as a place": lambda call: call.answer(
        b"", f"Location: http://x{quote(call.path)}", status=302
    ),
    "nothing": answer(b""),
}


# the tour


def body_of(verb, **changes):
    return {**provider.GAME_CALLS[verb], **changes}


def play(server, verb, round_id, body, token=CANARIES["game"]):
    return server.send("POST", f"/api/provider/rounds/{round_id}/{verb}", body, token=token)


def seen(server, round_id, operator):
    path = f"/api/provider/rounds/{round_id}?operator={operator}"
    return server.get(path, CANARIES["admin"])


def games(server):
    for operator in (LM, KYREN):
        details = {"auth": {"HASH": CANARIES["hash"], "token": [CANARIES["game"]]}}
        named = {"operator": operator, "reference": f"bet-{operator}"}
        yield play(server, "bets", operator, body_of("bets", **named, roundDetails=details))
        yield play(server, "bets", operator, body_of("bets", **named, **SECRETS))
        yield play(server, "bets", operator, body_of("bets", **named, amount="1"))
        yield play(server, "result", operator, body_of("result", operator=operator))
        yield play(server, "end", operator, body_of("end", operator=operator))
        yield play(server, "cancel", operator, body_of("cancel", operator=operator))
        for number, echo in enumerate(ECHOES.values()):
            named = {"operator": operator, "reference": f"echo-{number}-{operator}"}
            server.wallet.on("Bet", echo)
            server.wallet.on("Cancel", echo)
            yield play(server, "bets", f"echo-{number}", body_of("bets", **named))
            yield seen(server, f"echo-{number}", operator)
    for token in (*CANARIES.values(), None):
        for verb in provider.GAME_CALLS:
            yield play(server, verb, "unknown", body_of(verb, operator="nobody"), token)
        for method, path in (
            ("GET", "/api/provider/deliveries"),
            ("GET", "/api/provider/events?limit=1000"),
            ("GET", "/api/provider/head"),
            ("GET", f"/api/provider/rounds/unknown?operator={LM}"),
            ("POST", f"/api/provider/deliveries/{LM}/bet/unknown/retry"),
            ("DELETE", f"/api/provider/head?HASH={CANARIES['hash']}"),
            ("GET", "/api/head"),
        ):
            yield server.send(method, path, None, token=token)
    for body in raw_bodies():
        yield play(server, "bets", "raw", body)


def raw_bodies():
    hashed = json.dumps(CANARIES["hash"])
    yield f'{{"hash": {hashed}, "hash": "another"}}'.encode()
    yield f'{{"token": {hashed}, "TOKEN": "another"}}'.encode()
    yield f'{{"secureLogin": "acme", "token": {hashed}'.encode()
    yield f'{{"secureLogin": "acme", "token": {hashed}}} x'.encode()
    yield f'[{{"token": {hashed}}}]'.encode()
    yield f'{{"secureLogin": "acme", "hash": {{"token": {hashed}, "token": 1}}}}'.encode()
    yield f'{{"secureLogin": "acme", "hash": "{CANARIES["hash"]}\\ud800"}}'.encode()
    yield f'{{"token": {hashed}, "x": {"[" * 30}{"]" * 30}}}'.encode()
    yield f'{{"secureLogin": {hashed}, "token": {hashed}, "uuid": "u"}}'.encode()


def signed(operator, **changes):
    body = cancel_body(operator, **changes)
    algorithm = provider.hmac_sha256 if operator == KYREN else provider.md5_sorted
    return {**body, "hash": algorithm(joined(body), LOGIN_SECRETS[operator])}


def operators(server):
    for operator in (LM, KYREN):
        path = f"{PREFIXES[operator]}/cancelround"
        good = f"MEMB_ID={operator}&HASH={LOGIN_TOKENS[operator]}"
        opened = [f"open-{number}" for number in range(len(ECHOES))]
        for round_id in opened:
            named = {"operator": operator, "reference": f"{round_id}-{operator}"}
            yield play(server, "bets", round_id, body_of("bets", **named))
        server.wallet.on("Cancel", *ECHOES.values())
        yield server.send("POST", f"{path}?{good}", signed(operator, roundId=None))
        for round_id in opened:
            yield seen(server, round_id, operator)
        for round_id in ("echo-0", operator, "unknown", None):
            yield server.send("POST", f"{path}?{good}", signed(operator, roundId=round_id))
        for body in (
            {**signed(operator), "hash": CANARIES["hash"]},
            {**signed(operator), "hash": LOGIN_SECRETS[operator]},
            {**signed(operator), "gameId": "another"},
            {**cancel_body(operator), "nested": SECRETS},
            signed(operator, secureLogin="nobody"),
            signed(operator, externalPlayerId=wire.OTHER_PLAYER),
        ):
            yield server.send("POST", f"{path}?{good}", body)
        for canary in CANARIES.values():
            wrong = f"MEMB_ID={operator}&HASH={quote(canary)}"
            yield server.send("POST", f"{path}?{wrong}", signed(operator, roundId="unknown"))
            yield server.send("POST", f"{path}?{wrong}&{good}", signed(operator))
            yield server.send("GET", f"{path}?{wrong}")
        tokens = (LOGIN_TOKENS[operator], *(CANARIES[each] for each in ("wrong", "secret", "hash")))
        for name in provider.LATER:
            path = f"{PREFIXES[operator]}/{name}"
            for token in tokens:
                body = later_body(name, operator, token=token, roundId="echo-1")
                yield server.send("POST", path, {**body, **SECRETS})
                yield server.send("POST", f"{path}?{good}", {**body, "uuid": None})
                yield server.send("POST", path, {**body, "page": token, "roundId": [token]})
        for body in raw_bodies():
            for name in ("CancelRound", "GetRoundStatus"):
                yield server.send("POST", f"{PREFIXES[operator]}/{name}?{good}", body)


def reads(server):
    for token in (CANARIES["admin"], CANARIES["auditor"]):
        for path in (
            "/api/provider/events?limit=1000",
            "/api/provider/deliveries",
            f"/api/provider/rounds/{LM}?operator={LM}",
            f"/api/provider/rounds/{LM}?operator={LM}&token={CANARIES['hash']}",
            "/api/events?limit=1000",
            "/readyz",
            "/openapi.json",
            f"/api/provider/nothing?HASH={CANARIES['hash']}",
        ):
            yield server.get(path, token)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canaries")
    ahead = []
    with CrookedWallet(lambda path, body: to(ahead[0])(path, body)) as wallet:
        environ = {"CANARY_GAME": CANARIES["game"]}
        server = Server(folder, document(folder, wallet.url), environ=environ)
        server.wallet = wallet
        ahead.append(server)
        server.start()
        try:
            server.fund(wire.PLAYER, token=CANARIES["admin"])
            answers = [*games(server), *operators(server)]
            wallet.always(honest)
            until(lambda: nothing_owed(server), "every delivery is settled")
            answers += reads(server)
            kept = {f"while it runs {f.name}": f.read_bytes() for f in folder.glob("*.db*")}
            server.stop()
        finally:
            server.kill()
    return {
        "answers": b"\n".join(found.raw + bytes(found.headers) for found in answers),
        "standard output": server.out.read_bytes(),
        "standard error": server.err.read_bytes(),
        **kept,
        **{f.name: f.read_bytes() for f in folder.glob("*.db*")},
        "statuses": {found.status for found in answers},
        "sent": wallet.calls,
    }


def nothing_owed(server):
    owed = server.get("/api/provider/deliveries", CANARIES["admin"]).json["deliveries"]
    return not [each for each in owed if each["state"] != "refused"]


def texts(said):
    return {place: text for place, text in said.items() if isinstance(text, bytes)}


def places(said, canary):
    return [place for place, text in texts(said).items() if canary.encode() in text]


def test_the_tour_meets_every_kind_of_answer_and_leaves_events_and_log_lines(said):
    assert said["statuses"] >= {200, 400, 401, 403, 404, 405, 409, 422}
    assert b'"path":"/V4/cancelround"' in said["standard error"]
    assert b'"path":"/api/provider/rounds/acme/bets"' in said["standard error"]
    events = said["provider.db"] + said.get("while it runs provider.db-wal", b"")
    assert b"RefundRequested" in events
    assert b"CancelConfirmed" in events
    assert b"no such page" in events
    for operator in (LM, KYREN):
        token = quote(WALLET_TOKENS[operator], safe="")
        assert any(f"HASH={token}" in call.path for call in said["sent"])


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_no_secret_reaches_an_answer_a_log_or_a_database(said, canary):
    assert places(said, canary) == []


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_no_secret_is_kept_in_another_spelling(said, canary):
    spelt = {quote(canary, safe=""), quote(canary), canary.replace("/", "\\/"), canary.upper()}

    assert [place for each in spelt - {canary} for place in places(said, each)] == []


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_no_part_of_a_secret_is_kept(said, canary):
    assert places(said, canary[:10]) == []


@pytest.mark.parametrize("operator", [LM, KYREN])
def test_the_hash_of_a_body_is_kept_nowhere(said, operator):
    for round_id in ("echo-0", operator, "unknown", None):
        digest = signed(operator, roundId=round_id)["hash"]
        assert places(said, digest) == []


def test_no_line_of_the_log_holds_a_query(said):
    for word in (b"MEMB_ID", b"HASH", b"Bearer "):
        assert word not in said["standard error"]


def test_every_line_of_the_log_is_json_and_none_tells_of_a_defect(said):
    lines = said["standard error"].splitlines()
    found = [json.loads(line) for line in lines if line.startswith(b"{")]

    assert found
    assert [line for line in lines if not line.startswith(b"{")] == []
    requests = [line for line in found if line["event"] == "request"]
    others = {line["event"] for line in found if line not in requests}
    assert others <= {"a delivery is parked", "a delivery is refused"}
    assert all(line["status"] < 500 for line in requests)


def test_a_line_of_the_log_tells_what_a_call_was_about(said):
    lines = [json.loads(x) for x in said["standard error"].splitlines() if x.startswith(b"{")]
    about = [
        (line["operator"], line.get("user"), line.get("round"))
        for line in lines
        if line.get("call") == "cancelround" and line["error"] == 0
    ]

    assert (LM, wire.PLAYER, "echo-0") in about
    assert (KYREN, wire.PLAYER, None) in about


def compared_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
        ):
            for side in (node.left, *node.comparators):
                yield from (ast.unparse(n) for n in ast.walk(side) if isinstance(n, ast.Name))


@pytest.mark.parametrize("name", ["credentials.py", "audit/door.py", "provider/digest.py"])
def test_a_credential_is_compared_in_constant_time_only(name):
    source = (Path(wire.ROOT) / "api" / name).read_text()

    assert "compare_digest" in source
    names = set(compared_names(ast.parse(source)))
    assert not names & {"token", "secret", "member", "said", "known", "given", "wanted"}


def test_the_provider_compares_no_credential_by_itself():
    for file in (Path(wire.ROOT) / "api" / "provider").glob("*.py"):
        names = set(compared_names(ast.parse(file.read_text())))
        assert not names & {"token", "secret", "member", "hashed"}
