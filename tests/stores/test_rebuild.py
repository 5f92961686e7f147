import json
from contextlib import closing

import psycopg
import pytest
from click.testing import CliRunner

from ledger.committer import LOOKED_AT
from ledger.seal import new_key
from ledger.store import StoreUnfit
from ledger.store.sqlite import SQLiteStore
from scripts.private_postgres import following
from scripts.rebuild import rebuild
from scripts.seal import seal
from tests import controls
from tests.postgres import running
from tests.provider import examples
from tests.verify import books
from tests.verify.books import behind_its_back


def run(*arguments, code):
    done = CliRunner().invoke(rebuild, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def verified(file, code):
    done = books.run(file)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path}/book.db"
    with closing(controls.new_book(url)) as book:
        controls.fund(book)
    return url


@pytest.fixture
def config(tmp_path, store):
    file = tmp_path / "roundbook.toml"
    book = f"provider_book = {{store = 'sqlite:///{tmp_path}/provider.db', token = 'g'}}\n"
    file.write_text(f"store = '{store}'\nadmin.token = 'a'\n{book}")
    examples.new_book(f"sqlite:///{tmp_path}/provider.db", now=examples.Clock()).close()
    return file


def test_a_rebuild_and_its_check_name_the_store_they_speak_of(store):
    assert run("--store", store, code=0) == f"2 rows of {store} derived from 2 events\n"
    agrees = f"every table of {store} agrees with all 2 events\n"
    assert run("--check", "--store", store, code=0) == agrees
    assert json.loads(run("--check", "--store", store, "--json", code=0)) == {
        "store": store,
        "position": 2,
        "differences": [],
    }


