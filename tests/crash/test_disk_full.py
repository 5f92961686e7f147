import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress
from http.client import HTTPException

import psycopg
import pytest

from ledger.store import StoreUnfit, open_store
from scripts.private_postgres import unprivileged
from tests import controls
from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS
from tests.http import wire
from tests.http.server import roundbook, serving, until
from tests.postgres import running


def bet(number):
    return {
        **wire.BY_NAME["/V4", "bet"].body,
        "userId": PLAYERS[number % len(PLAYERS)],
        "reference": f"bet {number}",
        "roundId": f"round {number}",
        "amount": "0.07",
        "roundDetails": "x" * 2000,
    }


def limit_files(server, size):
    for process in (server.process.pid, *server.workers()):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def room_left(folder, spare):
    return max(file.stat().st_size for file in folder.glob("book.db*")) + spare


class Bets:
    def __init__(self, server):
        self._server, self._number = server, 0
        self.acknowledged = {}

    def send(self, number):
        answer = self._server.send("POST", f"/V4/Bet?{wire.LM_PAIR}", bet(number))
        assert answer.status == 200
        if answer.code == 0:
            self.acknowledged["Bet", f"bet {number}"] = answer.json["transactionId"]
        return answer.code

    def first_refused(self):
        self._number += 1
        code = self.send(self._number)
        return (self._number, code) if code else None


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk") as folder:
        yield folder


@contextmanager
def mounted(folder):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def test_a_full_disk_is_998_records_nothing_and_is_over_when_there_is_space(tmp_path, small_disk):
    document = wire.document(f"sqlite:///{small_disk}/book.db")
    with serving(tmp_path, document) as server:
        server.fund(*PLAYERS)
        bets = Bets(server)
        assert bets.first_refused() is None
        fill(small_disk)
        number, code = until(bets.first_refused, "the disk is full")
        assert code == 998
        head = server.get("/api/head").json
        assert {bets.send(number) for _ in range(5)} == {998}
        assert server.get("/api/head").json == head
        assert server.get("/livez").status == 200
        assert server.get("/readyz").status == 503
        assert len(server.events()) == head["position"]

        (small_disk / "ballast").unlink()
        assert server.get("/readyz").status == 200
        assert bets.send(number) == 0
        assert server.stop() == 0
        assert b"Traceback" not in server.err.read_bytes()
        check_the_book(small_disk / "book.db", bets.acknowledged)


def test_a_full_disk_is_told_once_until_something_was_written(tmp_path, small_disk):
    with serving(tmp_path, wire.document(f"sqlite:///{small_disk}/book.db")) as server:
        server.fund(*PLAYERS)
        bets = Bets(server)
        for times in (1, 2):
            fill(small_disk)
            number, _ = until(bets.first_refused, "the disk is full")
            assert {bets.send(number) for _ in range(5)} == {998}
            assert server.err.read_text().count("disk is full") == times
            (small_disk / "ballast").unlink()
            assert bets.send(number) == 0


def test_a_start_on_a_full_disk_says_that_it_is_full(tmp_path, small_disk):
    document = wire.document(f"sqlite:///{small_disk}/book.db")
    with serving(tmp_path, document) as server:
        server.fund(*PLAYERS)
        assert server.stop() == 0
        fill(small_disk)
        server.start(ready=False)
        assert server.process.wait(30) == 2
        (said,) = server.err.read_text().splitlines()
        (small_disk / "ballast").unlink()
        server.start()
        assert server.stop() == 0
    assert said.startswith(f"roundbook: store: {small_disk}/book.db: ")
    assert said.endswith("; the disk is full")


def test_a_server_whose_disk_for_tables_is_full_is_not_ready_until_there_is_space(tmp_path):
    with running() as cluster, mounted(cluster.folder / "disk") as small_disk:
        shutil.chown(small_disk, unprivileged())
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute(f"create tablespace small location '{small_disk}'")
        url = cluster.new_book() + "&options=-c%20default_tablespace%3Dsmall"
        with serving(tmp_path, wire.document(url)) as server:
            server.fund(*PLAYERS)
            bets = Bets(server)
            assert server.get("/readyz").status == 200
            fill(small_disk)
            number, code = until(bets.first_refused, "the disk is full")
            assert code == 998
            head = server.get("/api/head").json
            assert {server.get("/readyz").status for _ in range(7)} == {503}
            assert bets.send(number) == 998

            (small_disk / "ballast").unlink()
            assert server.get("/readyz").status == 200
            assert server.get("/api/head").json == head
            assert bets.send(number) == 0
            assert server.stop() == 0
        check_the_book(url, bets.acknowledged)


