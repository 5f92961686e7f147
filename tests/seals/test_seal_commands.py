import copy
import json
import os
import stat
import subprocess
import sys
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import StoredEvent

from ledger import merkle
from ledger.merkle import Tree
from ledger.operator import events
from ledger.operator.book import MAPPER
from ledger.refusals import NotEnoughCash, Refusal
from ledger.seal import Seal, is_signed, new_key, signer
from ledger.sealing import Sealer, seals_of
from ledger.store import StoreUnfit, open_store
from ledger.store.chain import link
from scripts.audit_file import audit_file
from scripts.check_proof import check_proof
from scripts.keys import keys
from scripts.prove import prove
from scripts.seal import seal
from scripts.verify import verify
from tests import controls
from tests.http import wire
from tests.http.server import serving
from tests.provider import examples
from tests.seals import Clock, behind, hashes, pymerkle_root, read, rechain

ROUNDBOOK = click.Group("roundbook", commands=[keys, seal, prove, check_proof, verify, audit_file])

BET, RESULT = controls.REFERENCE, controls.RESULT_REFERENCE
REVERSED, BURIED, POOR = "reversed-bet", "buried-bet", "bet-of-the-poor"
CAMPAIGN, SHARED = "campaign-win", "shared"
STRANGER = signer(new_key()).key


TO_BE_REFUSED = (
    controls.place_bet(reference=BURIED, round_id="buried"),
    controls.place_bet(reference=POOR, amount="1000000.00", round_id="poor"),
)


def play(book):
    controls.fund(book)
    second = {"round_id": controls.OTHER_ROUND, "reference": REVERSED}
    for command in (
        controls.place_bet(),
        controls.result(),
        controls.place_bet(**second),
        controls.cancel(reference=REVERSED),
        controls.cancel(reference=BURIED, round_id="buried"),
        TO_BE_REFUSED[0],
        controls.pay_promo(reference=CAMPAIGN),
        controls.place_bet(reference=SHARED, round_id="shared"),
        controls.result(reference=SHARED, round_id="shared"),
        controls.place_bet(reference=SHARED, provider=controls.OTHER_PROVIDER),
        TO_BE_REFUSED[1],
        controls.expire_session(session=controls.OTHER_SESSION),
        controls.withdraw(amount="1.00"),
    ):
        with suppress(Refusal) if command in TO_BE_REFUSED else nullcontext():
            book.submit(command)


class Desk:
    """A folder with a book and a key, and the command run beside them."""

    def __init__(self, folder):
        self.folder, self.said = folder, []
        self.path, self.key = folder / "book.db", folder / "seal.pem"
        self.public = self.run("keys", "new", self.key).stdout.strip()

    def run(self, *arguments, code=0):
        result = CliRunner().invoke(ROUNDBOOK, [f"{each}" for each in arguments])
        self.said.append(result.output)
        if not isinstance(result.exception, StoreUnfit):
            assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def fill(self, work=play):
        with closing(controls.new_book(f"sqlite:///{self.path}")) as book:
            work(book)

    def seal(self, *options):
        return self.run("seal", self.path, "--key", self.key, *options)

    def rotate(self, to, *options, key=None):
        given = ("--key", key or self.key, "--to", self.folder / to)
        return self.run("keys", "rotate", self.path, *given, *options)

    def prove(self, reference, *options, where=None):
        """Returns the proof of a reference, written to a file and read again."""
        out = self.folder / f"{reference}.json"
        self.run("prove", reference, "--from", where or self.path, "--out", out, *options)
        return json.loads(out.read_bytes())

    def refuses_to_prove(self, reference, *options, code=1):
        return self.run("prove", reference, "--from", self.path, *options, code=code).stderr

    def check(self, proof, *options, key=None, code=0):
        file = self.folder / "a.proof.json"
        file.write_bytes(proof if isinstance(proof, bytes) else json.dumps(proof).encode())
        return self.run("check-proof", file, "--key", key or self.public, *options, code=code)

    def wrong(self, proof, **options):
        """Returns what is said of a proof that does not hold: one line, and exit 1."""
        lines = self.check(proof, code=1, **options).stdout.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("not proved: ")
        return lines[0].removeprefix("not proved: ")

    @property
    def seals(self):
        with closing(open_store(f"sqlite:///{self.path}", read_only=True)) as store:
            return seals_of(store)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def sealed(desk):
    desk.fill()
    desk.seal()
    return desk


@pytest.fixture
def proof(sealed):
    return sealed.prove(REVERSED)


# keys


def test_a_new_key_is_a_file_that_only_its_owner_can_read(desk):
    assert stat.S_IMODE(desk.key.stat().st_mode) == 0o600
    assert desk.public == signer(desk.key.read_bytes()).key
    assert desk.run("keys", "show", desk.key).stdout == f"{desk.public}\n"


def test_a_public_key_is_told_as_json_too(desk):
    made = desk.run("keys", "new", desk.folder / "other.pem", "--json").stdout
    shown = desk.run("keys", "show", desk.folder / "other.pem", "--json").stdout

    assert made == shown
    key = desk.run("keys", "show", desk.folder / "other.pem").stdout.strip()
    assert json.loads(shown) == {"key": key}


