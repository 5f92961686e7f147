import hashlib
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from flask.testing import FlaskClient

from ledger.money import to_text
from tests import auditor, controls
from tests.audit_file import all_records
from tests.audit_pages import PARTIES, address, copy, form_of, plain, shown, visit
from tests.audit_pages.html import Node, table
from tests.provider import examples

Tamper = Callable[..., FlaskClient]

PARTNER = {"operator": controls.PROVIDER, "provider": examples.LM}
BACK = ("cancelled", "refunded", "refunding")


def round_of(party: str, round_id: str = controls.ROUND, **more: Any) -> str:
    return address(party, "round", partner=PARTNER[party], round=round_id, **more)


@pytest.fixture
def tamper(files: dict[str, Path], tmp_path: Path) -> Tamper:
    def changed(*statements: str, party: str = "operator") -> FlaskClient:
        own = tmp_path / "own.db"
        shutil.copy(files[party], own)
        with closing(pysqlite3.connect(own)) as db, db:
            for statement in statements:
                db.execute(statement)
        return visit({party: own})

    return changed


def alarms(page: Node) -> list[str]:
    return [node.words for node in page.walk() if "alarm" in (node.said("class_") or "").split()]


def differing(page: Node) -> list[str]:
    return [node.words for node in page.walk() if node.said("class_") == "differs"]


# as of every version


def test_an_operators_round_as_of_every_version_is_what_a_replay_of_it_gives(
    pages: FlaskClient, books: dict[str, Any]
) -> None:
    book = books["operator"]
    for provider, round_id, *_ in book.store.rows("rounds"):
        url = address("operator", "round", partner=provider, round=round_id)
        versions = plain(pages.get(form_of(url, "json")))["versions"]
        assert versions == book.round(provider, round_id).version
        for at in range(1, versions + 1):
            then = book.round(provider, round_id, at=at)
            found = plain(pages.get(form_of(f"{url}&at={at}", "json")))
            scale = book.house.scale(then.currency)
            money = [to_text(then.staked, scale), to_text(then.won, scale)]
            if then.scale is not None:
                said = [found["round"]["staked"], found["round"]["won"]]
                assert [*said, found["round"]["reversed"]] == [
                    *money,
                    to_text(then.reversed, scale),
                ]
            assert (found["round"]["status"], found["round"]["version"]) == (then.status, at)
            assert [
                (row["reference"], row["amount"], row["reversal"] or None)
                for row in found["tables"]["transactions"]["rows"]
                if row["kind"] == "bet" and row["state"] in ("placed", *BACK)
            ] == [
                (bet.reference, to_text(bet.stake, scale), bet.reversal)
                for bet in then.bets.values()
            ]


def test_a_providers_round_as_of_every_version_is_what_a_replay_of_it_gives(
    pages: FlaskClient, books: dict[str, Any]
) -> None:
    book = books["provider"]
    for operator, round_id, *_ in book.store.rows("rounds"):
        url = address("provider", "round", partner=operator, round=round_id)
        last = book.round(operator, round_id).version
        for at in range(1, last + 1):
            then = book.round(operator, round_id, at=at)
            found = plain(pages.get(form_of(f"{url}&at={at}", "json")))
            assert (found["round"]["status"], found["round"]["version"], found["versions"]) == (
                *(then.status, at),
                last,
            )
            assert (found["round"]["staked"], found["round"]["won"]) == (
                to_text(then.staked, 2),
                to_text(then.won, 2),
            )
            rows = found["tables"]["transactions"]["rows"]
            assert {row["reference"]: row["state"] for row in rows if row["kind"] == "bet"} == {
                name: bet.standing for name, bet in then.bets.items()
            }


@pytest.mark.parametrize("party", PARTIES)
def test_the_page_shows_what_its_json_says_as_of_every_version(
    pages: FlaskClient, party: str
) -> None:
    for at in range(1, plain(pages.get(form_of(round_of(party), "json")))["versions"] + 1):
        url = round_of(party, at=at)
        said = plain(pages.get(form_of(url, "json")))["round"]
        page = shown(pages, url)
        state = page.id("state")
        facts = {n.one("dt").words: n.one("dd").words for n in state.one("dl").all("div")}
        assert state.all("span")[0].words == said["status"]
        assert facts == {
            "Player": said["user"],
            "Game": said["game"],
            "Currency": said["currency"],
            "Staked": said["staked"],
            "Won": said["won"],
            "Reversed": said["reversed"],
            "Opened": said["opened_at"],
        }
        assert f"position {said['position']}" in state.words
        later, earlier = (
            [int((node.said("id") or "")[1:]) for node in page.all("li", class_=kind)]
            for kind in ("later", "")
        )
        assert len([*earlier, *later]) == len(page.one("ol").all("li"))
        assert all(position <= said["position"] for position in earlier)
        assert all(position > said["position"] for position in later)


