import json
import random
import threading
from collections import Counter
from contextlib import ExitStack, closing, suppress
from http.client import HTTPException

from api.provider.digest import ALGORITHMS
from ledger.operator import book as operator_book
from ledger.operator.events import BetPlaced
from ledger.provider import book as provider_book
from ledger.provider.events import RoundCancelled
from ledger.rebuild import differences
from ledger.store import EVENTS, open_store
from projections import IN_TRANSACTION
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from tests.http import wire
from tests.http.server import roundbook, serving, until

GAME_TOKEN = "game-token"
PLAYERS = [f"player-{number}" for number in range(6)]
CLIENTS, MOST_TRIES = 6, 600
ENDS = ["win", "win", "loss", "cancel", "cancel of all", "cancel by the game", "none"]

OPERATORS = {
    "acme-lm": {"dialect": "lucky-monaco-v4", "wallet_token": "lm-token"},
    "acme-ky": {"dialect": "kyren-v1", "wallet_token": "kyren-token"},
}
PREFIXES = {"acme-lm": "/V4", "acme-ky": "/v1"}
PROVIDERS = {"acme-lm": "LuckyMonaco", "acme-ky": "Kyren"}


def token(login):
    return f"{login}-token"


def secret(login):
    return f"{login}-secret"


def providers_document(folder, operator):
    return {
        "store": f"sqlite:///{folder}/idle.db",
        "admin": {"token": wire.ADMIN},
        "auditor": {"token": wire.AUDITOR},
        "server": {"log_requests": False},
        "provider_book": {"store": f"sqlite:///{folder}/provider.db", "token": GAME_TOKEN},
        "operator": [
            {
                "secure_login": login,
                "token": token(login),
                "secret": secret(login),
                "wallet_url": f"http://127.0.0.1:{operator.port}",
                "member": "acme",
                "timeout_s": 1.0,
                "backoff_s": 0.05,
                "parked_retry_s": 0.2,
                "allow_private": True,
                **terms,
            }
            for login, terms in OPERATORS.items()
        ],
    }


def signed(body, login):
    text = "&".join(f"{key}={body[key]}" for key in sorted(body))
    return {**body, "hash": ALGORITHMS["md5_sorted"](text, secret(login))}


class Games:
    """Clients that play rounds, and ask again for whatever brought no answer."""

    def __init__(self, provider, seed):
        self.provider, self.seed = provider, seed
        self.rounds, self.accepted, self.cancelled, self.surprises = 0, [], [], []
        self._stopping, self._away = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number):
        dice = random.Random(f"{self.seed} {number}")
        played = 0
        while not self._stopping.is_set():
            played += 1
            self._round(dice, f"{number}-{played}", f"game-{number}")
            self.rounds += 1

    def _round(self, dice, name, game):
        login, player = dice.choice(sorted(OPERATORS)), dice.choice(PLAYERS)
        path = f"/api/provider/rounds/round-{name}"
        who = {"operator": login, "userId": player}
        for bet in range(dice.randint(1, 2)):
            self._bet(path, who, game, f"bet-{name}-{bet}")
        end = dice.choice(ENDS)
        if end in ("win", "loss"):
            amount = "0.11" if end == "win" else "0"
            outcome = {**who, "reference": f"win-{name}", "amount": amount}
            if self._ask(f"{path}/result", outcome) in (200, 202):
                self._ask(f"{path}/end", who)
        elif end == "cancel by the game":
            self._ask(f"{path}/cancel", who)
        elif end != "none":
            self._cancel(login, player, game, None if end == "cancel of all" else f"round-{name}")

    def _bet(self, path, who, game, reference):
        about = {"gameId": game, "gameName": "game", "currency": "USD", "sessionId": "session"}
        said = {**who, **about, "reference": reference, "amount": "0.07"}
        got = self._until_answered(f"{path}/bets", said, token=GAME_TOKEN)
        if got.status == 200 and got.json["outcome"] == "accepted":
            with self._lock:
                self.accepted.append((PROVIDERS[who["operator"]], reference))

    def _ask(self, path, said):
        return self._until_answered(path, said, token=GAME_TOKEN).status

    def _cancel(self, login, player, game, round_id):
        named = {"roundId": round_id} if round_id else {}
        body = {"secureLogin": login, "externalPlayerId": player, "gameId": game, **named}
        path = f"{PREFIXES[login]}/cancelround?MEMB_ID={login}&HASH={token(login)}"
        got = self._until_answered(path, signed(body, login))
        with self._lock:
            if got.code == 0 and round_id:
                self.cancelled.append((login, round_id))
            elif got.code != 0:
                self.surprises.append((path, body, got))

    def _until_answered(self, path, body, *, token=None):
        """Returns the answer, asking again while the provider is away or cannot say yet."""
        for _ in range(MOST_TRIES):
            with suppress(OSError, HTTPException):
                got = self.provider.send("POST", path, body, token=token)
                if got.status != 503 and got.json.get("error") != 998:
                    return got
            self._away.wait(0.05)
        raise AssertionError(f"{path}: no answer")


def undelivered(provider):
    return provider.get("/api/provider/deliveries").json["deliveries"]


def events_of(file, tables, mapper):
    with closing(open_store(f"sqlite:///{file}", tables, create=False)) as store:
        assert differences(store, mapper) == []
        rows = store.scan(EVENTS, after=0)
        return [mapper.decode(topic, state) for _, _, _, topic, state, _ in rows]


def reconciled(folder):
    return roundbook("reconcile", "operator.db", "provider.db", folder=folder)


def test_two_services_agree_to_the_cent_after_each_was_killed_under_load(tmp_path, seed):
    with ExitStack() as stack:
        document = wire.document(f"sqlite:///{tmp_path}/operator.db")
        operator = stack.enter_context(serving(tmp_path, document, name="operator-server"))
        operator.fund(*PLAYERS)
        document = providers_document(tmp_path, operator)
        provider = stack.enter_context(serving(tmp_path, document, name="provider-server"))
        with Games(provider, seed) as games:
            until(lambda: games.rounds >= 40, "games are played")
            operator.kill()
            until(lambda: undelivered(provider), "the wallet is missed")
            operator.start()
            enough = games.rounds + 30
            until(lambda: games.rounds >= enough, "games go on")
            provider.kill()
            provider.start()
            enough = games.rounds + 30
            until(lambda: games.rounds >= enough, "games go on")
        until(lambda: not undelivered(provider), "everything is delivered")
        assert [provider.stop(), operator.stop()] == [0, 0]

    assert games.surprises == []
    assert operator.err.read_text() == ""
    assert {line["event"] for line in map(json.loads, provider.err.read_text().splitlines())} <= {
        "a delivery is parked"  # while its wallet was gone
    }
    found = reconciled(tmp_path)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    ours = events_of(tmp_path / "operator.db", IN_TRANSACTION, operator_book.MAPPER)
    theirs = events_of(tmp_path / "provider.db", PROVIDER_TABLES, provider_book.MAPPER)
    taken = Counter((e.provider, e.reference) for e in ours if isinstance(e, BetPlaced))
    assert set(taken.values()) == {1}
    assert [bet for bet in games.accepted if bet not in taken] == []
    over = {(e.operator, e.round) for e in theirs if isinstance(e, RoundCancelled)}
    assert [round_ for round_ in games.cancelled if round_ not in over] == []
    assert len(games.accepted) >= 40
    assert games.cancelled
