import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ledger.merkle import Tree
from ledger.operator.book import MAPPER
from ledger.operator.rules import OperatorRules
from ledger.projection import Row
from ledger.rebuild import rebuild
from ledger.seal import Seal
from ledger.store import EVENTS, SEALS, StoreUnfit, open_store
from ledger.store.chain import Head
from ledger.verify import Finding, Side, Verdict, Verification
from ledger.verify_seals import Seals
from projections import IN_TRANSACTION
from scripts.source import TABLES, Party
from tests import controls
from tests.provider import examples
from tests.verify import books
from tests.verify.books import SIGNER, behind_its_back, close_gap, rehash

SIDE = Side(MAPPER, OperatorRules)
TRUSTED = SIGNER.key

Tamper = Callable[[apsw.Connection], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        books.everything(book)
    return path


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, clock = tmp_path_factory.mktemp("providers") / "provider.db", examples.Clock()
    with closing(examples.new_book(f"sqlite:///{path}", now=clock)) as book:
        while book.store.head().position < 80:
            books.theirs_at_random(book, clock, random.Random(3), 100)
        books.seal(book)
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "book.db"))


def verdict(
    path: Path,
    party: Party = "operator",
    *,
    key: str | None = TRUSTED,
    kept: Sequence[bytes] = (),
) -> Verdict:
    store = open_store(f"sqlite:///{path}", TABLES[party], read_only=True)
    with closing(store), store.snapshot():
        return books.verdict_of(store, party, key=key, kept=kept)


def found(path: Path, tamper: Tamper, **how: Any) -> Finding:
    with behind_its_back(path) as connection:
        tamper(connection)
    finding = verdict(path, **how).finding
    assert finding is not None
    return finding


def where(finding: Finding) -> tuple[str, int | None, int | None]:
    return finding.kind, finding.position, finding.upto


def statements(*sql: str) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        for each in sql:
            connection.execute(each)

    return run


def without_seals(tamper: Tamper) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        connection.execute("delete from seals")
        tamper(connection)

    return run


def position_of(path: Path, topic: str, number: int = 0) -> int:
    with behind_its_back(path) as connection:
        query = "select position from stored_events where topic = ? order by position"
        found: int = connection.execute(query, (topic,)).fetchall()[number][0]
        return found


def test_a_copy_that_nobody_touched_holds(path: Path) -> None:
    assert verdict(path).holds


# a byte

BOTH = pytest.mark.parametrize("also", [lambda do: do, without_seals], ids=["sealed", "not sealed"])


@BOTH
def test_a_changed_byte_is_named_with_what_it_was(path: Path, also: Any) -> None:
    at = position_of(path, "BetPlaced", 1)
    change = (
        "update stored_events set state = replace(state, '\"amount\":10001,', '\"amount\":10000,')"
    )
    finding = found(path, also(statements(f"{change} where position = {at}")))
    assert where(finding) == ("changed", at, at)
    assert "was '1' and is '0'" in finding.detail


@BOTH
@pytest.mark.parametrize("at", [1, 17, 40, 61])
def test_a_body_that_is_another_is_a_changed_one(path: Path, also: Any, at: int) -> None:
    change = "state = replace(state, 'recorded_at\":\"20', 'recorded_at\":\"1999')"
    tamper = also(statements(f"update stored_events set {change} where position = {at}"))
    assert where(found(path, tamper)) == ("changed", at, at)


@BOTH
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("version = version + 5", "its version was"),
        ("version = 4611686018427387904", "its version was"),
        ("topic = 'RoundCancelled'", "its topic was"),
        ("topic = 'Round'", "its topic was"),
        ("stream = replace(stream, '1', '2')", ""),
        ("stream = 'somewhere'", ""),
        ("state = state || ' '", ""),
        ("state = ''", ""),
        ("state = '{}'", ""),
        ("state = cast(x'ff' as text)", ""),
        ("topic = cast(x'ff00' as text)", "UTF-8"),
        ("stream = cast(x'c3' as text)", "UTF-8"),
        ("hash = zeroblob(32)", "its hash is not that of its bytes"),
        ("hash = x'00'", "its hash is not what a book holds there"),
        ("hash = x''", "its hash is not what a book holds there"),
    ],
)
def test_a_changed_field_is_a_changed_event(path: Path, also: Any, change: str, named: str) -> None:
    tamper = also(statements(f"update stored_events set {change} where position = 20"))
    finding = found(path, tamper)
    assert where(finding) == ("changed", 20, 20)
    assert named in finding.detail