def test_no_mask_opens_a_new_key_to_others(desk):
    before = os.umask(0)
    try:
        desk.run("keys", "new", desk.folder / "open.pem")
    finally:
        os.umask(before)

    assert stat.S_IMODE((desk.folder / "open.pem").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(desk):
    before = desk.key.read_bytes()
    result = desk.run("keys", "new", desk.key, code=2)

    assert "a key is never overwritten" in result.stderr
    assert desk.key.read_bytes() == before


def test_a_key_is_not_written_through_a_link(desk):
    (desk.folder / "link.pem").symlink_to(desk.folder / "elsewhere.pem")
    desk.run("keys", "new", desk.folder / "link.pem", code=2)

    assert not (desk.folder / "elsewhere.pem").exists()


def test_a_key_is_not_written_where_there_is_no_folder(desk):
    result = desk.run("keys", "new", desk.folder / "none" / "seal.pem", code=2)

    assert "No such file or directory" in result.stderr


@pytest.mark.parametrize("content", [None, b"no key"])
def test_what_is_no_key_file_is_said_to_be_none(sealed, content):
    file = sealed.folder / "other.pem"
    if content:
        file.write_bytes(content)

    for arguments in (
        ("keys", "show", file),
        ("seal", sealed.path, "--key", file),
        ("keys", "rotate", sealed.path, "--key", file, "--to", sealed.folder / "new.pem"),
    ):
        said = sealed.run(*arguments, code=2).stderr
        assert "other.pem: " in said
        assert ("no unencrypted private key" if content else "No such file") in said
    assert not (sealed.folder / "new.pem").exists()


# seal


def test_the_head_is_sealed_and_then_nothing_is_new(desk):
    desk.fill()
    first, second = desk.seal().stdout, desk.seal().stdout
    (made,) = desk.seals

    assert is_signed(made)
    assert made.key == desk.public
    assert first == f"sealed {made.position} events at {made.sealed_at}, hash {made.hash}\n"
    assert second == f"nothing is new since the last seal, at position {made.position}\n"


def test_what_was_sealed_is_one_object_of_json(desk):
    desk.fill()
    first, second = (json.loads(desk.seal("--json").stdout) for _ in range(2))

    assert msgspec.convert(first["sealed"], Seal) == desk.seals[0]
    assert second == {"position": first["position"], "sealed": None}


def test_an_empty_book_has_nothing_to_seal(desk):
    desk.fill(lambda book: None)

    assert desk.seal().stdout == "the book is empty: there is nothing to seal\n"


def test_a_store_is_a_path_or_a_url(desk):
    desk.fill()
    desk.run("seal", f"sqlite:///{desk.path}", "--key", desk.key)

    assert len(desk.seals) == 1


@pytest.mark.parametrize("where", ["none.db", "memory://", "http://127.0.0.1:1", "seal.pem"])
def test_what_is_no_book_is_not_sealed_and_not_made(desk, where):
    where = desk.folder / where if "://" not in where else where
    result = desk.run("seal", where, "--key", desk.key)

    assert isinstance(result.exception, StoreUnfit)
    assert not (desk.folder / "none.db").exists()


def test_each_seal_is_a_line_of_the_auditors_file(desk):
    file = desk.folder / "book.seals.jsonl"
    desk.fill(controls.fund)
    desk.seal("--file", file)
    desk.seal("--file", file)
    desk.fill(lambda book: book.submit(controls.place_bet()))
    desk.seal("--file", file)

    assert read(file.read_bytes().splitlines()) == desk.seals
    assert len(desk.seals) == 2


def test_nothing_is_sealed_where_the_auditors_file_cannot_be_written(desk):
    desk.fill()
    result = desk.run(
        *("seal", desk.path, "--key", desk.key, "--file", desk.folder / "none" / "x"), code=2
    )

    assert "No such file or directory" in result.stderr
    assert desk.seals == []


OTHER_FILES = {"the book": "book.db", "the key": "seal.pem", "a note": "note.txt"}


@pytest.mark.parametrize("verb", ["seal", "rotate"])
@pytest.mark.parametrize("name", OTHER_FILES.values(), ids=OTHER_FILES)
def test_no_other_file_is_written_to_as_if_it_were_that_of_the_seals(desk, verb, name):
    desk.fill()
    (desk.folder / "note.txt").write_text("of the last shift, without an end of line")
    before = (desk.folder / name).read_bytes()
    options = ("--to", desk.folder / "new.pem") if verb == "rotate" else ()
    named = ("keys", "rotate") if verb == "rotate" else ("seal",)
    said = desk.run(
        *(*named, desk.path, "--key", desk.key, *options, "--file", desk.folder / name), code=2
    ).stderr

    assert f"{name} is another file, and no seal is in it: name a new one" in " ".join(said.split())
    assert (desk.folder / name).read_bytes() == before
    assert desk.seals == []


@pytest.mark.parametrize("verb", ["seal", "rotate"])
def test_a_book_that_is_not_the_one_that_was_sealed_is_one_sentence_and_exit_1(sealed, verb):
    behind(sealed.path, "delete from stored_events where position > 3")
    options = ("--to", sealed.folder / "new.pem") if verb == "rotate" else ()
    named = ("keys", "rotate") if verb == "rotate" else ("seal",)
    result = sealed.run(*named, sealed.path, "--key", sealed.key, *options, code=1)

    (said,) = result.stderr.splitlines()
    assert said.startswith(f"Error: {sealed.path}: the book ends at 3, before its last seal, at ")
    assert result.stdout == ""


def test_a_key_that_nobody_handed_over_to_seals_under_a_warning(sealed):
    sealed.fill(lambda book: book.submit(controls.freeze()))
    sealed.run("keys", "new", sealed.folder / "other.pem")
    result = sealed.run("seal", sealed.path, "--key", sealed.folder / "other.pem")

    assert "beware: no earlier seal" in result.stderr
    assert "beware" not in sealed.seal().stderr


# rotation


def test_the_old_key_hands_over_and_the_new_one_seals(sealed):
    said = sealed.rotate("new.pem").stdout
    new = sealed.folder / "new.pem"
    first, handing_over, second = sealed.seals

    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    public = signer(new.read_bytes()).key
    assert (handing_over.key, handing_over.next_key) == (sealed.public, public)
    assert (second.key, second.next_key) == (public, "")
    assert {each.position for each in sealed.seals} == {first.position}
    assert said.splitlines() == [
        f"old key {sealed.public}, handed over at position {first.position}",
        f"new key {public}",
    ]


def test_a_rotation_is_told_as_json_too(sealed):
    told = json.loads(sealed.rotate("new.pem", "--json").stdout)

    new = signer((sealed.folder / "new.pem").read_bytes()).key
    position = sealed.seals[0].position
    assert told == {"old_key": sealed.public, "position": position, "new_key": new}


def test_a_key_that_is_there_already_is_taken_over_to_as_it_is(sealed):
    new = sealed.folder / "new.pem"
    sealed.run("keys", "new", new)
    before = new.read_bytes()
    sealed.rotate("new.pem")

    assert new.read_bytes() == before
    assert sealed.seals[-1].key == signer(before).key


def test_rotations_are_lines_of_the_auditors_file_too(sealed):
    file = sealed.folder / "seals.jsonl"
    sealed.rotate("new.pem", "--file", file)

    assert read(file.read_bytes().splitlines()) == sealed.seals


def test_a_book_is_rotated_before_its_first_seal(desk):
    desk.fill()
    desk.rotate("new.pem")

    assert [bool(each.next_key) for each in desk.seals] == [True, False]


def test_an_empty_book_is_not_rotated_and_no_key_is_made(desk):
    desk.fill(lambda book: None)
    given = ("--key", desk.key, "--to", desk.folder / "new.pem")
    result = desk.run("keys", "rotate", desk.path, *given, code=1)

    assert "the book is empty: begin with the new key" in result.stderr
    assert not (desk.folder / "new.pem").exists()


def test_a_key_does_not_hand_over_to_itself(sealed):
    given = ("--key", sealed.key, "--to", sealed.key)
    result = sealed.run("keys", "rotate", sealed.path, *given, code=2)

    assert "is the same key as the old one" in result.stderr
    assert len(sealed.seals) == 1


def test_a_key_that_the_book_does_not_know_hands_over_nothing(sealed):
    other = sealed.folder / "other.pem"
    sealed.run("keys", "new", other)
    given = ("--key", other, "--to", sealed.folder / "new.pem")
    result = sealed.run("keys", "rotate", sealed.path, *given, code=2)

    assert "no seal of this book is by this key" in result.stderr
    assert not (sealed.folder / "new.pem").exists()
    assert len(sealed.seals) == 1


def test_a_key_that_handed_over_does_not_do_so_again_and_no_key_is_made(sealed):
    sealed.rotate("new.pem")
    given = ("--key", sealed.key, "--to", sealed.folder / "newer.pem")
    result = sealed.run("keys", "rotate", sealed.path, *given, code=2)

    assert "this key handed over to" in result.stderr
    assert not (sealed.folder / "newer.pem").exists()


def stolen(desk):
    """Seals with the old key, as who stole it would: behind the command's back."""
    desk.rotate("new.pem")
    desk.fill(lambda book: book.submit(controls.deposit(reference="later")))
    with closing(open_store(f"sqlite:///{desk.path}")) as store:
        old, tree, head = signer(desk.key.read_bytes()), Tree(), store.head()
        tree.extend([record.hash for record in store.records(after=0, limit=head.position)])
        made = old.seal(head, tree, at="2030-01-01T00:00:00.000000Z")
        store.add_seal(head.position, msgspec.json.encode(made), after=store.last_seal())


def test_what_a_key_signs_after_it_handed_over_is_refused_wherever_it_is_read(sealed):
    stolen(sealed)
    audit = sealed.folder / "audit.db"

    for command in (
        ("verify", sealed.path),
        ("verify", sealed.path, "--key", sealed.public),
        ("audit-file", audit, "--from", sealed.path),
        ("audit-file", audit, "--from", sealed.path, "--key", sealed.public),
    ):
        assert "had handed over to" in sealed.run(*command, code=1).output
    assert "had handed over to" in sealed.refuses_to_prove("later")


# prove and check


def lines(result):
    *events, last = result.stdout.splitlines()
    return [line.partition(" ")[2] for line in events], last


BET_LINE = (
    "player 123456 bet 100.01 USD (LuckyMonaco, round 5103188801);"
    " cash 100000.00 before, 99899.99 after"
)


def test_a_bet_is_proved_with_who_how_much_and_the_cash_before_and_after(sealed):
    events, last = lines(sealed.check(sealed.prove(BET)))
    (made,) = sealed.seals

    assert events == [BET_LINE]
    assert last == f"proved by the seal of {made.sealed_at} at position {made.position}"


def test_every_line_begins_with_when_it_was_recorded(sealed):
    proof = sealed.prove(REVERSED)
    times = [json.loads(event["body"])["recorded_at"] for event in proof["events"]]
    *found, _ = sealed.check(proof).stdout.splitlines()

    assert [line.partition(" ")[0] for line in found] == times


TOLD = {
    REVERSED: [
        "player 123456 bet 100.01 USD (LuckyMonaco, round 5103188802);"
        " cash 100149.99 before, 100049.98 after",
        "player 123456 got the cancelled bet's 100.01 USD back (LuckyMonaco, round 5103188802);"
        " cash 100049.98 before, 100149.99 after",
    ],
    RESULT: [
        "player 123456 won 250.00 USD (LuckyMonaco, round 5103188801);"
        " cash 99899.99 before, 100149.99 after"
    ],
    BURIED: [
        "player 123456 had a bet reversed that was not known: no money moved"
        " (LuckyMonaco, round buried)",
        "player 123456 had a bet refused, as it came after its own reversal"
        " (LuckyMonaco, round buried)",
    ],
    POOR: [
        "player 123456 had too little cash for a bet of 100000000 minor units of USD"
        " (LuckyMonaco, round poor)"
    ],
    CAMPAIGN: [
        "player 123456 was paid 250.00 USD by the campaign summer (LuckyMonaco);"
        " cash 100149.99 before, 100399.99 after"
    ],
    controls.OTHER_SESSION: ["player 123456 had the session 5a2c1b7e expire (LuckyMonaco)"],
    f"{controls.PLAYER}-USD": [
        "player 123456 paid in 100000.00 USD; cash 0.00 before, 100000.00 after"
    ],
    "withdrawal-1": ["player 123456 was paid out 1.00 USD; cash 100449.97 before, 100448.97 after"],
}


@pytest.mark.parametrize("reference", TOLD)
def test_every_kind_of_transaction_is_proved_with_what_came_of_it(sealed, reference):
    assert lines(sealed.check(sealed.prove(reference)))[0] == TOLD[reference]


def test_a_refund_tells_of_the_win_that_was_taken_back(desk):
    house = controls.House(allow_cancel_completed=True)
    with closing(controls.new_book(f"sqlite:///{desk.path}", house=house)) as book:
        controls.fund(book)
        for command in (controls.place_bet(), controls.result(), controls.refund()):
            book.submit(command)
    desk.seal()

    assert lines(desk.check(desk.prove(BET)))[0][1] == (
        "player 123456 got the refunded bet's 100.01 USD back (LuckyMonaco, round 5103188801),"
        " and a win of 250.00 was taken back; cash 100149.99 before, 100000.00 after"
    )


def test_a_proof_holds_the_stored_bytes_their_place_and_their_predecessors_hash(sealed):
    proof = sealed.prove(REVERSED)
    with closing(open_store(f"sqlite:///{sealed.path}")) as store:
        records = store.records(after=0, limit=1000)
        root = pymerkle_root(hashes(store)).hex()

    assert proof["seal"]["root"] == root
    assert len(proof["events"]) == 2
    for event in proof["events"]:
        record, before = records[event["position"] - 1], records[event["position"] - 2]
        assert event["stream"] == record.originator_id
        assert event["version"] == record.originator_version
        assert event["topic"] == record.topic
        assert event["body"].encode() == record.state
        assert event["previous"] == before.hash.hex()
        assert event["inclusion"]["path"][0] == merkle.leaf(record.hash).hex()


def test_the_first_event_of_a_book_can_be_proved_too(desk):
    expired = events.SessionExpired(
        recorded_at=Clock().text,
        provider=controls.PROVIDER,
        user=controls.PLAYER,
        session=controls.SESSION,
        said=controls.said(),
    )
    with closing(open_store(f"sqlite:///{desk.path}")) as store:
        store.insert_events([StoredEvent("s", 1, "SessionExpired", MAPPER.encode(expired))])
    desk.seal()
    proof = desk.prove(controls.SESSION)

    assert proof["events"][0]["previous"] == "00" * 32
    assert lines(desk.check(proof))[0] == [
        "player 123456 had the session 5a2c1b7d expire (LuckyMonaco)"
    ]


def test_a_proof_is_small_and_goes_to_standard_output_where_no_file_is_named(sealed):
    result = sealed.run("prove", BET, "--from", sealed.path)

    assert len(result.stdout) < 4000
    assert lines(sealed.check(result.stdout.encode()))[0] == [BET_LINE]


def test_json_tells_the_events_as_they_are_stored(sealed):
    proof = sealed.prove(BET)
    found = json.loads(sealed.check(proof, "--json").stdout)

    assert found["proved"] is True
    assert found["reference"] == BET
    assert found["seal"] == proof["seal"]
    (event,) = found["events"]
    assert (event["topic"], event["body"]["amount"]) == ("BetPlaced", 10001)
    assert event["body"] == json.loads(proof["events"][0]["body"])


def test_json_says_what_is_wrong_too(sealed):
    found = json.loads(sealed.check(b"{", "--json", code=1).stdout)

    assert found["proved"] is False
    assert "is no whole proof" in found["wrong"]


def test_a_later_seal_is_taken_and_an_old_proof_still_holds(sealed):
    old = sealed.prove(BET)
    sealed.fill(lambda book: book.submit(controls.freeze()))
    sealed.seal()
    new = sealed.prove(BET)

    assert new["seal"]["position"] == old["seal"]["position"] + 1
    assert lines(sealed.check(old))[0] == lines(sealed.check(new))[0]


def test_nothing_in_a_proof_reaches_the_terminal_but_text(desk):
    user = "bad\x1b[2Jguy"
    desk.fill(lambda book: controls.fund(book, user=user))
    desk.seal()
    result = desk.check(desk.prove(f"{user}-USD"))

    assert "\x1b" not in result.stdout
    assert "bad\N{REPLACEMENT CHARACTER}[2Jguy" in result.stdout


# which reference


def test_a_reference_of_several_transactions_has_to_be_narrowed(sealed):
    said = sealed.refuses_to_prove(SHARED, code=2)

    assert f"{SHARED} names several transactions" in said
    for choice in ("LuckyMonaco --kind bet", "LuckyMonaco --kind result", "Kyren --kind bet"):
        assert f"--provider {choice}" in said


@pytest.mark.parametrize(
    ("options", "topics"),
    [
        (("--provider", "Kyren"), ["BetPlaced"]),
        (("--provider", "kyren", "--kind", "bet"), ["BetPlaced"]),
        (("--kind", "result"), ["ResultRecorded"]),
        (("--kind", "bet", "--provider", "LuckyMonaco"), ["BetPlaced"]),
    ],
)
def test_a_reference_is_narrowed_by_provider_and_kind(sealed, options, topics):
    proof = sealed.prove(SHARED, *options)

    assert [event["topic"] for event in proof["events"]] == topics
    assert lines(sealed.check(proof))[0]


@pytest.mark.parametrize(
    "arguments",
    [("none",), ("",), (BET[:-1],), (BET, "--kind", "result"), (BET, "--provider", "Kyren")],
)
def test_a_reference_that_nothing_names_is_not_proved(sealed, arguments):
    assert "no such event in" in sealed.refuses_to_prove(*arguments)


def test_a_book_without_a_seal_proves_nothing(desk):
    desk.fill()

    assert "has no seal yet" in desk.refuses_to_prove(BET)


def test_an_event_that_is_newer_than_the_last_seal_is_not_proved(sealed):
    sealed.fill(lambda book: book.submit(controls.place_bet(reference="new", round_id="new")))
    said = sealed.refuses_to_prove("new")

    assert "is newer than the last seal" in said


def test_a_bet_is_not_proved_without_its_reversal_that_is_not_sealed_yet(sealed):
    reversal = controls.cancel(reference=SHARED, provider=controls.OTHER_PROVIDER)
    sealed.fill(lambda book: book.submit(reversal))
    said = sealed.refuses_to_prove(SHARED, "--provider", "Kyren")

    assert f"the event at {sealed.seals[-1].position + 1} is newer than the last seal" in said


def test_a_proof_is_not_written_where_there_is_no_folder(sealed):
    out = sealed.folder / "none" / "x.json"

    assert "No such file" in sealed.refuses_to_prove(BET, "--out", out, code=2)


@pytest.mark.parametrize("name", OTHER_FILES.values(), ids=OTHER_FILES)
def test_no_other_file_is_written_over_by_a_proof(sealed, name):
    (sealed.folder / "note.txt").write_text("of the last shift")
    out = sealed.folder / name
    before = out.read_bytes()
    said = sealed.refuses_to_prove(BET, "--out", out, code=2)

    assert f"{name} is there, and is no proof" in " ".join(said.split())
    assert out.read_bytes() == before


def test_a_proof_may_be_written_again_and_to_where_nothing_is_kept(sealed):
    for _ in range(2):
        sealed.prove(BET)
    (sealed.folder / "empty.json").touch()
    for out in (sealed.folder / "empty.json", "/dev/null"):
        sealed.run("prove", BET, "--from", sealed.path, "--out", out)


def test_a_token_of_the_environment_is_not_shown_in_the_help(sealed, monkeypatch):
    monkeypatch.setenv("ROUNDBOOK_AUDITOR_TOKEN", "canary")

    assert "canary" not in sealed.run("prove", "--help").output


@pytest.mark.parametrize("reference", [BET, REVERSED])
def test_a_book_that_was_rewritten_after_its_seal_proves_nothing(sealed, reference):
    rechain(sealed.path, after=2, amount=1)

    assert "is not as it was sealed" in sealed.refuses_to_prove(reference)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from stored_events where position > 3",
        "delete from stored_events where position = 3",
        "update stored_events set hash = zeroblob(32) where position = 3",
    ],
)
def test_a_book_that_was_damaged_after_its_seal_proves_nothing(sealed, statement):
    behind(sealed.path, statement)

    assert "is not as it was sealed" in sealed.refuses_to_prove(BET)


