import os
import random
import subprocess
import sys
from contextlib import closing

from ledger.store import open_store
from projections import IN_TRANSACTION
from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.http.server import Server, until

KILLS = int(os.environ.get("ROUNDBOOK_KILLS", "10"))


def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9_under_load(tmp_path, seed):
    dice = random.Random(seed)
    server = Server(tmp_path).start()
    acknowledged = {}
    try:
        server.fund(*PLAYERS)
        for kill in range(KILLS):
            with Load([server], seed=f"{seed}-{kill}") as load:
                enough = dice.randrange(20, 400)
                until(lambda load=load, enough=enough: load.sent >= enough, "the load is on")
                server.kill()
            assert load.surprises == []
            acknowledged |= load.acknowledged
            check_the_book(tmp_path / "book.db", load.acknowledged)
            server.start()
        check_retries(server, acknowledged)
    finally:
        server.kill()
    check_the_book(tmp_path / "book.db", acknowledged)


def check_retries(server, acknowledged):
    events = {
        event["body"]["reference"]: event["body"]
        for event in server.events()
        if event["topic"] == "BetPlaced"
    }
    with server.connect() as connection:
        for (call, reference), name in list(acknowledged.items())[-200:]:
            if call != "Bet":
                continue
            known = events[reference]
            again = {
                "providerId": "LuckyMonaco",
                "userId": known["user"],
                "currency": "USD",
                "gameId": known["game"],
                "gameName": "game",
                "roundId": known["round"],
                "sessionId": "s",
                "reference": reference,
                "amount": "0.07",
                "timestamp": "2",
                "roundDetails": "again",
                "uuid": "again",
            }
            assert connection.call("/V4/Bet", again).json["transactionId"] == name


BEGINS = """
import apsw, os, signal, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("begin; create table begun (at text)")
connection.cache_flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_book_whose_process_was_killed_while_it_began_is_begun_again(tmp_path):
    file = tmp_path / "book.db"
    subprocess.run([sys.executable, "-c", BEGINS, str(file)], check=False)
    assert file.with_name("book.db-journal").stat().st_size

    with closing(open_store(f"sqlite:///{file}", IN_TRANSACTION)) as store:
        assert store.head().position == 0
        assert store.altered() is None
