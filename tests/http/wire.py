import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from api import close, create_app
from api.configuration import settle
from api.settings import Settings

ROOT = Path(__file__).parents[2]

ADMIN, AUDITOR = "admin-token", "auditor-token"
LM_PAIR = "MEMB_ID=acme&HASH=lm-token"
KYREN_PAIR = "MEMB_ID=acme&HASH=kyren-token"
PLAYER, OTHER_PLAYER, STRANGER = "123456", "654321", "999999"
OPENING_CASH = "100000.00"
BET_REFERENCE = "585c1306f89c56f5ecfc2f5d"

Body = dict[str, Any]


def document(store: str = "memory://", **more: Any) -> Body:
    found: Body = {
        "store": store,
        "admin": {"token": ADMIN},
        "auditor": {"token": AUDITOR},
        "server": {"log_requests": False},
        "audit": {"keep": False},
        "provider": [
            {
                "id": "LuckyMonaco",
                "dialect": "lucky-monaco-v4",
                "member": "acme",
                "token": "lm-token",
            },
            {"id": "Kyren", "dialect": "kyren-v1", "member": "acme", "token": "kyren-token"},
        ],
    }
    return {**found, **more}


def new_settings(**more: Any) -> Settings:
    return settle(document(**more), {})


class Answered(NamedTuple):
    status: int
    raw: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> Any:
        return self.json["error"]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.json)


class Service:
    def __init__(self, settings: Settings | None = None, store: Any = None) -> None:
        self.app = create_app(settings or new_settings(), store)
        self.client = self.app.test_client()
        self.book = self.app.extensions["book"]

    def send(self, method: str, path: str, data: bytes | str | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client.open(path, method=method, data=data, headers=named) as got:
            return Answered(got.status_code, got.data, got.headers)

    def raw(self, path: str, data: bytes | str, pair: str | None = None) -> Answered:
        pair = pair_of(path) if pair is None else pair
        return self.send("POST", f"{path}?{pair}", data, Content_Type="application/json")

    def call(self, path: str, body: Body, pair: str | None = None) -> Answered:
        return self.raw(path, json.dumps(body), pair)

    def office(self, method: str, path: str, body: Any = None, token: str | None = ADMIN) -> Any:
        data = None if body is None else json.dumps(body)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.send(method, path, data, Content_Type="application/json", **headers)

    def fund(self, user: str = PLAYER, amount: str = OPENING_CASH, currency: str = "USD") -> None:
        path = f"/api/wallets/{user}/{currency}"
        assert self.office("PUT", path).status == 201
        paid = self.office(
            "POST", f"{path}/deposits", {"reference": f"open {user} {currency}", "amount": amount}
        )
        assert paid.status == 200

    def cash(self, user: str = PLAYER, currency: str = "USD") -> str:
        return self.office("GET", f"/api/wallets/{user}/{currency}").json["cash"]

    @property
    def head(self) -> Any:
        return self.office("GET", "/api/head").json

    def events(self, after: int = 0) -> list[Body]:
        found: list[Body] = []
        page: Body = {"has_more": True, "next": after}
        while page["has_more"]:
            page = self.office("GET", f"/api/events?after={page['next']}&limit=1000").json
            found += page["events"]
        return found

    def topics(self) -> list[str]:
        return [event["topic"] for event in self.events()]

    def close(self) -> None:
        close(self.app)


def pair_of(path: str) -> str:
    return KYREN_PAIR if path.casefold().startswith("/v1") else LM_PAIR


def problem(
    answer: Answered,
    status: int,
    word: str | None = None,
    *,
    code: int | None = None,
    field: str | None = None,
) -> None:
    """Checks an answer that is problem+json, of this type where one is given."""
    assert answer.status == status, answer.raw
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)
    assert body["type"].startswith("urn:roundbook:")
    assert word is None or body["type"] == f"urn:roundbook:{word}"
    assert (body.get("code"), body.get("field")) == (code, field)
    assert "Traceback" not in answer.raw.decode()


# the calls, each with a body that succeeds once `needs` have been sent

TRANSACTION = ("error", "description", "currency", "cash", "transactionId")
CASH = ("error", "description", "currency", "cash")
REFERENCE = ("error", "description", "reference")
REFUNDED = ("transactionId", "error", "description")
PLAIN = ("error", "description")

PLAYER_FIELDS = {"userId": PLAYER, "uuid": "4a5d375ac1311b04fba2ea66d067b8e5"}
GAME_FIELDS = {"gameId": "Im_60_tumblefortune", "gameName": "tumblefortune"}
ROUND_FIELDS = {
    **PLAYER_FIELDS,
    **GAME_FIELDS,
    "roundId": "5103188801",
    "sessionId": "5a2c1b7d",
    "currency": "USD",
    "timestamp": "1700000000000",
    "roundDetails": "spin",
}