def test_an_amount_that_was_changed_behind_the_book_is_not_proved(sealed):
    behind(
        sealed.path,
        "update stored_events set state = replace(state, '\"amount\":10001', '\"amount\":10002')",
    )
    said = sealed.refuses_to_prove(BET)

    assert "is not as it was sealed" in said
    assert "was changed" in said


def test_an_event_that_cannot_be_read_is_named(sealed):
    behind(sealed.path, "update stored_events set state = '{' where position = 4")
    result = sealed.run("prove", BET, "--from", sealed.path)

    assert isinstance(result.exception, StoreUnfit)
    assert "the event at 4 cannot be read" in f"{result.exception}"


# keys that were rotated


def test_the_first_key_is_followed_through_every_rotation(sealed):
    for number, old in enumerate((sealed.key, sealed.folder / "1.pem")):
        sealed.rotate(f"{number + 1}.pem", key=old)
        sealed.fill(lambda book: book.submit(controls.freeze()))
    newest = sealed.folder / "2.pem"
    sealed.fill(lambda book: book.submit(controls.unfreeze()))
    sealed.run("seal", sealed.path, "--key", newest)
    proof = sealed.prove(BET)

    assert proof["seal"]["key"] == signer(newest.read_bytes()).key
    assert len(proof["handovers"]) == 2
    for key in (sealed.key, sealed.folder / "1.pem", newest):
        assert lines(sealed.check(proof, key=signer(key.read_bytes()).key))[0] == [BET_LINE]
    assert "by another key" in sealed.wrong(proof, key=STRANGER)


