import json
import resource
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import apsw
import pytest

from api.fresh import WAIT_S
from tests.http import wire
from tests.http.server import serving

BET = json.dumps(wire.BY_NAME["/V4", "bet"].body)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("connection")) as found:
        found.fund(wire.PLAYER)
        yield found


def head(pair, *lines, path="/V4/Bet"):
    return "\r\n".join([f"POST {path}?{pair} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def chunked(text):
    return f"{len(text):x}\r\n{text}\r\n0\r\n\r\n".encode()


def readable(connection):
    return bool(select.select([connection], [], [], 0.2)[0])


def read_answer(stream):
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.casefold()] = value.strip()
    return wire.Answered(status, stream.read(int(headers["content-length"])), headers)


def talk(server, *parts):
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        for part in parts:
            connection.sendall(part)
        with connection.makefile("rb") as stream:
            return read_answer(stream)


def position(server):
    return server.get("/api/head").json["position"]


def test_a_body_may_come_in_chunks(server):
    answer = talk(server, head(wire.LM_PAIR, "Transfer-Encoding: chunked"), chunked(BET))

    assert (answer.status, answer.code) == (200, 0)


@pytest.mark.parametrize("tail", [" ", "x"])
def test_a_body_in_chunks_of_more_than_64_kib_is_413_and_is_never_cut_and_taken(server, tail):
    before = position(server)
    text = BET.replace(wire.BET_REFERENCE, f"chunked {tail}") + " " * 65536 + tail

    answer = talk(server, head(wire.LM_PAIR, "Transfer-Encoding: chunked"), chunked(text))

    assert answer.status == 413
    assert position(server) == before


CUT = BET.replace(wire.BET_REFERENCE, "breaks off")
CHUNK = f"{len(CUT):x}\r\n{CUT}\r\n"


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("Transfer-Encoding: chunked", CHUNK),
        ("Transfer-Encoding: chunked", f"{CHUNK}zz\r\n"),
        ("Transfer-Encoding: chunked", f"{CHUNK}5\r\nhal"),
        ("Transfer-Encoding: chunked", f"{CHUNK}0\r\n"),
        ("Transfer-Encoding: chunked", ""),
        (f"Content-Length: {len(CUT) + 1}", CUT),
        (f"Content-Length: {len(CUT) + 1}", ""),
    ],
)
def test_a_body_that_breaks_off_is_400_and_is_never_taken_nor_told_of_in_the_log(
    server, line, part
):
    before = position(server)

    with (
        socket.create_connection(("127.0.0.1", server.port), 10) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(head(wire.LM_PAIR, line) + part.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = read_answer(stream)
        assert stream.read() == b""

    assert (answer.status, answer.json["status"]) == (400, 400)
    assert answer.headers["content-type"] == "application/problem+json"
    assert position(server) == before
    assert "Traceback" not in server.out.read_text() + server.err.read_text()


@pytest.mark.parametrize(
    ("line", "part"),
    [("Transfer-Encoding: chunked", CHUNK), (f"Content-Length: {len(CUT) + 1}", CUT)],
)
def test_whoever_hangs_up_in_a_body_leaves_nothing_behind(server, line, part):
    before = position(server)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head(wire.LM_PAIR, line) + part.encode())
        assert server.get("/livez").status == 200
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    for _ in range(20):
        assert position(server) == before
    assert "Traceback" not in server.out.read_text() + server.err.read_text()


def test_a_body_in_chunks_with_trailers_is_400_for_it_cannot_be_told_from_one_that_breaks_off(
    server,
):
    before = position(server)

    trailed = f"{CHUNK}0\r\nX-Trailer: x\r\n\r\n".encode()
    answer = talk(server, head(wire.LM_PAIR, "Transfer-Encoding: chunked"), trailed)

    assert answer.status == 400
    assert position(server) == before


@pytest.mark.parametrize(("size", "status"), [(50_000, 200), (200_000, 431)])
def test_what_comes_before_a_body_may_have_64_kib_and_not_much_more(server, size, status):
    lines = f"X-Long: {'x' * size}", f"Content-Length: {len(BET)}"

    with (
        socket.create_connection(("127.0.0.1", server.port), 10) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(head(wire.LM_PAIR, *lines))
        if status == 200:
            connection.sendall(BET.encode())
        assert int(stream.readline().split()[1]) == status


@pytest.mark.parametrize(
    "lines",
    [
        [f"Content-Length: {len(BET)}", "Content-Length: 5"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 1e2"],
        ["Transfer-Encoding: xchunked"],
        [f"Content-Length: {len(BET)}", "Transfer-Encoding: chunked"],
        [],
    ],
)
def test_a_body_whose_length_is_not_clear_is_400(server, lines):
    before = position(server)

    answer = talk(server, head(wire.LM_PAIR, *lines), BET.encode())

    assert answer.status == 400
    assert position(server) == before


@pytest.mark.parametrize(
    ("pair", "path", "status"),
    [
        (wire.LM_PAIR, "/V4/Bet", 200),
        ("MEMB_ID=acme&HASH=wrong", "/V4/Bet", 401),
        (wire.LM_PAIR, "/V4/Nothing", 404),
    ],
)
def test_a_connection_stays_open_after_any_answer_that_does_not_say_otherwise(
    server, pair, path, status
):
    length = f"Content-Length: {len(BET)}"
    with (
        socket.create_connection(("127.0.0.1", server.port), 10) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(head(pair, length, path=path))
        first = read_answer(stream) if readable(connection) else None
        closed = first is not None and readable(connection)
        if first is None:
            connection.sendall(BET.encode())
            first = read_answer(stream)
        assert first.status == status
        assert not closed or first.headers.get("connection") == "close"


@pytest.mark.parametrize("pair", [wire.LM_PAIR, "MEMB_ID=acme&HASH=wrong"])
def test_requests_that_never_end_keep_nobody_else_waiting(server, pair):
    stuck = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(200)]
    try:
        for connection in stuck:
            connection.sendall(head(pair, "Content-Length: 5000") + b"{")
        assert (
            talk(server, head(wire.LM_PAIR, f"Content-Length: {len(BET)}"), BET.encode()).code == 0
        )
    finally:
        for connection in stuck:
            connection.close()


def test_a_body_that_does_not_come_is_408_and_the_connection_ends(server):
    before = position(server)

    with (
        socket.create_connection(("127.0.0.1", server.port), 30) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(head(wire.LM_PAIR, f"Content-Length: {len(BET) + 1}") + BET.encode())
        answer = read_answer(stream)
        assert stream.read() == b""

    assert (answer.status, answer.json["status"]) == (408, 408)
    assert answer.headers["content-type"] == "application/problem+json"
    assert position(server) == before


def test_while_a_bet_waits_for_its_commit_other_questions_are_answered(server):
    text = BET.replace(wire.BET_REFERENCE, "waits for its commit")
    with closing(apsw.Connection(str(server.folder / "book.db"))) as rival:
        rival.execute("begin immediate")
        with ThreadPoolExecutor(1) as pool:
            length = f"Content-Length: {len(text)}"
            waiting = pool.submit(talk, server, head(wire.LM_PAIR, length), text.encode())
            for _ in range(20):
                assert server.get("/livez").status == 200
                assert server.get(f"/api/wallets/{wire.PLAYER}/USD").status == 200
            assert not waiting.done()
            rival.execute("rollback")
            assert waiting.result().code == 0


@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", "/api/head"), ("get", "/api/head"), ("GET", "//api/head")]
)
def test_who_waits_for_a_position_keeps_nobody_else_waiting_however_it_is_asked(
    server, method, path
):
    far = f"{method} {path}?min_position=99999999 HTTP/1.1"
    lines = [far, "Host: x", f"Authorization: Bearer {wire.AUDITOR}", "", ""]
    waiting = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(12)]
    try:
        for connection in waiting:
            connection.sendall("\r\n".join(lines).encode())
        began = time.monotonic()
        for _ in range(3):
            assert server.get("/livez").status == 200
        one_after_another_s = len(waiting) * WAIT_S
        assert time.monotonic() - began < one_after_another_s / 2
        with waiting[0].makefile("rb") as stream:
            assert stream.readline().split()[1] == b"503"
    finally:
        for connection in waiting:
            connection.close()


@pytest.fixture
def files():
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * IDLE:
        pytest.skip("this machine lets nobody have so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, 2 * IDLE), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))


IDLE = 2000
FEW_FILES = ("sh", "-c", 'ulimit -Sn 1024 && exec "$@"', "sh")


@pytest.mark.usefixtures("files")
def test_connections_that_say_nothing_shut_nobody_out(tmp_path):
    with serving(tmp_path, wrapped_in=FEW_FILES) as server, ExitStack() as idle:
        server.fund(wire.PLAYER)
        for _ in range(IDLE):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))

        length = f"Content-Length: {len(BET)}"
        assert talk(server, head(wire.LM_PAIR, length), BET.encode()).code == 0
        assert server.get("/api/head").status == 200
