import json
import socket
import threading
from contextlib import closing, contextmanager, suppress

import pytest

from tests import controls
from tests.books.several import PLAYER, Several, document, invoked, serving
from tests.http.server import roundbook, until

FIELDS = {"id", "party", "url", "store", "state", "head", "bytes", "lag", "error"}


def listed(config, *arguments):
    done = invoked("books", "--config", config, "--json", *arguments)
    assert done.stderr == ""
    return done.exit_code, {(each["id"], each["party"]): each for each in json.loads(done.stdout)}


def made(url, *users):
    with closing(controls.new_book(url)) as book:
        for user in users or [PLAYER]:
            controls.fund(book, user=user)
        return book.store.head().position


@pytest.fixture(scope="module")
def one_down(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    said = document(folder, audit={"keep": True, "every_s": 0.05})
    said["book"][0]["provider_book"] = {
        "store": f"sqlite:///{folder}/acme-provider.db",
        "token": "games",
    }
    head = made(said["book"][1]["store"])
    with serving(folder, said, ["--book", "acme"], waits_for=["acme"]) as several:
        several.books["acme"].fund(PLAYER)
        yield several, head


def test_every_book_is_a_line_with_its_head_its_size_and_whether_it_is_served(one_down):
    several, head = one_down
    status, found = listed(several.config)

    acme, provider, zeta = found.values()
    assert status == 0
    assert list(found) == [("acme", "operator"), ("acme", "provider"), ("zeta", "operator")]
    assert all(set(each) == FIELDS for each in found.values())
    assert [each["state"] for each in found.values()] == ["ready", "ready", "not running"]
    assert (acme["head"], zeta["head"]) == (several.books["acme"].head, head)
    assert (acme["url"], zeta["url"]) == tuple(
        f"http://127.0.0.1:{book.port}" for book in several.books.values()
    )
    assert provider["store"] == f"sqlite:///{several.folder}/acme-provider.db"
    for each in found.values():
        file = several.folder / each["store"].rpartition("/")[2]
        assert each["bytes"] >= file.stat().st_size > 0
        assert each["error"] is None


def test_the_lag_is_what_an_audit_file_is_behind_its_book(one_down):
    several, _ = one_down

    def lags():
        return [each["lag"] for each in listed(several.config)[1].values()]

    until(lambda: lags() == [0, 0, None], "what is served is kept, and what never was is not")


def test_the_table_says_it_to_people(one_down):
    several, head = one_down
    done = roundbook("books", "--config", several.config, folder=several.folder)

    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [(row[0], row[-1]) for row in cells] == [
        ("acme", "ready"),
        ("acme", "ready"),
        ("zeta", "not running"),
    ]
    assert cells[2][4:7:2] == [str(head), "-"]
    assert len({len(line) for line in done.stdout.splitlines()}) == 1


def test_one_book_may_be_named(one_down):
    several, _ = one_down

    assert list(listed(several.config, "--book", "zeta")[1]) == [("zeta", "operator")]


def test_a_book_that_cannot_be_read_is_a_line_that_says_so_and_exit_1(tmp_path):
    several = Several(tmp_path)
    made(f"sqlite:///{tmp_path}/acme.db")
    (tmp_path / "zeta.db").write_text("no book" * 1000)

    status, found = listed(several.config)
    table = invoked("books", "--config", several.config)

    assert (status, table.exit_code) == (1, 1)
    acme, zeta = found.values()
    assert (acme["state"], acme["error"]) == ("not running", None)
    assert (zeta["state"], zeta["head"], zeta["bytes"]) == ("unreadable", None, None)
    assert "zeta.db" in zeta["error"]
    assert f"unreadable: {zeta['error']}" in table.stdout


def test_a_port_that_takes_a_question_and_does_not_answer_is_not_ready(tmp_path):
    several = Several(tmp_path, document(tmp_path, ids=["acme"]))
    made(f"sqlite:///{tmp_path}/acme.db")

    with socket.create_server(("127.0.0.1", several.books["acme"].port)):
        status, found = listed(several.config)

    assert (status, found["acme", "operator"]["state"]) == (0, "not ready")


@contextmanager
def answering(port, answer):
    """Has something listen on a port that gives every question the same answer, whatever it is."""

    def serve():
        with suppress(OSError):
            while True:
                asking, _ = listening.accept()
                with asking:
                    asking.recv(65536)
                    asking.sendall(answer)

    with socket.create_server(("127.0.0.1", port)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nwelcome",
        b'HTTP/1.1 200 OK\r\n\r\n{"status":"ready"}',
        b'HTTP/1.1 200 OK\r\n\r\n{"status":"ready","position":0,"hash":""}',
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n<html>",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_a_port_where_something_else_answers_is_taken(tmp_path, answer):
    several = Several(tmp_path, document(tmp_path, ids=["acme"]))
    made(f"sqlite:///{tmp_path}/acme.db")

    with answering(several.books["acme"].port, answer):
        status, found = listed(several.config)

    assert (status, found["acme", "operator"]["state"]) == (0, "taken")


def test_a_service_of_another_book_as_long_is_not_this_ones(one_down, tmp_path):
    several, _ = one_down
    ours = document(tmp_path, ids=["acme"])
    ours["book"][0]["server"]["port"] = several.books["acme"].port
    assert made(f"sqlite:///{tmp_path}/acme.db") == several.books["acme"].head

    found = listed(Several(tmp_path, ours).config)[1]

    assert [each["state"] for each in found.values()] == ["taken"]
    assert [each["state"] for each in listed(several.config)[1].values()][:2] == ["ready"] * 2


def test_books_in_a_database_are_listed_with_their_tables_size_and_no_password(tmp_path, postgres):
    said = document(tmp_path)
    heads = []
    for each, users in zip(said["book"], (["1"], ["1", "2"]), strict=True):
        url = postgres.new_book()
        heads.append(made(url, *users))
        each["store"] = url.replace("postgres@", "postgres:canary@")

    status, found = listed(Several(tmp_path, said).config)

    assert status == 0
    assert [each["head"] for each in found.values()] == heads == [2, 4]
    assert all(each["bytes"] > 8192 for each in found.values())
    assert "canary" not in json.dumps(list(found.values()))


def test_a_file_of_one_book_is_listed_too(tmp_path):
    made(f"sqlite:///{tmp_path}/book.db")
    file = tmp_path / "roundbook.toml"
    file.write_text(f'store = "sqlite:///{tmp_path}/book.db"\nadmin.token = "a"\nserver.port = 1\n')

    status, found = listed(file)

    assert status == 0
    assert found[None, "operator"]["state"] == "not running"


@pytest.mark.parametrize("verb", [["books"], ["bench", "books"]])
def test_its_help_has_an_example(verb):
    assert f"Example: roundbook {' '.join(verb)}" in invoked(*verb, "--help").stdout
