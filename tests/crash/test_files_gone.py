import os
import shutil
import subprocess
from contextlib import closing
from itertools import count

import apsw
import pytest
from click.testing import CliRunner

from ledger.refusals import OutcomeUnknown
from ledger.store import StoreUnfit, open_store, sqlite
from scripts.cli import roundbook
from tests import controls
from tests.crash.books import check_the_book, locked
from tests.crash.load import PLAYERS
from tests.crash.test_disk_full import Bets
from tests.http import wire
from tests.http.server import argv, clean, serving, until
from tests.verify.books import run


def remove(folder):
    for file in folder.glob("book.db*"):
        file.unlink()


def move(folder):
    (folder / "book.db").rename(folder / "moved.db")


def replace(folder):
    shutil.copy(folder / "book.db", folder / "other.db")
    os.replace(folder / "other.db", folder / "book.db")


def remove_the_wal(folder):
    (folder / "book.db-wal").unlink()


def hide(folder):
    folder.rename(folder.with_name("hidden"))
    folder.write_text("no folder any more")


@pytest.mark.parametrize("lose", [remove, move, replace, remove_the_wal, hide])
def test_a_book_whose_files_are_gone_takes_no_bet_and_can_be_copied_from_its_service(
    tmp_path, lose
):
    books = tmp_path / "books"
    books.mkdir()
    with serving(tmp_path, wire.document(f"sqlite:///{books}/book.db")) as server:
        server.fund(*PLAYERS)
        bets = Bets(server)
        assert bets.first_refused() is None
        lose(books)
        number, code = until(bets.first_refused, "the files are missed")
        assert code == 998
        assert server.get("/readyz").status == 503
        assert "put it back, or copy the book from this service" in server.err.read_text()

        rescued = f"sqlite:///{tmp_path}/rescued.db"
        copy = ["copy", f"http://127.0.0.1:{server.port}", rescued, "--token", wire.AUDITOR]
        done = CliRunner().invoke(roundbook, copy)
        assert done.exit_code == 0, done.output
        check_the_book(tmp_path / "rescued.db", bets.acknowledged)

        if lose is move:
            (books / "moved.db").rename(books / "book.db")
            assert bets.send(number) == 0
            assert server.get("/readyz").status == 200
            check_the_book(books / "book.db", bets.acknowledged)


@pytest.mark.parametrize("name", ["book.db", "book.db-wal", "book.db-shm"])
@pytest.mark.parametrize("create", [True, False])
def test_a_book_that_may_be_read_and_not_written_is_refused_at_the_start(tmp_path, name, create):
    there, left = tmp_path / "there", tmp_path / "left"
    there.mkdir()
    with closing(controls.new_book(f"sqlite:///{there}/book.db")) as book:
        controls.fund(book)
        shutil.copytree(there, left)  # as a crash leaves it
    with locked(left / name):
        with pytest.raises(StoreUnfit) as unfit:
            open_store(f"sqlite:///{left}/book.db", create=create)
        assert str(unfit.value).startswith(f"store: {left}/{name} may not be written: mend its ")
    controls.new_book(f"sqlite:///{left}/book.db").close()


@pytest.mark.parametrize("name", ["book.db", "book.db-wal", "book.db-shm"])
def test_of_a_book_that_may_not_be_read_it_is_said_which_file_may_not(tmp_path, name):
    there, left = tmp_path / "there", tmp_path / "left"
    there.mkdir()
    with closing(controls.new_book(f"sqlite:///{there}/book.db")) as book:
        controls.fund(book)
        shutil.copytree(there, left)
    (left / name).chmod(0)
    done = verified_by_anyone(left / "book.db")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"; {left / name} may not be read\n")


def test_of_a_book_in_a_closed_folder_it_is_not_said_that_there_is_none(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    controls.new_book(f"sqlite:///{closed}/book.db").close()
    closed.chmod(0)
    try:
        done = verified_by_anyone(closed / "book.db")
    finally:
        closed.chmod(0o700)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"roundbook: store: {closed}/book.db may not be looked for:"
        " a folder on the way to it is closed\n"
    )


def verified_by_anyone(book):
    as_anyone = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    verify = [*as_anyone, *argv("verify", book)]
    return subprocess.run(verify, env=clean(), capture_output=True, text=True, check=False)


def test_a_book_behind_a_link_takes_bets_until_the_file_it_leads_to_is_gone(tmp_path):
    books, link = tmp_path / "books", tmp_path / "link.db"
    books.mkdir()
    link.symlink_to(books / "book.db")
    controls.new_book(f"sqlite:///{link}").close()
    with closing(controls.new_book(f"sqlite:///{link}")) as book:
        controls.fund(book)
        remove(books)

        def is_missed():
            try:
                book.submit(controls.deposit())
            except OutcomeUnknown:
                return True
            return False

        until(is_missed, "the file is missed")


def all_in_one_file(path):
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")


def test_a_book_that_an_older_one_is_written_over_in_place_takes_no_bet_for_ever(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite, "LOOK_S", 0)
    path, older = tmp_path / "book.db", tmp_path / "older.db"
    names = map(str, count())

    def is_missed():
        try:
            book.submit(controls.deposit(reference=next(names)))
        except OutcomeUnknown as unknown:
            return "somebody wrote over it" in str(unknown.__cause__)
        return False

    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        controls.fund(book)
        all_in_one_file(path)
        shutil.copyfile(path, older)
        book.submit_many([controls.deposit(reference=next(names)) for _ in range(200)])
        all_in_one_file(path)
        assert not is_missed()
        newer = path.read_bytes()
        assert path.stat().st_size > older.stat().st_size

        shutil.copyfile(older, path)

        until(is_missed, "the older book is noticed")
        with path.open("r+b") as file:
            file.write(newer)
        assert is_missed()


def test_a_book_that_was_vacuumed_takes_no_bet_until_it_was_stopped_and_holds(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite, "LOOK_S", 0)
    path = tmp_path / "book.db"
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        controls.fund(book)
        with closing(apsw.Connection(str(path))) as theirs:
            theirs.execute("create table t (x); insert into t values (zeroblob(1000000))")
            theirs.execute("drop table t; pragma wal_checkpoint(truncate)")
            book.submit(controls.deposit(reference="before"))
            theirs.execute("vacuum; pragma wal_checkpoint(truncate)")
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as unknown:
                book.submit(controls.deposit(reference="meanwhile"))
            assert "where roundbook verify then holds, start it again" in str(
                unknown.value.__cause__
            )

    assert "all hold" in run(path).output
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        assert book.submit(controls.deposit(reference="meanwhile")).recorded
    assert "all hold" in run(path).output
