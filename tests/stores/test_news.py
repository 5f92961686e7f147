import subprocess
import sys
from contextlib import closing

import pytest

from ledger.provider import courier as couriers
from ledger.provider.events import SendStarted
from ledger.store import news, open_store
from ledger.store.postgres import PostgresStore
from scripts.private_postgres import following
from tests import controls
from tests.audit_file.test_keeping import follows
from tests.http import wire
from tests.http.server import PATIENCE_S, serving, until
from tests.postgres import end_connections, running
from tests.provider import examples
from tests.provider.table import LM, Table
from tests.stores.test_follower import WRITER

NEVER_S, AT_ONCE_S = 600.0, 0.05


@pytest.fixture(params=["postgres", "newest_postgres"])
def url(request):
    made = request.getfixturevalue(request.param).new_book()
    with closing(controls.new_book(made)) as book:
        controls.fund(book)
    return made


@pytest.fixture
def reader(url):
    with closing(open_store(url, read_only=True)) as store:
        assert store.await_news(AT_ONCE_S)
        until(lambda: not store.await_news(AT_ONCE_S), "all is quiet")
        yield store


def test_a_follower_is_told_what_another_process_wrote(url, reader):
    with subprocess.Popen([sys.executable, "-c", WRITER, url, "theirs", "1"], cwd=wire.ROOT):
        assert reader.await_news(PATIENCE_S)


def test_nobody_is_told_of_another_book(url, reader, postgres, newest_postgres):
    for server in (postgres, newest_postgres):
        with closing(controls.new_book(server.new_book())) as other:
            controls.fund(other)
    assert not reader.await_news(AT_ONCE_S)


def test_a_follower_and_a_writer_whose_connections_were_ended_find_each_other_again(
    monkeypatch,
):
    monkeypatch.setattr("ledger.store.notify.DEAF_S", 0.0)
    with running() as server:
        url = server.new_book()
        with closing(controls.new_book(url)) as book:
            controls.fund(book)
            with closing(open_store(url, read_only=True)) as store:
                store.await_news(AT_ONCE_S)
                end_connections(url)
                until(lambda: not store.await_news(AT_ONCE_S), "the end is noticed")
                store.await_news(AT_ONCE_S)
                until(lambda: not store.await_news(AT_ONCE_S), "it listens again")
                book.submit(controls.place_bet())
                assert store.await_news(PATIENCE_S)


def test_a_copy_and_a_server_that_is_gone_are_looked_at_all_the_same():
    with running() as primary:
        url = primary.new_book()
        with closing(controls.new_book(url)) as book:
            controls.fund(book)
            with following(primary) as copy:
                wait = news(url.replace(f":{primary.port}/", f":{copy.port}/"))
                assert [wait(AT_ONCE_S) for _ in range(3)] == [False] * 3
            book.submit(controls.place_bet())
        wait = news(url)
    assert [wait(AT_ONCE_S) for _ in range(3)] == [False] * 3


def test_a_local_store_tells_nobody(tmp_path):
    assert news(f"sqlite:///{tmp_path}/book.db") is None
    with closing(controls.new_book("memory://")) as book:
        assert not book.store.await_news(0.0)


@pytest.fixture
def table(postgres, tmp_path, monkeypatch):
    made = Table(tmp_path, LM, delivers=False)
    made.store_url = postgres.new_book()
    with made:
        monkeypatch.setattr(couriers, "POLL_S", NEVER_S)
        yield made
        monkeypatch.undo()


def bet_of_another_process(table):
    table.open_book().submit(examples.place_bet(operator=table.login))


def test_a_courier_is_told_of_what_another_process_made_due(table):
    table.start()
    bet_of_another_process(table)
    until(lambda: table.of(SendStarted), "the bet is sent")


def test_a_courier_that_is_not_told_would_not_send_it_before_it_looks(table, monkeypatch):
    waits = []
    monkeypatch.setattr(PostgresStore, "await_news", lambda _, seconds: waits.append(seconds))
    table.start()
    bet_of_another_process(table)
    until(lambda: len(waits) > 1000, "it could have been told a thousand times")
    assert not table.of(SendStarted)


def test_an_audit_file_is_told_when_its_book_grows(postgres, tmp_path):
    said = {
        **wire.document(postgres.new_book()),
        "audit": {"keep": True, "every_s": NEVER_S, "folder": str(tmp_path)},
    }
    with serving(tmp_path, said) as server:
        server.fund("1")
        (file,) = wait_for_file(tmp_path)
        follows(server, file)


def wait_for_file(folder):
    until(lambda: [*folder.glob("*.audit.db")], "the audit file is there")
    return [*folder.glob("*.audit.db")]