@pytest.mark.parametrize("value", ["null", "7000", "'text'", "x'00'"])
@pytest.mark.parametrize("column", ["stream", "version", "topic", "state", "hash"])
def test_a_table_that_was_made_again_without_its_types_is_no_way_around(
    path: Path, column: str, value: str
) -> None:
    columns = "position integer primary key, stream, version, topic, state, hash"
    tamper = statements(
        "alter table stored_events rename to true_events",
        f"create table stored_events ({columns})",
        "insert into stored_events select * from true_events",
        f"update stored_events set {column} = {value} where position = 20",
    )
    finding = found(path, tamper)
    assert where(finding) == ("changed", 20, 20)


@pytest.mark.parametrize("also", ["", "state = null", "version = 'x'", "topic = 5", "hash = null"])
def test_a_number_written_as_a_text_is_not_what_a_book_writes(path: Path, also: str) -> None:
    columns = "position integer primary key, stream, version, topic, state, hash"
    tamper = [
        "alter table stored_events rename to true_events",
        f"create table stored_events ({columns})",
        "insert into stored_events select * from true_events",
        "update stored_events set version = cast(version as text) where position = 20",
    ]
    more = [f"update stored_events set {also} where position = 30"] if also else []
    finding = found(path, without_seals(statements(*tamper, *more)))
    assert where(finding) == ("changed", 20, 20)
    changed = [
        *tamper[:3],
        "update stored_events set state = state || ' ' where position = 20",
        *more,
    ]
    fresh = Path(shutil.copy(path, path.with_suffix(".fresh")))
    with behind_its_back(fresh) as connection:
        statements("drop table stored_events", "alter table true_events rename to stored_events")(
            connection
        )
    assert where(found(fresh, without_seals(statements(*changed)))) == ("changed", 20, 20)


def flipped(row: Row, column: int, place: int) -> Row:
    value = row[column]
    body = bytearray(value if isinstance(value, bytes) else value.encode())
    body[place] ^= 1
    made = bytes(body) if isinstance(value, bytes) else body.decode()
    return (*row[:column], made, *row[column + 1 :])


def rows_verdict(rows: Sequence[Row], seals: Sequence[tuple[int, bytes]] = ()) -> Verdict:
    return Verification(books.reading(rows), SIDE, Seals(lambda: seals, [], [])).run()


@pytest.mark.parametrize("part", range(8))
def test_every_byte_of_a_book_that_is_flipped_is_found_where_it_is(
    original: Path, part: int
) -> None:
    store = open_store(f"sqlite:///{original}", IN_TRANSACTION, read_only=True)
    with closing(store):
        rows = books.rows_of(store)
        seals = [(position, seal) for _, position, seal in store.scan(SEALS)]
    assert rows_verdict(rows, seals).holds
    for at in range(part, len(rows), 8):
        for column in (1, 3, 4, 5):
            for place in range(len(rows[at][column])):
                made = [*rows[:at], flipped(rows[at], column, place), *rows[at + 1 :]]
                finding = rows_verdict(made, seals).finding
                assert finding
                assert where(finding) == ("changed", at + 1, at + 1), (at, column, place)


# an event that is gone


def without(position: int) -> Tamper:
    """Removes an event, and closes the gap."""

    def remove(connection: apsw.Connection) -> None:
        connection.execute("delete from stored_events where position = ?", (position,))
        close_gap(connection, 1, behind=position)

    return remove


@BOTH
@pytest.mark.parametrize(("first", "last"), [(1, 1), (9, 9), (30, 33), (1, 60)])
def test_a_removed_event_leaves_a_gap(path: Path, also: Any, first: int, last: int) -> None:
    gone = f"delete from stored_events where position between {first} and {last}"
    assert where(found(path, also(statements(gone)))) == ("removed", first, last)


@BOTH
@pytest.mark.parametrize("topic", ["DepositMade", "RoundOpened", "BetPlaced", "BetCancelled"])
def test_a_removed_event_whose_gap_was_closed_is_missed_by_what_followed_it(
    path: Path, also: Any, topic: str
) -> None:
    at = position_of(path, topic)

    assert where(found(path, also(without(at)))) == ("removed", at, at)


