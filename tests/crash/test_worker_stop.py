import os
import signal
import subprocess
from contextlib import closing

import pytest

from api.configuration import settle
from ledger.provider.book import Book
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from tests.http import provider, wire
from tests.http.server import PATIENCE_S, argv, as_toml, clean, free_port, until
from tests.provider import examples

STOPPED_WITHIN_S = 10
"""Much longer than a courier waits for a wallet that hangs, much shorter than for a name that nobody answers."""

HANGING = """
import pathlib, socket, threading
def getaddrinfo(*_, **__):
    pathlib.Path("asked").touch()
    threading.Event().wait(600)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def config(tmp_path):
    """Of a provider that owes a bet to a wallet whose name nobody answers for."""
    said = provider.document(tmp_path, "http://wallet.test:9", logins=(provider.LM,), timeout_s=1.0)
    said["server"]["port"] = free_port()
    store = open_store(said["provider_book"]["store"], IN_TRANSACTION)
    with closing(Book(store, settle(said, {}).provider_house())) as book:
        book.submit(examples.place_bet(operator=provider.LM))
    file = tmp_path / "roundbook.toml"
    file.write_text(as_toml(said))
    return file


@pytest.fixture
def started(config, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    running = []

    def start(verb):
        environ = clean({"PYTHONPATH": os.pathsep.join([str(tmp_path), str(wire.ROOT)])})
        with (tmp_path / "err").open("wb") as err:
            running.append(
                subprocess.Popen(
                    argv(verb, "--config", config),
                    cwd=tmp_path,
                    env=environ,
                    stdout=subprocess.DEVNULL,
                    stderr=err,
                    start_new_session=True,
                )
            )
        until((tmp_path / "asked").exists, "the wallet's name is asked for")
        return running[0]

    yield start
    for process in running:
        process.kill()
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("verb", ["serve", "worker"])
def test_a_stop_waits_no_longer_for_a_wallets_name_than_for_a_wallet(started, verb, tmp_path):
    process = started(verb)

    process.terminate()

    assert process.wait(STOPPED_WITHIN_S) == 0
    assert "Traceback" not in (tmp_path / "err").read_text()


def test_a_terminal_that_is_closed_ends_no_worker(started, tmp_path):
    process = started("worker")
    (tmp_path / "asked").unlink()

    process.send_signal(signal.SIGHUP)

    until(lambda: (tmp_path / "asked").exists() or process.poll(), "the name is asked for again")
    process.terminate()
    assert process.wait(STOPPED_WITHIN_S) == 0
