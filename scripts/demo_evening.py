"""What the demo plays: a casino evening, many rounds at once, the same plan for the same seed.

The games know no more of the provider than its JSON, and whoever gets no answer asks again in the
same words: a reference makes that harmless, and the evening checks that it was.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any, Literal, NamedTuple

import click

from api.provider.digest import ALGORITHMS
from ledger.money import iso_scale, to_text
from ledger.names import transaction_id
from scripts.demo_side import Relation, Side

Ending = Literal["lost", "won", "left open", "by the game", "by the operator", "too large"]

DECK: Mapping[Ending, int] = {
    "lost": 7,
    "won": 5,
    "left open": 2,
    "by the game": 2,
    "by the operator": 2,
    "too large": 2,
}
"""How twenty rounds end, shuffled anew for every twenty."""

REPEATED, LATE = 0.15, 0.25
"""How likely a call comes twice, and a bet after its round has ended."""

MAY_HAPPEN = ("repeated", "asked again", "left open", "late bets refused")
OTHERWISE, LATE_TAKEN = "answered otherwise", "late bets taken"
MUST_NOT_HAPPEN = (OTHERWISE, LATE_TAKEN)

PATIENCE_S, PAUSE_S = 60.0, 0.1
ASK_AGAIN = frozenset({202, 503})
UNSURE, TOO_LATE = 998, 999


class Player(NamedTuple):
    """Who plays, and what the cashier gives them at first, in minor units."""

    user: str
    currency: str
    opening: int

    @property
    def wallet(self) -> str:
        """The path of the wallet at the operator's."""
        return f"/api/wallets/{self.user}/{self.currency}"

    def text(self, amount: int) -> str:
        """Returns minor units as the currency writes them."""
        return to_text(amount, iso_scale(self.currency) or 0)


PLAYERS = (
    Player("ada", "EUR", 1_000_000),
    Player("boris", "EUR", 1_000_000),
    Player("chiyo", "JPY", 1_000_000),
    Player("dina", "KWD", 1_000_000),
    Player("emil", "USD", 1_000_000),
    Player("flo", "USD", 75_000),
)
"""Three scales of money; the last one may run out of it."""

TOO_LARGE = 10_000_000

GAMES: Mapping[str, tuple[str, str]] = {
    "lucky-monaco-v4": ("Im_60_tumblefortune", "tumblefortune"),
    "kyren-v1": ("6_speed_baccarat1", "SPEED BACCARAT1"),
}


# the plan


class Plan(NamedTuple):
    """A round as it is meant to go; stakes and win in minor units."""

    id: str
    relation: Relation
    player: Player
    ending: Ending
    stakes: tuple[int, ...]
    win: int
    chance: Random


def plans(rounds: int, *, seed: int, relations: Sequence[Relation]) -> Iterator[Plan]:
    """Yields an evening's rounds; each ending comes to each dialect in turn."""
    chance, turns = Random(seed), Counter[str]()  # noqa: S311  (an evening that can be had again)
    for number, ending in zip(range(1, rounds + 1), _endings(chance), strict=False):
        turns[ending] += 1
        relation = relations[turns[ending] % len(relations)]
        yield _plan(f"evening-{number:04}", relation, ending, Random(chance.random()))  # noqa: S311


def _endings(chance: Random) -> Iterator[Ending]:
    while True:
        yield from chance.sample(list(DECK), k=sum(DECK.values()), counts=list(DECK.values()))


def _plan(id_: str, relation: Relation, ending: Ending, chance: Random) -> Plan:
    stakes = tuple(chance.randint(100, 5000) for _ in range(chance.randint(1, 3)))
    if ending == "too large":
        stakes = (*stakes[1:], TOO_LARGE)
    win = sum(stakes) * chance.randint(2, 25) // 10 if ending == "won" else 0
    return Plan(id_, relation, chance.choice(PLAYERS), ending, stakes, win, chance)


# asking until there is an answer


class Stopped(Exception):
    """The demo ends; nobody waits for this call any more."""