SHAPES: dict[str, Body] = {
    "Check": {**PLAYER_FIELDS, "currency": "USD", "sessionId": "5a2c1b7d"},
    "Balance": {**PLAYER_FIELDS, "sessionId": "5a2c1b7d"},
    "Bet": {**ROUND_FIELDS, "amount": "100.01", "reference": BET_REFERENCE},
    "Result": {**ROUND_FIELDS, "amount": "250.00", "reference": "r-585c1306f89c56f5ecfc2f5e"},
    "EndRound": {
        **PLAYER_FIELDS,
        "gameId": GAME_FIELDS["gameId"],
        "roundId": "5103188801",
        "sessionId": "5a2c1b7d",
        "currency": "USD",
    },
    "SessionExpired": {**PLAYER_FIELDS, "sessionId": "5a2c1b7d"},
    "Refund": {**PLAYER_FIELDS, **GAME_FIELDS, "currency": "USD", "reference": BET_REFERENCE},
    "PromoWin": {
        **PLAYER_FIELDS,
        "currency": "USD",
        "amount": "12.50",
        "reference": "p-585c1306f89c56f5ecfc2f5f",
        "campaignId": "summer",
        "campaignType": "R",
        "timestamp": "1700000000000",
    },
}
SHAPES["AutoClosing"] = {k: v for k, v in SHAPES["Result"].items() if k != "sessionId"}
SHAPES["Cancel"] = {**SHAPES["Refund"], "sessionId": "5a2c1b7d"}
SHAPES["RoundRefund"] = {**SHAPES["Refund"], "roundId": "5103188801"}
SHAPES["RoundCancel"] = {**SHAPES["Cancel"], "roundId": "5103188801"}


class Call(NamedTuple):
    name: str
    path: str
    shape: str
    answer: tuple[str, ...]
    needs: Sequence[str] = ()
    optional: Sequence[str] = ()
    told_apart_by: str | None = None

    @property
    def body(self) -> Body:
        kyren = self.path.startswith("/v1")
        return {"providerId": "Kyren" if kyren else "LuckyMonaco", **SHAPES[self.shape]}

    @property
    def required(self) -> list[str]:
        return [field for field in self.body if field not in self.optional]

    @property
    def ids(self) -> list[str]:
        return [f for f in self.body if f not in ("amount", "timestamp", "roundDetails")]

    @property
    def refund(self) -> bool:
        return self.answer == REFUNDED

    def bet(self) -> tuple[str, Body]:
        return f"{self.path[:3]}/Bet", {**self.body_of("Bet")}

    def body_of(self, shape: str) -> Body:
        return {"providerId": self.body["providerId"], **SHAPES[shape]}


def _family(prefix: str) -> list[Call]:
    return [
        Call("check", f"{prefix}/Check", "Check", PLAIN),
        Call("balance", f"{prefix}/Balance", "Balance", CASH),
        Call("bet", f"{prefix}/Bet", "Bet", TRANSACTION),
        Call("result", f"{prefix}/Result", "Result", TRANSACTION, ("Bet",), ("sessionId",)),
        Call("auto closing", f"{prefix}/Result", "AutoClosing", TRANSACTION, ("Bet",)),
        Call("end of round", f"{prefix}/EndRound", "EndRound", TRANSACTION, ("Bet",)),
        Call("later refund", f"{prefix}/Refund", "RoundRefund", REFUNDED, ("Bet",)),
        Call("session expired", f"{prefix}/SessionExpired", "SessionExpired", PLAIN),
    ]


CALLS = [
    *_family("/V4"),
    Call("cancel", "/V4/Cancel", "Cancel", REFERENCE, ("Bet",), told_apart_by="sessionId"),
    Call("refund", "/V4/Cancel", "Refund", REFUNDED, ("Bet",)),
    Call("cancel round", "/V4/CancelRound", "Cancel", REFERENCE, ("Bet",)),
    Call("bonus win", "/V4/BonusWin", "Result", TRANSACTION, ("Bet",), ("sessionId",)),
    Call("jackpot win", "/V4/JackPotWin", "Result", TRANSACTION, ("Bet",), ("sessionId",)),
    Call("promo win", "/V4/PromoWin", "PromoWin", TRANSACTION),
    *_family("/v1"),
    Call("cancel bet", "/v1/Cancel", "RoundCancel", TRANSACTION, ("Bet",)),
]
BY_NAME = {(call.path[:3], call.name): call for call in CALLS}


def title(call: Call) -> str:
    return f"{call.path[:3]} {call.name}"
