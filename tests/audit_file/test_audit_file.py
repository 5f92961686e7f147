import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import StoredEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database
from sqlite_utils.utils import sqlite3

from ledger.operator.events import TYPES
from ledger.operator.house import House
from ledger.sealing import Sealer
from ledger.store import StoreUnfit, open_store
from ledger.store.chain import Head
from projections import browse, journal
from projections.audit_file import (
    AuditFileUnfit,
    Contradiction,
    is_audit_file,
    open_audit_file,
)
from scripts.audit_file import audit_file, catch_up
from scripts.cli import roundbook
from scripts.source import open_source
from tests import auditor, controls, seals
from tests.audit_file import (
    MONEY,
    NOON,
    Held,
    all_records,
    bodies,
    check_file,
    dump,
    evening,
    made,
    rows,
)
from tests.http.server import serving
from tests.http.wire import AUDITOR, ROOT
from tests.provider import examples
from tests.provider.test_tables import Histories
from tests.rules.test_properties import a_book, answer, histories, houses
from tests.verify.books import behind_its_back, rehash

SOME = settings(max_examples=60)
FEW = settings(max_examples=15)


@pytest.fixture(scope="module")
def signer() -> Any:
    return seals.new_signer()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, signer: Any) -> Path:
    path = tmp_path_factory.mktemp("kept") / "book.db"
    evening(path, seal=signer)
    return path


