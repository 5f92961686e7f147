import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import apsw
import pytest
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent

from ledger.operator.book import Book
from ledger.provider.book import Book as ProvidersBook
from ledger.store import SEALS, Record, Store, StoreUnfit, open_store
from ledger.store.chain import GENESIS, Head, link
from ledger.store.sqlite import SQLiteStore
from projections import IN_TRANSACTION
from tests import auditor, controls
from tests.postgres import Cluster
from tests.provider import examples
from tests.questions import EVERYTHING, connections_made
from tests.stores.library import persistence

USD = ("123456", "USD")
EUR = ("123456", "EUR")
OPENED = (0, 2, 0, 1)
PAID_IN = (500, 2, 0, 2)
PLACE = ("round/LuckyMonaco/1", 1, "id")


class AnyRecorder:
    def new_originator_id(self) -> str:
        return f"round/LuckyMonaco/{uuid4()}"

    def opened(self, url: str) -> Store:
        store = open_store(url)
        self.addCleanup(store.close)
        return store

    def file_url(self) -> str:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return f"sqlite:///{folder.name}/book.db"


class TestMemoryIsAnApplicationRecorder(AnyRecorder, persistence.ApplicationRecorderTestCase[Any]):
    def create_recorder(self) -> Store:
        return self.opened("memory://")

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestSQLiteIsAnApplicationRecorder(AnyRecorder, persistence.ApplicationRecorderTestCase[Any]):
    def create_recorder(self) -> Store:
        return self.opened(self.file_url())


class TestMemoryPositionsDoNotInterleave(
    AnyRecorder, persistence.NonInterleavingNotificationIDsBaseCase
):
    def create_recorder(self) -> Store:
        return self.opened("memory://")


class TestSQLitePositionsDoNotInterleave(
    AnyRecorder, persistence.NonInterleavingNotificationIDsBaseCase
):
    def create_recorder(self) -> Store:
        return self.opened(self.file_url())


class OnPostgres(AnyRecorder):
    @pytest.fixture(autouse=True)
    def _cluster(self, postgres: Cluster) -> None:
        self.cluster = postgres

    def create_recorder(self) -> Store:
        return self.opened(self.cluster.new_book())


class TestPostgresIsAnApplicationRecorder(
    OnPostgres, persistence.ApplicationRecorderTestCase[Any]
): ...


class TestPostgresPositionsDoNotInterleave(
    OnPostgres, persistence.NonInterleavingNotificationIDsBaseCase
): ...


# the contract every store keeps


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url, IN_TRANSACTION)
    yield opened
    opened.close()


