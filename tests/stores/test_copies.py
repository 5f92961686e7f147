import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from ledger.operator.book import Book
from ledger.operator.commands import PlaceBet, RecordResult
from ledger.refusals import Breakdown, NoSuchRound, OutcomeUnknown, Refusal
from ledger.store.patience import Watch
from ledger.store.postgres import PostgresStore
from scripts.private_postgres import debians, wheels
from tests import controls
from tests.http import wire
from tests.http.server import serving, until
from tests.postgres import Cluster, running

NOBODY = "alter system set synchronous_standby_names = 'nobody'"
ALONE = "alter system set synchronous_standby_names = ''"
WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running() as started:
        yield started


@pytest.fixture
def book(cluster: Cluster) -> Iterator[Book]:
    tell(cluster, ALONE)
    with closing(controls.new_book(cluster.new_book())) as opened:
        controls.fund(opened)
        yield opened
        tell(cluster, ALONE)
        cancel(cluster)


def tell(cluster: Cluster, statement: str) -> None:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("select pg_reload_conf()")
        wanted = "nobody" if statement == NOBODY else ""

        def is_told() -> bool:
            return connection.execute("show synchronous_standby_names").fetchone() == (wanted,)

        until(is_told, "the server knows its copies")
    if wanted:
        until(lambda: commits_wait(cluster), "commits wait for copies, whoever was told first")


def commits_wait(cluster: Cluster) -> bool:
    with psycopg.connect(cluster.url) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("select pg_logical_emit_message(true, 'does this', 'wait?')")
        commit = pool.submit(connection.commit)
        until(lambda: commit.done() or waits(cluster), "the commit waits or is done")
        waited = not commit.done()
        cancel(cluster)
    return waited


def waits(cluster: Cluster) -> bool:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        return connection.execute(WAITING).fetchone() is not None


def cancel(cluster: Cluster) -> None:
    """Does what an operator does who loses patience: the commit goes through, with a warning."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"select pg_cancel_backend(pid) from ({WAITING}) waiting")


def bet_while_no_copy_answers(cluster: Cluster, book: Book) -> BaseException | None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(book.submit, controls.place_bet())
        until(lambda: waits(cluster), "the commit waits for its copies")
        assert not answer.done()
        cancel(cluster)
        return answer.exception()


def test_a_bet_whose_copies_were_not_waited_for_is_an_outcome_unknown(cluster, book) -> None:
    tell(cluster, NOBODY)
    assert isinstance(bet_while_no_copy_answers(cluster, book), OutcomeUnknown)


def test_nor_is_it_answered_where_the_role_hears_of_no_warning(cluster, book) -> None:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("alter role postgres set client_min_messages = error")
    try:
        book.store._connection.close()
        tell(cluster, NOBODY)
        assert isinstance(bet_while_no_copy_answers(cluster, book), OutcomeUnknown)
    finally:
        tell(cluster, ALONE)
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("alter role postgres reset client_min_messages")


def test_a_store_that_does_not_listen_for_the_warning_would_answer_it(
    cluster, book, monkeypatch
) -> None:
    monkeypatch.setattr(PostgresStore, "_warned", lambda *_: None)
    book.store._connection.close()
    tell(cluster, NOBODY)
    assert bet_while_no_copy_answers(cluster, book) is None


def test_a_repeated_bet_waits_for_the_copies_of_the_first(cluster, book) -> None:
    tell(cluster, NOBODY)
    bet_while_no_copy_answers(cluster, book)
    with ThreadPoolExecutor(1) as pool:
        repeated = pool.submit(book.submit, controls.place_bet())
        until(lambda: waits(cluster), "the repeated bet waits")
        tell(cluster, ALONE)
        assert not repeated.result().recorded


def test_who_waits_for_copies_longer_than_the_watch_allows_is_told_that_it_is_unknown(
    cluster, book
) -> None:
    book.store._watch = Watch(0.2)
    tell(cluster, NOBODY)
    with pytest.raises(OutcomeUnknown):
        book.submit(controls.place_bet())
    tell(cluster, ALONE)
    book.store._watch = Watch()
    assert book.submit(controls.place_bet()).transaction_id


def test_a_store_says_whether_it_has_copies(cluster, book) -> None:
    assert book.store.copies() == "none"
    tell(cluster, NOBODY)
    until(lambda: book.store.copies() == "waiting", "the store knows that it waits")


def test_a_server_that_only_reads_answers_no_repeat_and_no_refusal(
    cluster: Cluster, book: Book
) -> None:
    known, unknown = controls.place_bet(), controls.result(round_id="unknown")
    assert book.submit(known).recorded
    assert refused(book, unknown) is NoSuchRound
    fence(cluster, book, "on")
    try:
        assert refused(book, known) is OutcomeUnknown
        assert refused(book, unknown) is OutcomeUnknown
        with pytest.raises(PersistenceError):
            book.check_writing()
    finally:
        fence(cluster, book, "off")
    assert not book.submit(known).recorded
    assert refused(book, unknown) is NoSuchRound


def fence(cluster: Cluster, book: Book, state: str) -> None:
    """The server tells its sessions one after another: the book's own must have heard it."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"alter system set default_transaction_read_only = {state}")
        connection.execute("select pg_reload_conf()")
    session = book.store._writer

    def is_told() -> bool:
        return session.execute("show default_transaction_read_only").fetchone() == (state,)

    until(is_told, "the book's session is told")


def refused(book: Book, command: PlaceBet | RecordResult) -> type[Exception] | None:
    try:
        book.submit(command)
    except (Refusal, Breakdown) as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("flush", "said"),
    [("on", []), ("off", ["fsync is off: a machine that dies takes answered bets with it"])],
)
def test_a_service_tells_at_its_start_where_the_server_does_not_flush(
    tmp_path: Path, flush: str, said: list[str]
) -> None:
    with (
        running(f"-c fsync={flush}") as server,
        serving(tmp_path, wire.document(server.new_book())) as served,
    ):
        lines = map(json.loads, served.err.read_text().splitlines())
    told = [line["told"] for line in lines if line["event"] == "answered bets can be lost"]
    assert told == said


def test_a_copy_that_nobody_waits_for_is_a_risk_and_one_that_is_waited_for_is_none(
    cluster: Cluster, book: Book, tmp_path: Path
) -> None:
    assert book.store.risk() == ""
    program = (debians() or wheels() or Path()) / "pg_receivewal"
    command = [str(program), "-D", str(tmp_path), "-d", f"{cluster.url}?application_name=nobody"]
    with subprocess.Popen([*command, "--synchronous"]) as copy:
        try:
            until(lambda: book.store.copies() != "none", "the copy has come")
            assert book.store.risk() == (
                "copies are asynchronous: a node that dies takes answered bets with it"
            )
            with psycopg.connect(cluster.url, autocommit=True) as connection:
                connection.execute(NOBODY)
                connection.execute("select pg_reload_conf()")
            until(lambda: book.store.copies() == "synchronous", "the copy is waited for")
            assert book.store.risk() == ""
        finally:
            copy.terminate()