@pytest.fixture
def book_path(tmp_path: Path, kept: Path) -> Path:
    path = tmp_path / "book.db"
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(path)) as new:
        old.backup(new)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def audited(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audited") / "audit.db"
    copy(path, kept)
    return path


def copy(out: Path, book: Path, **said: Any) -> Any:
    with open_source(str(book)) as source:
        return catch_up(out, source, now=lambda: NOON, **said)


def new_file(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("file") / "audit.db"


# an operator's book


@SOME
@given(houses, histories)
def test_every_row_is_what_the_stored_text_alone_says(
    tmp_path_factory: pytest.TempPathFactory, house: Any, history: list[Any]
) -> None:
    path = new_file(tmp_path_factory)
    with a_book(house) as book:
        for command in history:
            answer(book, command)
        with closing(made(path, book.store)) as db:
            check_events(db, book.store)
            check_states(db, book.store)
            check_transactions(db, book.store)
            check_journal(db, book.store)
    check_file(path)


def check_events(db: Database, store: Any) -> None:
    records = all_records(store)
    chain = [hashed.hex() for hashed in auditor.chain(records)]
    columns = "position, stream, version, topic, state, hash, previous_hash"
    assert rows(db, "events", columns) == [
        (r.id, r.originator_id, r.originator_version, r.topic, r.state.decode(), own, previous)
        for r, own, previous in zip(records, chain, ["0" * 64, *chain], strict=False)
    ]
    names = ("recorded_at", "provider", "round", "user", "currency", "reference", "transaction_id")
    assert rows(db, "events", "position, " + ", ".join(names)) == [
        (position, *(body.get(name) for name in names)) for position, _, body in bodies(store)
    ]
    assert rows(db, "audit", "party, position, hash") == [
        ("operator", len(records), store.head().hash.hex())
    ]


def check_states(db: Database, store: Any) -> None:
    derived = auditor.derive(all_records(store))
    assert rows(db, "wallets", order="user, currency") == derived["wallets"]
    columns = "provider, round, user, currency, status, staked, won, reversed, opened_at"
    assert rows(db, "rounds", columns, "provider, round") == derived["rounds"]
    found = db.execute(
        "select r.provider, r.kind, r.reference, e.stream, e.version, coalesce(e.transaction_id, '')"
        " from reference_index r join events e on e.position = r.position order by 1, 2, 3"
    )
    assert found.fetchall() == derived["reference_index"]
    last: dict[str, Any] = {}
    for position, record, body in bodies(store):
        if record.originator_id.startswith("round/"):
            last[body["provider"], body["round"]] = (record.originator_version, position)
    assert {
        row[:2]: row[2:] for row in rows(db, "rounds", "provider, round, version, position")
    } == last


def check_transactions(db: Database, store: Any) -> None:
    told = bodies(store)
    reversed_as = {
        (body["provider"], body["reference"]): (topic.removeprefix("Bet").lower(), position)
        for position, record, body in told
        if (topic := record.topic) in {"BetCancelled", "BetRefunded"}
    }
    bets = {
        (body["provider"], body["reference"]): position
        for position, record, body in told
        if record.topic == "BetPlaced"
    }
    said = ("provider", "round", "user", "currency", "reference")
    money = (*said, "amount", "scale", "transaction_id")
    expected: dict[str, list[Any]] = defaultdict(list)
    for position, record, body in told:
        key = (body.get("provider"), body.get("reference"))
        of = partial(said_of, position, body)
        match record.topic:
            case "BetPlaced":
                status = reversed_as.get(key, ("placed",))[0]
                expected["bets"].append((*of((*money, "game")), status))
            case "ResultRecorded":
                expected["results"].append(of((*money, "kind")))
            case "BetCancelled" | "BetRefunded":
                row = (*of((*money, "by")), body.get("win", 0), bets[key])
                expected["reversals"].append(row)
            case "PromoPaid":
                names = (*said, "amount", "transaction_id", "campaign", "campaign_type")
                expected["promos"].append(of([name for name in names if name != "round"]))
            case "TombstoneRecorded":
                expected["tombstones"].append(of((*said, "transaction_id", "game", "by")))
            case "BetRefused" | "LateBetRefused":
                expected["refused"].append(of((*said, "amount", "cash")))
    plain = f"position, {', '.join(said)}"
    moved = f"position, {', '.join(money)}"
    assert rows(db, "bets", f"{moved}, game, status") == expected["bets"]
    assert rows(db, "results", f"{moved}, kind") == expected["results"]
    assert rows(db, "reversals", f"{moved}, by, win, bet") == expected["reversals"]
    assert rows(db, "tombstones", f"{plain}, transaction_id, game, by") == expected["tombstones"]
    assert rows(db, "refused", f"{plain}, amount, cash") == expected["refused"]
    columns = "position, provider, user, currency, reference, amount, transaction_id, campaign"
    assert rows(db, "promos", f"{columns}, campaign_type") == expected["promos"]


def said_of(position: int, body: dict[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    return (position, *(body.get(name) for name in names))


def check_journal(db: Database, store: Any) -> None:
    moves = {
        position: (body["user"], body["currency"], auditor.movement(record.topic, body))
        for position, record, body in bodies(store)
        if record.topic in MONEY
    }
    balances: Counter[str] = Counter()
    of_position: dict[int, list[Any]] = defaultdict(list)
    for position, account, currency, amount, balance in rows(
        db, "postings", "position, account, currency, amount, balance"
    ):
        balances[account] += amount
        assert balance == balances[account]
        of_position[position].append((account, currency, amount))
    assert of_position.keys() == moves.keys()
    for position, (user, currency, moved) in moves.items():
        (first, money, gives), (second, same, takes) = of_position[position]
        assert gives + takes == 0
        assert money == same == currency
        assert (journal.player(user, currency), moved) in {(first, gives), (second, takes)}
    assert dict(rows(db, "accounts", "account, balance")) == dict(balances)
    cash = {journal.player(*row[:2]): row[2] for row in rows(db, "wallets", "user, currency, cash")}
    assert {name: balances[name] for name in cash} == cash
    revenue = dict(rows(db, "gross_gaming_revenue", "provider || currency, revenue"))
    in_rounds: Counter[str] = Counter()
    for provider, currency, balance in rows(
        db, "accounts where kind = 'round'", "provider, currency, balance"
    ):
        in_rounds[provider + currency] += balance
    assert {**in_rounds} == revenue
    sums = db.execute("select sum(balance) from trial_balance group by currency").fetchall()
    assert all(total == 0 for (total,) in sums)


@pytest.mark.parametrize("event", [cls for cls in TYPES if "cash_after" in cls.__struct_fields__])
def test_every_event_that_moves_money_posts_it_from_one_account_to_another(event: Any) -> None:
    named = {
        "player/1/EUR",
        "cashier/EUR",
        "round/LuckyMonaco/7%2F8",
        "promo/LuckyMonaco/summer/EUR",
    }
    values = {
        "user": "1",
        "currency": "EUR",
        "provider": "LuckyMonaco",
        "round": "7/8",
        "campaign": "summer",
        "amount": 5,
    }
    fields = msgspec.structs.fields(event)
    said = event(**{field.name: values.get(field.name) for field in fields if field.required})
    ours, theirs = journal.postings(said)

    assert ours.account == "player/1/EUR"
    assert ours.amount == -theirs.amount != 0
    assert theirs.account in named
    account = journal.account(theirs, scale=2)
    assert (account.account, account.currency) == (theirs.account, "EUR")
    assert account.round in (None, "7/8")
    assert account.campaign in (None, "summer")


@pytest.mark.parametrize("batch", [1, 1000])
def test_what_all_players_paid_in_may_be_more_than_an_integer_of_the_file_holds(
    out: Path, batch: int
) -> None:
    with a_book(House(scales={"BIG": 12})) as book:
        for number in range(12):
            controls.fund(book, user=f"{number}", currency="BIG", amount="1000000")
        catch_up(out, Held(book.store), batch=batch, now=lambda: NOON)

    with closing(open_audit_file(out)) as db:
        postings = rows(
            db, "postings where account = 'cashier/BIG'", "position, balance", "position"
        )
        assert [int(balance) for _, balance in postings] == [-n * 10**18 for n in range(1, 13)]
        assert rows(db, "accounts where account = 'cashier/BIG'", "balance") == [
            (f"{-12 * 10**18}",)
        ]
        shown = browse.postings(db, postings[-1][0]).dicts
        assert [row["balance"] for row in shown] == [f"-12000000.{'0' * 12}", f"1000000.{'0' * 12}"]
        balances = {row[:2]: row[2] for row in rows(db, "trial_balance", "currency, kind, balance")}
        assert (balances["BIG", "cashier"], balances["BIG", "player"]) == (None, None)
        assert balances["USD", "cashier"] == -balances["USD", "player"] != 0
    check_file(out)


def test_the_views_speak_the_glossary(audited: Path) -> None:
    with closing(open_audit_file(audited)) as db:
        assert set(db.view_names()) == {
            "journal",
            "player_statement",
            "open_rounds",
            "gross_gaming_revenue",
            "trial_balance",
            "reversed_bets",
        }
        statement = rows(
            db,
            f"player_statement where user = '{controls.PLAYER}'",
            "cash_before, amount, cash_after, what",
            "position",
        )
        assert statement[0] == (0, 100000, 100000, "deposit")
        assert all(before + amount == after for before, amount, after, _ in statement)
        assert all(one[2] == other[0] for one, other in pairwise(statement))
        assert {row[3] for row in statement} >= {"stake", "win", "reversal", "promo", "withdrawal"}
        journaled = rows(db, "journal", "position, account, amount", "position, account")
        assert journaled == rows(db, "postings", "position, account, amount", "position, account")
        open_ = rows(db, "open_rounds", "provider, round")
        assert open_ == rows(db, "rounds where status = 'InProgress'", "provider, round")
        assert db.table("reversals").count == len(rows(db, "reversed_bets")) > 0


def test_a_balance_at_a_position_is_one_step_in_an_index(audited: Path) -> None:
    with closing(open_audit_file(audited)) as db:
        plan = db.execute(
            "explain query plan select balance from postings where account = ? and position <= ?"
            " order by position desc limit 1",
            (journal.player(controls.PLAYER, "USD"), 100),
        ).fetchall()
    assert [row[3] for row in plan] == [
        "SEARCH postings USING PRIMARY KEY (account=? AND position<?)"
    ]


# a provider's book


class AuditedHistories(Histories):
    def teardown(self) -> None:
        try:
            with TemporaryDirectory() as folder:
                check_provider(Path(folder) / "audit.db", self.store)
        finally:
            super().teardown()


TestAuditedHistories = AuditedHistories.TestCase
TestAuditedHistories.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


def check_provider(path: Path, store: Any) -> None:
    with closing(made(path, store, party="provider")) as db:
        for projection in store.projections:
            columns = ", ".join([*projection.KEY, *projection.COLUMNS])
            found = rows(db, projection.TABLE, columns, ", ".join(projection.KEY))
            assert found == [tuple(row) for row in store.rows(projection.TABLE)]
        check_provider_rows(db, store)
    check_file(path)


KIND = re.compile("Bet|Result|End|Cancel|Refund")
STANDINGS = {
    "BetRequested": "requested",
    "BetAccepted": "accepted",
    "BetDeclined": "declined",
    "BetGivenUp": "given-up",
    "CancelConfirmed": "cancelled",
    "RefundRequested": "refunding",
    "RefundConfirmed": "refunded",
}


def check_provider_rows(db: Database, store: Any) -> None:
    users: dict[Any, str] = {}
    rounds: dict[Any, str] = {}
    bets: dict[Any, list[Any]] = {}
    results: dict[Any, list[Any]] = {}
    backs: dict[Any, list[Any]] = {}
    sends: dict[Any, list[Any]] = {}
    seen = []
    for position, record, body in bodies(store):
        topic, key = record.topic, (body.get("operator"), body.get("reference"))
        if topic == "RoundOpened":
            users[body["operator"], body["round"]] = body["user"]
        match topic:
            case "BetRequested":
                bets[key] = [body["round"], body["amount"], "", position]
            case "ResultRequested":
                results[key] = [body["round"], body["amount"], None, position]
            case "ResultConfirmed":
                results[key][2] = body["recorded_at"]
            case "CancelRequested" | "RefundRequested":
                kind = topic.removesuffix("Requested").lower()
                backs[key] = [kind, body.get("amount"), body.get("by"), None, position]
            case "CancelConfirmed" | "RefundConfirmed":
                backs[key][3] = body["recorded_at"]
            case "SendStarted":
                sends[*key, body["kind"], body["attempt"]] = [body["worker"], None, None, None]
            case "SendEnded":
                said = [body["outcome"], body.get("code"), body["recorded_at"]]
                sends[*key, body["kind"], body["attempt"]][1:] = said
        if topic in STANDINGS:
            bets[key][2] = STANDINGS[topic]
        kind = body.get("kind") or (key[1] and KIND.match(topic).group().lower())
        if "round" in body:
            rounds[kind, *key] = body["round"]
        place = body.get("round") or rounds.get((kind, *key))
        seen.append((position, key[0], place, users.get((key[0], place)), kind, key[1]))
    assert rows(db, "events", "position, operator, round, user, kind, reference") == seen
    by_key = "operator, reference"
    assert keyed(db, "bets", f"{by_key}, round, amount, standing, position") == bets
    assert keyed(db, "results", f"{by_key}, round, amount, confirmed_at, position") == results
    columns = f"{by_key}, kind, amount, by, confirmed_at, position"
    assert keyed(db, "reversals", columns) == backs
    columns = f"{by_key}, kind, attempt, worker, outcome, code, ended_at"
    assert keyed(db, "sends", columns, width=4) == sends


def keyed(db: Database, table: str, columns: str, width: int = 2) -> dict[Any, list[Any]]:
    return {row[:width]: list(row[width:]) for row in rows(db, table, columns)}


def test_a_provider_has_its_views_too(tmp_path: Path) -> None:
    book = examples.new_book("memory://", now=examples.Clock())
    for reference in ("a", "b"):
        book.submit(examples.place_bet(reference=reference))
    examples.answer(book, examples.LM, "bet", "a")
    with closing(made(tmp_path / "audit.db", book.store)) as db:
        assert rows(db, "open_bets", "reference, amount, currency, scale") == [
            ("a", 10001, "USD", 2)
        ]
        assert rows(db, "undelivered", "kind, reference, state") == [("bet", "b", "waiting")]
        assert rows(db, "open_rounds", "round, staked") == [(controls.ROUND, 10001)]
        assert rows(db, "gross_gaming_revenue", "operator, staked, won, reversed, revenue") == [
            (examples.LM, 10001, 0, 0, 10001)
        ]
    book.close()


# continuing


@FEW
@given(houses, st.lists(st.tuples(histories, st.integers(1, 7)), min_size=1, max_size=5))
def test_a_file_that_is_continued_in_small_steps_is_the_one_made_at_once(
    tmp_path_factory: pytest.TempPathFactory, house: Any, parts: list[Any]
) -> None:
    steps, once = new_file(tmp_path_factory), new_file(tmp_path_factory)
    with a_book(house) as book:
        for history, batch in parts:
            for command in history:
                answer(book, command)
            catch_up(steps, Held(book.store), batch=batch, now=lambda: NOON)
        catch_up(once, Held(book.store), now=lambda: NOON)
    assert dump(steps) == dump(once)
    check_file(steps)


def test_a_file_is_brought_to_a_position_and_then_on(kept: Path, out: Path) -> None:
    part = copy(out, kept, upto=57)
    with closing(open_audit_file(out)) as db:
        assert rows(db, "events", "max(position)") == [(57,)]
    whole = copy(out, kept)

    assert (part.position, part.added) == (57, 57)
    assert part.sealed <= 57
    assert part.position + whole.added == whole.position
    assert (whole.seals, whole.sealed) == (4, whole.position)


def test_a_file_that_is_up_to_date_stays_as_it_is(kept: Path, out: Path) -> None:
    copy(out, kept)
    before = out.read_bytes()
    again = copy(out, kept)

    assert again.added == 0
    assert out.read_bytes() == before


def test_who_is_overtaken_by_another_that_continues_the_file_says_so_and_keeps_no_contradiction(
    kept: Path, out: Path
) -> None:
    with pytest.raises(StoreUnfit, match="another process has continued the file"):
        copy(out, kept, batch=9, on_position=lambda *_: copy(out, kept))

    assert copy(out, kept).added == 0
    with closing(sqlite3.connect(out)) as db:
        assert db.execute("select * from contradictions").fetchall() == []


class Grows(Held):
    """A book that grows, and is sealed, behind each look at it."""

    def __init__(self, book: Any, signer: Any) -> None:
        super().__init__(book.store)
        self._book, self._sealer, self._numbers = book, Sealer(book.store, signer), count()

    def _grow(self) -> None:
        bet = str(next(self._numbers))
        self._book.submit(controls.place_bet(reference=bet, round_id=bet, amount="1.00"))
        assert self._sealer.seal()

    def head(self) -> Any:
        found = super().head()
        self._grow()
        return found

    def seals(self) -> Any:
        found = super().seals()
        self._grow()
        return found


def test_a_book_that_is_sealed_while_it_is_followed_contradicts_nothing(
    out: Path, signer: Any
) -> None:
    with closing(controls.new_book("memory://")) as book:
        controls.fund(book)
        source = Grows(book, signer)
        assert [catch_up(out, source, now=lambda: NOON).position for _ in range(3)] == [4, 8, 12]


SLOWLY = """
import sys
from pathlib import Path
from scripts.audit_file import catch_up
from scripts.source import open_source

with open_source(sys.argv[2]) as source:
    catch_up(Path(sys.argv[1]), source, batch=9, on_position=lambda p, _: print(p, flush=True))
"""


def test_killed_at_any_point_and_continued_it_is_the_one_made_at_once(
    kept: Path, out: Path, tmp_path: Path
) -> None:
    dice = random.Random(7)
    done = False
    kills = 0
    while not done:
        with subprocess.Popen(
            [sys.executable, "-c", SLOWLY, str(out), str(kept)],
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            for _ in range(dice.randint(0, 9)):
                process.stdout.readline()
            if kills < 8:
                process.send_signal(signal.SIGKILL)
            process.stdout.read()
        done = process.returncode == 0
        kills += not done
        if out.exists() and is_audit_file(out):
            check_file(out)
    once = tmp_path / "once.db"
    copy(once, kept)
    strip = {"audit"}
    found, expected = dump(out), dump(once)

    assert kills > 0
    assert {k: v for k, v in found.items() if k not in strip} == {
        k: v for k, v in expected.items() if k not in strip
    }
    assert found["audit"][0][3:5] == expected["audit"][0][3:5]


def test_a_transaction_that_was_cut_short_is_rolled_back_by_whoever_continues(
    kept: Path, out: Path, tmp_path: Path
) -> None:
    copy(out, kept, upto=50)
    before = dump(out)
    cut = tmp_path / "cut.db"
    with closing(sqlite3.connect(out, isolation_level=None)) as connection:
        connection.execute("pragma cache_size = 1")
        connection.execute("begin")
        connection.execute("update events set state = state || zeroblob(4000)")
        for suffix in ("", "-journal"):
            Path(f"{cut}{suffix}").write_bytes(Path(f"{out}{suffix}").read_bytes())
        connection.execute("rollback")
    assert cut.read_bytes() != out.read_bytes()
    with pytest.raises(AuditFileUnfit, match="continue it with roundbook audit-file"):
        open_audit_file(cut)
    copy(cut, kept, upto=50)
    assert dump(cut) == before


def test_a_file_that_was_only_begun_is_made(kept: Path, out: Path) -> None:
    out.touch()
    assert copy(out, kept).added > 0


# what is refused


def test_a_book_that_is_shorter_than_the_file_is_refused(book_path: Path, out: Path) -> None:
    copy(out, book_path)
    seals.behind(book_path, "delete from stored_events where position > 100")
    with pytest.raises(Contradiction, match="position 101: is gone") as found:
        copy(out, book_path)
    assert found.value.position == 101


@pytest.mark.parametrize("place", [1, 2, 77, 120])
def test_a_book_whose_past_was_written_anew_is_refused_and_the_place_named(
    book_path: Path, out: Path, place: int
) -> None:
    copy(out, book_path, upto=120)
    before = dump(out)
    seals.rechain(book_path, after=place - 1, nothing="new")
    with pytest.raises(Contradiction, match="the past was rewritten") as found:
        copy(out, book_path)
    assert found.value.position == place
    after = dump(out)
    ((number, _, position, what),) = after.pop("contradictions")
    assert (number, position) == (1, place)
    assert "the past was rewritten" in what
    assert {**after, "contradictions": []} == before


def test_what_a_book_contradicts_is_kept_once_as_long_as_it_is_the_same(
    book_path: Path, out: Path
) -> None:
    copy(out, book_path, upto=120)
    seals.rechain(book_path, after=76, nothing="new")
    for _ in range(3):
        with pytest.raises(Contradiction):
            copy(out, book_path)
    assert [row[2] for row in dump(out)["contradictions"]] == [77]


def tampered(text: str, place: int) -> tuple[str, Any]:
    return (text, {"place": place})


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "update stored_events set state = replace(state, '1', '2') where position = :place",
            "its hash",
        ),
        ("update stored_events set topic = 'BetCancelled' where position = :place", "its hash"),
        ("update stored_events set stream = 'elsewhere' where position = :place", "its hash"),
        ("update stored_events set hash = zeroblob(32) where position = :place", "its hash"),
        ("delete from stored_events where position = :place", "is missing"),
    ],
)
def test_an_event_that_was_tampered_with_is_named_and_what_came_before_it_is_kept(
    book_path: Path, out: Path, statement: str, what: str
) -> None:
    seals.behind(book_path, tampered(statement, 90))
    with pytest.raises(Contradiction, match=f"position 90: {what}"):
        copy(out, book_path, batch=10)
    with closing(open_audit_file(out)) as db:
        assert rows(db, "audit", "position") == [(89,)]
    check_file(out)


def test_events_that_changed_places_are_named(book_path: Path, out: Path) -> None:
    swap = "update stored_events set position = :to where position = :place"
    steps = [(90, 10**6), (91, 90), (10**6, 91)]
    seals.behind(book_path, *[(swap, {"place": place, "to": to}) for place, to in steps])
    with pytest.raises(Contradiction, match="position 90: its hash"):
        copy(out, book_path)


def test_an_event_that_was_slipped_in_is_named(book_path: Path, out: Path) -> None:
    seals.behind(
        book_path,
        "update stored_events set position = -position where position >= 90",
        "update stored_events set position = 1 - position where position < 0",
        "insert into stored_events select 90, 'more', 1, topic, state, hash from stored_events where position = 89",
    )
    with pytest.raises(Contradiction, match="position 90: its hash"):
        copy(out, book_path)


def test_a_cut_tail_is_found_by_the_head_that_was_told(book_path: Path, out: Path) -> None:
    class Cut(Held):
        def head(self) -> Any:
            return Head(self.store.head().position + 1, bytes(32))

    with closing(open_store(f"sqlite:///{book_path}")) as store:
        last = store.head().position
        with pytest.raises(Contradiction, match=f"position {last + 1}: is missing"):
            catch_up(out, Cut(store))


LIES = [
    ("DepositMade", {"amount": 1}, "by the amounts"),
    ("BetPlaced", {"cash_before": 1}, "by the amounts"),
    ("BetPlaced", {"cash_after": 1}, "by the amounts"),
    ("BetPlaced", {"wallet_version": 99}, "does not follow the wallet's"),
    ("BetPlaced", {"scale": 3}, "does not follow the wallet's"),
    ("BetPlaced", {"round": "another"}, "not in rounds yet"),
    ("DepositMade", {"user": "nobody"}, "by the amounts"),
    ("WalletFrozen", {"user": "nobody"}, "not in wallets yet"),
    ("BetCancelled", {"reference": "unheard-of"}, "cannot stand beside"),
    ("DepositMade", {"amount": 10**30, "cash_after": 10**30}, "by the amounts|cannot stand beside"),
    ("ResultRecorded", {"amount": None}, "cannot be read"),
]


@pytest.mark.parametrize(("topic", "lie", "what"), LIES)
def test_a_book_that_lies_with_a_whole_chain_is_found_at_the_lie(
    book_path: Path, out: Path, topic: str, lie: dict[str, Any], what: str
) -> None:
    with closing(open_store(f"sqlite:///{book_path}")) as store:
        place = next(r.id for r in all_records(store)[20:] if r.topic == topic)
        honest = Held(store)
        lying = open_store("memory://")
        for record in honest.records(after=0, upto=place):
            body = json.loads(record.state)
            if record.id == place:
                body |= lie
            seals_insert(lying, record, body)
    with pytest.raises(Contradiction, match=what) as found:
        catch_up(out, Held(lying))
    assert found.value.position == place
    with closing(open_audit_file(out)) as db:
        assert rows(db, "audit", "position") == [(place - 1,)]


def seals_insert(store: Any, record: Any, body: dict[str, Any]) -> None:
    state = json.dumps(body, separators=(",", ":")).encode()
    event = StoredEvent(record.originator_id, record.originator_version, record.topic, state)
    store.insert_events([event])


def test_a_bet_that_is_reversed_twice_is_found(out: Path) -> None:
    with a_book(House()) as book:
        book.submit(controls.place_bet(amount="1"))
        book.submit(controls.cancel())
        again = all_records(book.store)[-2]
        body = json.loads(again.state)
        body |= {"wallet_version": 5, "cash_before": 10000, "cash_after": 10100}
        event = StoredEvent(again.originator_id, 5, again.topic, json.dumps(body).encode())
        book.store.insert_events([event])
        last = book.store.head().position
        with pytest.raises(Contradiction, match=f"position {last}: .*UNIQUE"):
            catch_up(out, Held(book.store))


def test_a_file_of_another_kind_is_left_alone(kept: Path, out: Path, book_path: Path) -> None:
    out.write_text("a letter")
    with pytest.raises(StoreUnfit, match="file is not a database"):
        copy(out, kept)
    assert out.read_text() == "a letter"
    with pytest.raises(StoreUnfit, match="is no audit file"):
        copy(book_path, kept)


def test_a_file_is_of_one_party_for_ever(kept: Path, out: Path) -> None:
    copy(out, kept)
    book = examples.new_book("memory://", now=examples.Clock())
    book.submit(examples.place_bet())
    with pytest.raises(StoreUnfit, match="is of the operator's book, and this is the provider's"):
        catch_up(out, Held(book.store))
    book.close()


def test_a_file_of_another_format_is_to_be_made_again(kept: Path, out: Path) -> None:
    copy(out, kept)
    with closing(sqlite3.connect(out)) as connection:
        connection.execute("update audit set format = 99")
        connection.commit()
    with pytest.raises(StoreUnfit, match="has the format 99"):
        copy(out, kept)


def test_a_book_in_which_nothing_happened_makes_an_empty_file(tmp_path: Path, out: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/book.db").close()
    found = copy(out, tmp_path / "book.db")
    assert (found.position, found.added, found.hash) == (0, 0, "0" * 64)
    evening(tmp_path / "book.db", rounds=4)
    assert copy(out, tmp_path / "book.db").added > 0


def test_a_file_is_one_file_to_carry_and_reading_changes_no_byte_of_it(audited: Path) -> None:
    before = audited.read_bytes()
    with closing(open_audit_file(audited)) as db:
        assert db.journal_mode == "delete"
        rows(db, "journal")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("delete from bets")
    assert audited.read_bytes() == before
    assert [each.name for each in audited.parent.iterdir()] == ["audit.db"]


# seals


def test_a_file_holds_the_seals_as_they_were_made(kept: Path, audited: Path) -> None:
    with closing(open_store(f"sqlite:///{kept}", read_only=True)) as store:
        made_ = [seal.decode() for seal in store.seals()]
    with closing(open_audit_file(audited)) as db:
        assert [seal for (seal,) in rows(db, "seals", "seal", "number")] == made_
        joined = db.execute("select s.hash = e.hash from seals s join events e using (position)")
        assert joined.fetchall() == [(1,)] * 4


def test_every_seal_goes_back_to_the_key_that_is_trusted(
    kept: Path, out: Path, signer: Any
) -> None:
    other = seals.new_signer().key
    with pytest.raises(Contradiction, match="is by a key that yours did not hand over to"):
        copy(out, kept, keys=[other])
    assert copy(out, kept, keys=[other, signer.key]).seals == 4
    with pytest.raises(Contradiction, match="is by a key that yours did not hand over to"):
        copy(out, kept, keys=[other])


def test_a_handed_over_key_is_followed(book_path: Path, out: Path, signer: Any) -> None:
    new = seals.new_signer()
    with closing(controls.new_book(f"sqlite:///{book_path}")) as book:
        Sealer(book.store, signer).seal(next_key=new.key)
        book.submit(controls.deposit(reference="one more"))
        Sealer(book.store, new).seal()
    assert copy(out, book_path, keys=[signer.key]).seals == 6


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            'update seals set seal = replace(seal, \'"sealed_at":"2\', \'"sealed_at":"3\')',
            "is forged",
        ),
        ('update seals set seal = replace(seal, \'"root"\', \'"more":1,"root"\')', None),
    ],
)
def test_a_seal_that_was_touched_is_forged(
    book_path: Path, out: Path, statement: str, what: str | None
) -> None:
    seals.behind(book_path, statement, table="seals")
    if what is None:
        assert copy(out, book_path).seals == 4
        return
    with pytest.raises(Contradiction, match=what):
        copy(out, book_path)


