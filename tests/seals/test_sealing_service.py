import json
from contextlib import closing

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.seal import is_signed, new_key, signer, trusted
from ledger.sealing import Sealer
from ledger.store import open_store
from tests.http import provider, wire
from tests.http.server import Server, as_toml, serving, until
from tests.seals import behind, pymerkle_root, read

PLAYER = wire.PLAYER
BET = wire.BY_NAME["/V4", "bet"]


def sealing(folder, **more):
    key = folder / "seal.pem"
    if not key.exists():
        key.write_bytes(new_key())
    return {"key": str(key), "every_events": 1, "folder": str(folder), **more}


def document(folder, **more):
    return wire.document(f"sqlite:///{folder}/book.db", seals=sealing(folder, **more))


def public(folder):
    return signer((folder / "seal.pem").read_bytes()).key


def bet(server, number):
    body = {**BET.body, "reference": f"bet-{number}", "roundId": f"round-{number}"}
    with server.connect() as connection:
        assert connection.call(BET.path, body).code == 0


def raw(server, path="/api/seals"):
    answer = server.get(path, token=wire.AUDITOR)
    assert answer.status == 200
    found = msgspec.json.decode(answer.raw, type=dict[str, list[msgspec.Raw]])
    return [bytes(each) for each in found["seals"]]


def seals(server, path="/api/seals"):
    return read(raw(server, path))


def until_sealed(server, position, path="/api/seals"):
    return until(
        lambda: (made := seals(server, path)) and made[-1].position >= position and made,
        f"{path} reaches {position}",
    )


def lines(file):
    return read(file.read_bytes().splitlines()) if file.exists() else []


def until_written(file, made):
    until(lambda: file.read_bytes().splitlines() == made, f"{file.name} is what the book holds")


def position(server):
    return server.get("/api/head").json["position"]


def test_a_service_that_is_told_nothing_of_seals_makes_none(tmp_path):
    with serving(tmp_path) as server:
        server.fund(PLAYER)

        assert server.get("/api/seals", token=wire.AUDITOR).json == {"seals": []}


def test_the_head_is_sealed_as_bets_come_and_goes_on_after_a_restart(tmp_path):
    with serving(tmp_path, document(tmp_path)) as server:
        assert seals(server) == []
        server.fund(PLAYER)
        for number in range(3):
            bet(server, number)
            until_sealed(server, position(server))
        before = seals(server)
        assert server.stop() == 0
        server.start()
        assert seals(server) == before
        bet(server, 3)
        made = until_sealed(server, position(server))
        events = server.events()
        until_written(tmp_path / "operator.seals.jsonl", raw(server))
        assert server.stop() == 0

    assert made[: len(before)] == before
    assert len(made) > len(before) >= 3
    hashes = [bytes.fromhex(event["hash"]) for event in events]
    for each in made:
        assert is_signed(each)
        assert each.key in trusted([], public(tmp_path))
        assert each.hash == events[each.position - 1]["hash"]
        assert each.root == pymerkle_root(hashes[: each.position]).hex()
    assert [each.position for each in made] == sorted({each.position for each in made})
    assert server.err.read_text() == ""


def test_fewer_events_than_are_waited_for_are_sealed_by_their_age(tmp_path):
    patient = document(tmp_path, every_events=1000, every_s=0.05)
    with serving(tmp_path, patient) as server:
        server.fund(PLAYER)

        assert until_sealed(server, position(server))


def test_a_key_that_nobody_handed_over_to_is_told_of_in_the_log_before_it_seals(tmp_path):
    with serving(tmp_path, document(tmp_path)) as server:
        server.fund(PLAYER)
        (first, *_) = until_sealed(server, position(server))
        assert server.stop() == 0
        (tmp_path / "seal.pem").write_bytes(new_key())
        server.start()
        (line,) = until(lambda: server.err.read_text().splitlines(), "the log tells of the key")
        bet(server, 1)
        until_sealed(server, position(server))
        assert server.stop() == 0

    assert json.loads(line)["event"] == "another key seals"
    assert json.loads(line)["told"].startswith(
        f"the last seal of the operator's book is by {first.key}, which did not hand over"
        f" to {public(tmp_path)}: "
    )
    assert server.err.read_text().splitlines() == [line]


def test_a_key_that_was_handed_over_to_seals_without_a_word(tmp_path):
    with serving(tmp_path, document(tmp_path)) as server:
        server.fund(PLAYER)
        until_sealed(server, position(server))
        assert server.stop() == 0
        new = new_key()
        with closing(open_store(f"sqlite:///{tmp_path}/book.db")) as store:
            old = signer((tmp_path / "seal.pem").read_bytes())
            Sealer(store, old, file=tmp_path / "operator.seals.jsonl").seal(
                next_key=signer(new).key
            )
        (tmp_path / "seal.pem").write_bytes(new)
        server.start()
        bet(server, 1)
        until_sealed(server, position(server))
        assert server.stop() == 0

    assert server.err.read_text() == ""