class Answer(NamedTuple):
    """What came back: JSON, whatever the status."""

    status: int
    body: dict[str, Any]

    @property
    def sure(self) -> bool:
        """Whether asking again would bring nothing new."""
        return self.status not in ASK_AGAIN and self.body.get("error") != UNSURE


class Caller:
    """Calls one side over one connection, again and again in the same words until the answer is sure."""

    def __init__(
        self, port: int, *, stopping: threading.Event, on_again: Callable[[], None]
    ) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=15)
        self._stopping, self._on_again = stopping, on_again

    def close(self) -> None:
        """Ends the connection."""
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "") -> Answer:
        """Returns a sure answer. Raises Stopped, and ClickException where none comes in a minute."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = (method, path, json.dumps(body) if body else None, headers)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answer = self._once(request)
            if answer and answer.sure:
                return answer
            self._on_again()
            if self._stopping.wait(PAUSE_S):
                raise Stopped
        raise click.ClickException(f"{method} {path}: no sure answer in {PATIENCE_S:g} s")

    def _once(self, request: tuple[str, str, str | None, dict[str, str]]) -> Answer | None:
        try:
            self._http.request(*request)
            response = self._http.getresponse()
            return Answer(response.status, json.loads(response.read()))
        except (OSError, HTTPException):
            self._http.close()
            return None


class Tally:
    """Counts from many threads."""

    def __init__(self, *names: str) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._lock = threading.Lock()

    def add(self, what: str) -> None:
        """Counts one more."""
        with self._lock:
            self.counts[what] += 1


# the evening


class Evening:
    """Funds the players at the operator's, and plays rounds at the provider's; from many threads."""

    def __init__(self, *, operator: Side, provider: Side) -> None:
        self.tally = Tally(*MAY_HAPPEN, *MUST_NOT_HAPPEN)
        self.stopping = threading.Event()
        self._operator, self._provider = operator, provider

    def fund(self) -> None:
        """Opens the players' wallets and pays in."""
        token = self._operator.tokens.admin
        with closing(self._caller(self._operator)) as caller:
            for player in PLAYERS:
                cash = {
                    "reference": f"opening-{player.user}",
                    "amount": player.text(player.opening),
                }
                caller.ask("PUT", player.wallet, token=token)
                paid = caller.ask("POST", f"{player.wallet}/deposits", cash, token=token)
                _expect(paid, player.wallet)

    def cash(self, player: Player) -> str:
        """Returns what a player's wallet says that it holds."""
        with closing(self._caller(self._operator)) as caller:
            found = caller.ask("GET", player.wallet, token=self._operator.tokens.auditor)
            return str(found.body["cash"])

    def undelivered(self) -> int:
        """Returns how many calls the wallets owe an answer to."""
        token = self._provider.tokens.auditor
        with closing(self._caller(self._provider)) as caller:
            found = caller.ask("GET", "/api/provider/deliveries", token=token)
            return len(found.body["deliveries"])

    def play(self, plan: Plan) -> None:
        """Plays a round to the ending it is meant to have, or to the one that it gets."""
        with closing(self._caller(self._provider)) as caller:
            Play(plan, caller, self._provider.tokens.game, self.tally).play()

    def _caller(self, side: Side) -> Caller:
        again = partial(self.tally.add, "asked again")
        return Caller(side.port, stopping=self.stopping, on_again=again)