def test_a_rewritten_book_contradicts_its_seal(book_path: Path, out: Path) -> None:
    seals.rechain(book_path, after=30, nothing="new")
    with pytest.raises(Contradiction, match="is not the event that was sealed"):
        copy(out, book_path)


@pytest.mark.parametrize("forged", [False, True], ids=["signed", "forged"])
def test_a_tail_that_was_cut_off_contradicts_the_seal_that_is_left(
    book_path: Path, out: Path, *, forged: bool
) -> None:
    with behind_its_back(book_path) as connection:
        last = connection.execute("select max(position) from seals").get
        connection.execute("delete from stored_events where position > ? - 3", (last,))
        if forged:
            change = 'replace(seal, \'"sealed_at":"2\', \'"sealed_at":"3\')'
            connection.execute(f"update seals set seal = {change} where position = ?", (last,))
    said = "is forged" if forged else f"was made of {last} events"
    with pytest.raises(Contradiction, match=said):
        copy(out, book_path)


def test_a_body_that_says_a_thing_twice_is_refused(book_path: Path, out: Path) -> None:
    with behind_its_back(book_path) as connection:
        connection.execute("delete from seals")
        first = "select min(position) from stored_events where topic = 'BetPlaced'"
        place = connection.execute(first).get
        twice = "update stored_events set state = '{\"amount\":1,' || substr(state, 2)"
        connection.execute(f"{twice} where position = ?", (place,))
        rehash(connection)
    with pytest.raises(Contradiction, match="a field comes twice") as found:
        copy(out, book_path)
    assert found.value.position == place


