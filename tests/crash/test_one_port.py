import socket

import pytest

from api.settings import SettingsWrong
from scripts.service import alone_on
from tests.http import wire
from tests.http.server import Server, free_port, until

TAKEN = "roundbook: server.port: cannot listen on 127.0.0.1:{}: Address already in use"


def document(folder, host="127.0.0.1"):
    listens = {"host": host, "log_requests": False}
    return wire.document(f"sqlite:///{folder}/book.db", server=listens)


def ended(servers):
    return [server for server in servers if server.process.poll() is not None]


def test_of_two_books_that_begin_at_once_on_one_port_only_one_is_served(tmp_path):
    servers = []
    for name in ("acme", "zeta"):
        (tmp_path / name).mkdir()
        servers.append(Server(tmp_path / name, document(tmp_path / name)))
    servers[1].port = servers[0].port
    try:
        for server in servers:
            server.start(ready=False)
        (late,) = until(lambda: ended(servers), "one of them gives up")
        (first,) = (server for server in servers if server is not late)
        until(first.is_ready, "the other is ready")

        assert late.process.returncode == 2
        assert late.err.read_text().splitlines() == [TAKEN.format(late.port)]
        assert late.out.read_text() == ""
        assert first.stop() == 0
        assert late.start().stop() == 0
    finally:
        for server in servers:
            server.kill()


def test_a_port_is_ours_alone_before_anybody_listens_there_and_free_afterwards():
    port = free_port()
    for _ in range(2):
        with alone_on("127.0.0.1", port) as address:
            assert address == "127.0.0.1"
            with pytest.raises(SettingsWrong, match=r"server\.port: cannot listen on"):
                alone_on("localhost", port).__enter__()
            with alone_on("127.0.0.2", port), alone_on("127.0.0.1", free_port()):
                pass


def test_a_free_port_is_nobody_elses_while_no_server_listens_there():
    port = free_port()
    for _ in range(2):
        with socket.socket() as another, pytest.raises(OSError, match="in use"):
            another.bind(("127.0.0.1", port))
        socket.create_server(("127.0.0.1", port)).close()


def test_a_name_of_this_machine_is_listened_on(tmp_path):
    server = Server(tmp_path, document(tmp_path, "localhost"))
    try:
        assert server.start().get("/api/head").status == 200
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("host", ["", "none.invalid", "127.0.0.1:80", "192.0.2.1"])
def test_a_host_that_is_none_of_this_machine_is_one_sentence_that_names_it(tmp_path, host):
    server = Server(tmp_path, document(tmp_path, host))
    try:
        server.start(ready=False)
        assert server.process.wait(30) == 2
    finally:
        server.kill()

    (said,) = server.err.read_text().splitlines()
    assert said.startswith("roundbook: server.host: ")
