from contextlib import ExitStack

from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.http import wire
from tests.http.server import serving, until

ENOUGH = 2500


def two_servers(stack, folder):
    document = wire.document(f"sqlite:///{folder}/book.db")
    return [stack.enter_context(serving(folder, document, name=name)) for name in ("one", "two")]


def test_two_processes_on_one_book_lose_nothing_and_double_nothing(tmp_path, seed):
    with ExitStack() as stack:
        servers = two_servers(stack, tmp_path)
        servers[0].fund(*PLAYERS)
        with Load(servers, seed=seed, most_copies=3) as load:
            until(lambda: load.sent >= ENOUGH, "the load is on", 90)
        answered_alike(servers)
        assert [server.stop() for server in servers] == [0, 0]

    assert load.surprises == []
    assert len(load.acknowledged) > ENOUGH / 10
    check_the_book(tmp_path / "book.db", load.acknowledged)


def test_two_processes_agree_on_references_that_every_client_sends(tmp_path, seed):
    with ExitStack() as stack:
        servers = two_servers(stack, tmp_path)
        servers[0].fund(*PLAYERS)
        with Load(servers, seed=seed, most_copies=3, shared=True) as load:
            until(lambda: load.sent >= ENOUGH, "the load is on", 90)
        answered_alike(servers)
        assert [server.stop() for server in servers] == [0, 0]

    assert load.surprises == []
    check_the_book(tmp_path / "book.db", load.acknowledged)


def answered_alike(servers):
    heads = {server.get("/api/head").raw for server in servers}
    assert len(heads) == 1
    for player in PLAYERS:
        path = f"/api/wallets/{player}/USD"
        assert len({server.get(path).raw for server in servers}) == 1
