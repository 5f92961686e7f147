import json
import os
import signal
from contextlib import closing
from urllib.parse import quote

import pytest

from projections import as_of
from projections.audit_file import AuditFileUnfit, open_audit_file
from projections.browse import overview
from tests import seals
from tests.http import wire
from tests.http.provider import document
from tests.http.server import Server, serving, until

KEPT = {"audit": {"keep": True, "every_s": 0.05}}


def kept_up_to(file):
    try:
        with closing(open_audit_file(file)) as db:
            return as_of.head(db).position
    except AuditFileUnfit:
        return 0


def follows(server, file, book="/api"):
    def is_there():
        return kept_up_to(file) == server.get(f"{book}/head").json["position"]

    until(is_there, f"{file.name} is where its book is")


@pytest.fixture
def config(tmp_path):
    return {**wire.document(f"sqlite:///{tmp_path}/book.db"), **KEPT}


def test_an_audit_file_follows_its_book(tmp_path, config):
    with serving(tmp_path, config) as server:
        for users in (("1",), ("2", "3")):
            server.fund(*users)
            follows(server, tmp_path / "book.audit.db")


def test_both_books_have_their_own(tmp_path):
    said = {**document(tmp_path, "http://127.0.0.1:9"), **KEPT}
    said["audit"] = {**said["audit"], "folder": str(tmp_path / "away" / "audit")}
    with serving(tmp_path, said) as server:
        server.fund("1")
        follows(server, tmp_path / "away" / "audit" / "book.audit.db")
        follows(server, tmp_path / "away" / "audit" / "provider.audit.db", "/api/provider")


@pytest.mark.parametrize("name", ["a/b", "/a//b/"])
def test_a_round_whose_name_has_slashes_has_its_page(tmp_path, config, name):
    with serving(tmp_path, config) as server:
        server.fund(wire.PLAYER)
        bet = {**wire.BY_NAME["/V4", "bet"].body, "roundId": name, "amount": "1.00"}
        assert server.send("POST", f"/V4/Bet?{wire.pair_of('/V4/Bet')}", bet).json["error"] == 0
        follows(server, tmp_path / "book.audit.db")

        page = f"/audit/operator/round.json?partner=LuckyMonaco&round={quote(name, safe='')}"
        assert server.get(page, token=wire.AUDITOR).json["round"]["round"] == name


def test_none_is_kept_where_the_settings_say_so(tmp_path):
    with serving(tmp_path) as server:
        server.fund("1")
        assert len(server.workers()) == 1
        got = server.get("/api/history?q=1")
    assert not (tmp_path / "book.audit.db").exists()
    assert (got.status, got.headers["Retry-After"]) == (503, "1")


def keeper_of(server):
    """Of the two children, the one that has no socket: the keeper is begun first."""
    return server.workers()[0]


def worker_of(server):
    return server.workers()[-1]


def is_gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_keeper_ends_with_the_service(tmp_path, config):
    with serving(tmp_path, config) as server:
        keeper = keeper_of(server)
        server.stop()
        assert is_gone(keeper)


def test_the_keeper_does_not_outlive_a_service_that_is_killed(tmp_path, config):
    with serving(tmp_path, config) as server:
        keeper = keeper_of(server)
        os.kill(worker_of(server), signal.SIGKILL)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        until(lambda: is_gone(keeper), "the keeper ends")


def test_a_keeper_that_was_killed_is_continued_at_the_next_start(tmp_path, config):
    file = tmp_path / "book.audit.db"
    with serving(tmp_path, config) as server:
        server.fund("1")
        follows(server, file)
        os.kill(keeper_of(server), signal.SIGKILL)
        server.fund("2", "3")
        assert server.get("/readyz").status == 200
    with serving(tmp_path, config, name="again") as server:
        follows(server, file)


def test_a_keeper_that_was_killed_is_told_of_in_the_log_once(tmp_path, config):
    with serving(tmp_path, config) as server:
        server.fund("1")
        follows(server, tmp_path / "book.audit.db")
        os.kill(keeper_of(server), signal.SIGKILL)
        until(lambda: "KeeperEnded" in server.err.read_text(), "the log tells of it")
        server.fund("2")
        assert server.stop() == 0
    (line,) = server.err.read_text().splitlines()
    assert "until the service is started anew" in json.loads(line)["detail"]


def has_ended(pid):
    with open(f"/proc/{pid}/stat") as said:  # its parent, which stands, has not read how
        return said.read().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_stopped_with_all_its_processes_tells_of_no_defect(
    tmp_path, config, number
):
    with serving(tmp_path, config) as server:
        server.fund("1")
        worker = worker_of(server)
        os.kill(server.process.pid, signal.SIGSTOP)  # a worker may be the quicker one
        os.killpg(server.process.pid, number)
        until(lambda: has_ended(worker), "the worker ends")
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(20) == 0
    assert server.err.read_text() == ""


def test_a_terminal_that_is_closed_ends_neither_the_service_nor_the_keeper(tmp_path, config):
    with serving(tmp_path, config) as server:
        server.fund("1")
        keeper, first = server.workers()
        os.killpg(server.process.pid, signal.SIGHUP)
        until(lambda: first not in server.workers(), "the first worker ends")
        until(lambda: len(server.workers()) == 2, "and one has taken over")
        assert keeper_of(server) == keeper
        server.fund("2")
        follows(server, tmp_path / "book.audit.db")
        assert server.stop() == 0
    assert server.err.read_text() == ""


def test_bets_go_on_and_the_log_tells_it_once_when_the_book_contradicts_its_file(tmp_path, config):
    file = tmp_path / "book.audit.db"
    with serving(tmp_path, config) as server:
        server.fund("1", "2")
        follows(server, file)
    seals.rechain(tmp_path / "book.db", after=2, nothing="new")
    with serving(tmp_path, config, name="again") as server:
        until(lambda: contradictions(file), "the contradiction is kept")
        server.fund("3")
        assert kept_up_to(file) == 4
        assert contradictions(file) == 1
        until(lambda: "Contradiction" in server.err.read_text(), "the log tells of it")
    told = [line for line in server.err.read_text().splitlines() if "Contradiction" in line]
    assert len(told) == 1
    assert "position 3" in told[0]


def contradictions(file):
    with closing(open_audit_file(file)) as db:
        return overview(db).contradictions


def test_a_second_server_of_the_same_book_does_no_harm(tmp_path, config):
    with serving(tmp_path, config) as one, serving(tmp_path, config, name="two") as two:
        for number in range(20):
            (one, two)[number % 2].fund(str(number))
        follows(one, tmp_path / "book.audit.db")
    assert isinstance(one, Server)
