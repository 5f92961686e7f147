import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle

import psycopg
import pytest

from scripts.private_postgres import following
from tests.ha.proxy import Proxy
from tests.http import wire
from tests.http.server import until
from tests.postgres import Cluster, running

WALLET = f"/api/wallets/{wire.PLAYER}/USD"
POSITION = "Roundbook-Position"
TOO_FAR = 10**9


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    with running() as primary, following(primary) as copy:
        yield primary, copy


@pytest.fixture(scope="module")
def service(pair):
    primary, copy = pair
    book = primary.new_book()
    schema = book.partition("?")[2]
    wire.Service(wire.new_settings(store=book)).close()
    until(lambda: knows(copy, schema), "the copy has the book")
    found = wire.Service(wire.new_settings(store=book, read_store=f"{copy.url}?{schema}"))
    found.fund()
    yield found
    found.close()


@pytest.fixture
def paused(pair):
    tell(pair[1], "select pg_wal_replay_pause()")
    yield
    tell(pair[1], "select pg_wal_replay_resume()")


def knows(copy: Cluster, schema: str) -> bool:
    query = "select exists (select from pg_tables where schemaname = %s and tablename = 'rounds')"
    with psycopg.connect(copy.url) as connection:
        return connection.execute(query, (schema.partition("=")[2],)).fetchone() == (True,)


def tell(copy: Cluster, statement: str) -> None:
    with psycopg.connect(copy.url, autocommit=True) as connection:
        connection.execute(statement)


def deposit(service, reference: str) -> str:
    """Returns how far the book goes after a deposit."""
    body = {"reference": reference, "amount": "1.00"}
    answer = service.office("POST", f"{WALLET}/deposits", body)
    assert answer.status == 200
    return answer.headers[POSITION]


def get(service, path: str, position: object = None):
    query = "" if position is None else f"?min_position={position}"
    return service.office("GET", f"{path}{query}")


def test_who_wrote_reads_it_from_the_copy_by_position(service):
    for number in range(20):
        before = get(service, WALLET, deposit(service, f"before {number}")).json["cash"]
        after = get(service, WALLET, deposit(service, f"after {number}")).json["cash"]
        assert float(after) == float(before) + 1


@pytest.mark.usefixtures("paused")
def test_a_copy_that_stays_behind_is_a_503_that_says_when_to_come_again(service, pair):
    before = get(service, WALLET).json["cash"]
    later = deposit(service, "not seen")

    behind = get(service, WALLET, later)
    assert (behind.status, behind.headers["Retry-After"]) == (503, "1")
    assert later in behind.json["detail"]
    assert get(service, WALLET).json["cash"] == before

    tell(pair[1], "select pg_wal_replay_resume()")
    assert float(get(service, WALLET, later).json["cash"]) == float(before) + 1


@pytest.mark.parametrize("path", [WALLET, "/api/head", "/api/events", "/api/seals"])
def test_every_question_can_name_a_position(service, path):
    assert get(service, path, deposit(service, f"named {path}")).status == 200


def test_a_position_nobody_has_reached_is_a_503(service):
    assert get(service, "/api/events", TOO_FAR).status == 503


@pytest.mark.parametrize("position", ["-1", "1.0", "x", "", "１", "9" * 40])
def test_a_position_that_is_none_is_refused_and_named(service, position):
    answer = get(service, WALLET, position)
    assert answer.status == 422
    assert "min_position" in str(answer.json)


def test_a_stranger_waits_for_no_position(service):
    answer = service.send("GET", f"{WALLET}?min_position={TOO_FAR}")
    assert answer.status == 401


def test_a_copy_that_is_away_stops_neither_the_start_nor_a_bet_and_is_read_once_it_is_back(pair):
    primary, _ = pair
    book = primary.new_book()
    with following(primary) as copy:
        copied = f"{copy.url}?{book.partition('?')[2]}"
        copy.stop("fast")
        with closing(wire.Service(wire.new_settings(store=book, read_store=copied))) as found:
            found.fund()
            call = wire.BY_NAME["/V4", "bet"]
            assert found.call(call.path, call.body).code == 0

            away = get(found, WALLET)
            assert (away.status, away.headers["Retry-After"]) == (503, "1")
            assert (away.json["type"], away.json["code"]) == ("urn:roundbook:store-away", 998)

            copy.start()
            until(lambda: get(found, WALLET).status == 200, "the copy answers")


@pytest.mark.usefixtures("paused")
def test_bets_are_decided_by_the_book_itself(service):
    call = wire.BY_NAME["/V4", "bet"]
    assert service.call(call.path, call.body).code == 0
    assert service.call(call.path, call.body).code == 0


class Balancer(Proxy):
    """Leads every new connection to another copy, as the address of many copies does."""

    def __init__(self, *targets: int) -> None:
        self._targets = cycle(targets)
        super().__init__(targets[0])

    def _join(self, near: socket.socket) -> None:
        self._target = next(self._targets)
        super()._join(near)


def test_of_many_copies_behind_one_address_none_is_read_that_is_behind(pair):
    primary, copy = pair
    book = primary.new_book()
    schema = book.partition("?")[2]
    wire.Service(wire.new_settings(store=book)).close()
    with following(primary) as other, Balancer(copy.port, other.port) as near:
        until(lambda: knows(copy, schema) and knows(other, schema), "the copies have the book")
        copies = f"{copy.url}?{schema}".replace(str(copy.port), str(near.port))
        with closing(wire.Service(wire.new_settings(store=book, read_store=copies))) as found:
            found.fund()
            with (
                ThreadPoolExecutor(1) as pool,
                found.app.extensions["copies"]["operator"].snapshot(),
            ):
                pool.submit(get, found, WALLET, 1).result()
            tell(other, "select pg_wal_replay_pause()")
            for number in range(4):
                position = deposit(found, f"balanced {number}")
                cash = found.book.wallet(wire.PLAYER, "USD").cash
                assert get(found, WALLET, position).json["cash"] == f"{cash // 100}.00"