def test_a_rotation_that_is_forged_dropped_or_made_up_is_named(sealed):
    sealed.rotate("new.pem")
    proof = sealed.prove(BET)
    (handover,) = proof["handovers"]
    public = signer((sealed.folder / "new.pem").read_bytes()).key

    forged = {**proof, "handovers": [handover | {"next_key": STRANGER}]}
    assert "that hands over to another key is forged" in sealed.wrong(forged)
    dropped = {**proof, "handovers": []}
    assert f"the seal is by another key, {public}" in sealed.wrong(dropped)
    assert sealed.check(dropped, key=public)


def test_a_retired_key_is_not_trusted_by_who_trusts_its_successor(sealed):
    old = sealed.prove(BET)
    sealed.rotate("new.pem")
    public = signer((sealed.folder / "new.pem").read_bytes()).key

    assert "by another key" in sealed.wrong(old, key=public)


# what does not hold


def first(proof):
    return proof["events"][0]


def swapped(proof):
    one, two = proof["events"]
    one["inclusion"], two["inclusion"] = two["inclusion"], one["inclusion"]


def swapped_and_renumbered(proof):
    swapped(proof)
    for event in proof["events"]:
        event["inclusion"]["metadata"]["index"] = event["position"]


def with_another_amount(proof):
    first(proof)["body"] = first(proof)["body"].replace("10001", "99999")