def event(stream: str = "a", version: int = 1, *, state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(stream, version, "BetPlaced", state)


def events(stream: str, versions: Sequence[int]) -> list[StoredEvent]:
    return [event(stream, version, state=b'{"n":%d}' % version) for version in versions]


def everything(store: Store) -> Sequence[Record]:
    return store.records(after=0, limit=EVERYTHING)


# chain and positions


def test_an_empty_book_has_no_head_and_no_records(store: Store) -> None:
    assert store.head() == Head(0, bytes(32)) == Head(0, GENESIS)
    assert list(everything(store)) == []
    assert store.max_notification_id() is None


def test_each_hash_covers_its_predecessors_stream_version_topic_and_stored_bytes(
    store: Store,
) -> None:
    store.insert_events(events("a", [1, 2]))
    store.insert_events([*events("b", [1]), *events("a", [3]), *events("é/漢", [1])])
    records = everything(store)
    hashes = auditor.chain(records)
    assert [record.hash for record in records] == hashes
    assert store.head() == Head(5, hashes[-1])


def test_the_link_of_a_known_event_stays_for_ever() -> None:
    found = link(GENESIS, "round/LuckyMonaco/5103188801", 1, "RoundOpened", b'{"a":1}')
    assert found.hex() == "01029ba73024595ac93cee876cf70726bd58f020f5b109dcc81f55615f6085ac"


@pytest.mark.parametrize(
    "other",
    [
        (b"\1" * 32, "s", 1, "T", b"{}"),
        (GENESIS, "S", 1, "T", b"{}"),
        (GENESIS, "s", 11, "T", b"{}"),
        (GENESIS, "s", 1, "U", b"{}"),
        (GENESIS, "s", 1, "T", b"{ }"),
        (GENESIS, "s\0001", 1, "T", b"{}"),
    ],
)
def test_every_part_of_an_event_changes_its_hash(other: tuple[Any, ...]) -> None:
    assert link(*other) != link(GENESIS, "s", 1, "T", b"{}")


def test_positions_have_no_gaps_also_after_a_failure(store: Store) -> None:
    store.insert_events(events("a", [1, 2]))
    for _ in range(2):
        with pytest.raises(IntegrityError):
            store.insert_events([*events("b", [1]), *events("a", [2])])
    store.insert_events(events("b", [1]))
    records = everything(store)
    assert [record.id for record in records] == [1, 2, 3]
    assert [record.hash for record in records] == auditor.chain(records)


def test_more_events_than_one_statement_takes_are_inserted_in_order(store: Store) -> None:
    positions = store.insert_events(events("a", range(1, 701)))
    assert list(positions) == list(range(1, 701))
    records = everything(store)
    assert [record.originator_version for record in records] == list(range(1, 701))
    assert [record.hash for record in records] == auditor.chain(records)


def test_a_body_is_kept_byte_for_byte(store: Store) -> None:
    body = '{"b": 1,"a":1.50, "é":"\\u0000 漢 \\ud83d\\ude00"}'.encode()
    store.insert_events([event(state=body)])
    assert everything(store)[0].state == body
    assert store.stream("a") == [("BetPlaced", body)]
    assert store.event("a", 1) == ("BetPlaced", body)


def test_notifications_are_records_with_their_hashes(store: Store) -> None:
    store.insert_events(events("a", [1, 2]))
    assert list(store.select_notifications(1, 10)) == list(everything(store))


# all or nothing


def snapshot(store: Store) -> Any:
    return (
        store.head(),
        list(everything(store)),
        {p.TABLE: list(store.rows(p.TABLE)) for p in IN_TRANSACTION},
    )


CONFLICTS: dict[str, Callable[[], tuple[list[StoredEvent], Any]]] = {
    "an event is there": lambda: (events("b", [1]) + events("a", [1]), {}),
    "an event comes twice": lambda: (events("b", [1, 1]), {}),
    "a row is there": lambda: (events("b", [1]), {"wallets": {USD: (None, OPENED)}}),
    "a row was changed": lambda: (events("b", [1]), {"wallets": {USD: (OPENED, (7, 2, 0, 2))}}),
    "a row is gone": lambda: (events("b", [1]), {"wallets": {EUR: (OPENED, PAID_IN)}}),
    "one of two tables": lambda: (
        events("b", [1]),
        {
            "reference_index": {("LuckyMonaco", "bet", "r"): (None, PLACE)},
            "wallets": {USD: (OPENED, PAID_IN)},
        },
    ),
}


@pytest.mark.parametrize("conflict", list(CONFLICTS.values()), ids=list(CONFLICTS))
def test_events_and_rows_are_inserted_all_or_nothing(store: Store, conflict: Any) -> None:
    store.insert_events(
        [*events("a", [1]), *events("a", [2])], changes={"wallets": {USD: (None, PAID_IN)}}
    )
    before = snapshot(store)
    stored, changes = conflict()
    with pytest.raises(IntegrityError):
        store.insert_events(stored, changes=changes)
    assert snapshot(store) == before
    assert store.stream_version("b") == 0


@pytest.mark.parametrize("conflict", list(CONFLICTS.values()), ids=list(CONFLICTS))
def test_a_transaction_that_meets_a_conflict_leaves_nothing(store: Store, conflict: Any) -> None:
    store.insert_events(events("a", [1]), changes={"wallets": {USD: (None, PAID_IN)}})
    before = snapshot(store)
    stored, changes = conflict()

    def insert_one_and_the_conflict() -> None:
        with store.transaction():
            store.insert_events(events("c", [1]), changes={"wallets": {("c", "c"): (None, OPENED)}})
            store.insert_events(stored, changes=changes)

    with pytest.raises(IntegrityError):
        insert_one_and_the_conflict()
    assert snapshot(store) == before


def test_a_transaction_that_breaks_leaves_nothing(store: Store) -> None:
    store.insert_events(events("a", [1]), changes={"wallets": {USD: (None, OPENED)}})
    before = snapshot(store)

    def insert_and_break() -> None:
        with store.transaction():
            store.insert_events(events("a", [2]), changes={"wallets": {USD: (OPENED, PAID_IN)}})
            store.insert_events(events("b", [1]), changes={"wallets": {EUR: (None, OPENED)}})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        insert_and_break()
    assert snapshot(store) == before
    store.insert_events(events("a", [2]), changes={"wallets": {USD: (OPENED, PAID_IN)}})
    assert store.row("wallets", USD) == PAID_IN


def test_a_transaction_reads_what_it_wrote_and_yields_the_head_it_began_with(
    store: Store,
) -> None:
    store.insert_events(events("a", [1]))
    with store.transaction() as head:
        assert head == store.head()
        store.insert_events(events("a", [2]), changes={"wallets": {USD: (None, OPENED)}})
        assert store.head().position == 2
        assert store.stream_version("a") == 2
        assert store.row("wallets", USD) == OPENED


def test_transactions_take_turns(store: Store) -> None:
    def add_ten(_: int) -> None:
        for _ in range(10):
            with store.transaction():
                version = store.stream_version("a") + 1
                store.insert_events([event("a", version)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_ten, range(4)))
    assert [record.originator_version for record in everything(store)] == list(range(1, 41))


def test_a_table_is_cleared_and_written_again_or_kept_as_it_was(store: Store) -> None:
    store.insert_events([], changes={"wallets": {USD: (None, OPENED), EUR: (None, OPENED)}})
    before = snapshot(store)

    def rewrite_and_break() -> None:
        with store.transaction():
            store.clear("wallets")
            store.write({"wallets": {USD: (None, PAID_IN)}})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rewrite_and_break()
    assert snapshot(store) == before
    with store.transaction():
        store.clear("wallets")
        assert store.rows("wallets") == []
        store.write({"wallets": {USD: (None, PAID_IN)}})
    assert store.rows("wallets") == [(*USD, *PAID_IN)]


# reading


def test_records_are_read_behind_a_position_and_up_to_a_limit(store: Store) -> None:
    store.insert_events(events("a", range(1, 6)))
    for after, limit, expected in (
        (0, 2, [1, 2]),
        (2, 2, [3, 4]),
        (4, 2, [5]),
        (5, 2, []),
        (0, 0, []),
        (0, 99, [1, 2, 3, 4, 5]),
    ):
        assert [r.id for r in store.records(after=after, limit=limit)] == expected


def test_a_stream_is_read_in_order_and_up_to_a_version(store: Store) -> None:
    store.insert_events([*events("a", [1, 2]), *events("b", [1]), *events("a", [3])])
    bodies = [("BetPlaced", b'{"n":%d}' % version) for version in (1, 2, 3)]
    assert list(store.stream("a")) == bodies
    assert [list(store.stream("a", upto=upto)) for upto in (0, 1, 2, 3, 9)] == [
        [],
        bodies[:1],
        bodies[:2],
        bodies,
        bodies,
    ]
    assert list(store.stream("nobody's")) == []
    assert [store.stream_version(name) for name in ("a", "b", "nobody's")] == [3, 1, 0]
    assert store.event("a", 2) == bodies[1]


def test_many_streams_are_read_at_once_and_empty_ones_are_absent(store: Store) -> None:
    store.insert_events([*events("a", [1, 2]), *events("b", [1])])
    names = ["a", "b", *(f"nobody's {n}" for n in range(600))]
    found = store.streams(names)
    assert found == {"a": store.stream("a"), "b": store.stream("b")}
    assert store.streams([]) == {}


def test_stream_names_are_compared_exactly(store: Store) -> None:
    store.insert_events([*events("A", [1]), *events("a", [1]), *events("a ", [1])])
    assert [store.stream_version(name) for name in ("A", "a", "a ", " a")] == [1, 1, 1, 0]


def test_rows_are_found_by_key_and_what_is_not_there_is_absent(store: Store) -> None:
    keys = [(str(user), "USD") for user in range(600)]
    rows = {key: (place, 2, 0, 1) for place, key in enumerate(keys)}
    store.insert_events([], changes={"wallets": {key: (None, rows[key]) for key in keys}})
    assert store.find("wallets", [*keys, ("nobody", "USD")]) == rows
    assert store.find("wallets", []) == {}
    assert store.row("wallets", keys[7]) == (7, 2, 0, 1)
    assert store.row("wallets", ("nobody", "USD")) is None


def test_rows_are_sorted_by_key_and_selected_by_its_first_parts(store: Store) -> None:
    keys = [("b", "USD"), ("a", "USD"), ("b", "EUR"), ("ab", "EUR")]
    store.insert_events([], changes={"wallets": dict.fromkeys(keys, (None, OPENED))})
    assert [row[:2] for row in store.rows("wallets")] == sorted(keys)
    assert store.rows("wallets", ("b",)) == [("b", "EUR", *OPENED), ("b", "USD", *OPENED)]
    assert store.rows("wallets", ("b", "USD")) == [("b", "USD", *OPENED)]
    assert store.rows("wallets", ("nobody",)) == []


def test_many_rows_are_changed_together(store: Store) -> None:
    keys = [(str(user), "USD") for user in range(300)]
    store.insert_events([], changes={"wallets": dict.fromkeys(keys, (None, OPENED))})
    store.insert_events([], changes={"wallets": dict.fromkeys(keys, (OPENED, PAID_IN))})
    assert set(store.find("wallets", keys).values()) == {PAID_IN}


@pytest.mark.parametrize(
    "url", ["", "book.db", "mysql://x", "sqlite://", "sqlite:///", "sqlite://book.db"]
)
def test_another_url_is_unfit(url: str) -> None:
    with pytest.raises(StoreUnfit):
        open_store(url)


# SQLite alone


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Store]]:
    stores: list[Store] = []

    def opener() -> Store:
        stores.append(open_store(f"sqlite:///{path}", IN_TRANSACTION))
        return stores[-1]

    yield opener
    for each in stores:
        each.close()