def test_a_seal_that_the_file_holds_cannot_go(book_path: Path, out: Path) -> None:
    sealed = copy(out, book_path).sealed
    seals.behind(book_path, "delete from seals where number = 4", table="seals")
    with pytest.raises(Contradiction, match=f"position {sealed}: its seal is gone"):
        copy(out, book_path)


# search


def test_references_transactions_users_and_rounds_are_found_as_whole_words(audited: Path) -> None:
    with closing(open_audit_file(audited)) as db:
        names = rows(db, "events", "reference, transaction_id, user, round", "position")
        for column, name in enumerate(zip(*names, strict=True)):
            wanted = next(filter(None, name[40:]))
            found = {row["position"] for row in db["events"].search(wanted, quote=True)}
            assert found == {place for place, each in enumerate(names, 1) if wanted in each}, column


# other people's tools


def run(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=True
    ).stdout


def test_the_sqlite_utils_command_opens_it(audited: Path) -> None:
    tables = json.loads(run("sqlite_utils", "tables", str(audited), "--counts"))
    counts = {each["table"]: each["count"] for each in tables}
    found = json.loads(run("sqlite_utils", "rows", str(audited), "bets"))
    reference = found[3]["reference"]
    hits = run("sqlite_utils", "search", str(audited), "events", reference, "--quote")

    assert len(found) == counts["bets"] > 10
    assert {hit["reference"] for hit in json.loads(hits)} == {reference}
    assert json.loads(run("sqlite_utils", "rows", str(audited), "open_rounds"))