def test_a_round_at_its_end_is_the_row_that_an_auditor_derives_from_the_stored_text(
    pages: FlaskClient, books: dict[str, Any]
) -> None:
    derived = auditor.derive(all_records(books["operator"].store))["rounds"]
    assert derived
    for provider, round_id, user, currency, status, *amounts, opened_at in derived:
        url = address("operator", "round", partner=provider, round=round_id)
        found = plain(pages.get(form_of(url, "json")))["round"]
        scale = books["operator"].house.scale(currency)
        assert [found[name] for name in ("user", "currency", "status", "opened_at")] == [
            *(user, currency, status),
            opened_at,
        ]
        assert [
            found[name].replace(".", "").lstrip("0") for name in ("staked", "won", "reversed")
        ] == [to_text(each, scale).replace(".", "").lstrip("0") for each in amounts]


def test_the_cash_along_a_round_is_the_wallets_with_what_happened_elsewhere(
    pages: FlaskClient,
) -> None:
    page = shown(pages, round_of("operator"))
    labels = [node.text for node in page.id("chart").all("title")]

    assert labels == [
        "before: 100000.00",
        "BetPlaced: 99899.99",
        "BetPlaced: 99859.99",
        "moved elsewhere: 99866.99",
        "BetCancelled: 99906.99",
        "ResultRecorded: 100156.99",
        "ResultRecorded: 100157.99",
    ]


def test_what_is_later_than_the_version_is_marked_in_the_line(pages: FlaskClient) -> None:
    dots = shown(pages, round_of("operator", at=2)).id("chart").all("circle")

    assert [node.said("class_") for node in dots] == [
        "dot aside",
        "dot ",
        "dot later",
        "dot later",
        "dot later",
        "dot later",
        "dot later",
    ]


def test_what_was_there_before_the_round_is_never_later(pages: FlaskClient) -> None:
    first, *_ = shown(pages, round_of("operator", at=1)).id("chart").all("circle")

    assert (first.text, first.said("class_")) == ("before: 100000.00", "dot aside")


def drawn(page: Node) -> list[tuple[str, str]]:
    lines = page.id("chart").all("path")
    return [(str(node.said("class_")), str(node.said("d"))) for node in lines]


def test_the_line_is_lighter_behind_the_version(pages: FlaskClient) -> None:
    (later, behind), (line, upto) = drawn(shown(pages, round_of("operator", at=2)))
    ((whole, all_),) = drawn(shown(pages, round_of("operator")))

    assert (later, line, whole) == ("line later", "line", "line")
    here = re.fullmatch(r"M.*H(\d+)V(\d+)", upto)
    assert here
    assert behind.startswith(f"M{here[1]} {here[2]}H")
    assert upto + behind.removeprefix(f"M{here[1]} {here[2]}") == all_


# what is stored, byte for byte


@pytest.mark.parametrize("party", PARTIES)
def test_every_event_is_shown_byte_for_byte_with_its_hash_and_its_predecessors(
    pages: FlaskClient, books: dict[str, Any], party: str
) -> None:
    records = all_records(books[party].store)
    hashes = [bytes(32).hex(), *(each.hex() for each in auditor.chain(records))]
    for record, previous, own in zip(records, hashes, hashes[1:], strict=False):
        page = shown(pages, address(party, "event", position=record.id))
        assert page.one("pre", class_="stored").text == record.state.decode()
        written = [node.words for node in page.one("dl", class_="hashes").all("code")]
        assert written == [own, own, previous]
        assert page.one("span", class_="same").words == "the same"
        assert f"{record.topic} position {record.id} of {records[-1].id}" == page.one("h1").words
        facts = [node.words for node in page.one("dl", class_="facts").all("dd")]
        assert facts[:2] == [record.originator_id, str(record.originator_version)]


