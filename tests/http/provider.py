import hashlib
import hmac
import threading

from api import close, create_app
from api.configuration import settle
from api.provider import calls, games
from ledger.moments import utc_now
from tests.http import wire
from tests.http.server import Server, as_toml, until
from tests.provider.crooked import CrookedWallet

LM, KYREN = "acme", "acme-kyren"
GAME = "game-token"
TOKENS = {LM: "operator-token", KYREN: "kyren-operator-token"}
SECRETS = {LM: "SECRETKEY", KYREN: "kyren-secret"}
PREFIXES = {LM: "/V4", KYREN: "/v1"}
ROUND, REFERENCE, RESULT = "5103188801", wire.BET_REFERENCE, "r-585c1306f89c56f5ecfc2f5e"
STAKE, WIN, CASH_AFTER_BET = "100.01", "250.00", "99899.99"
UUID = "4a5d375ac1311b04fba2ea66d067b8e5"

GAME_BET = {
    "userId": wire.PLAYER,
    "currency": "USD",
    "sessionId": "5a2c1b7d",
    **wire.GAME_FIELDS,
    "reference": REFERENCE,
    "amount": STAKE,
}
GAME_CALLS = {
    "bets": GAME_BET,
    "result": {"userId": wire.PLAYER, "reference": RESULT, "amount": WIN},
    "end": {"userId": wire.PLAYER},
    "cancel": {"userId": wire.PLAYER},
}
"""What a game may say, and a body for each, but for its operator."""

SUCCESS = {"error": 0, "description": "Success"}


# the configuration


def operator(login=LM, *, wallet_url, **changes):
    kyren = login.endswith("kyren")
    return {
        "secure_login": login,
        "token": TOKENS.get(login, f"{login}-token"),
        "hash": "hmac_sha256" if kyren else "md5_sorted",
        "secret": SECRETS.get(login, f"{login}-secret"),
        "wallet_url": wallet_url,
        "dialect": "kyren-v1" if kyren else "lucky-monaco-v4",
        "member": "acme",
        "wallet_token": "kyren-token" if kyren else "lm-token",
        "backoff_s": 0.01,
        "parked_retry_s": 0.05,
        "allow_private": True,
        **changes,
    }


def document(folder, wallet_url, *, logins=(LM, KYREN), **changes):
    return wire.document(
        f"sqlite:///{folder}/book.db",
        provider_book={"store": f"sqlite:///{folder}/provider.db", "token": GAME},
        operator=[operator(login, wallet_url=wallet_url, **changes) for login in logins],
    )


# both books, in this process and in a process of their own


class Pair(wire.Service):
    """Both books in this process. The courier calls a wallet that may misbehave, over real HTTP."""

    def __init__(self, folder, *, works=True, now=utc_now, logins=(LM, KYREN), **changes):
        self.wallet = CrookedWallet(self._forward)
        self.wallet.open_again()
        said = {**document(folder, self.wallet.url, logins=logins, **changes), "store": "memory://"}
        self.settings = settle(said, {})
        self.app = create_app(self.settings, now=now)
        self.client = self.app.test_client()
        self.book = self.app.extensions["book"]
        self.provider = self.app.extensions["provider_book"]
        if works:
            self.work()

    def __enter__(self):
        self.fund()
        return self

    def __exit__(self, *_):
        ends("the application", lambda: close(self.app))
        self.wallet.close()

    def _forward(self, path, body):
        found = self.app.test_client().post(path, data=body, content_type="application/json")
        return found.status_code, found.data

    def work(self):
        self.app.extensions["worker"].start()
        until(lambda: self.provider.sweep().made_at, "the first sweep is made")

    # what a game says

    def play(self, verb, round_id=ROUND, *, operator=LM, token=GAME, **changes):
        body = {"operator": operator, **GAME_CALLS[verb], **changes}
        return self.office("POST", f"/api/provider/rounds/{round_id}/{verb}", body, token=token)

    def bet(self, round_id=ROUND, **changes):
        return self.play("bets", round_id, **changes)

    def found(self, round_id=ROUND, *, operator=LM, query="", token=GAME):
        path = f"/api/provider/rounds/{round_id}?operator={operator}{query}"
        return self.office("GET", path, token=token)

    def status(self, round_id=ROUND, *, operator=LM):
        return self.found(round_id, operator=operator).json["roundStatus"]

    def gets(self, status, round_id=ROUND, *, operator=LM):
        until(
            lambda: self.status(round_id, operator=operator) == status,
            f"round {round_id} gets {status}",
        )

    # what an operator says

    def seed_000(self, *, operator=LM, path=None, pair=None, hash_=None, **changes):
        """Seed 000's call, signed; a change to None leaves the field out."""
        body = cancel_body(operator, **changes)
        return self.call(
            path or f"{PREFIXES[operator]}/cancelround",
            {**body, "hash": sign(body, operator) if hash_ is None else hash_},
            pair_of(operator) if pair is None else pair,
        )

    def later(self, name, *, operator=LM, path=None, **changes):
        """One of the calls with the token in the body; a change to None leaves the field out."""
        body = later_body(name, operator, **changes)
        return self.call(path or f"{PREFIXES[operator]}/{name}", body, "")

    # what is kept

    @property
    def heads(self):
        return self.book.store.head(), self.provider.store.head()

    def provider_events(self):
        """The events of rounds and deliveries: the sweep says its own, once a day."""
        events = self.office("GET", "/api/provider/events?limit=1000").json["events"]
        return [event for event in events if event["stream"] != "sweep"]

    def provider_topics(self):
        return [event["topic"] for event in self.provider_events()]