def test_a_check_names_the_store_that_differs(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("update wallets set cash = cash + 1")

    said = run("--check", "--store", store, code=1)

    assert said.startswith(f"1 differs in {store}, at position 2\n")


def test_a_check_names_the_configured_store_of_either_party(tmp_path, store, config):
    provider = f"sqlite:///{tmp_path}/provider.db"

    assert store in run("--check", "--config", config, code=0)
    assert provider in run("--check", "--config", config, "--party", "provider", code=0)


def test_a_store_that_is_named_needs_nothing_of_the_configuration(tmp_path, store, monkeypatch):
    (tmp_path / "roundbook.toml").write_text('admin.token = "env:NOT_HERE"')
    monkeypatch.chdir(tmp_path)

    assert store in run("--store", store, code=0)
    assert store in run("--check", "--store", store, code=0)


def test_a_check_tells_no_password(postgres):
    url = postgres.new_book()
    controls.new_book(url).close()

    said = run("--check", "--store", url.replace("postgres@", "postgres:canary@"), code=0)

    assert "postgresql://" in said
    assert "canary" not in said


OLDER = "create table sweep (name text not null primary key, stopped_at text) strict, without rowid"


def test_a_table_that_an_older_version_made_is_refused_unchanged_and_made_anew_by_a_rebuild(
    tmp_path, config
):
    file = tmp_path / "provider.db"
    with closing(examples.new_book(f"sqlite:///{file}", now=examples.Clock())) as book:
        book.submit(examples.place_bet())
    with behind_its_back(file) as connection:
        connection.execute("drop table rounds; drop table sweep")
        connection.execute(OLDER)
    options = ("--config", config, "--party", "provider")
    before = file.read_bytes()

    with pytest.raises(StoreUnfit, match=r"the table rounds .* made anew by roundbook rebuild"):
        run("--check", *options, code=2)
    assert file.read_bytes() == before
    assert "made anew by roundbook rebuild" in verified(file, code=1)

    run(*options, code=0)
    run("--check", *options, code=0)
    assert "all hold" in verified(file, code=0)


def test_an_empty_book_whose_table_an_older_version_made_is_whose_it_is_said_to_be(
    tmp_path, config
):
    options = ("--config", config, "--party", "provider")
    with behind_its_back(tmp_path / "provider.db") as connection:
        connection.execute(f"drop table sweep; {OLDER}")

    run(*options, code=0)

    run("--check", *options, code=0)
    assert "all hold" in verified(tmp_path / "provider.db", code=0)


def test_a_book_from_before_there_were_seals_is_told_what_to_do_and_gone_on_with(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("drop table seals")
    assert "made anew by roundbook rebuild" in verified(tmp_path / "book.db", code=1)

    run("--store", store, code=0)

    assert "all hold" in verified(tmp_path / "book.db", code=0)


def test_a_check_changes_not_a_byte_of_a_book_from_before_there_were_seals(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("drop table seals")
    before = (tmp_path / "book.db").read_bytes()

    with pytest.raises(StoreUnfit, match="the table seals is not as a book makes it"):
        run("--check", "--store", store, code=2)

    assert (tmp_path / "book.db").read_bytes() == before


@pytest.mark.parametrize("table", ["wallets", "reference_index", "rounds"])
@pytest.mark.parametrize("how", ["drop table {}", "delete from {}"])
def test_a_book_whose_table_was_emptied_takes_no_bet_twice(tmp_path, store, table, how):
    with closing(controls.new_book(store)) as book:
        first = book.submit(controls.place_bet())
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute(how.format(table))

    for _ in range(2):
        with pytest.raises(StoreUnfit, match=f"the table {table} lacks .* roundbook rebuild makes"):
            controls.new_book(store)

    run("--store", store, code=0)
    with closing(controls.new_book(store)) as book:
        again = book.submit(controls.place_bet())
    assert (again.transaction_id, again.cash, again.recorded) == (
        first.transaction_id,
        first.cash,
        False,
    )


def test_a_book_whose_newest_row_is_gone_is_refused_however_long_it_is(tmp_path, store):
    with closing(controls.new_book(store)) as book:
        for number in range(300):
            book.submit(controls.place_bet(amount="0.01", reference=f"b-{number}"))
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("delete from reference_index where reference = 'b-299'")
    with pytest.raises(StoreUnfit, match="the table reference_index lacks"):
        controls.new_book(store)


@pytest.mark.parametrize("events", [2, 300, 520])
def test_a_start_reads_both_ends_of_a_book_and_of_them_only_its_first_event_again(
    store, monkeypatch, events
):
    with closing(controls.new_book(store)) as book:
        book.submit_many([controls.deposit(reference=f"d-{n}") for n in range(events - 2)])
    read, scan = [], SQLiteStore.scan

    def scanned(self, table, *, after=None):
        for row in scan(self, table, after=after):
            read.append(row[0])
            yield row

    monkeypatch.setattr(SQLiteStore, "scan", scanned)
    controls.new_book(store).close()

    ends = [at for at in range(1, events + 1) if at <= LOOKED_AT or at > events - LOOKED_AT]
    assert read == [1, *ends]


@pytest.mark.parametrize("column", ["topic", "stream"])
@pytest.mark.parametrize("position", [1, 2])
def test_a_book_that_has_an_event_whose_name_is_no_text_says_which_and_begins_not(
    tmp_path, store, column, position
):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute(
            f"update stored_events set {column} = cast(x'ff' as text) where position = {position}"
        )

    with pytest.raises(StoreUnfit) as unfit:
        controls.new_book(store)
    assert str(unfit.value) == (
        f"store: the event that follows position {position - 1} cannot be read:"
        " a text is not UTF-8; roundbook verify tells more"
    )


def test_a_book_whose_first_event_is_damaged_begins(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("update stored_events set state = cast(x'ff' as text)")

    controls.new_book(store).close()


@pytest.mark.parametrize("damage", [b"{", b'{"reference":"\xff"}'])
def test_a_book_with_a_damaged_event_begins_and_goes_on_with_other_rounds(tmp_path, store, damage):
    with closing(controls.new_book(store)) as book:
        book.submit(controls.place_bet())
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute(
            "update stored_events set state = cast(? as text) where topic = 'BetPlaced'", (damage,)
        )
    with closing(controls.new_book(store)) as book:
        assert book.submit(controls.place_bet(reference="b-2", round_id="r-2")).recorded


def test_who_altered_an_event_does_not_have_the_tables_made_of_it(tmp_path, store):
    with closing(controls.new_book(store)) as book:
        book.submit(controls.place_bet(reference="b-1"))
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("""update stored_events set state = replace(state, '"b-1"', '"b-2"')""")
    with pytest.raises(StoreUnfit, match="where roundbook verify finds every event whole, "):
        controls.new_book(store)
    assert "position 4: changed" in verified(tmp_path / "book.db", code=1)


def test_a_rebuild_makes_no_events_anew(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute(
            "create trigger stored_events_are_never_updated before update on stored_events"
            " begin select 1; end"
        )

    with pytest.raises(StoreUnfit, match="stored_events_are_never_updated is not as a book makes"):
        run("--store", store, code=2)


def test_a_database_of_an_older_version_is_rebuilt_as_it_is(postgres):
    url = postgres.new_book()
    with closing(controls.new_book(url)) as book:
        controls.fund(book)
    address, _, schema = url.partition("?schema=")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"drop sequence {schema}.tables_made")
        connection.execute(f"drop function {schema}.append, {schema}.presume")

    run("--store", url, code=0)
    run("--check", "--store", url, code=0)


@pytest.mark.parametrize(
    "older", [f"drop table rounds; drop table sweep; {OLDER}", "drop table seals"]
)
def test_an_empty_book_of_an_older_version_is_whose_it_is_named_as(tmp_path, config, older):
    with behind_its_back(tmp_path / "provider.db") as connection:
        connection.execute(older)
    options = ("--config", config, "--party", "provider")

    with pytest.raises(StoreUnfit, match="made anew by roundbook rebuild"):
        run("--check", *options, code=2)
    run(*options, code=0)

    run("--check", *options, code=0)
    assert "all hold" in verified(tmp_path / "provider.db", code=0)


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_who_names_the_other_party_s_book_is_told_whose_it_is(tmp_path, store, config, check):
    url = f"sqlite:///{tmp_path}/provider.db"
    run(*check, "--config", config, "--party", "provider", code=0)  # empty, it is nobody's
    with closing(examples.new_book(url, now=examples.Clock())) as book:
        book.submit(examples.place_bet())
    with pytest.raises(StoreUnfit, match=r"provider\.db is the provider's book.*--party provider"):
        run(*check, "--config", config, "--store", url, code=2)
    with pytest.raises(StoreUnfit, match=r"book\.db is the operator's book.*--party operator"):
        run(*check, "--store", store, "--party", "provider", code=2)


def test_a_copy_is_rebuilt_by_nobody_and_whoever_tries_is_told_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(new_key())
    with running() as primary:
        url = primary.new_book()
        with closing(controls.new_book(url)) as book:
            controls.fund(book)
        with following(primary) as copy:
            theirs = url.replace(f":{primary.port}", f":{copy.port}")
            run("--check", "--store", theirs, code=0)
            monkeypatch.setattr("ledger.rebuild.derive", None)  # nothing is read in vain
            told = [
                CliRunner().invoke(rebuild, ["--store", theirs]).exception,
                CliRunner().invoke(seal, [theirs, "--key", f"{tmp_path}/key"]).exception,
            ]
            with pytest.raises(StoreUnfit) as unfit:
                controls.new_book(theirs)
    assert str(told[0]).startswith(f"store: {theirs.replace('postgres@', '')}: cannot execute")
    for each in (*told, unfit.value):
        assert str(each).endswith("is a copy, or may only be read: name the one that is written")