@pytest.mark.parametrize("party", PARTIES)
def test_a_timeline_holds_every_event_byte_for_byte_with_both_hashes(
    pages: FlaskClient, books: dict[str, Any], party: str
) -> None:
    records = {record.id: record for record in all_records(books[party].store)}
    page = shown(pages, round_of(party))
    seen = []
    for node in page.one("ol").all("li"):
        record = records[int((node.attrs["id"] or "")[1:])]
        seen.append(record.id)
        assert node.one("pre").text == record.state.decode()
        before = records.get(record.id - 1)
        previous = (before.hash if before else bytes(32)).hex()
        assert [code.words for code in node.all("code")] == [record.hash.hex(), previous]
        assert not before or address(party, "event", position=before.id) in node.links
        assert node.one("span", class_="same").words == "holds"
    stream = f"round/{PARTNER[party]}/{controls.ROUND}"
    assert {n for n, record in records.items() if record.originator_id == stream} <= set(seen)


@pytest.mark.parametrize("party", PARTIES)
def test_events_lead_to_their_neighbours_in_the_book_and_in_their_stream(
    pages: FlaskClient, books: dict[str, Any], party: str
) -> None:
    records = all_records(books[party].store)
    places = {(r.originator_id, r.originator_version): r.id for r in records}
    for record in records:
        page = shown(pages, address(party, "event", position=record.id))
        streams = page.one("nav", **{"aria-label": "In its stream"}).links
        stream, version = record.originator_id, record.originator_version
        assert streams == [
            address(party, "event", position=places[stream, each])
            for each in (version - 1, version + 1)
            if (stream, each) in places
        ]
        neighbours = page.one("nav", **{"aria-label": "Neighbours"}).links
        assert neighbours == [
            address(party, "event", position=each)
            for each in (record.id - 1, record.id + 1)
            if 0 < each <= len(records)
        ]


# reversals


def lines_of(page: Node, what: str) -> dict[str, str]:
    """Returns where the lines of a timeline that say something lead, by their own places."""
    return {
        f"#{node.attrs['id']}": next(link for link in node.links if link.startswith("#"))
        for node in page.one("ol").all("li")
        if what in node.words
    }


@pytest.mark.parametrize(
    ("party", "round_id"), [("operator", controls.ROUND), ("provider", "cancelled")]
)
def test_a_bet_and_its_reversal_lead_to_each_other(
    pages: FlaskClient, party: str, round_id: str
) -> None:
    page = shown(pages, round_of(party, round_id))
    there, back = lines_of(page, "reversed at position"), lines_of(page, "reverses the bet at")

    assert len(there) == 1
    assert {reversal: bet for bet, reversal in there.items()} == back
    topics = {f"#{n.attrs['id']}": n.one("h3").words for n in page.one("ol").all("li")}
    (bet, reversal), *_ = there.items()
    assert "Bet" in topics[bet]
    assert "Cancel" in topics[reversal] or "Refund" in topics[reversal]


# behind our back


@pytest.mark.parametrize("party", PARTIES)
def test_a_replay_agrees_with_what_is_stored(
    pages: FlaskClient, books: dict[str, Any], party: str
) -> None:
    for partner, round_id, *_ in books[party].store.rows("rounds"):
        page = shown(pages, address(party, "round", partner=partner, round=round_id))
        assert page.one("section", class_="verdict").one("strong").words == "they agree"
        assert differing(page) == []


@pytest.mark.parametrize(
    ("party", "statement", "field"),
    [
        ("operator", "update rounds set won = won + 1", "won"),
        ("operator", "update rounds set staked = 0", "staked"),
        ("operator", "update rounds set reversed = reversed - 1", "reversed"),
        ("operator", "update rounds set status = 'Cancelled'", "status"),
        ("operator", "update rounds set user = 'else'", "user"),
        ("operator", "update rounds set game = 'else'", "game"),
        ("operator", "update rounds set opened_at = 'then'", "opened_at"),
        ("operator", "update bets set amount = amount + 1", f"stake of {controls.REFERENCE}"),
        ("operator", "update bets set status = 'refunded'", f"state of {controls.REFERENCE}"),
        ("operator", "delete from bets", f"stake of {controls.REFERENCE}"),
        ("operator", "update bets set reference = 'x' || position", "stake of x4"),
        ("provider", "update rounds set won = won + 1", "won"),
        ("provider", "update rounds set status = 'Cancelled'", "status"),
        ("provider", "update bets set amount = amount + 1", f"stake of {controls.REFERENCE}"),
        ("provider", "update bets set standing = 'declined'", f"state of {controls.REFERENCE}"),
    ],
)
def test_a_changed_table_differs_from_the_replay(
    tamper: Tamper, party: str, statement: str, field: str
) -> None:
    page = shown(tamper(statement, party=party), round_of(party))

    assert page.one("section", class_="verdict").one("strong").words == "THEY DIFFER"
    rows = [dict(zip(*pair, strict=True)) for pair in _rows(page)]
    verdicts = {row["field"]: row["verdict"] for row in rows}
    assert verdicts[field] == "DIFFERS"
    made = plain(tamper(statement, party=party).get(form_of(round_of(party), "json")))
    assert made["tables"]["replay"]["holds"] is False
    assert made["tables"]["replay"]["rows"] == rows


