import random
import threading
from http.client import HTTPException

PLAYERS = [f"player-{number}" for number in range(8)]
SHARED_ROUNDS = 400
GAME = {"gameId": "g", "gameName": "game", "currency": "USD", "timestamp": "1"}


class Load:
    def __init__(self, servers, *, seed, clients=8, most_copies=5, shared=False):
        self.servers, self.seed, self.most_copies = servers, seed, most_copies
        self.acknowledged = {}
        self.surprises = []
        self.sent = 0
        self._shared = shared
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._client, args=(client,)) for client in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _client(self, client):
        dice = random.Random(f"{self.seed} {client}")
        connections = {}
        number = 0
        while not self._stopping.is_set():
            number += 1
            if self._shared:
                name = f"{self.seed}-{dice.randrange(SHARED_ROUNDS)}"
                plan = self._round(random.Random(name), name)
            else:
                name = f"{self.seed}-{client}-{number}"
                plan = self._round(dice, name)
            for call, body in plan:
                for _ in range(dice.randint(1, self.most_copies)):
                    if not self._send(dice.choice(self.servers), connections, call, body):
                        break
        for connection in connections.values():
            connection.close()

    def _round(self, dice, name):
        player = dice.choice(PLAYERS)
        ids = {"userId": player, "sessionId": "s", "roundId": f"round {name}", **GAME}
        bet = {**ids, "reference": f"bet {name}", "amount": "0.07", "roundDetails": "d"}
        win = {**ids, "reference": f"win {name}", "amount": "0.11", "roundDetails": "d"}
        ends = {
            "win": [("/V4/Bet", bet), ("/V4/Result", win)],
            "cancel": [("/V4/Bet", bet), ("/V4/Cancel", bet)],
            "early": [("/V4/Cancel", bet), ("/V4/Bet", bet)],
            "open": [("/V4/Bet", bet)],
        }
        return ends[dice.choice(sorted(ends))]

    def _send(self, server, connections, call, body):
        try:
            if server not in connections:
                connections[server] = server.connect()
            said = {**body, "providerId": "LuckyMonaco", "uuid": f"{random.random()}"}
            if call == "/V4/Cancel":
                del said["roundId"]
            bet_is_known = ("Bet", body["reference"].replace("win", "bet")) in self.acknowledged
            answer = connections[server].call(call, said)
        except (OSError, HTTPException):
            if server in connections:
                connections.pop(server).close()
            return not self._stopping.is_set() and server.process.poll() is None
        # of a bet that nobody answered for, 998 or not at all, the result may find none
        if bet_is_known or (call, answer.code) != ("/V4/Result", 17):
            self._note(call, body["reference"], answer)
        return True

    def _note(self, call, reference, answer):
        key = call.rpartition("/")[2], reference
        with self._lock:
            self.sent += 1
            if answer.status != 200 or answer.code not in (0, 998, 999):
                self.surprises.append((key, answer))
            elif answer.code == 0:
                name = answer.json.get("transactionId", "")
                if self.acknowledged.setdefault(key, name) != name:
                    self.surprises.append((key, answer, self.acknowledged[key]))
