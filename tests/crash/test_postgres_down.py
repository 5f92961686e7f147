import json
import random
import signal
import subprocess
import sys

import psycopg
import pytest

from ledger.store import told
from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.crash.test_kill9 import check_retries
from tests.http import wire
from tests.http.server import Server, as_toml, free_port, until
from tests.postgres import running

BET = wire.BY_NAME["/V4", "bet"]


@pytest.fixture
def cluster():
    with running("-c max_connections=100") as made:
        yield made


@pytest.fixture
def servers(tmp_path, cluster):
    book = cluster.new_book()
    made = [Server(tmp_path, wire.document(book), name=name) for name in ("one", "two")]
    try:
        for server in made:
            server.start().book = book
        made[0].fund(*PLAYERS, wire.PLAYER)
        yield made
    finally:
        for server in made:
            server.kill()


def kills_the_database(cluster, servers):
    cluster.kill()
    cluster.start()


def ends_every_connection(cluster, servers):
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


def kills_a_server(cluster, servers):
    servers[0].kill()
    servers[0].start()


@pytest.mark.parametrize(
    "harm", [kills_the_database, ends_every_connection, kills_a_server], ids=lambda f: f.__name__
)
def test_nothing_acknowledged_is_lost_or_doubled_by_two_servers_on_one_database(
    cluster, servers, harm, seed
):
    dice = random.Random(seed)
    acknowledged = {}
    for number in range(3):
        with Load(servers, seed=f"{seed}-{number}") as load:
            enough = dice.randrange(20, 200)
            until(lambda load=load, enough=enough: load.sent >= enough, "the load is on")
            harm(cluster, servers)
            after = len(load.acknowledged)
            until(lambda load=load, after=after: len(load.acknowledged) > after + 5, "bets go on")
        assert load.surprises == []
        acknowledged |= load.acknowledged
    check_retries(servers[0], acknowledged)
    check_the_book(servers[0].book, acknowledged)
    for server in servers:
        assert all(map(json.loads, server.err.read_text().splitlines()))


def test_a_database_that_freezes_gives_998_in_time_and_the_retry_finds_out(cluster, servers):
    server = servers[0]
    with server.connect() as connection:
        cluster.freeze(signal.SIGSTOP)
        try:
            assert connection.call(BET.path, BET.body).code == 998
            assert server.get("/livez").status == 200
        finally:
            cluster.freeze(signal.SIGCONT)
        until(lambda: connection.call(BET.path, BET.body).code == 0, "the retry is answered")
    check_the_book(server.book, {("Bet", BET.body["reference"]): None})


LOST_BETWEEN = """
import os, signal, sys
from pathlib import Path
from ledger.committer import Committer
from scripts.cli import main

lost_at, postmaster, *arguments = sys.argv[1:]
looks, look = iter(range(1, 9)), Committer._check_first


def lost(book):
    if next(looks) == int(lost_at):
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in [postmaster, *children]:
            os.kill(int(process), signal.SIGKILL)
    look(book)


Committer._check_first = lost
sys.argv = ["roundbook", *arguments]
main()
"""


@pytest.mark.parametrize(("lost_at", "code"), [(1, 2), (2, 1)])
def test_a_database_that_goes_away_while_a_service_starts_is_one_sentence(
    tmp_path, cluster, lost_at, code
):
    book = cluster.new_book()
    config = tmp_path / "roundbook.toml"
    config.write_text(as_toml({**wire.document(book), "server": {"port": free_port()}}))
    postmaster = f"{cluster.processes()[0]}"

    said = subprocess.run(
        [sys.executable, "-c", LOST_BETWEEN, f"{lost_at}", postmaster, "serve", "--config", config],
        cwd=wire.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "Traceback" not in said.stderr
    assert said.stderr.splitlines()[0].startswith(f"roundbook: store: {told(book)}: ")
    assert said.returncode == code