@BOTH
@pytest.mark.parametrize(
    "topic", ["RoundEnded", "SessionExpired", "PromoPaid", "TombstoneRecorded"]
)
def test_a_removed_event_that_nothing_followed_is_missed_by_a_seal_or_a_table(
    path: Path, also: Any, topic: str
) -> None:
    at = position_of(path, topic)

    finding = found(path, also(without(at)))
    assert finding.position == at
    assert finding.kind == "removed" or topic in (
        "RoundEnded",
        "SessionExpired",
        "TombstoneRecorded",
    )


# an event too many

FORGED = '\'{"recorded_at":"2026-11-21T09:44:00.000000Z"}\''


@BOTH
@pytest.mark.parametrize("at", [1, 2, 30, 60])
@pytest.mark.parametrize("count", [1, 3])
def test_an_inserted_event_is_one_without_which_the_chain_holds(
    path: Path, also: Any, at: int, count: int
) -> None:
    def insert(connection: apsw.Connection) -> None:
        close_gap(connection, -count, behind=at - 1)
        for number in range(count):
            values = f"({at + number}, 'forged', {number + 1}, 'BetPlaced', {FORGED}, zeroblob(32))"
            connection.execute(f"insert into stored_events values {values}")

    finding = found(path, also(insert))
    assert where(finding) == ("inserted", at, at + count - 1)


@BOTH
@pytest.mark.parametrize("topic", ["ResultRecorded", "DepositMade"])
def test_an_inserted_event_that_was_hashed_is_found_by_the_next_one(
    path: Path, also: Any, topic: str
) -> None:
    def insert(connection: apsw.Connection) -> None:
        rows = connection.execute("select * from stored_events order by position").fetchall()
        forged = MAPPER.encode(_promo(rows))
        previous = rows[29][-1]
        close_gap(connection, -1, behind=30)
        hashed = books.link(previous, "promo/LuckyMonaco/forged", 1, "PromoPaid", forged)
        row = (31, "promo/LuckyMonaco/forged", 1, "PromoPaid", forged.decode(), rows[29][-1])
        connection.execute(
            "insert into stored_events values (?, ?, ?, ?, ?, ?)", (*row[:-1], hashed)
        )

    finding = found(path, also(insert))
    assert where(finding) == ("inserted", 31, 31)


def _promo(rows: Sequence[Row]) -> Any:
    paid = next(row for row in rows if row[3] == "PromoPaid")
    event = MAPPER.decode("PromoPaid", paid[4].encode())
    moved = [MAPPER.decode(row[3], row[4].encode()) for row in rows[:30]]
    purse = [
        each
        for each in moved
        if getattr(each, "user", "") == event.user and hasattr(each, "cash_after")
    ]
    last = [each for each in purse if each.currency == event.currency][-1]
    return msgspec.structs.replace(
        event,
        reference="forged",
        wallet_version=last.wallet_version + 1,
        cash_before=last.cash_after,
        cash_after=last.cash_after + event.amount,
    )


@pytest.mark.parametrize("position", [0, -1, -(2**63)])
def test_an_event_before_the_first_position_is_not_overlooked(path: Path, position: int) -> None:
    values = f"({position}, 'round/LuckyMonaco/1', 99, 'RoundOpened', {FORGED}, zeroblob(32))"
    finding = found(path, statements(f"insert into stored_events values {values}"))
    assert where(finding) == ("inserted", position, position)


# events in another order


@BOTH
@pytest.mark.parametrize(("a", "b"), [(1, 2), (20, 21), (60, 61), (5, 40), (1, 61)])
def test_events_that_changed_places_are_reordered(path: Path, also: Any, a: int, b: int) -> None:
    swap = statements(
        f"update stored_events set position = -1 where position = {a}",
        f"update stored_events set position = {a} where position = {b}",
        f"update stored_events set position = {b} where position = -1",
    )
    finding = found(path, also(swap))
    assert where(finding) == ("reordered", a, a)
    assert f"stands at {b}" in finding.detail or "belongs behind" in finding.detail


@BOTH
def test_events_that_changed_places_but_for_their_hashes_are_reordered(
    path: Path, also: Any
) -> None:
    swap = statements(
        "create temp table two as select * from stored_events where position in (20, 23)",
        "delete from stored_events where position in (20, 23)",
        "insert into stored_events select 43 - position, stream, version, topic, state,"
        " (select hash from two as other where other.position = 43 - two.position) from two",
    )
    finding = found(path, also(swap))
    assert where(finding) == ("reordered", 20, 20)
    assert "stands at 23" in finding.detail


@BOTH
def test_an_event_that_was_moved_away_is_reordered(path: Path, also: Any) -> None:
    moved = "update stored_events set position = 1000 where position = 20"
    finding = found(path, also(statements(moved)))
    assert where(finding) == ("reordered", 20, 20)
    assert "stands at 1000" in finding.detail


