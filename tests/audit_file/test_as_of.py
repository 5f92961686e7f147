import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from ledger.moments import text
from ledger.money import to_text
from ledger.operator.book import Book
from ledger.operator.house import House
from ledger.store import StoreUnfit, open_store
from projections import IN_TRANSACTION, as_of
from projections.as_of import NotThere
from projections.audit_file import AuditFileUnfit, open_audit_file
from scripts.as_of import balance, history, replay, round_
from scripts.audit_file import catch_up
from scripts.cli import roundbook
from scripts.source import open_source
from tests import controls, seals
from tests.audit_file import NOON, all_records, bodies, cash_at_every_position, evening, made
from tests.http.server import serving
from tests.http.wire import AUDITOR
from tests.provider import examples
from tests.provider.test_tables import HOUSE, code_of, stories
from tests.rules.test_properties import answer, histories, houses

SOME = settings(max_examples=50)


class Dial:
    """A wall clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


seconds = st.integers(-5, 5)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "book.db"
    evening(path)
    return path


@pytest.fixture(scope="module")
def audited(kept: Path) -> Path:
    path = kept.parent / "audit.db"
    with open_source(str(kept)) as source:
        catch_up(path, source)
    return path


def opened(path: Path) -> Any:
    return closing(open_store(f"sqlite:///{path}", IN_TRANSACTION, read_only=True))


def play(book: Book, dial: Dial, history: list[Any], jumps: list[int]) -> None:
    controls.fund(book, amount="100")
    controls.fund(book, user=controls.OTHER_PLAYER, amount="50")
    for number, command in enumerate(history):
        dial.at += timedelta(seconds=jumps[number % len(jumps)])
        answer(book, command)


@SOME
@given(houses, histories, st.lists(seconds, min_size=1, max_size=8))
def test_a_balance_as_of_every_position_is_what_a_replay_from_nothing_gives(
    tmp_path_factory: pytest.TempPathFactory, house: House, history: list[Any], jumps: list[int]
) -> None:
    dial = Dial()
    book = Book(open_store("memory://", IN_TRANSACTION), house, now=dial)
    play(book, dial, history, jumps)
    with closing(made(tmp_path_factory.mktemp("as_of") / "audit.db", book.store)) as db:
        for (user, currency), held in cash_at_every_position(book.store).items():
            assert [cash(db, user, currency, at) for at in range(len(held))] == held
        check_times(db, book.store)
        check_rounds(db, book)
    book.close()


def cash(db: Database, user: str, currency: str, at: int) -> int | None:
    try:
        return as_of.balance(db, user, currency, at=at).cash
    except NotThere:
        return None


def check_times(db: Database, store: Any) -> None:
    recorded = [body["recorded_at"] for _, _, body in bodies(store)]
    moments = {datetime.fromisoformat(each) for each in recorded}
    for moment in moments | {each + timedelta(seconds=s) for each in moments for s in (-0.5, 0.5)}:
        beginning = 0
        while beginning < len(recorded) and recorded[beginning] <= text(moment):
            beginning += 1
        assert as_of.position_at(db, text(moment)) == beginning


def check_rounds(db: Database, book: Book) -> None:
    for provider, round_id, *_ in book.store.rows("rounds"):
        last = book.round(provider, round_id)
        assert last
        for version in range(1, last.version + 1):
            state = book.round(provider, round_id, at=version)
            found = as_of.round_as_of(db, provider, round_id, at=version)
            assert state
            assert (found.status, found.staked, found.won, found.reversed, found.version) == (
                *(state.status, state.staked, state.won, state.reversed),
                version,
            )
            assert (found.user, found.game, found.opened_at) == (
                *(state.user, state.game),
                state.opened_at,
            )
            told = {(each.kind, each.reference): each for each in found.transactions}
            bets = {
                name: (each.amount, each.transaction_id, each.reversal or None)
                for (kind, name), each in told.items()
                if kind == "bet" and each.state in {"placed", "cancelled", "refunded"}
            }
            assert bets == {
                name: (bet.stake, bet.transaction_id, bet.reversal)
                for name, bet in state.bets.items()
            }
            assert {key: told[key].amount for key in told if key[0] != "bet"} == {
                key: result.amount for key, result in state.results.items()
            }
        assert as_of.round_as_of(db, provider, round_id) == found


@SOME
@given(stories)
def test_a_providers_round_as_of_every_version_is_what_a_replay_gives(
    tmp_path_factory: pytest.TempPathFactory, story: list[Any]
) -> None:
    book = examples.new_book("memory://", now=examples.Clock(), house=HOUSE)
    for step in [examples.place_bet(reference="z"), *story]:
        code_of(book, step)
    path = tmp_path_factory.mktemp("as_of") / "audit.db"
    with closing(made(path, book.store, party="provider")) as db:
        last = book.round(examples.LM, controls.ROUND).version
        for version in range(1, last + 1):
            state = book.round(examples.LM, controls.ROUND, at=version)
            found = as_of.round_as_of(db, examples.LM, controls.ROUND, at=version)
            back = sum(bet.amount for bet in state.standing("refunding", "refunded"))
            assert (found.status, found.staked, found.won, found.reversed) == (
                *(state.status, state.staked, state.won),
                back,
            )
            told = {(each.kind, each.reference): each for each in found.transactions}
            assert {name: told["bet", name].state for name in state.bets} == {
                name: bet.standing for name, bet in state.bets.items()
            }
            assert {name: told["result", name].state for name in state.results} == {
                name: "confirmed" if result.confirmed else "requested"
                for name, result in state.results.items()
            }
    book.close()


def test_a_clock_that_was_turned_back_hides_nothing_that_was_recorded_before(
    tmp_path: Path,
) -> None:
    dial = Dial()
    book = Book(open_store("memory://", IN_TRANSACTION), now=dial)
    controls.fund(book, amount="10")
    dial.at = NOON + timedelta(hours=1)
    book.submit(controls.deposit(reference="ahead", amount="1"))
    dial.at = NOON
    book.submit(controls.deposit(reference="turned back", amount="1"))
    with closing(made(tmp_path / "audit.db", book.store)) as db:
        at = {
            hour: as_of.position_at(db, text(NOON + timedelta(hours=hour))) for hour in (-1, 0, 1)
        }
    assert at == {-1: 0, 0: 2, 1: 4}
    book.close()


# histories

NAMES = st.sampled_from(
    ["a", "a-b", 'a"b', "€", "* OR a", "née", "NEE", "a b", "…", "'", "-", "a/b", "%", "数", "🎲"]
)


@SOME
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=5))
@example([("€", "…", "🎲")])
def test_a_history_is_every_event_that_names_it_whatever_it_is_called(
    tmp_path_factory: pytest.TempPathFactory, named: list[tuple[str, str, str]]
) -> None:
    book = Book(open_store("memory://", IN_TRANSACTION))
    for user, round_id, reference in named:
        controls.fund(book, user=user, amount="10")
        bet = controls.place_bet(user=user, round_id=round_id, reference=reference, amount="1")
        answer(book, bet)
    told = bodies(book.store)
    with closing(made(tmp_path_factory.mktemp("as_of") / "audit.db", book.store)) as db:
        for name in {each for one in named for each in one} | {"nobody"}:
            expected = [
                position
                for position, _, body in told
                if name in (body.get("user"), body.get("round"), body.get("reference"))
            ]
            assert [each.position for each in as_of.history(db, name)] == expected
    book.close()


def test_a_history_says_what_came_to_the_player_and_what_was_in_the_wallet_then(
    tmp_path: Path,
) -> None:
    book = Book(open_store("memory://", IN_TRANSACTION))
    controls.fund(book, amount="10")
    placed = book.submit(controls.place_bet(amount="4"))
    book.submit(controls.cancel())
    with closing(made(tmp_path / "audit.db", book.store)) as db:
        by_reference = as_of.history(db, controls.REFERENCE)
        by_transaction = as_of.history(db, placed.transaction_id)
    assert [(each.topic, each.amount, each.cash, each.scale) for each in by_reference] == [
        ("BetPlaced", -400, 600, 2),
        ("BetCancelled", 400, 1000, 2),
    ]
    assert by_transaction == by_reference[:1]
    book.close()


def test_a_player_of_a_provider_has_a_history_with_every_send(tmp_path: Path) -> None:
    book = examples.new_book("memory://", now=examples.Clock())
    book.submit(examples.place_bet())
    examples.answer(book, examples.LM, "bet", controls.REFERENCE)
    path = tmp_path / "audit.db"
    with closing(made(path, book.store)) as db:
        topics = [each.topic for each in as_of.history(db, controls.PLAYER)]
        with pytest.raises(NotThere, match="holds no wallets"):
            as_of.balance(db, controls.PLAYER, "USD", at=1)
    assert topics == ["RoundOpened", "BetRequested", "SendStarted", "SendEnded", "BetAccepted"]
    book.close()


# replay


def test_a_replay_is_the_stored_bytes(kept: Path, audited: Path) -> None:
    with opened(kept) as store:
        records = all_records(store)
    with closing(open_audit_file(audited)) as db:
        lines = list(as_of.replay(db, after=3, upto=9))
        assert as_of.head(db) == ("operator", records[-1].id, records[-1].hash.hex())
    assert [(e.position, e.stream, e.version, e.topic, e.hash, e.state) for e in lines] == [
        (r.id, r.originator_id, r.originator_version, r.topic, r.hash.hex(), r.state.decode())
        for r in records[3:9]
    ]


# commands


def ask(command: Any, *words: str, **said: Any) -> Any:
    return CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False, **said)


def told(command: Any, *words: str) -> Any:
    done = ask(command, *words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(params=["audit file", "store", "sqlite url"])
def where(request: pytest.FixtureRequest, kept: Path, audited: Path) -> str:
    known = {"audit file": audited, "store": kept, "sqlite url": f"sqlite:///{kept}"}
    return str(known[request.param])


def test_balance_answers_from_a_file_and_from_a_book(kept: Path, where: str) -> None:
    with opened(kept) as store:
        held = cash_at_every_position(store)[controls.PLAYER, "USD"]
        stored = bodies(store)
    player = (controls.PLAYER, "USD", "--from", where)
    last = len(stored)
    now = told(balance, *player)
    then = told(balance, *player, "--at", "70")
    by_time = told(balance, *player, "--as-of", stored[-1][2]["recorded_at"])

    assert held[-1] is not None
    assert held[70] is not None
    assert (now["cash"], now["position"]) == (to_text(held[-1], 2), last)
    assert (then["cash"], then["position"]) == (to_text(held[70], 2), 70)
    assert by_time == now
    assert now["changed_at"] <= last
    shown = CliRunner().invoke(balance, [*player])
    assert to_text(held[-1], 2) in shown.stdout


def test_a_time_says_its_zone_and_a_date_is_its_midnight(audited: Path) -> None:
    player = (controls.PLAYER, "USD", "--from", str(audited), "--as-of")
    assert told(balance, *player, "2999-01-01") == told(balance, *player, "2999-01-01T01:00+01:00")
    early = CliRunner().invoke(balance, [*player, "2000-01-01"])
    assert early.exit_code == 1
    assert "has no wallet in USD at position 0" in early.stderr
    for wrong in ("yesterday", "2026-11-21T16:00:00", "0001-01-01T00:00+14:00"):
        refused = CliRunner().invoke(balance, [*player, wrong])
        assert refused.exit_code == 2
        assert "is neither a date nor a time with its offset" in refused.stderr


def test_a_question_that_cannot_be_asked_is_one_sentence(audited: Path) -> None:
    player = [controls.PLAYER, "USD", "--from", str(audited)]
    both = CliRunner().invoke(balance, [*player, "--at", "1", "--as-of", "2999-01-01"])
    beyond = CliRunner().invoke(balance, [*player, "--at", "100000"])
    unknown = CliRunner().invoke(round_, ["LuckyMonaco", "none", "--from", str(audited)])

    assert (both.exit_code, beyond.exit_code, unknown.exit_code) == (2, 1, 1)
    assert "give either --as-of or --at" in both.stderr
    assert "the book ends at" in beyond.stderr
    assert "there is no round none of LuckyMonaco" in unknown.stderr
    with pytest.raises(StoreUnfit):
        ask(balance, controls.PLAYER, "USD", "--from", "nothing.db")


def test_a_number_that_no_store_counts_to_is_behind_the_end(kept: Path, where: str) -> None:
    beyond = str(2**63)
    with opened(kept) as store:
        provider, round_id, *_ = next(iter(store.rows("rounds")))

    for verb, arguments, code, said in (
        (balance, [controls.PLAYER, "USD", "--at", beyond], 1, "the book ends at"),
        (round_, [provider, round_id, "--at", beyond], 1, "ends at version"),
        (replay, ["--from-position", beyond, "--json"], 0, ""),
        (replay, ["--to", beyond, "--json"], 0, "WalletOpened"),
    ):
        done = CliRunner().invoke(verb, [*arguments, "--from", where])
        assert (done.exit_code, said in done.output) == (code, True)


def test_round_answers_as_of_a_version(kept: Path, where: str) -> None:
    with opened(kept) as store:
        provider, round_id = next(
            row[:2] for row in store.rows("rounds") if row[4] == "Cancelled" and row[5]
        )
    named = (provider, round_id, "--from", where)
    now, then = told(round_, *named), told(round_, *named, "--at", "2")

    assert (now["status"], then["status"], then["version"]) == ("Cancelled", "InProgress", 2)
    assert then["transactions"][0]["state"] == "placed"
    assert now["transactions"][0]["state"] in {"cancelled", "refunded"}
    assert now["staked"] == now["reversed"] == then["staked"]
    shown = CliRunner().invoke(round_, [*named])
    assert now["transactions"][0]["reference"] in shown.stdout


def test_history_lists_a_round(kept: Path, where: str) -> None:
    with opened(kept) as store:
        round_id = store.rows("rounds")[0][1]
        expected = [
            position for position, _, body in bodies(store) if body.get("round") == round_id
        ]
    named = (round_id, "--from", where)
    assert [entry["position"] for entry in told(history, *named)] == expected
    assert round_id in CliRunner().invoke(history, [*named]).stdout


def test_replay_prints_a_line_an_event(kept: Path, where: str) -> None:
    with opened(kept) as store:
        records = all_records(store)[9:20]
    done = ask(replay, "--from", where, "--from-position", "10", "--to", "20")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    whole = ask(replay, "--from", where).stdout.splitlines()

    assert [(line["position"], line["topic"], line["body"]) for line in lines] == [
        (record.id, record.topic, json.loads(record.state)) for record in records
    ]
    assert all(r.state.decode() in line for r, line in zip(records, whole[9:20], strict=True))
    shown = CliRunner().invoke(replay, ["--from", where, "--to", "3"])
    assert "WalletOpened" in shown.stdout


def test_nothing_in_a_book_reaches_the_terminal_but_text(tmp_path: Path) -> None:
    user = "bad\x1b[2J\rguy"
    path = tmp_path / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        controls.fund(book, user=user)
        book.submit(controls.place_bet(user=user, amount="1.00"))
    with open_source(str(path)) as source:
        catch_up(tmp_path / "audit.db", source)

    asked = ["--from", str(tmp_path / "audit.db")]
    for verb, arguments in (
        ("history", [*asked, controls.REFERENCE]),
        ("balance", [*asked, user, "USD"]),
        ("round", [*asked, controls.PROVIDER, controls.ROUND]),
        ("replay", asked),
        ("report", ["daily-wallets", str(tmp_path / "audit.db")]),
    ):
        shown = CliRunner().invoke(roundbook, [verb, *arguments])
        assert (shown.exit_code, "\x1b" in shown.stdout) == (0, False)
        assert "bad\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}guy" in shown.stdout

    seals.behind(path, "update wallets set cash = 1")
    told = CliRunner().invoke(roundbook, ["verify", str(path)])
    assert (told.exit_code, "\x1b" in told.output, "bad" in told.output) == (1, False, True)


def test_a_broken_book_answers_nothing(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    path.write_bytes(kept.read_bytes())
    seals.behind(path, "delete from stored_events where position = 9")
    done = CliRunner().invoke(balance, [controls.PLAYER, "USD", "--from", str(path)])

    assert done.exit_code == 1
    assert "position 9: is missing" in done.stderr


def test_a_service_is_asked_over_http(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.fund(controls.PLAYER, amount="12.50")
        url = f"http://127.0.0.1:{server.port}"
        as_auditor = ("--from", url, "--token", AUDITOR)
        found = told(balance, controls.PLAYER, "USD", *as_auditor)
        lines = ask(replay, *as_auditor).stdout.splitlines()
        events = server.events()
    assert found["cash"] == "12.50"
    assert [json.loads(line) for line in lines] == events


def test_only_an_audit_file_is_opened_as_one(kept: Path, tmp_path: Path) -> None:
    for path in (kept, tmp_path / "none.db"):
        with pytest.raises(AuditFileUnfit, match="is no audit file"):
            open_audit_file(path)
