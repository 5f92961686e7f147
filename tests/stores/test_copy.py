import json
from contextlib import closing

import pytest
from click.testing import CliRunner
from eventsourcing.persistence import OperationalError

from ledger.copying import copy_events
from ledger.store import StoreUnfit, open_store
from scripts.copy_book import copy
from scripts.source import MAPPERS, TABLES
from scripts.verify import checked
from tests import controls, seals
from tests.audit_file import evening
from tests.provider import examples
from tests.questions import EVERYTHING


def run(*arguments, code=0):
    result = CliRunner().invoke(copy, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result.output


def records(where):
    url = str(where) if "://" in str(where) else f"sqlite:///{where}"
    with closing(open_store(url, read_only=True)) as store:
        return list(store.records(after=0, limit=EVERYTHING)), list(store.seals())


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.db"
    evening(path, seal=seals.new_signer())
    return path


def test_a_book_goes_to_postgresql_and_back_and_is_the_same(book, postgres, tmp_path):
    there, back = postgres.new_book(), tmp_path / "back.db"
    first = json.loads(run(book, there, "--json"))
    run(there, back)

    assert first["added"] == first["events"] > 100
    assert records(there) == records(back) == records(book)
    assert checked(str(back)).holds
    assert checked(there).tables_checked


def test_a_copy_is_continued(book, tmp_path):
    out = tmp_path / "out.db"
    run(book, out)
    with closing(controls.new_book(f"sqlite:///{book}")) as again:
        again.submit(controls.deposit(reference="later"))
    assert json.loads(run(book, out, "--json"))["added"] == 1
    assert json.loads(run(book, out, "--json"))["added"] == 0
    assert records(out) == records(book)


def test_a_providers_book_is_copied_too(tmp_path, postgres):
    path, there = tmp_path / "provider.db", postgres.new_book()
    with closing(examples.new_book(f"sqlite:///{path}", now=examples.Clock())) as provider:
        examples.accepted_bet(provider)
    run(path, there)
    assert records(there) == records(path)


def test_another_book_is_not_copied_over(book, tmp_path):
    other = tmp_path / "other.db"
    with closing(controls.new_book(f"sqlite:///{other}")) as stranger:
        controls.fund(stranger)
    before = other.read_bytes()
    assert "it is another book" in run(book, other, code=1)
    assert other.read_bytes()[:100] == before[:100]
    assert len(records(other)[0]) == 2


def test_a_copy_that_another_process_has_continued_is_not_said_to_differ(book, tmp_path):
    events, _ = records(book)
    with closing(open_store(f"sqlite:///{tmp_path}/out.db", TABLES["operator"])) as out:
        list(copy_events(events[:10], out, MAPPERS["operator"]))
        with pytest.raises(StoreUnfit, match="another process has continued the copy"):
            list(copy_events(events, out, MAPPERS["operator"]))


def test_of_a_copy_that_cannot_be_written_it_is_said_and_not_of_its_book(
    book, tmp_path, monkeypatch
):
    def full(*_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("scripts.copy_book.copy_events", full)

    assert run(book, tmp_path / "out.db", code=1) == (
        f"Error: {tmp_path}/out.db: database or disk is full\n"
    )


def test_a_book_that_does_not_hold_is_not_copied(book, tmp_path):
    seals.behind(book, "update stored_events set topic = 'DepositMade' where position = 9")
    run(book, tmp_path / "out.db", code=1)
    assert not (tmp_path / "out.db").exists()


def test_a_copy_that_was_cut_short_is_a_book_that_holds(book, tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.copying.AT_ONCE", 7)
    calls = iter(range(5))

    def cut(self, *arguments, **named):
        next(calls)
        return insert(self, *arguments, **named)

    from ledger.store.sql import SqlStore

    insert = SqlStore.insert_events
    monkeypatch.setattr(SqlStore, "insert_events", cut)
    out = tmp_path / "out.db"
    assert isinstance(CliRunner().invoke(copy, [str(book), str(out)]).exception, RuntimeError)
    monkeypatch.undo()

    assert checked(str(out)).holds
    assert len(records(out)[0]) == 35
    run(book, out)
    assert records(out) == records(book)