def with_another_amount_and_leaf(proof):
    with_another_amount(proof)
    event = first(proof)
    hashed = link(
        bytes.fromhex(event["previous"]),
        *(event["stream"], event["version"], event["topic"], event["body"].encode()),
    )
    event["inclusion"]["path"][0] = merkle.leaf(hashed).hex()


def with_another_sibling(proof):
    first(proof)["inclusion"]["path"][2] = "00" * 32


def with_siblings_in_another_order(proof):
    path = first(proof)["inclusion"]["path"]
    path[1], path[2] = path[2], path[1]


def with_a_shorter_path(proof):
    first(proof)["inclusion"]["path"].pop()


def without_a_path(proof):
    first(proof)["inclusion"]["path"] = []


def with_the_other_side(proof):
    rule = first(proof)["inclusion"]["rule"]
    rule[0] = 1 - rule[0]


def with_a_consistency_proof(proof):
    first(proof)["inclusion"] |= {"type": "consistency", "subset": [0]}
    first(proof)["inclusion"]["metadata"] = {
        "algorithm": "sha256",
        "security": True,
        "size": proof["seal"]["position"],
        "prior_size": 1,
    }


def with_an_empty_inclusion(proof):
    first(proof)["inclusion"] = {}


def with_a_weaker_hash(proof):
    first(proof)["inclusion"]["metadata"]["algorithm"] = "sha224"