class Play:
    """One round being played."""

    def __init__(self, plan: Plan, caller: Caller, token: str, tally: Tally) -> None:
        self._plan, self._caller, self._token, self._tally = plan, caller, token, tally
        self._game, self._game_name = GAMES[plan.relation.dialect]

    def play(self) -> None:
        """Bets, then does what the plan's ending asks for, as far as the wallet let it."""
        outcomes = {self._bet(n, stake) for n, stake in enumerate(self._plan.stakes, 1)}
        match self._plan.ending:
            case "left open":
                if "accepted" in outcomes:
                    self._tally.add("left open")
            case "by the game":
                self._cancel_by_game()
            case "by the operator":
                self._cancel_by_operator()
            case _ if "accepted" in outcomes:
                self._result()
                self._end()
            case _ if outcomes == {"declined"}:
                self._end()

    def _bet(self, number: int, stake: int) -> str:
        """Returns what became of a bet: accepted, declined, given-up or cancelled; or late."""
        player = self._plan.player
        bet = {
            "userId": player.user,
            "currency": player.currency,
            "sessionId": f"session-{player.user}",
            "gameId": self._game,
            "gameName": self._game_name,
            "reference": f"{self._plan.id}-bet-{number}",
            "amount": player.text(stake),
        }
        answer = self._ask("bets", bet)
        if answer.body.get("code") == TOO_LATE and answer.status != 200:
            return "late"
        _expect(answer, self._plan.id)
        return str(answer.body["outcome"])

    def _result(self) -> None:
        amount = self._plan.player.text(self._plan.win)
        win = {"reference": f"{self._plan.id}-result", "amount": amount}
        _expect(self._ask("result", win), self._plan.id)

    def _end(self) -> None:
        _expect(self._ask("end", {}), self._plan.id)
        if self._plan.chance.random() < LATE:
            late = self._bet(len(self._plan.stakes) + 1, 100)
            self._tally.add("late bets refused" if late == "late" else LATE_TAKEN)

    def _cancel_by_game(self) -> None:
        _expect(self._ask("cancel", {}), self._plan.id)
        self._tally.add("by the game")

    def _cancel_by_operator(self) -> None:
        """Calls as the operator: seed 000, signed, or at Kyren's the later form with its token."""
        relation = self._plan.relation
        if relation.dialect == "kyren-v1":
            path, body = "/v1/CancelRound", self._later_form()
        else:
            path = f"/V4/cancelround?MEMB_ID={relation.login}&HASH={relation.token}"
            body = self._seed_000()
        _expect(self._caller.ask("POST", path, body), path)
        self._tally.add(f"by {relation.login}")

    def _seed_000(self) -> dict[str, str]:
        body = {
            "secureLogin": self._plan.relation.login,
            "externalPlayerId": self._plan.player.user,
            "gameId": self._game,
            "roundId": self._plan.id,
        }
        text = "&".join(f"{key}={body[key]}" for key in sorted(body))
        return {**body, "hash": ALGORITHMS["md5_sorted"](text, self._plan.relation.secret)}

    def _later_form(self) -> dict[str, str]:
        return {
            "secureLogin": self._plan.relation.login,
            "token": self._plan.relation.token,
            "uuid": transaction_id(self._plan.relation.login, "uuid", self._plan.id),
            "userId": self._plan.player.user,
            "roundId": self._plan.id,
        }

    def _ask(self, what: str, fields: dict[str, str]) -> Answer:
        """Asks as a game; now and then once more, to see that it is answered as it was before."""
        path, body = f"/api/provider/rounds/{self._plan.id}/{what}", self._said(fields)
        answer = self._caller.ask("POST", path, body, token=self._token)
        if self._plan.chance.random() < REPEATED:
            again = self._caller.ask("POST", path, body, token=self._token)
            self._tally.add("repeated")
            if _settled(again) != _settled(answer):
                self._tally.add(OTHERWISE)
        return answer

    def _said(self, fields: dict[str, str]) -> dict[str, str]:
        return {"operator": self._plan.relation.login, **fields}


def _settled(answer: Answer) -> tuple[Any, ...]:
    """Returns what of an answer no repetition may change: a given-up bet is cancelled later."""
    outcome = answer.body.get("outcome")
    settled = None if outcome in ("given-up", "cancelled") else outcome
    return (answer.status, settled, answer.body.get("transactionId"))


def _expect(answer: Answer, what: str) -> None:
    """Raises ClickException where this should have worked, and did not."""
    if answer.status not in (200, 201) or answer.body.get("error", 0) not in (0, "0"):
        raise click.ClickException(f"{what}: {answer.status} {answer.body}")