# a cut tail


def cut(behind: int) -> Tamper:
    return statements(f"delete from stored_events where position > {behind}")


def rebuilt(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", IN_TRANSACTION)
    with closing(store):
        rebuild(store, MAPPER)


@pytest.mark.parametrize("behind", [0, 1, 30, 50])
def test_a_cut_tail_contradicts_a_seal(path: Path, behind: int) -> None:
    finding = found(path, cut(behind))
    last = 51 if behind >= 25 else 25
    assert where(finding) == ("cut-tail", behind + 1, last)


def test_a_cut_tail_whose_tables_were_made_again_contradicts_a_seal(path: Path) -> None:
    with behind_its_back(path) as connection:
        cut(45)(connection)
    rebuilt(path)
    assert verdict(path).finding == found(path, statements())
    assert where(found(path, statements())) == ("cut-tail", 46, 51)


@pytest.mark.parametrize("behind", [20, 45, 58, 60])
def test_a_cut_tail_without_seals_is_told_by_the_tables(path: Path, behind: int) -> None:
    finding = found(path, without_seals(cut(behind)))
    assert finding.kind == "cut-tail"


def test_a_cut_tail_without_seals_and_tables_contradicts_a_seal_that_was_kept(path: Path) -> None:
    kept = seals_in(path)
    with behind_its_back(path) as connection:
        without_seals(cut(50))(connection)
    rebuilt(path)
    assert verdict(path).holds
    assert where(found(path, statements(), kept=kept)) == ("seal", 25, 25)
    assert where(found(path, statements(), kept=kept[1:])) == ("cut-tail", 51, 51)


def seals_in(path: Path) -> list[bytes]:
    with behind_its_back(path) as connection:
        return [seal.encode() for (seal,) in connection.execute("select seal from seals")]


# one who knows how to hash


def rewritten(*sql: str) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        statements(*sql)(connection)
        rehash(connection)

    return run


UNCOUNTED = (
    "update stored_events set state = replace(state, ':\"tumblefortune', ':\"tumblefortuna')"
)


@pytest.mark.parametrize(
    ("at", "first", "last"), [(5, 1, 16), (20, 17, 24), (25, 25, 25), (26, 26, 32), (40, 33, 48)]
)
def test_a_chain_that_was_made_again_contradicts_a_seal(
    path: Path, at: int, first: int, last: int
) -> None:
    finding = found(
        path, rewritten(f"update stored_events set state = state || ' ' where position = {at}")
    )
    assert where(finding) == ("rewritten", first, last)


def test_a_chain_that_was_made_again_behind_the_last_seal_is_not_to_be_told(path: Path) -> None:
    with behind_its_back(path) as connection:
        rewritten(f"{UNCOUNTED} where position > 51")(connection)
    assert verdict(path).holds


def test_one_old_seal_is_enough_to_find_a_book_that_was_made_again(path: Path) -> None:
    kept = seals_in(path)
    with behind_its_back(path) as connection:
        without_seals(rewritten(f"{UNCOUNTED} where position = 9"))(connection)
    assert verdict(path).holds
    finding = found(path, statements(), kept=kept[1:])
    assert finding.kind == "rewritten"
    assert finding.position == 1
    assert verdict(path, kept=kept[1:]).last_good_seal is None


def test_seals_that_were_made_again_are_by_a_key_that_is_not_trusted(path: Path) -> None:
    with behind_its_back(path) as connection:
        rewritten(f"{UNCOUNTED} where position = 9")(connection)
        seal_again(connection)
    assert verdict(path, key=None).holds
    finding = found(path, statements())
    assert where(finding) == ("seal", 25, 25)
    assert "not trusted" in finding.detail


def seal_again(connection: apsw.Connection) -> None:
    hashes = [
        row[0] for row in connection.execute("select hash from stored_events order by position")
    ]
    for number, position in connection.execute("select number, position from seals").fetchall():
        tree = Tree()
        for each in hashes[:position]:
            tree.append(each)
        made = books.OTHER_SIGNER.seal(
            Head(position, hashes[position - 1]), tree, at="2026-11-21T09:44:00.000000Z"
        )
        connection.execute(
            "update seals set seal = ? where number = ?",
            (msgspec.json.encode(made).decode(), number),
        )


@pytest.mark.parametrize(
    ("topic", "change", "what"),
    [
        ("BetPlaced", "replace(state, '\"amount\":10001,', '\"amount\":20001,')", "leaves"),
        ("DepositMade", "replace(state, '\"cash_before\":0,', '\"cash_before\":1,')", "finds 1"),
        (
            "ResultRecorded",
            "replace(state, 'user\":\"123456', 'user\":\"999999')",
            "another player",
        ),
        ("BetPlaced", "replace(state, '\"scale\":2', '\"scale\":3')", "decimals"),
        ("RoundOpened", "replace(state, '5103188801', '5103188809')", "another round"),
        ("BetPlaced", "replace(state, '5103188801', '5103188809')", "another round"),
        (
            "BetCancelled",
            "replace(state, '\"amount\":100,', '\"amount\":101,')",
            "for a stake of 100",
        ),
        ("BetCancelled", "replace(state, '20a', '20x')", "never placed"),
        ("BetRefunded", 'replace(state, \'"by":"refund"\', \'"by":"cancel"\')', "no reversal by"),
    ],
)
def test_one_who_hashes_again_still_has_the_rules_against_him(
    path: Path, topic: str, change: str, what: str
) -> None:
    at = position_of(path, topic)
    sql = f"update stored_events set state = {change} where position = {at}"
    finding = found(path, without_seals(rewritten(sql)))
    assert where(finding) == ("invariant", at, at)
    assert what in finding.detail


@pytest.mark.parametrize("topic", ["DepositMade", "RoundOpened", "BetPlaced", "PromoPaid"])
def test_a_removed_event_in_a_chain_that_was_made_again_is_missed(path: Path, topic: str) -> None:
    at = position_of(path, topic)

    def remove(connection: apsw.Connection) -> None:
        without(at)(connection)
        rehash(connection)

    finding = found(path, without_seals(remove))
    assert finding.kind in ("removed", "invariant")
    assert finding.position is not None
    assert finding.position >= at


def test_an_unknown_topic_in_a_chain_that_was_made_again_cannot_be_read(path: Path) -> None:
    sql = "update stored_events set topic = 'Miracle' where position = 30"
    finding = found(path, without_seals(rewritten(sql)))
    assert where(finding) == ("unreadable", 30, 30)


# tables


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("wallets", "cash = cash + 1"),
        ("wallets", "cash = cash + 2305843009213693951"),
        ("wallets", "scale = 0"),
        ("wallets", "frozen = 1 - frozen"),
        ("wallets", "version = version + 1"),
        ("wallets", "version = version - 1"),
        ("wallets", "user = 'nobody'"),
        ("wallets", "currency = 'CHF'"),
        ("rounds", "provider = 'Kyren'"),
        ("rounds", "round = '0'"),
        ("rounds", "user = 'nobody'"),
        ("rounds", "currency = 'CHF'"),
        ("rounds", "status = iif(status = 'Cancelled', 'Completed', 'Cancelled')"),
        ("rounds", "staked = staked + 1"),
        ("rounds", "staked = staked + 2305843009213693951"),
        ("rounds", "won = won - 1"),
        ("rounds", "reversed = 7"),
        ("rounds", "opened_at = '2026'"),
        ("reference_index", "provider = 'Kyren'"),
        ("reference_index", "kind = 'session'"),
        ("reference_index", "reference = 'none'"),
        ("reference_index", "stream = 'elsewhere'"),
        ("reference_index", "stream_version = 9"),
        ("reference_index", "stream_version = stream_version + 2305843009213693951"),
        ("reference_index", "transaction_id = ''"),
    ],
)
def test_a_changed_row_of_a_table_is_named(path: Path, table: str, change: str) -> None:
    key = {"wallets": "user, currency", "rounds": "round", "reference_index": "reference"}[table]
    first = f"(select {key} from {table} order by {key} desc limit 1)"
    tamper = statements(
        "pragma ignore_check_constraints = on",
        f"update {table} set {change} where ({key}) = {first}",
    )
    finding = found(path, tamper)
    assert (finding.kind, finding.position) == ("table", None)
    assert finding.detail.startswith(table)