def ends(what, work, patience_s=10):
    """Does it in a thread: what hangs is to fail, not to keep everybody waiting."""
    thread = threading.Thread(target=work, name="ends", daemon=True)
    thread.start()
    thread.join(patience_s)
    assert not thread.is_alive(), f"{what} does not end"


class Both(Server):
    """Both books in a process of their own: the provider's half calls the operator's over HTTP."""

    def __init__(self, folder, **changes):
        super().__init__(folder, {})
        url = f"http://127.0.0.1:{self.port}"
        self.config.write_text(as_toml(document(folder, url, **changes)))


def at_once(monkeypatch, seconds=0.0):
    """Has games and operators answered after so long, whatever the wallet does."""
    monkeypatch.setattr(games, "ANSWERED_WITHIN_S", seconds)
    monkeypatch.setattr(calls, "CANCELLED_WITHIN_S", seconds)


# bodies


def cancel_body(operator=LM, **changes):
    body = {
        "secureLogin": operator,
        "externalPlayerId": wire.PLAYER,
        "gameId": wire.GAME_FIELDS["gameId"],
        "roundId": ROUND,
        **changes,
    }
    return {field: value for field, value in body.items() if value is not None}


LATER = {
    "CancelRound": {"userId": wire.PLAYER, "roundId": ROUND},
    "GetRoundStatus": {"roundId": ROUND},
    "history/GetGameRounds": {
        "dateStart": "2026-11-21",
        "dateEnd": "2026-11-21",
        "timeZone": "UTC",
        "page": 1,
        "limit": 100,
    },
    "HealthCheck": {},
}


def later_body(name, operator=LM, **changes):
    body = {
        "secureLogin": operator,
        "token": TOKENS.get(operator, f"{operator}-token"),
        "uuid": UUID,
        **LATER[name],
        **changes,
    }
    return {field: value for field, value in body.items() if value is not None}


def pair_of(operator=LM, token=None):
    token = token or TOKENS.get(operator, f"{operator}-token")
    return f"MEMB_ID={operator}&HASH={token}"


def joined(body):
    """The text that is hashed, as contract.md describes it, for values that are text."""
    kept = {key: value for key, value in body.items() if key != "hash" and value}
    return "&".join(f"{key}={kept[key]}" for key in sorted(kept))


def md5_sorted(text, secret):
    return hashlib.md5((text + secret).encode()).hexdigest()


def hmac_sha256(text, secret):
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sign(body, operator=LM):
    algorithm = hmac_sha256 if operator.endswith("kyren") else md5_sorted
    return algorithm(joined(body), SECRETS.get(operator, f"{operator}-secret"))


# answers


def problem(answer, status, word=None, *, code=None, field=None):
    wire.problem(answer, status, word, code=code, field=field)
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(answer.raw) < 1000


def refused(answer, code, field=None, *, status=200, text_error=False):
    assert answer.status == status, answer.raw
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.keys == wire.PLAIN
    assert answer.code == (str(code) if text_error else code)
    assert answer.json["description"]
    if field:
        assert answer.json["description"].startswith(f"{field}:")
    assert len(answer.raw) < 1000
    assert "Traceback" not in answer.raw.decode()