def datasette(audited: Path, path: str) -> Any:
    return json.loads(run("datasette", str(audited), "--get", path))


def test_datasette_opens_it(audited: Path) -> None:
    about = datasette(audited, "/audit.json")
    tables = {table["name"]: table for table in about["tables"] if not table["hidden"]}
    bets = datasette(audited, "/audit/bets.json?_shape=array")
    reference = bets[3]["reference"]
    hits = datasette(audited, f"/audit/events.json?_shape=array&_search={reference}")
    round_ = datasette(audited, f"/audit/rounds.json?_shape=array&round={bets[3]['round']}")

    assert {"events", "postings", "accounts", "bets", "seals", "audit"} <= tables.keys()
    assert tables["events"]["fts_table"] == "events_fts"
    assert {view["name"] for view in about["views"]} >= {"journal", "gross_gaming_revenue"}
    assert {hit["reference"] for hit in hits} == {reference}
    assert [each["user"] for each in round_] == [bets[3]["user"]]
    links = tables["reversals"]["foreign_keys"]["outgoing"]
    assert {"other_table": "bets", "column": "bet", "other_column": "position"} in links


# the command


def test_the_command_makes_a_file_and_says_what_it_holds(
    kept: Path, out: Path, signer: Any
) -> None:
    done = CliRunner().invoke(audit_file, [str(out), "--from", str(kept), "--key", signer.key])

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out} holds the operator's book up to position ")
    again = CliRunner().invoke(audit_file, [str(out), "--from", f"sqlite:///{kept}", "--json"])
    said = json.loads(again.stdout)
    assert (said["party"], said["added"], said["seals"]) == ("operator", 0, 4)
    with closing(open_audit_file(out)) as db:
        assert rows(db, "audit", "position, hash") == [(said["position"], said["hash"])]