def test_a_book_that_is_not_the_one_that_was_sealed_is_told_in_the_log_and_sealed_no_more(tmp_path):
    with serving(tmp_path, document(tmp_path)) as server:
        server.fund(PLAYER, wire.OTHER_PLAYER)
        before = until_sealed(server, 4)
        assert server.stop() == 0
        behind(tmp_path / "book.db", "delete from stored_events where position > 2")
        server.start()
        until(lambda: "SealContradicted" in server.err.read_text(), "the log tells of the cut")
        assert seals(server) == before
        server.fund(wire.STRANGER)
        sentence = "the event at 4 is not the one that was sealed"
        server.fund("another")
        until(lambda: sentence in server.err.read_text(), "the log tells of another event")

        assert seals(server) == before
        until_written(tmp_path / "operator.seals.jsonl", raw(server))


def test_both_books_are_sealed_each_into_a_file_of_its_own(tmp_path):
    both = provider.Both(tmp_path)
    both.config.write_text(both.config.read_text() + as_toml({"seals": sealing(tmp_path)}))
    try:
        both.start()
        both.fund(PLAYER)
        answer = both.send(
            "POST",
            f"/api/provider/rounds/{provider.ROUND}/bets",
            {"operator": provider.LM, **provider.GAME_BET},
            token=provider.GAME,
        )
        assert answer.status == 200
        for party, path in (("operator", "/api"), ("provider", "/api/provider")):
            head = both.get(f"{path}/head").json["position"]
            made = until_sealed(both, head, f"{path}/seals")
            file = tmp_path / f"{party}.seals.jsonl"
            assert head
            until(lambda file=file, made=made: lines(file)[: len(made)] == made, "it is written")
            assert {each.key for each in made} == {public(tmp_path)}
    finally:
        both.kill()


TOKENS = (wire.AUDITOR, wire.ADMIN, None, "", "wrong", "lm-token")


@pytest.mark.parametrize("path", ["/api/seals", "/api/provider/seals"])
def test_seals_are_for_the_auditor_and_the_admin_only(tmp_path, path):
    both = provider.Both(tmp_path)
    try:
        both.start()
        statuses = {token: both.get(path, token=token).status for token in TOKENS}
    finally:
        both.kill()

    assert {token for token, status in statuses.items() if status == 200} >= {
        wire.AUDITOR,
        wire.ADMIN,
    }
    assert {statuses[token] for token in (None, "", "wrong", "lm-token")} == {401}


ENCRYPTED = Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"x"),
)
NO_KEYS = {"none": None, "garbage": b"no key", "an encrypted one": ENCRYPTED}


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS)
def test_a_key_that_cannot_be_read_stops_the_start_with_one_sentence(tmp_path, content):
    said = document(tmp_path)
    key = tmp_path / "seal.pem"
    key.unlink()
    if content:
        key.write_bytes(content)
    server = Server(tmp_path, said)
    try:
        server.start(ready=False)
        code = server.process.wait(30)
    finally:
        server.kill()

    assert code == 2
    (line,) = server.err.read_text().splitlines()
    assert line.startswith(f"roundbook: seals.key: {key}: ")
    assert server.out.read_text() == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"every_events": 0}, "seals.every_events: "),
        ({"every_s": 0}, "seals.every_s: "),
        ({"keys": "x"}, "seals: "),
    ],
)
def test_a_value_that_cannot_be_is_named_by_its_key(tmp_path, change, said):
    server = Server(tmp_path, document(tmp_path, **change))
    try:
        server.start(ready=False)
        assert server.process.wait(30) == 2
    finally:
        server.kill()

    assert said in server.err.read_text()


def test_no_answer_and_no_log_holds_the_private_key(tmp_path):
    with serving(tmp_path, document(tmp_path)) as server:
        server.fund(PLAYER)
        until_sealed(server, position(server))
        answer = server.get("/api/seals").raw
        assert server.stop() == 0

    key = (tmp_path / "seal.pem").read_bytes()
    secrets = [
        *(line for line in key.splitlines() if b"-----" not in line),
        signer(key)._private.private_bytes_raw().hex().encode(),
    ]
    texts = [answer, server.out.read_bytes(), server.err.read_bytes()]
    texts += [file.read_bytes() for file in tmp_path.iterdir() if file.name != "seal.pem"]
    assert not [secret for secret in secrets for text in texts if secret in text]