@pytest.mark.parametrize("table", ["wallets", "rounds", "reference_index"])
def test_a_row_that_is_gone_and_one_too_many_are_named(path: Path, table: str) -> None:
    one = f"(select min(rowid_) from (select {'user' if table == 'wallets' else 'provider'} as rowid_ from {table}))"
    column = "user" if table == "wallets" else "provider"
    finding = found(path, statements(f"delete from {table} where {column} = {one}"))
    assert finding.kind == "table"
    assert "None" in finding.detail


def test_a_table_that_is_gone_is_found(path: Path) -> None:
    finding = found(path, statements("drop table rounds"))
    assert finding.kind == "table"
    assert "rounds" in finding.detail


# what keeps the rows


def remade(table: str, said: str, instead: str) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        connection.execute("pragma writable_schema = on")
        change = "update sqlite_schema set sql = replace(sql, ?, ?) where name = ?"
        connection.execute(change, (said, instead, table))

    return run


IMPOSTOR = (
    "create trigger stored_events_are_never_deleted before delete on stored_events"
    " begin select 1; end"
)
CHOICE = "status = 'InProgress' or status = 'Completed' or status = 'Cancelled'"
ALTERED = {
    "an index whose order is another": remade(
        "reference_index", "kind, reference)", "kind, reference desc)"
    ),
    "a table without its check": remade("wallets", "check (cash >= 0)", ""),
    "a choice of fewer words": remade("rounds", CHOICE, "status in ('InProgress', 'Completed')"),
    "a choice of another word": remade("rounds", "= 'Cancelled'", "= 'Canceled'"),
    "a condition in a choice": remade(
        "rounds", CHOICE, "status in ('InProgress', 'Completed' or status = 'Cancelled')"
    ),
    "a view": statements("create view anything as select * from stored_events"),
    "one more trigger": statements(
        "create trigger more after insert on stored_events begin delete from wallets; end"
    ),
    "a trigger that only has its name": statements(IMPOSTOR),
    "one more index": statements("create index mine on reference_index (transaction_id)"),
    "one more column": statements("alter table wallets add column note text"),
    "one more column of events": statements("alter table stored_events add column note text"),
}