def without_prefixes(proof):
    first(proof)["inclusion"]["metadata"]["security"] = False


def in_another_stream(proof):
    first(proof)["stream"] = "round/LuckyMonaco/x"


def after_another_event(proof):
    first(proof)["previous"] = "00" * 32


def with_a_digit_moved_into_the_stream(proof):
    event = first(proof)
    event["previous"], event["stream"] = event["previous"][:-2], f"x{event['stream']}"


def with_a_previous_hash_that_is_none(proof):
    first(proof)["previous"] = "none"


def of_another_reference(proof):
    proof["reference"] = BET


def of_the_other_book(proof):
    proof["book"] = "provider"


def without_events(proof):
    proof["events"] = []


def told_twice(proof):
    proof["events"].append(proof["events"][1])


def in_another_order(proof):
    proof["events"].reverse()


def at_another_position(proof):
    first(proof)["position"] -= 1


def with_a_forged_signature(proof):
    proof["seal"]["signature"] = "00" * 64


def of_another_time(proof):
    proof["seal"]["sealed_at"] = "2020-01-01T00:00:00.000000Z"


def of_a_shorter_book(proof):
    proof["seal"]["position"] -= 1


def by_a_name_it_is_not_signed_with(proof):
    proof["seal"]["key"] = STRANGER


def of_another_version(proof):
    proof["version"] = 2


def of_another_format(proof):
    proof["format"] = "proof"


def with_more_than_there_is(proof):
    proof["verified"] = True


def without_a_seal(proof):
    del proof["seal"]


WRONG = {
    swapped: "the path of the event at 7 is of another event, or to another seal",
    swapped_and_renumbered: "the event at 7 was changed",
    with_another_amount: "the event at 7 was changed",
    with_another_amount_and_leaf: "the path of the event at 7 does not lead to the seal's root",
    with_another_sibling: "the path of the event at 7 does not lead to the seal's root",
    with_siblings_in_another_order: "the path of the event at 7 does not lead to the seal's root",
    with_a_shorter_path: "the path of the event at 7 does not lead to the seal's root",
    without_a_path: "the event at 7 was changed",
    with_the_other_side: "the path of the event at 7 does not lead to the seal's root",
    with_a_consistency_proof: "the path of the event at 7 does not lead to the seal's root",
    with_an_empty_inclusion: "the path of the event at 7 does not lead to the seal's root",
    with_a_weaker_hash: "the path of the event at 7 does not lead to the seal's root",
    without_prefixes: "the path of the event at 7 does not lead to the seal's root",
    in_another_stream: "the event at 7 was changed",
    after_another_event: "the event at 7 was changed",
    with_a_digit_moved_into_the_stream: "the event at 7 cannot be read",
    with_a_previous_hash_that_is_none: "the event at 7 cannot be read",
    of_another_reference: f"the event at 7 does not name {BET}",
    of_the_other_book: "the event at 7 cannot be read",
    without_events: "there is no event in it",
    told_twice: "its events are not each there once, in their order",
    in_another_order: "its events are not each there once, in their order",
    at_another_position: "the path of the event at 6 is of another event, or to another seal",
    with_a_forged_signature: "the seal is forged",
    of_another_time: "the seal is forged",
    of_a_shorter_book: "the seal is forged",
    by_a_name_it_is_not_signed_with: "the seal is forged",
    of_another_version: "is no whole proof of version 1",
    of_another_format: "is no whole proof of version 1",
    with_more_than_there_is: "is no whole proof of version 1",
    without_a_seal: "is no whole proof of version 1",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("given"))
    desk.fill()
    desk.seal()
    return desk, desk.prove(REVERSED)