def test_the_command_names_a_contradiction_and_exits_1(book_path: Path, out: Path) -> None:
    seals.behind(book_path, tampered("delete from stored_events where position = :place", 9))
    done = CliRunner().invoke(audit_file, [str(out), "--from", str(book_path)])

    assert done.exit_code == 1
    assert done.stdout == ""
    assert "position 9: is missing" in done.stderr
    assert done.stderr.endswith(f"; {out} keeps this, and what was verified\n")


@pytest.mark.parametrize(
    "asked",
    [
        ("balance", controls.PLAYER, "USD", "--json", "--from"),
        ("replay", "--json", "--from"),
        ("report", "daily-wallets", "--json"),
    ],
    ids=lambda asked: asked[0],
)
def test_what_is_read_of_a_file_whose_book_was_refused_says_so_beside_the_answer(
    book_path: Path, out: Path, asked: tuple[str, ...]
) -> None:
    copy(out, book_path)
    whole = CliRunner().invoke(roundbook, [*asked, str(out)])
    out.unlink()
    seals.behind(book_path, tampered("delete from stored_events where position = :place", 99))
    with pytest.raises(Contradiction):
        copy(out, book_path)

    told = CliRunner().invoke(roundbook, [*asked, str(out)])

    assert (whole.exit_code, whole.stderr) == (0, "")
    assert all(map(json.loads, told.stdout.splitlines()))
    said = "its book was refused once, position 99: is missing, 100 follows on 98"
    assert told.stderr == f"roundbook: {out}: {said}\n"