UNFIT = {
    "none/book.db": "; there is no folder {}/none",
    "folder": "; it is a folder",
    "still/book.db": "; nothing can be written in its folder",
}


@pytest.mark.parametrize(("name", "why"), UNFIT.items())
def test_a_file_that_cannot_be_opened_says_why(small_disk, name, why):
    (small_disk / "folder").mkdir()
    (small_disk / "still").mkdir()
    if name.startswith("still"):
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreUnfit) as unfit:
        open_store(f"sqlite:///{small_disk}/{name}")

    assert str(unfit.value).endswith(why.format(small_disk))


def test_an_audit_file_that_cannot_be_made_is_named_and_says_why(tmp_path, small_disk):
    book = tmp_path / "book.db"
    controls.new_book(f"sqlite:///{book}").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    for out, why in {
        small_disk / "audit.db": "nothing can be written in its folder",
        tmp_path / "none" / "audit.db": f"there is no folder {tmp_path}/none",
    }.items():
        done = roundbook("audit-file", out, "--from", book, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"roundbook: {out}: unable to open database file; {why}\n"


def test_what_was_verified_is_named_where_the_disk_cannot_hold_it(tmp_path, small_disk):
    book, state = tmp_path / "book.db", small_disk / "state"
    controls.new_book(f"sqlite:///{book}").close()
    fill(small_disk)

    done = roundbook("verify", book, "--resume", state, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        f"--resume: {state} cannot be written: No space left on device; name one where there is room\n"
    )
    assert [file.name for file in small_disk.iterdir()] == ["ballast"]


def test_a_file_that_cannot_be_written_never_loses_what_was_acknowledged(tmp_path):
    with serving(tmp_path) as server:
        server.fund(*PLAYERS)
        bets = Bets(server)
        limit_files(server, room_left(tmp_path, 50_000))
        with suppress(OSError, HTTPException):
            number, code = until(bets.first_refused, "the file is full")
            assert code == 998
            limit_files(server, resource.RLIM_INFINITY)
            assert bets.send(number) == 0
        server.kill()
        check_the_book(tmp_path / "book.db", bets.acknowledged)
        server.start()
        assert bets.first_refused() is None
        assert server.stop() == 0

    check_the_book(tmp_path / "book.db", bets.acknowledged)


@pytest.mark.parametrize("pages", [2, 20])
def test_a_book_that_may_not_grow_is_998_and_can_still_be_read(tmp_path, pages):
    service = wire.Service(wire.new_settings(store=f"sqlite:///{tmp_path}/book.db"))
    acknowledged = {}
    try:
        for player in PLAYERS:
            service.fund(player)
        writer = service.book.store._writer
        used = writer.execute("pragma page_count").fetchone()[0]
        writer.execute(f"pragma max_page_count = {used + pages}")
        answer, number = None, -1
        while answer is None or answer.code == 0:
            number += 1
            answer = service.call("/V4/Bet", bet(number))
            if answer.code == 0:
                acknowledged["Bet", f"bet {number}"] = answer.json["transactionId"]
        assert (answer.status, answer.code) == (200, 998)
        head = service.head
        assert service.call("/V4/Bet", bet(number)).code == 998
        assert service.head == head
        assert service.call("/V4/Cancel", wire.BY_NAME["/V4", "cancel"].body).code in (0, 998)

        writer.execute("pragma max_page_count = 1000000")
        again = service.call("/V4/Bet", bet(number))
        assert again.code == 0
        acknowledged["Bet", f"bet {number}"] = again.json["transactionId"]
    finally:
        service.close()
    check_the_book(tmp_path / "book.db", acknowledged)