def _rows(page: Node) -> list[tuple[list[str], list[str]]]:
    columns, rows = table(page, "replay")
    return [(columns, row) for row in rows]


def test_a_round_without_its_row_differs_from_the_replay(tamper: Tamper) -> None:
    page = shown(tamper("delete from rounds"), round_of("operator"))

    assert page.one("section", class_="verdict").one("strong").words == "THEY DIFFER"


BYTE = "update events set state = replace(state, ':10001', ':10002') where position = 4"


def test_a_changed_byte_is_found_on_the_page_of_its_event_its_round_and_the_chain(
    tamper: Tamper,
) -> None:
    pages = tamper(BYTE)

    event = shown(pages, address("operator", "event", position=4))
    assert differing(event) == ["ANOTHER ONE"]
    stored, computed, _ = (node.words for node in event.one("dl", class_="hashes").all("code"))
    assert stored != computed
    round_ = shown(pages, round_of("operator"))
    assert round_.id("p4").one("span", class_="differs").words == "DOES NOT HOLD"
    assert "THEY DIFFER" in differing(round_)
    chain = shown(pages, address("operator", "chain", after=0))
    assert alarms(chain) == [
        "Position 4: its hash is not what its bytes and the hash before it give."
    ]
    assert address("operator", "event", position=4) in chain.id("check").links
    assert plain(pages.get("/audit/operator/event.json?position=4"))["holds"] is False
    assert plain(pages.get("/audit/operator/chain.json?after=0"))["stretch"]["broken"] == 4


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update events set version = 9 where position = 4", "Position 4: its hash"),
        ("update events set stream = 'round/x/1' where position = 4", "Position 4: its hash"),
        ("update events set topic = 'BetRefused' where position = 4", "Position 4: its hash"),
        (f"update events set hash = '{'a' * 64}' where position = 4", "Position 4: its hash"),
        (f"update events set hash = '{'a' * 64}' where position = 32", "Position 32: its hash"),
        ("delete from events where position = 7", "Position 7: the event at 7 is missing"),
        ("delete from events where position = 1", "Position 1: the event at 1 is missing"),
        (
            "update events set position = -position where position in (8, 9);",
            "Position 8: the event at 8 is missing",
        ),
    ],
)
def test_what_was_changed_dropped_or_moved_is_found_on_the_chains_page(
    tamper: Tamper, statement: str, said: str
) -> None:
    chain = shown(tamper(statement), address("operator", "chain", after=0))

    assert [each.startswith(said) for each in alarms(chain)] == [True]
    assert chain.id("check").all("strong", class_="same") == []


def test_a_chain_that_was_not_changed_holds(pages: FlaskClient, books: dict[str, Any]) -> None:
    for party in PARTIES:
        head = books[party].store.head()
        section = shown(pages, address(party, "chain", after=0)).id("check")
        assert section.one("strong").words == f"Positions 1 to {head.position} hold."
        assert section.one("code").words == head.hash.hex()


def test_a_seal_of_another_hash_is_told(tamper: Tamper) -> None:
    pages = tamper(f"update seals set hash = '{'a' * 64}'")

    for name in ("home", "chain"):
        assert differing(shown(pages, address("operator", name))) == ["DIFFERS"]


def test_a_seal_of_another_hash_is_told_where_no_table_scrolls_it_away(tamper: Tamper) -> None:
    pages = tamper(f"update seals set hash = '{'a' * 64}'")

    said = "Of 1 seal, 1 is not of what this file holds. The seals"
    assert alarms(shown(pages, address("operator", "home"))) == [said]
    facts = shown(pages, address("operator", "chain")).one("dl", class_="facts").words
    assert "up to 32, 1 NOT OF WHAT THIS FILE HOLDS" in facts


def test_what_the_book_contradicted_is_an_alarm_on_the_first_page(tamper: Tamper) -> None:
    pages = tamper("insert into contradictions values (1, 'then', 7, 'is <b>gone</b>')")

    assert alarms(shown(pages, address("operator", "home"))) == [
        "The book contradicted this file 1 time. What it said"
    ]
    (row,) = table(shown(pages, address("operator", "chain")), "contradictions")[1]
    assert row == ["then", "7", "is <b>gone</b>"]
    note = shown(pages, address("operator", "reports/verification")).one("p", class_="note alarm")
    assert "CONTRADICTED" in note.words