def test_on_a_terminal_the_command_shows_how_far_it_is(kept: Path, out: Path) -> None:
    ours, theirs = pty.openpty()
    command = "from scripts.audit_file import audit_file; audit_file()"
    with os.fdopen(ours, "rb", 0) as screen:
        done = subprocess.run(
            [sys.executable, "-c", command, str(out), "--from", str(kept)],
            env={"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
        )
        shown = screen.read(10**6)
        os.close(theirs)
    assert b"holds the operator's book" in done.stdout
    assert b"events/s" in shown


@pytest.mark.parametrize("key", ["", "ff", "g" * 64])
def test_the_command_wants_a_whole_key(kept: Path, out: Path, key: str) -> None:
    done = CliRunner().invoke(audit_file, [str(out), "--from", str(kept), "--key", key])

    assert done.exit_code == 2
    assert "is no public key" in done.stderr
    assert not out.exists()


def test_a_service_is_copied_over_http_and_continued_from_its_file(tmp_path: Path) -> None:
    out = tmp_path / "audit.db"
    with serving(tmp_path) as server:
        server.fund(controls.PLAYER, controls.OTHER_PLAYER)
        ask = [str(out), "--from", f"http://127.0.0.1:{server.port}", "--json"]
        refused = CliRunner().invoke(audit_file, ask)
        first = CliRunner().invoke(audit_file, [*ask, "--token", AUDITOR])
        server.fund("3")
        second = CliRunner().invoke(audit_file, ask, env={"ROUNDBOOK_AUDITOR_TOKEN": AUDITOR})
    third = CliRunner().invoke(audit_file, [str(out), "--from", f"{tmp_path}/book.db", "--json"])

    assert isinstance(refused.exception, StoreUnfit)
    assert [json.loads(each.stdout)["added"] for each in (first, second, third)] == [4, 2, 0]
    with closing(open_audit_file(out)) as db:
        assert rows(db, "wallets", "cash") == [(100000000,)] * 3