@pytest.mark.parametrize("tamper", ALTERED.values(), ids=ALTERED)
def test_what_keeps_the_rows_must_be_as_a_book_makes_it(path: Path, tamper: Tamper) -> None:
    finding = found(path, tamper)
    assert (finding.kind, finding.position) == ("schema", None)
    with pytest.raises(StoreUnfit, match=re.escape(finding.detail)):
        open_store(f"sqlite:///{path}", IN_TRANSACTION)


def test_a_choice_that_an_earlier_version_wrote_as_a_list_is_as_a_book_makes_it(path: Path) -> None:
    listed = "status in ('InProgress', 'Completed', 'Cancelled')"
    with closing(apsw.Connection(str(path))) as connection:
        remade("rounds", CHOICE, listed)(connection)
        find = "select count(*) from sqlite_schema where name = 'rounds' and instr(sql, ?)"
        assert connection.execute(find, (listed,)).get == 1
    assert verdict(path).holds
    open_store(f"sqlite:///{path}", IN_TRANSACTION).close()


def test_a_trigger_that_is_gone_is_found_and_made_again(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("drop trigger stored_events_are_never_deleted")
    finding = verdict(path).finding
    assert finding
    assert finding.kind == "schema"
    open_store(f"sqlite:///{path}", IN_TRANSACTION).close()
    assert verdict(path).holds


def test_what_somebody_else_keeps_beside_the_book_is_no_finding(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("create table _litestream_seq (id integer primary key, seq integer)")
        connection.execute("create index theirs on _litestream_seq (seq)")
        connection.execute("analyze")
    assert verdict(path).holds
    open_store(f"sqlite:///{path}", IN_TRANSACTION).close()


def test_an_index_whose_page_is_damaged_is_found_where_pages_are_asked_for(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        index = "select rootpage from sqlite_schema where name = 'sqlite_autoindex_stored_events_1'"
        page, size = connection.execute(index).get, connection.pragma("page_size")
    with path.open("r+b") as file:
        file.seek(page * size - 200)
        file.write(b"\0" * 200)
    assert verdict(path).holds
    ran = books.run(path, "--pages")
    assert ran.exit_code == 1
    assert ran.output.startswith("schema: ")


# seals


def forged(seal: Seal, field: str) -> Seal:
    values: dict[str, Any] = {
        "position": seal.position + 1,
        "hash": "00" * 32,
        "root": "00" * 32,
        "peaks": ["00" * 32, *seal.peaks[1:]],
        "sealed_at": "2020-01-01T00:00:00.000000Z",
        "key": books.OTHER_SIGNER.key,
        "signature": seal.signature.upper(),
        "next_key": books.OTHER_SIGNER.key,
    }
    return msgspec.structs.replace(seal, **{field: values[field]})


@pytest.mark.parametrize("key", [TRUSTED, None], ids=["with a key", "without"])
@pytest.mark.parametrize("field", Seal.__struct_fields__)
def test_every_field_of_a_seal_that_is_forged_is_found(
    path: Path, field: str, key: str | None
) -> None:
    made = msgspec.json.encode(forged(msgspec.json.decode(seals_in(path)[1], type=Seal), field))
    sql = f"update seals set seal = '{made.decode()}' where number = 2"
    finding = found(path, statements(sql), key=key)
    assert where(finding) == ("seal", 51, 51)
    last = verdict(path, key=key).last_good_seal
    assert last is not None
    assert last.position == 25


@pytest.mark.parametrize("raw", ["", "{}", "[]", "x", '{"position":51}', "null"])
def test_what_is_no_seal_is_found(path: Path, raw: str) -> None:
    finding = found(path, statements(f"update seals set seal = '{raw}' where number = 2"))
    assert where(finding) == ("seal", 51, 51)
    assert "cannot be read" in finding.detail


def test_a_seal_that_is_no_text_is_found(path: Path) -> None:
    change = "update seals set seal = cast(x'ff' || seal as text) where number = 2"
    assert where(found(path, statements(change))) == ("seal", 51, 51)


@pytest.mark.parametrize("options", [(), ("--key", TRUSTED)])
def test_a_table_of_seals_that_is_gone_is_found(path: Path, options: tuple[str, ...]) -> None:
    with behind_its_back(path) as connection:
        connection.execute("drop table seals")
    ran = books.run(path, *options)
    assert ran.exit_code == 1
    assert ran.output.startswith("unreadable: ")


def test_a_seal_with_something_added_is_not_as_it_was_made(path: Path) -> None:
    for change in ("seal || ' '", "replace(seal, '{', '{\"more\":1,')", "replace(seal, ':', ': ')"):
        fresh = Path(shutil.copy(path, path.with_suffix(".fresh")))
        finding = found(fresh, statements(f"update seals set seal = {change} where number = 1"))
        assert where(finding) == ("seal", 25, 25)


def test_a_seal_with_another_root_is_found_though_its_key_is_trusted(path: Path) -> None:
    with behind_its_back(path) as connection:
        (hashed,) = connection.execute(
            "select hash from stored_events where position = 51"
        ).fetchone()
        tree = Tree()
        for number in range(51):
            tree.append(bytes([number]))
        made = msgspec.json.encode(SIGNER.seal(Head(51, hashed), tree, at="2026")).decode()
        connection.execute("update seals set seal = ? where number = 2", (made,))
    finding = verdict(path).finding
    assert finding
    assert where(finding) == ("seal", 51, 51)
    assert "root" in finding.detail


def test_a_seal_that_is_gone_from_the_book_is_missed_by_who_kept_it(path: Path) -> None:
    kept = seals_in(path)
    finding = found(path, statements("delete from seals where number = 1"), kept=kept)
    assert where(finding) == ("seal", 25, 25)
    assert "is not in the book" in finding.detail


def test_seals_that_changed_places_are_found(path: Path) -> None:
    swap = statements(
        "update seals set number = 3 where number = 1",
    )
    finding = found(path, swap)
    assert finding.kind == "seal"
    assert "stands behind" in finding.detail


def test_a_seal_kept_under_another_position_is_found(path: Path) -> None:
    finding = found(path, statements("update seals set position = 30 where number = 1"))
    assert finding.kind == "seal"


# anything


def columns_of(party: Party) -> dict[str, tuple[str, ...]]:
    """Returns every stored field that means something, by table."""
    return {
        EVENTS: ("position", "stream", "version", "topic", "state", "hash"),
        SEALS: ("position", "seal"),
        **{each.TABLE: (*each.KEY, *each.COLUMNS) for each in TABLES[party]},
    }


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 70)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
ANYTHING = st.none() | NUMBERS | TEXTS | st.binary(max_size=40)


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(data=st.data())
@pytest.mark.parametrize("party", ["operator", "provider"])
def test_any_one_field_that_is_changed_is_found(
    request: pytest.FixtureRequest, tmp_path: Path, party: Party, data: st.DataObject
) -> None:
    whole = request.getfixturevalue("original" if party == "operator" else "providers")
    path = Path(shutil.copy(whole, tmp_path / "mutated.db"))
    columns = columns_of(party)
    table = data.draw(st.sampled_from([*columns, EVENTS, EVENTS]))
    column = data.draw(st.sampled_from(columns[table]))
    with behind_its_back(path) as connection:
        connection.execute("pragma ignore_check_constraints = on")
        assume(
            _mutated(connection, table, column, data.draw(st.integers(0, 100)), data.draw(ANYTHING))
        )
    assert not verdict(path, party).holds


def _mutated(connection: apsw.Connection, table: str, column: str, number: int, value: Any) -> bool:
    rows = connection.execute(f"select * from {table}").fetchall()
    names = [row[1] for row in connection.execute(f"pragma table_info({table})")]
    where = " and ".join(f"{name} is ?" for name in names)
    try:
        connection.execute(
            f"update {table} set {column} = ? where {where}", (value, *rows[number % len(rows)])
        )
    except (apsw.ConstraintError, apsw.MismatchError):
        return False
    return sorted(rows, key=repr) != sorted(connection.execute(f"select * from {table}"), key=repr)


@pytest.mark.parametrize("seals", [True, False])
def test_a_providers_book_is_no_easier_to_change(
    providers: Path, tmp_path: Path, *, seals: bool
) -> None:
    kinds = {
        "update stored_events set state = replace(state, ':', ' :') where position = 40": "changed",
        "delete from stored_events where position = 40": "removed",
        "delete from stored_events where position > 60": "cut-tail",
        "update stored_events set position = 1000 where position = 40": "reordered",
        "delete from deliveries where rowid_ = 1": "table",
        "update rounds set staked = staked + 1": "table",
    }
    for sql, kind in kinds.items():
        path = Path(shutil.copy(providers, tmp_path / "provider.db"))
        with behind_its_back(path) as connection:
            if not seals:
                connection.execute("delete from seals")
            gone = (
                "delete from deliveries where reference = (select min(reference) from deliveries)"
            )
            connection.execute(gone if "rowid_" in sql else sql)
        finding = verdict(path, "provider").finding
        assert finding
        assert finding.kind == kind, sql


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 255))
def test_any_one_byte_of_a_text_that_is_changed_is_found_and_placed(
    original: Path, tmp_path: Path, row: int, place: int, mask: int
) -> None:
    path = Path(shutil.copy(original, tmp_path / "mutated.db"))
    with behind_its_back(path) as connection:
        at = 1 + row % 61
        (state,) = connection.execute(
            "select cast(state as blob) from stored_events where position = ?", (at,)
        ).fetchone()
        made = bytearray(state)
        made[place % len(made)] ^= mask
        connection.execute(
            "update stored_events set state = cast(? as text) where position = ?", (bytes(made), at)
        )
    finding = verdict(path).finding
    assert finding
    assert where(finding) == ("changed", at, at)