@pytest.mark.parametrize("after", [0, 20])
def test_a_cut_tail_is_found_on_the_chains_page(tamper: Tamper, after: int) -> None:
    pages = tamper("delete from events where position > 20")
    chain = shown(pages, address("operator", "chain", after=after))

    assert [each.startswith("Position 21: ") for each in alarms(chain)] == [True]


def rewritten(files: dict[str, Path], position: int) -> str:
    """Returns how an event is rewritten so that its own hash holds."""
    with closing(pysqlite3.connect(files["operator"])) as db:
        found = db.execute(
            "select previous_hash, stream, version, topic, state from events where position = ?",
            (position,),
        )
        previous, *parts, state = found.fetchone()
    state = state.replace("2026-11-2", "2026-12-2")
    covered = b"\0".join([*(str(part).encode() for part in parts), state.encode()])
    hashed = hashlib.sha256(bytes.fromhex(previous) + covered).hexdigest()
    return f"update events set state = '{state}', hash = '{hashed}' where position = {position}"


def test_a_rewritten_event_is_found_on_the_chains_page_at_the_next(
    tamper: Tamper, files: dict[str, Path]
) -> None:
    chain = shown(tamper(rewritten(files, 4)), address("operator", "chain", after=0))

    assert [each.startswith("Position 5: its hash") for each in alarms(chain)] == [True]


def test_a_rewritten_last_event_is_found_on_the_chains_page(
    tamper: Tamper, files: dict[str, Path]
) -> None:
    chain = shown(tamper(rewritten(files, 32)), address("operator", "chain", after=0))

    assert [each.startswith("Position 32: ") for each in alarms(chain)] == [True]


def test_an_event_whose_predecessor_was_rewritten_does_not_hold(
    tamper: Tamper, files: dict[str, Path]
) -> None:
    event = shown(tamper(rewritten(files, 4)), address("operator", "event", position=5))

    assert differing(event)


UNREADABLE = {
    "no json": "update events set state = substr(state, 2) where position = 4",
    "no type of ours": "update events set topic = 'Nothing' where position = 4",
    "no field of ours": "update events set state = replace(state, 'user', 'resu') where position = 4",
    "no hash": "update events set previous_hash = 'x' where position = 4",
}


@pytest.mark.parametrize(
    "statement",
    [pytest.param(statement, id=name) for name, statement in UNREADABLE.items()],
)
def test_an_event_that_cannot_be_read_is_named_on_the_pages_of_its_round_and_its_own(
    tamper: Tamper, statement: str
) -> None:
    pages = tamper(statement)

    for url in (round_of("operator"), address("operator", "event", position=4)):
        answer = pages.get(url)
        assert answer.status_code != 500
        assert "position 4" in " ".join(answer.text.split()).casefold()


def test_a_stretch_behind_a_hash_that_is_none_is_no_failure_of_ours(tamper: Tamper) -> None:
    pages = tamper("update events set hash = 'x' where position = 4")

    assert pages.get(address("operator", "chain", after=4)).status_code != 500


def test_a_wallet_whose_time_is_none_is_no_failure_of_ours(tamper: Tamper) -> None:
    pages = tamper("update events set clock = 'x' where position = 4")

    url = address("operator", "wallet", user=controls.PLAYER, currency="USD")
    assert pages.get(url).status_code != 500


def test_a_bet_whose_amount_no_event_says_has_none(pages: FlaskClient) -> None:
    page = shown(pages, round_of("operator", "late"))

    columns, (row,) = table(page, "transactions")
    bet = dict(zip(columns, row, strict=True))
    assert (bet["reference"], bet["state"], bet["amount"]) == ("buried", "refused", "")


def test_what_was_sent_since_a_rounds_last_event_is_not_later_than_now(tmp_path: Path) -> None:
    with closing(examples.new_book("memory://", now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        examples.answer(book, examples.LM, "bet", controls.REFERENCE, None)
        pages = visit({"provider": copy(book, tmp_path / "audit.db")})

    def later(**at: int) -> list[str]:
        lines = shown(pages, round_of("provider", **at)).all("li", class_="later")
        return [str(node.said("id")) for node in lines]

    assert later() == later(at=2) == []
    assert later(at=1) == ["p2", "p3", "p4"]