@pytest.mark.parametrize(
    ("change", "said"), WRONG.items(), ids=[change.__name__ for change in WRONG]
)
def test_a_proof_that_was_changed_is_refused_and_what_was_changed_is_named(given, change, said):
    desk, proof = given
    changed = copy.deepcopy(proof)
    change(changed)

    assert said in desk.wrong(changed)


def places(value, so_far=()):
    """Yields the way to every single value of a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inside:
        if isinstance(each, dict | list):
            yield from places(each, (*so_far, name))
        else:
            yield (*so_far, name)


def another(value):
    if isinstance(value, str):
        return f"{value[:-1]}{'1' if value[-1:] == '0' else '0'}"
    return not value if isinstance(value, bool) else value + 1


def test_no_value_of_a_proof_can_be_changed(given):
    desk, proof = given
    held = []
    for *way, last in places(proof):
        changed = inner = copy.deepcopy(proof)
        for name in way:
            inner = inner[name]
        inner[last] = another(inner[last])
        if desk.check(changed, "--json", code=1).exit_code == 0:
            held.append((*way, last))

    assert held == []


def test_a_proof_is_refused_wherever_it_is_cut(given):
    desk, proof = given
    whole = json.dumps(proof).encode()

    for length in range(0, len(whole), 97):
        assert "is no whole proof of version 1" in desk.wrong(whole[:length])


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"\xff\xfe", b"x", b'"' * 3, b"[" * 100000], ids=repr
)
def test_a_file_that_is_no_proof_is_said_to_be_none(given, content):
    assert "is no whole proof of version 1" in given[0].wrong(content)


def test_a_proof_made_with_another_key_is_not_that_of_the_one_given(given, tmp_path):
    desk, _ = given
    forger = Desk(tmp_path)
    forger.fill()
    forger.seal()
    forged = forger.prove(REVERSED)

    assert forger.check(forged)
    assert f"the seal is by another key, {forger.public}" in desk.wrong(forged)


@pytest.mark.parametrize("key", ["", "00", "x" * 64, "00" * 33, "seal.pem"])
def test_what_is_no_public_key_is_said_to_be_none(given, key):
    desk, proof = given
    result = desk.check(proof, key=key or " ", code=2)

    assert "is no public key: 64 hexadecimal digits" in result.stderr


def test_a_public_key_may_be_written_in_capitals(given):
    desk, proof = given

    assert desk.check(proof, key=desk.public.upper())


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller(given):
    desk, _ = given
    result = desk.run("check-proof", desk.folder / "none", "--key", desk.public, code=2)

    assert "does not exist" in result.stderr


# the provider's book


@pytest.fixture
def theirs(desk):
    book = examples.new_book(f"sqlite:///{desk.path}", now=Clock())
    with closing(book):
        examples.accepted_bet(book)
        examples.ask(book, examples.place_bet(operator=examples.KY))
        for send in range(examples.BET_SENDS):
            examples.answer(book, examples.KY, "bet", BET, None if send else 500)
        examples.answer(book, examples.KY, "cancel", BET)
        examples.ask(book, examples.report_result())
        examples.answer(book, examples.LM, "result", RESULT)
        examples.ask(book, examples.end_round())
        examples.answer(book, examples.LM, "end", controls.ROUND)
        refunded = {"round_id": controls.OTHER_ROUND, "reference": REVERSED}
        examples.accepted_bet(book, **refunded)
        examples.ask(book, examples.cancel_round(round_id=controls.OTHER_ROUND))
        examples.answer(book, examples.LM, "refund", REVERSED)
        examples.ask(book, examples.place_bet(reference=POOR, round_id="poor"))
        examples.answer(book, examples.LM, "bet", POOR, NotEnoughCash.code)
    desk.seal()
    return desk


AT_LM = f"({examples.LM}, round {controls.ROUND})"
AT_OTHER = f"({examples.LM}, round {controls.OTHER_ROUND})"


def test_a_bet_of_the_providers_book_is_proved_with_what_the_wallet_said(theirs):
    proof = theirs.prove(BET, "--provider", examples.LM)

    assert proof["book"] == "provider"
    assert lines(theirs.check(proof))[0] == [
        f"player 123456 bet 100.01 USD, the wallet is to be asked for it {AT_LM}",
        f"send 1 of the bet began ({examples.LM})",
        f"send 1 of the bet ended: answered ({examples.LM})",
        f"the wallet took the stake of 10001 minor units {AT_LM}",
    ]


def test_a_refund_of_the_providers_book_is_proved_with_its_bet(theirs):
    told, _ = lines(theirs.check(theirs.prove(REVERSED)))

    assert told[0] == f"player 123456 bet 100.01 USD, the wallet is to be asked for it {AT_OTHER}"
    assert f"player 123456 is to get 10001 minor units of USD back {AT_OTHER}" in told
    assert told[-1] == f"the wallet gave 10001 minor units back {AT_OTHER}"


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        ((RESULT,), f"the wallet paid the win of 25000 minor units {AT_LM}"),
        ((controls.ROUND,), f"the wallet closed the round {AT_LM}"),
        ((BET, "--provider", examples.KY), "the wallet holds nothing of the bet "),
        ((POOR,), f"the wallet refused the bet with code {NotEnoughCash.code} "),
    ],
)
def test_whatever_names_a_reference_is_proved(theirs, arguments, last):
    told, _ = lines(theirs.check(theirs.prove(*arguments)))

    assert told[-1].startswith(last)


def test_a_reference_at_two_operators_has_to_be_narrowed(theirs):
    said = theirs.refuses_to_prove(BET, code=2)

    assert f"--provider {examples.LM} --kind bet" in said
    assert f"--provider {examples.KY} --kind bet" in said


# over HTTP, alone, and in secret


def test_over_http_the_proof_is_that_of_the_file(tmp_path):
    desk = Desk(tmp_path)
    with serving(tmp_path) as server:
        server.fund(wire.PLAYER)
        with server.connect() as connection:
            for name in ("bet", "cancel"):
                call = wire.BY_NAME["/V4", name]
                assert connection.call(call.path, call.body).code == 0
        url = f"http://127.0.0.1:{server.port}"
        token = ("--token", wire.AUDITOR)
        given = ("prove", wire.BET_REFERENCE, "--from", url)
        assert "has no seal yet" in desk.run(*given, *token, code=1).stderr
        desk.seal()
        by_http = desk.prove(wire.BET_REFERENCE, *token, where=url)
        by_file = desk.prove(wire.BET_REFERENCE)
        denied = desk.run(*given, "--token", "wrong").exception
        elsewhere = desk.run(*given[:-1], f"{url}/elsewhere", *token).exception

    assert by_http == by_file
    assert [event["topic"] for event in by_http["events"]] == ["BetPlaced", "BetCancelled"]
    assert len(lines(desk.check(by_http))[0]) == 2
    assert isinstance(denied, StoreUnfit)
    assert "HTTP 401: --token must be the auditor's" in f"{denied}"
    assert "HTTP 404: there is no Roundbook there" in f"{elsewhere}"


def alone(module, verb, *arguments, folder):
    """Runs a command in a process of its own, in a folder of its own."""
    return subprocess.run(
        [
            *(sys.executable, "-c", f"from scripts.{module} import {verb}; {verb}()"),
            *(f"{argument}" for argument in arguments),
        ],
        cwd=folder,
        env={"PYTHONPATH": str(wire.ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_proof_is_checked_by_who_has_nothing_but_the_file_and_the_public_key(sealed):
    auditor = sealed.folder / "auditor"
    auditor.mkdir()
    ran = alone(
        *("prove", "prove", BET, "--from", sealed.path, "--out", auditor / "bet.json"),
        folder=sealed.folder,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    sealed.path.unlink()
    sealed.key.unlink()
    checked = alone(
        "check_proof", "check_proof", "bet.json", "--key", sealed.public, folder=auditor
    )
    assert checked.returncode == 0, checked.stderr
    assert BET_LINE in checked.stdout
    Path(auditor, "bet.json").write_text("{")
    refused = alone(
        "check_proof", "check_proof", "bet.json", "--key", sealed.public, folder=auditor
    )

    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout.startswith("not proved: bet.json is no whole proof")
    assert [file.name for file in auditor.iterdir()] == ["bet.json"]


def test_keys_and_seals_are_made_by_processes_of_their_own(desk):
    desk.fill()
    made = alone("keys", "keys", "new", "k.pem", folder=desk.folder)
    sealed = alone("seal", "seal", "book.db", "--key", "k.pem", "--json", folder=desk.folder)

    assert (made.returncode, made.stderr) == (0, "")
    assert (sealed.returncode, sealed.stderr) == (0, "")
    assert json.loads(sealed.stdout)["sealed"]["key"] == made.stdout.strip()


def test_no_private_key_reaches_an_output_a_seal_a_proof_or_the_book(sealed):
    file, new = sealed.folder / "seals.jsonl", sealed.folder / "new.pem"
    sealed.rotate("new.pem", "--file", file)
    sealed.run("keys", "new", new, code=2)
    for key in (sealed.key, new):
        sealed.run("keys", "show", key)
        sealed.run("seal", sealed.path, "--key", key, "--json")
    sealed.check(sealed.prove(BET))
    sealed.check(b"{", code=1)
    sealed.run("keys", "show", sealed.path, code=2)

    pems = [key.read_text() for key in (sealed.key, new)]
    secrets = [line for pem in pems for line in pem.splitlines()]
    seeds = [signer(pem.encode())._private.private_bytes_raw() for pem in pems]
    kept = [each.read_bytes() for each in sealed.folder.iterdir() if each.suffix != ".pem"]
    for text in [*(said.encode() for said in sealed.said), *kept]:
        assert not [secret for secret in secrets if secret.encode() in text]
        assert not [seed for seed in seeds if seed in text or seed.hex().encode() in text]


def test_a_service_that_seals_beside_the_command_is_gone_on_from(sealed):
    with closing(controls.new_book(f"sqlite:///{sealed.path}")) as book:
        service = Sealer(book.store, signer(sealed.key.read_bytes()))
        for number in range(3):
            book.submit(controls.place_bet(reference=f"b{number}", round_id=f"r{number}"))
            assert service.seal_if_due() if number != 1 else sealed.seal()
        data = hashes(book.store)
        for made in seals_of(book.store):
            assert made.root == pymerkle_root(data[: made.position]).hex()


@pytest.mark.parametrize("verb", [seal, prove, check_proof, keys, *keys.commands.values()])
def test_every_help_has_an_example(verb):
    assert "Example: roundbook " in CliRunner().invoke(verb, ["--help"]).stdout
