import socket
from contextlib import closing, suppress
from urllib.parse import urlsplit

import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from ledger.store import open_store
from ledger.store.patience import Hosts
from tests import controls

QUESTIONS = 3


def hanging():
    return socket.create_server(("127.0.0.1", 0))


def port_of(server):
    return server.getsockname()[1]


def taken(server):
    """Returns how many have connected, whom nobody answers."""
    server.settimeout(0)
    found = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            found += 1
    return found


def behind(url, *ports):
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    hosts = ",".join(f"127.0.0.1:{port}" for port in (*ports, parts.port))
    return parts._replace(netloc=f"{user}@{hosts}" if user else hosts).geturl()


def test_a_server_that_hangs_is_waited_for_once_whoever_comes_next(postgres):
    with hanging() as first:
        with closing(controls.new_book(behind(postgres.new_book(), port_of(first)))) as book:
            controls.fund(book)
            for _ in range(QUESTIONS):
                book.store._forget_idle()
                assert book.store.head().position > 0
        assert taken(first) == 1


def test_a_question_whose_server_hangs_waits_for_it_once():
    with hanging() as server:
        url = f"postgresql://127.0.0.1:{port_of(server)}/books"
        with closing(open_store(url, read_only=True, at_once=False)) as copy:
            assert taken(server) == 1
            with pytest.raises(PersistenceError):
                copy.head()
        assert taken(server) == 1


def test_who_asks_in_the_order_of_the_address_waits_each_time(postgres):
    with hanging() as first:
        address = behind(postgres.url, port_of(first))
        for _ in range(2):
            psycopg.connect(address, connect_timeout=2).close()
        assert taken(first) == 2


def test_who_answered_is_first_and_the_others_stay_behind(postgres):
    ports = [1, 2, urlsplit(postgres.url).port]
    hosts = Hosts(behind(postgres.url, *ports[:2]))
    hosts.connect().close()
    assert hosts._hosts == [("127.0.0.1", str(port)) for port in (ports[2], *ports[:2])]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql:///db",
        "postgresql://one/db",
        "postgresql://one:1/db",
        "postgresql://one,two/db?hostaddr=127.0.0.1,127.0.0.2",
        "host=one,two port=1,2,3",
    ],
)
def test_an_address_with_nothing_to_choose_goes_out_as_it_came(address):
    assert len(Hosts(address)._hosts) < 2