TAMPERING = [
    "update stored_events set state = '[]'",
    "update stored_events set state = '[]' where position = 1",
    "update stored_events set position = 9 where position = 2",
    "update or replace stored_events set position = 1 where position = 2",
    "delete from stored_events",
    "delete from stored_events where position = 2",
    "insert or replace into stored_events values (1, 'a', 1, 'BetPlaced', '[]', x'00')",
    "insert or replace into stored_events values (2, 'z', 1, 'BetPlaced', '[]', x'00')",
    "insert or replace into stored_events values (3, 'a', 2, 'BetPlaced', '[]', x'00')",
    "replace into stored_events values (2, 'a', 2, 'BetPlaced', '[]', x'00')",
    "insert into stored_events values (1, 'a', 1, 'BetPlaced', '[]', x'00')"
    " on conflict do update set state = excluded.state",
]


@pytest.mark.parametrize("statement", TAMPERING)
def test_no_statement_changes_deletes_or_replaces_an_event(
    opened: Callable[[], Store], path: Path, statement: str
) -> None:
    store = opened()
    store.insert_events(events("a", [1, 2]))
    before = snapshot(store)
    stranger = apsw.Connection(str(path))
    with pytest.raises(apsw.ConstraintError, match="immutable"):
        stranger.execute(statement)
    stranger.close()
    assert snapshot(store) == before


