from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.pq import ExecStatus

from scripts.verify import checked
from tests.crash.books import check_the_book
from tests.ha.cluster import running, url_of
from tests.ha.load import Bets
from tests.ha.proxy import Proxy
from tests.ha.service import serving
from tests.http import wire
from tests.http.server import until

BET = wire.BY_NAME["/V4", "bet"]
COMMITS_THAT_WAIT = "pg_stat_activity where wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def cluster():
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("servers"), cluster, cluster.url) as made:
        yield made


@pytest.fixture(scope="module")
def wires(cluster):
    with ExitStack() as stack:
        yield [stack.enter_context(Proxy(port)) for port in cluster.ports]


@pytest.fixture(scope="module")
def wired(cluster, wires, tmp_path_factory):
    """On a book of their own, by wires that can be cut."""
    url = url_of([each.port for each in wires])
    with serving(tmp_path_factory.mktemp("wired"), cluster, url) as made:
        yield made


def asked(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


# In this order, what was killed is brought back while the next test does without it.


def test_a_bet_that_only_the_leader_has_is_not_acknowledged_nor_is_its_retry(cluster, service):
    one, other = service.servers
    leader = cluster.lose_the_others()
    with ThreadPoolExecutor() as pool, one.connect() as first, other.connect() as second:
        unknown = pool.submit(first.call, BET.path, BET.body)
        until(lambda: unknown.done() or waiting(leader), "the commit waits for another node")
        assert not unknown.done()
        asked(leader.url, f"select pg_terminate_backend(pid) from {COMMITS_THAT_WAIT}")
        assert unknown.result().code == 998
        retry = pool.submit(second.call, BET.path, BET.body)
        until(lambda: retry.done() or waiting(leader), "the retry waits for another node")
        assert not retry.done()
        cluster.bring_back()
        assert retry.result().code in (0, 998)
        until(lambda: second.call(BET.path, BET.body).code == 0, "it is acknowledged")
    service.acknowledged["Bet", BET.body["reference"]] = None
    service.check()


def waiting(leader):
    return asked(leader.url, f"select pid from {COMMITS_THAT_WAIT}")


def test_nothing_acknowledged_is_lost_or_doubled_where_the_leaders_postgresql_is_killed(
    cluster, service, seed
):
    cluster.heal()
    with service.under_load("the leader's PostgreSQL is killed", seed):
        cluster.leader().crash()
    service.check()


def test_nothing_acknowledged_is_lost_or_doubled_where_every_connection_ends(
    cluster, service, seed
):
    with service.under_load("every connection ends", seed):
        asked(
            cluster.url,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'",
        )
    service.check()


def test_a_leader_that_froze_is_done_without_and_takes_no_write_afterwards(cluster, service, seed):
    cluster.heal()
    frozen = cluster.leader()
    with psycopg.connect(frozen.url, autocommit=True) as late:
        with service.under_load("the leader freezes", seed):
            frozen.freeze()
            late.pgconn.send_query(b"create table taken_by_the_old_leader ()")
            cluster.give_up_the_leader()
        with pytest.raises(psycopg.OperationalError):
            until(late.pgconn.consume_input, "the old leader ends its connections")
        assert late.pgconn.get_result().status == ExecStatus.FATAL_ERROR
    assert asked(cluster.url, "select to_regclass('taken_by_the_old_leader')") == [(None,)]
    service.check()


def test_nothing_is_lost_or_doubled_where_connections_are_cut_and_answers_to_commits_lost(
    wires, wired, seed
):
    with wired.under_load("connections are cut", seed):
        for _ in range(3):
            cut(wires)
    wired.check()


def cut(wires):
    before = sum(each.lost for each in wires)
    for each in wires:
        each.lose_a_commit()
    until(lambda: sum(each.lost for each in wires) > before, "the answer to a commit is lost")
    for each in wires:
        each.cut()


def test_nothing_acknowledged_is_lost_or_doubled_where_the_leaders_machine_is_lost(
    cluster, service, seed
):
    cluster.heal()
    with service.under_load("the leader's machine is lost", seed):
        cluster.leader().lose()
    service.check()


def test_without_synchronous_replication_acknowledged_bets_are_lost_and_seen_to_be(
    cluster, wired, seed
):
    with cluster.asynchronous():
        with Bets(wired.servers, seed=seed) as load:
            load.goes_on()
            with cluster.unreplicated() as leader:
                load.goes_on()
                leader.lose()
        cluster.give_up_the_leader()
        cluster.leader()
        with pytest.raises(AssertionError):
            check_the_book(wired.book, load.acknowledged)
        taken = {event["body"].get("reference") for event in wired.servers[0].events()}
        assert {reference for _, reference in load.acknowledged} - taken
        assert checked(wired.book).holds
