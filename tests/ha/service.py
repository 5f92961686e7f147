"""Two servers on one book of a cluster, and all that they ever acknowledged."""

import sys
from contextlib import contextmanager

from scripts.verify import checked
from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS
from tests.ha.load import Bets
from tests.http import wire
from tests.http.server import Server, until
from tests.postgres import Given


class Service:
    def __init__(self, folder, cluster, url):
        self.cluster, self.book = cluster, Given(url).new_book()
        self.servers = [
            Server(folder, wire.document(self.book), name=name) for name in ("one", "two")
        ]
        self.acknowledged = {}

    def start(self):
        for server in self.servers:
            server.start(ready=False)
        for server in self.servers:
            until(server.is_ready, "the server gets ready")
        self.servers[0].fund(*PLAYERS, wire.PLAYER)

    def kill(self):
        for server in self.servers:
            server.kill()

    @contextmanager
    def under_load(self, what, seed):
        """Bets are taken before and after; whatever was answered, or never was, is kept in mind."""
        with Bets(self.servers, seed=f"{seed} {what}") as load:
            load.goes_on()
            yield
            load.goes_on()
        asked_again = len(load.unknown)
        self.cluster.bring_back()
        load.settle()
        assert load.surprises == []
        self.acknowledged |= load.acknowledged
        sys.stdout.write(
            f"{what}: no bet was taken for {load.stopped_s:.1f} s;"
            f" {len(load.acknowledged)} were in all, {asked_again} of them asked for again\n"
        )

    def check(self):
        check_the_book(self.book, self.acknowledged)
        assert checked(self.book).holds


@contextmanager
def serving(folder, cluster, url):
    service = Service(folder, cluster, url)
    try:
        service.start()
        yield service
    finally:
        service.kill()
