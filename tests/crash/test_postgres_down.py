import json
import random
import signal

import psycopg
import pytest

from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.crash.test_kill9 import check_retries
from tests.http import wire
from tests.http.server import Server, until
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


def follows(load, key, answer):
    """Of a bet that nobody answered for, the result finds none."""
    bet = "Bet", key[1].replace("win", "bet")
    return answer.code == 17 and key[0] == "Result" and bet not in load.acknowledged


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
        assert [each for each in load.surprises if not follows(load, *each)] == []
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
