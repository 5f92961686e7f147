"""Bets of many clients at two servers: what became of each, and how long none was taken."""

import time
from itertools import pairwise

from tests.crash.load import Load
from tests.http.server import until

CLIENTS = 8
"""Each keeps a connection to each server."""

ENOUGH = 100
REST_S = 0.25
RESUME_S = 60


class Bets(Load):
    def __init__(self, servers, *, seed):
        super().__init__(servers, seed=seed, clients=CLIENTS, most_copies=2)
        self._asked, self._asked_at, self._taken_at = {}, {}, {}

    def _round(self, dice, name):
        return [each for each in super()._round(dice, name) if each[0] == "/V4/Bet"]

    def _send(self, server, connections, call, body):
        key = "Bet", body["reference"]
        if key not in self._asked:
            self._asked_at[key] = time.monotonic()
            self._asked[key] = body
        goes_on = super()._send(server, connections, call, body)
        if key not in self.acknowledged:
            self._stopping.wait(REST_S)
        return goes_on

    def _note(self, call, reference, answer):
        super()._note(call, reference, answer)
        if answer.code == 0:
            self._taken_at.setdefault(("Bet", reference), time.monotonic())

    @property
    def unknown(self):
        return [body for key, body in self._asked.items() if key not in self.acknowledged]

    @property
    def stopped_s(self):
        """The longest that no bet was taken."""
        taken = sorted(self._taken_at.values())
        return max(after - before for before, after in pairwise(taken))

    def goes_on(self):
        """Bets are taken that were first asked for from now on."""
        now = time.monotonic()
        until(lambda: self._taken_since(now) >= ENOUGH, "bets are taken", RESUME_S)

    def _taken_since(self, moment):
        return sum(self._asked_at[key] > moment for key in list(self._taken_at))

    def settle(self):
        """Asks for what nobody answered, by the same reference, until it is answered."""
        with self.servers[0].connect() as one, self.servers[1].connect() as other:
            for number, body in enumerate(self.unknown):
                connection = (one, other)[number % 2]
                until(lambda b=body, c=connection: self._answered(c, b), "a retry is answered")

    def _answered(self, connection, body):
        again = {**body, "providerId": "LuckyMonaco", "uuid": "again"}
        answer = connection.call("/V4/Bet", again)
        self._note("/V4/Bet", body["reference"], answer)
        return answer.code == 0
