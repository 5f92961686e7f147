from copy import deepcopy
from typing import Any, NamedTuple

Asked = dict[str, Any]

CENTS = 100
OWNER = ("user", "currency", "game")
OWNING_WINS = ("result", "bonus", "jackpot")


class Denied(Exception):
    def __init__(self, code: int, cash: int | None = None) -> None:
        super().__init__(code)
        self.code, self.cash = code, cash


class Expected(NamedTuple):
    code: int
    cash: int | None = None
    name: tuple[str, ...] | None = None
    recorded: bool = False


def text(cents: int) -> str:
    return f"{cents // CENTS}.{cents % CENTS:02}"


class Model:
    def __init__(self, *, allow_completed: bool = False) -> None:
        self.allow_completed = allow_completed
        self.wallets: dict[Any, Any] = {}
        self.rounds: dict[Any, Any] = {}
        self.bets: dict[Any, Any] = {}
        self.wins: dict[Any, Any] = {}
        self.sessions: dict[Any, str] = {}
        self.cashier: dict[Any, Any] = {}
        self.recorded = False

    def __eq__(self, other: object) -> bool:
        mine, theirs = ({**vars(model), "recorded": None} for model in (self, other))
        return mine == theirs

    def copy(self) -> "Model":
        return deepcopy(self)

    def answer(self, asked: Asked) -> Expected:
        before = deepcopy(vars(self)) if asked.get("whole") else {}
        self.recorded = False
        try:
            cash, name = getattr(self, asked["call"])(asked)
        except Denied as denied:
            vars(self).update(before)
            self.recorded &= not before
            return Expected(denied.code, denied.cash, None, self.recorded)
        return Expected(0, cash, name, self.recorded)

    # the wallet's table, row by row

    def check(self, asked):
        purse = self._purse(asked)
        if self._expired(asked):
            raise Denied(55)
        if purse["frozen"]:
            raise Denied(56)
        return None, None

    def balance(self, asked):
        mine = [key for key in self.wallets if key[0] == asked["user"]]
        if not mine:
            raise Denied(62)
        if asked["currency"] is None and len(mine) > 1:
            raise Denied(64)
        return self._purse({**asked, "currency": asked["currency"] or mine[0][1]})["cash"], None

    def bet(self, asked):
        known = self.bets.get((asked["provider"], asked["reference"]))
        if known is None:
            return self._new_bet(asked)
        if known["buried"]:
            if known["user"] != asked["user"]:
                raise Denied(16)
            self._late(asked)
            raise Denied(999)
        self._same_payload(known, asked)
        if known["refused"]:
            raise Denied(15, self._purse(asked)["cash"])
        return self._purse(asked)["cash"], self._name("bet", asked)

    def _new_bet(self, asked):
        purse, round_ = self._purse(asked), self._round(asked)
        if round_:
            self._together(round_, asked)
            if round_["over"] or round_["cancelled"]:
                raise Denied(999)
        if self._expired(asked):
            raise Denied(55)
        if purse["frozen"]:
            raise Denied(56)
        round_ = round_ or self._open(asked)
        known = {**asked, "buried": False, "reversed": False, "refused": False}
        self.bets[asked["provider"], asked["reference"]] = known
        self.recorded = True
        if asked["amount"] > purse["cash"]:
            known["refused"] = True
            raise Denied(15, purse["cash"])
        round_["bets"].add(asked["reference"])
        purse["cash"] -= asked["amount"]
        purse["stakes"] += asked["amount"]
        return purse["cash"], self._name("bet", asked)

    def _late(self, asked):
        round_ = self._round(asked)
        if round_ and (round_["user"] != asked["user"] or asked["reference"] in round_["late"]):
            return
        if not round_ and (asked["user"], asked["currency"]) not in self.wallets:
            return
        (round_ or self._open(asked))["late"].add(asked["reference"])
        self.recorded = True

    def win(self, asked):
        known = self.wins.get((asked["provider"], asked["kind"], asked["reference"]))
        if known:
            self._same_payload(known, asked)
            return self._purse(asked)["cash"], self._name(asked["kind"], asked)
        purse, round_ = self._purse(asked), self._round(asked)
        if round_ is None:
            buried = self.bets.get((asked["provider"], asked["reference"]), {}).get("buried")
            raise Denied(999 if buried else 17)
        self._together(round_, asked)
        if not round_["bets"]:
            raise Denied(999 if round_["tombstones"] or round_["late"] else 17)
        if not self._open_bets(round_):
            raise Denied(999)
        self.wins[asked["provider"], asked["kind"], asked["reference"]] = dict(asked)
        round_["won"] = True
        round_["wins"] += asked["amount"]
        purse["cash"] += asked["amount"]
        purse["wins"] += asked["amount"]
        self.recorded = True
        return purse["cash"], self._name(asked["kind"], asked)

    def promo(self, asked):
        known = self.wins.get((asked["provider"], "promo", asked["reference"]))
        if known:
            self._same_cash(known, asked)
            return self._cash(asked), self._name("promo", asked)
        purse = self._purse(asked)
        self.wins[asked["provider"], "promo", asked["reference"]] = dict(asked)
        purse["cash"] += asked["amount"]
        purse["wins"] += asked["amount"]
        self.recorded = True
        return purse["cash"], self._name("promo", asked)

    def end(self, asked):
        round_ = self._round(asked)
        if round_ is None:
            raise Denied(17)
        self._together(round_, asked)
        self.recorded = not round_["over"]
        round_["over"] = True
        return self._cash(asked), ("end", asked["provider"], asked["round"])

    def reverse(self, asked):
        known = self.bets.get((asked["provider"], asked["reference"]))
        if known and not known["buried"] and not known["refused"]:
            self._reverse_placed(known, asked)
        else:
            self._put_a_tombstone(known, asked)
            round_ = self._round(asked)
            if asked["whole"] and not known and round_ and self._open_bets(round_):
                self._together(round_, asked)
                self._give_back(round_, self._open_bets(round_))
        return self._cash(asked), self._name("reversal", asked)

    def _reverse_placed(self, known, asked):
        round_ = self.rounds[asked["provider"], known["round"]]
        self._together_in(known, asked)
        if not known["reversed"]:
            self._give_back(round_, [known])

    def _put_a_tombstone(self, known, asked):
        if known:
            self._together_in(known, asked)
            if not known["buried"]:
                self._bury(asked, self.rounds[asked["provider"], known["round"]])
            return
        round_ = self._round(asked)
        if round_:
            self._together(round_, asked)
        elif asked["round"] and (asked["user"], asked["currency"]) in self.wallets:
            round_ = self._open(asked)
        self._bury(asked, round_)

    def cancel_round(self, asked):
        provider, reference = asked["provider"], asked["reference"]
        wins = [self.wins.get((provider, kind, reference)) for kind in OWNING_WINS]
        known = next(filter(None, [self.bets.get((provider, reference)), *wins]), None)
        if known is None or known.get("by") == "cancel_round":
            self._put_a_tombstone(known, asked)
            return None, None
        self._together_in(known, asked)
        round_ = self.rounds.get((provider, known.get("home", known["round"])))
        if round_ and not round_["cancelled"]:
            self._give_back(round_, self._open_bets(round_))
        if known.get("refused") and not known["buried"]:
            self._bury(asked, round_)
        return None, None

    def expire(self, asked):
        if not any(user == asked["user"] for user, _ in self.wallets):
            raise Denied(62)
        owner = self.sessions.get((asked["provider"], asked["session"]))
        if owner not in (None, asked["user"]):
            raise Denied(16)
        self.recorded = owner is None
        self.sessions[asked["provider"], asked["session"]] = asked["user"]
        return None, None

    # the cashier

    def open(self, asked):
        key = asked["user"], asked["currency"]
        self.recorded = key not in self.wallets
        fresh = dict.fromkeys(("cash", "in", "out", "stakes", "wins", "reversals"), 0)
        purse = self.wallets.setdefault(key, {**fresh, "frozen": False})
        return purse["cash"], None

    def deposit(self, asked):
        return self._cashier(asked, "in", asked["amount"])

    def withdraw(self, asked):
        return self._cashier(asked, "out", -asked["amount"])

    def _cashier(self, asked, way, change):
        known = self.cashier.get((way, asked["reference"]))
        if known:
            self._same_cash(known, asked)
            return self._cash(asked), (way, asked["reference"])
        purse = self._purse(asked)
        if not change:
            raise Denied(59)
        if purse["cash"] + change < 0:
            raise Denied(15)
        self.cashier[way, asked["reference"]] = dict(asked)
        purse["cash"] += change
        purse[way] += asked["amount"]
        self.recorded = True
        return purse["cash"], (way, asked["reference"])

    def freeze(self, asked):
        return self._turn(asked, frozen=True)

    def unfreeze(self, asked):
        return self._turn(asked, frozen=False)

    def _turn(self, asked, *, frozen):
        purse = self._purse(asked)
        self.recorded = purse["frozen"] is not frozen
        purse["frozen"] = frozen
        return purse["cash"], None

    # what belongs together

    def _purse(self, asked):
        purse = self.wallets.get((asked["user"], asked["currency"]))
        if purse is None:
            known = any(user == asked["user"] for user, _ in self.wallets)
            raise Denied(52 if known else 62)
        return purse

    def _cash(self, asked):
        purse = self.wallets.get((asked["user"], asked["currency"]))
        return purse["cash"] if purse else 0

    def _round(self, asked):
        return self.rounds.get((asked["provider"], asked["round"]))

    def _open(self, asked):
        said = {key: asked[key] for key in ("provider", "round", *OWNER)}
        fresh = {"bets": set(), "tombstones": set(), "late": set()}
        flags = {"won": False, "over": False, "cancelled": False}
        sums = {"wins": 0, "taken": 0}
        self.rounds[asked["provider"], asked["round"]] = {**said, **fresh, **flags, **sums}
        return self._round(asked)

    def _open_bets(self, round_):
        bets = [self.bets[round_["provider"], reference] for reference in round_["bets"]]
        return [bet for bet in bets if not bet["reversed"]]

    def _expired(self, asked):
        return (asked["provider"], asked["session"]) in self.sessions

    def _name(self, kind, asked):
        return kind, asked["provider"], asked["reference"]

    def _together(self, known, asked):
        for field, code in (("user", 16), ("currency", 52), ("game", 57)):
            if known[field] != asked[field]:
                raise Denied(code)

    def _together_in(self, known, asked):
        self._together(known, asked)
        if known["round"] and asked["round"] not in (None, known["round"]):
            raise Denied(16)

    def _same_payload(self, known, asked):
        if known["user"] != asked["user"]:
            raise Denied(16)
        if any(known[f] != asked[f] for f in ("round", "game", "currency", "amount")):
            raise Denied(57)

    def _same_cash(self, known, asked):
        if known["user"] != asked["user"]:
            raise Denied(16)
        if any(known[field] != asked[field] for field in ("currency", "amount")):
            raise Denied(57)

    def _give_back(self, round_, bets):
        others = len(self._open_bets(round_)) - len(bets)
        if round_["won"] and (others or not self.allow_completed):
            raise Denied(999)
        taken = 0 if others else round_["wins"] - round_["taken"]
        purse = self.wallets.get((round_["user"], round_["currency"]), {"cash": 0})
        stakes = sum(bet["amount"] for bet in bets)
        if purse["cash"] + stakes - taken < 0:
            raise Denied(999)
        if bets:
            purse["cash"] += stakes - taken
            purse["reversals"] += stakes
            purse["wins"] -= taken
        for bet in bets:
            bet["reversed"] = True
        round_["taken"] += taken
        round_["cancelled"] = not others
        self.recorded = True

    def _bury(self, asked, round_):
        key = asked["provider"], asked["reference"]
        known = self.bets.get(key, {"refused": False, "reversed": False})
        said = {field: asked[field] for field in OWNER}
        home = round_["round"] if round_ else None
        place = {"round": asked["round"] or home, "home": home, "by": asked["call"]}
        self.bets[key] = {**known, **said, **place, "buried": True}
        if round_:
            round_["tombstones"].add(asked["reference"])
        self.recorded = True

    # what can be seen from outside

    def seen_of_wallets(self):
        return {key: (text(purse["cash"]), purse["frozen"]) for key, purse in self.wallets.items()}

    def seen_of_rounds(self):
        return {
            key: (*(round_[field] for field in OWNER), self._status(round_), *self._sums(round_))
            for key, round_ in self.rounds.items()
        }

    def _status(self, round_):
        if round_["cancelled"]:
            return "Cancelled"
        return "Completed" if round_["won"] or round_["over"] else "InProgress"

    def _sums(self, round_):
        bets = [self.bets[round_["provider"], reference] for reference in round_["bets"]]
        return (
            text(sum(bet["amount"] for bet in bets)),
            text(round_["wins"] - round_["taken"]),
            text(sum(bet["amount"] for bet in bets if bet["reversed"])),
        )