def test_every_connection_writes_ahead_and_flushes_at_every_commit(
    opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = connections_made(monkeypatch)
    store = opened()
    store.insert_events(events("a", [1]))
    together = threading.Barrier(4)

    def read(_: int) -> None:
        together.wait()
        for _ in range(50):
            store.stream("a")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert len(connections) >= 2
    for connection in connections:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("pragma synchronous").fetchone() == (2,)


def test_a_reading_connection_cannot_write(
    opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    connections = connections_made(monkeypatch)
    store.stream("a")
    (reader,) = connections
    with pytest.raises(apsw.ReadOnlyError, match="readonly"):
        reader.execute("delete from wallets")


def test_cash_below_zero_is_refused_by_the_table(opened: Callable[[], Store]) -> None:
    store = opened()
    store.insert_events([], changes={"wallets": {USD: (None, OPENED)}})
    before = snapshot(store)
    for changes in ({USD: (OPENED, (-1, 2, 0, 2))}, {EUR: (None, (-1, 2, 0, 1))}):
        with pytest.raises(IntegrityError):
            store.insert_events(events("a", [1]), changes={"wallets": changes})
    assert snapshot(store) == before


def test_a_status_that_is_none_is_refused_by_the_table(opened: Callable[[], Store]) -> None:
    row = ("123456", "USD", "Done", 0, 0, 0, "now")
    with pytest.raises(IntegrityError):
        opened().insert_events([], changes={"rounds": {("LuckyMonaco", "1"): (None, row)}})


def test_a_second_store_on_the_file_sees_and_continues_the_chain(
    opened: Callable[[], Store],
) -> None:
    first, second = opened(), opened()
    first.insert_events(events("a", [1]), changes={"wallets": {USD: (None, OPENED)}})
    assert second.head() == first.head()
    assert second.row("wallets", USD) == OPENED
    second.insert_events(events("a", [2]), changes={"wallets": {USD: (OPENED, PAID_IN)}})
    first.insert_events(events("b", [1]))
    records = everything(first)
    assert records == everything(second)
    assert [record.hash for record in records] == auditor.chain(records)
    assert first.row("wallets", USD) == PAID_IN


def test_a_second_store_that_is_behind_meets_a_conflict(opened: Callable[[], Store]) -> None:
    first, second = opened(), opened()
    first.insert_events(events("a", [1]), changes={"wallets": {USD: (None, OPENED)}})
    first.insert_events(events("a", [2]), changes={"wallets": {USD: (OPENED, PAID_IN)}})
    with pytest.raises(IntegrityError):
        second.insert_events(events("a", [2]))
    with pytest.raises(IntegrityError):
        second.insert_events(events("b", [1]), changes={"wallets": {USD: (OPENED, PAID_IN)}})
    assert first.head().position == 2


def test_what_was_inserted_is_there_when_the_file_is_opened_again(path: Path) -> None:
    url = f"sqlite:///{path}"
    store = open_store(url, IN_TRANSACTION)
    store.insert_events(events("a", [1]), changes={"wallets": {USD: (None, OPENED)}})
    before = snapshot(store)
    store.close()
    store = open_store(url, IN_TRANSACTION)
    assert snapshot(store) == before
    store.close()


def test_readers_see_the_last_commit_while_a_transaction_is_open(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    store.insert_events(events("a", [1]))
    with ThreadPoolExecutor(1) as pool, store.transaction():
        store.insert_events(events("a", [2]))
        assert pool.submit(store.head).result().position == 1
    assert store.head().position == 2


def test_no_new_connection_reads_a_file_that_was_put_in_the_place_of_a_books(
    opened: Callable[[], Store], path: Path, tmp_path: Path
) -> None:
    store = opened()
    with closing(SQLiteStore(str(tmp_path / "other.db"), IN_TRANSACTION)):
        pass
    (tmp_path / "other.db").replace(path)
    store._look_at = 0.0  # type: ignore[attr-defined]
    with pytest.raises(PersistenceError, match="is not the file that was opened"):
        store.head()


def test_a_file_locked_by_another_is_a_failure_of_the_store(
    opened: Callable[[], Store], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.store.sqlite.LOCK_WAIT_MS", 10)
    store = opened()
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    with pytest.raises(PersistenceError):
        store.insert_events(events("a", [1]))
    other.execute("rollback")
    other.close()
    store.insert_events(events("a", [1]))
    assert store.head().position == 1


@pytest.mark.parametrize("content", [b"not a database, and long enough to be seen as one" * 20])
def test_a_file_that_is_no_database_is_unfit(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreUnfit, match=r"book\.db"):
        open_store(f"sqlite:///{path}")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_file_that_is_somebody_elses_is_refused_and_not_changed_by_a_byte(
    path: Path, journal: str, *, create: bool
) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", journal)
        connection.execute("create table theirs (a)")
    before = path.read_bytes()
    with pytest.raises(StoreUnfit, match="no Roundbook book"):
        open_store(f"sqlite:///{path}", create=create)
    assert path.read_bytes() == before


def test_an_empty_file_is_no_book_where_none_is_to_be_made(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreUnfit, match="is empty"):
        open_store(f"sqlite:///{path}", create=False)
    assert path.read_bytes() == b""


def test_who_looks_at_a_file_while_another_makes_a_book_of_it_finds_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Between(apsw.Connection):
        def pragma(self, *about: Any, **named: Any) -> Any:
            said = super().pragma(*about, **named)
            monkeypatch.undo()
            open_store(f"sqlite:///{path}").close()
            return said

    path.touch()
    monkeypatch.setattr(apsw, "Connection", Between)
    open_store(f"sqlite:///{path}").close()


def test_a_book_is_not_taken_for_one_of_the_other_party(store_url: str) -> None:
    with closing(examples.new_book(store_url, now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        with pytest.raises(StoreUnfit, match="is it the other party's"):
            Book(book.store)
    with closing(controls.new_book("memory://")) as ours:
        controls.fund(ours)
        with pytest.raises(StoreUnfit, match="is it the other party's"):
            ProvidersBook(ours.store, examples.HOUSE)


def test_a_folder_that_is_not_there_is_unfit(path: Path) -> None:
    with pytest.raises(StoreUnfit):
        open_store(f"sqlite:///{path}/nowhere/book.db")


def test_an_old_sqlite_is_unfit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "SQLITE_VERSION_NUMBER", 3_051_002)
    with pytest.raises(StoreUnfit, match=r"3\.51\.3"):
        open_store(f"sqlite:///{path}")


def test_a_snapshot_sees_nothing_later_and_holds_no_writer_up(book: Book) -> None:
    with ThreadPoolExecutor(1) as writer:
        with book.store.snapshot() as head:
            if isinstance(book.store, SQLiteStore):
                assert writer.submit(book.submit, controls.place_bet()).result(10).recorded
            assert book.store.head() == head
            assert book.store.records(after=head.position, limit=10) == []
        book.submit(controls.place_bet(reference="later"))
    assert book.store.head().position > head.position


def test_a_snapshot_inside_another_is_a_part_of_it(store: Store) -> None:
    store.insert_events(events("a", [1]))
    with ThreadPoolExecutor(1) as writer:
        with store.snapshot() as outer:
            with store.snapshot() as inner, store.snapshot():
                assert inner == outer
            if isinstance(store, SQLiteStore):
                writer.submit(store.insert_events, events("a", [2])).result(10)
            assert store.head() == outer
            with store.snapshot() as inner:
                assert inner == outer
            assert [record.id for record in everything(store)] == [1]
        writer.submit(store.insert_events, events("b", [1])).result(10)
    assert store.head().position > outer.position


def test_a_snapshot_inside_a_transaction_is_a_part_of_it(store: Store) -> None:
    with store.transaction():
        store.insert_events(events("a", [1]))
        with store.snapshot() as inner:
            assert inner == store.head()
            assert inner.position == 1
        store.insert_events(events("a", [2]))
    assert store.head().position == 2


def test_a_snapshot_goes_on_behind_a_transaction_inside_it(opened: Callable[[], Store]) -> None:
    store = opened()
    with store.snapshot() as head:
        store.insert_events(events("a", [1]))
        assert store.head() == head
    assert store.head().position == 1


# seals


def test_seals_are_kept_in_the_order_they_were_made(store: Store) -> None:
    made = [b'{"position":1}', b'{"position":2}', b'{"position":2,"next_key":"k"}']
    for after, seal in zip([None, *made], made, strict=False):
        assert store.last_seal() == after
        store.add_seal(json.loads(seal)["position"], seal, after=after)
    assert list(store.seals()) == made
    rows = [(1, 1, made[0]), (2, 2, made[1]), (3, 2, made[2])]
    assert list(store.scan(SEALS)) == rows
    assert [list(store.scan(SEALS, after=number)) for number in range(5)] == [
        rows,
        rows[1:],
        rows[2:],
        [],
        [],
    ]


def test_a_seal_is_refused_where_another_was_made_meanwhile(store: Store) -> None:
    first, second = b'{"position":1}', b'{"position":2}'
    with pytest.raises(IntegrityError):
        store.add_seal(1, first, after=second)
    store.add_seal(2, first, after=None)
    for after in (None, second):
        with pytest.raises(IntegrityError):
            store.add_seal(2, second, after=after)
    assert list(store.seals()) == [first]
    store.add_seal(2, second, after=first)
    assert list(store.seals()) == [first, second]


def test_the_first_parts_of_keys_are_found_without_a_scan(book: Book) -> None:
    for provider in ("Kyren", "LuckyMonaco", "a/b"):
        for number in range(3):
            reference = f"{provider} {number}"
            bet = controls.place_bet(provider=provider, reference=reference, amount="1.00")
            assert book.submit(bet).recorded
    found = book.store.first_parts("reference_index")
    assert found == ["Kyren", "LuckyMonaco", "a/b", "cashier"]
