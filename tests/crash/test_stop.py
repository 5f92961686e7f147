import signal

import pytest

from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.http.server import Server, serving, until

STOPS = 2


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_every_answered_request_is_there_after_a_stop_under_load(tmp_path, seed, sign):
    acknowledged = {}
    with serving(tmp_path) as server:
        server.fund(*PLAYERS)
        for stop in range(STOPS):
            with Load([server], seed=f"{seed}-{stop}") as load:
                until(lambda load=load: load.sent >= 200, "the load is on")
                server.process.send_signal(sign)
                assert server.process.wait(20) == 0
            assert load.surprises == []
            acknowledged |= load.acknowledged
            check_the_book(tmp_path / "book.db", acknowledged)
            server.start()
        assert "Traceback" not in server.err.read_text()


def test_a_stopped_service_leaves_no_process_and_frees_its_port(tmp_path):
    with serving(tmp_path) as server:
        workers = server.workers()
        assert workers
        assert server.stop() == 0
        for worker in workers:
            with pytest.raises(FileNotFoundError):
                open(f"/proc/{worker}/stat").close()
        server.start()
        assert server.stop() == 0


def test_a_service_that_may_open_too_few_files_says_so_in_a_sentence_and_does_not_begin(tmp_path):
    server = Server(tmp_path, wrapped_in=["prlimit", "--nofile=32"])
    try:
        server.start(ready=False)
        assert server.process.wait(30) == 2
        (said,) = server.err.read_text().splitlines()
    finally:
        server.kill()
    assert said == "roundbook: server: only 32 files may be open (ulimit -n), 64 are needed"