# the command


def test_the_command_says_what_is_wrong_first_and_the_last_good_seal_and_exits_1(
    path: Path,
) -> None:
    with behind_its_back(path) as connection:
        statements("delete from stored_events where position = 40")(connection)
    ran = books.run(path, "--key", TRUSTED)
    first, last = ran.output.splitlines()
    assert ran.exit_code == 1
    assert first == "position 40: removed: the next event is at 41"
    assert last.startswith("last good seal: position 25, 20")
    told = json.loads(books.run(path, "--json").output)
    assert told["holds"] is False
    assert told["finding"]["kind"] == "removed"
    assert told["finding"]["position"] == 40
    assert told["last_good_seal"]["position"] == 25


def test_a_first_event_that_does_not_say_whose_book_it_is_is_a_changed_one(path: Path) -> None:
    for change in ("state = 'x'", "state = '5'", "state = cast(x'ff' as text)", "state = '{}'"):
        fresh = Path(shutil.copy(path, path.with_suffix(".fresh")))
        with behind_its_back(fresh) as connection:
            statements(f"update stored_events set {change} where position = 1")(connection)
        ran = books.run(fresh)
        assert ran.exit_code == 1
        assert ran.output.startswith("position 1: changed: ")


def test_a_file_whose_pages_are_damaged_is_found_not_crashed_upon(path: Path) -> None:
    body = path.read_bytes()
    for page in range(1, len(body) // 4096):
        damaged = path.with_suffix(".damaged")
        start = page * 4096
        damaged.write_bytes(body[:start] + b"\xff" * 4096 + body[start + 4096 :])
        ran = books.run(damaged)
        assert ran.exit_code in (0, 1, 2), ran.exception
        assert ran.exception is None or isinstance(ran.exception, SystemExit)
