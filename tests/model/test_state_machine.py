import os
import random
import shutil
import tempfile
import threading
from dataclasses import dataclass
from itertools import count, permutations, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.operator.book import MAPPER
from ledger.rebuild import differences, rebuild
from tests import auditor
from tests.http import wire
from tests.model.rules import CENTS, Model, text

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
LM, KYREN = "LuckyMonaco", "Kyren"
ANN, BOB, EVE = "ann", "bob", "eve"
EVERYTHING = 10**9

PATHS = {"bet": "Bet", "end": "EndRound", "expire": "SessionExpired", "check": "Check"}
PATHS |= {"balance": "Balance", "promo": "PromoWin", "cancel_round": "CancelRound"}
WINS = {"result": "Result", "bonus": "BonusWin", "jackpot": "JackPotWin"}
UUIDS = count(1)


def often(usual, *rare, times=9):
    return st.sampled_from([usual] * times + list(rare))


# who plays what: mostly what belongs together, now and then something else

PROVIDERS = often(LM, KYREN, times=2)
ROUNDS = st.sampled_from(["r1", "r2", "r3"])
OWNERS = {"r1": ANN, "r2": ANN, "r3": BOB}
REFERENCES = st.sampled_from(["a", "b", "c", "d", "e"])
SESSIONS = often("s1", "s2", "s3", times=4)
AMOUNTS = st.sampled_from([0, 1, 500, 1000, 1001, 4000, 9000, 20000])
CURRENCIES = often("USD", "EUR", times=14)


@st.composite
def about_a_round(draw, call, **more):
    round_ = draw(ROUNDS)
    return {
        "call": call,
        "provider": draw(PROVIDERS),
        "user": draw(often(OWNERS[round_], ANN, BOB, EVE, times=24)),
        "currency": draw(CURRENCIES),
        "round": round_,
        "game": draw(often("g1", "g2", times=19)),
        "session": draw(SESSIONS),
        "reference": draw(REFERENCES),
        **{key: draw(value) for key, value in more.items()},
    }


@st.composite
def wins(draw):
    asked = draw(about_a_round("win", amount=AMOUNTS, kind=often("result", *WINS, times=5)))
    if asked["provider"] == KYREN:
        asked["kind"] = "result"
    return asked


@st.composite
def reversals(draw):
    form = draw(st.sampled_from(["cancel", "refund", "later", "cancel_round"]))
    asked = draw(about_a_round("reverse"))
    if form == "cancel_round":
        round_ = asked["round"] if draw(st.booleans()) else None
        return {**asked, "call": "cancel_round", "provider": LM, "round": round_}
    if form == "refund":
        return {**asked, "provider": LM, "form": form, "round": None, "whole": False}
    named = asked["provider"] == KYREN or form == "later" or draw(st.booleans())
    return {
        **asked,
        "form": form,
        "round": asked["round"] if named else None,
        "whole": form == "later",
    }


BETS = about_a_round("bet", amount=AMOUNTS)
PROMOS = about_a_round("promo", amount=AMOUNTS, provider=st.just(LM))
CASHIER = st.fixed_dictionaries(
    {
        "call": st.sampled_from(["deposit", "deposit", "withdraw", "freeze", "unfreeze"]),
        "user": often(ANN, BOB, EVE, times=6),
        "currency": CURRENCIES,
        "reference": REFERENCES,
        "amount": AMOUNTS,
    }
)
CALLS = st.one_of(
    BETS, BETS, BETS, wins(), wins(), reversals(), reversals(), about_a_round("end"), PROMOS
)
QUESTIONS = st.one_of(
    about_a_round("expire"),
    about_a_round("check"),
    about_a_round("balance", currency=st.sampled_from([None, "USD", "EUR"])),
)
CHANGES = {
    "amount": AMOUNTS,
    "round": ROUNDS,
    "reference": REFERENCES,
    "session": SESSIONS,
    "user": st.sampled_from([ANN, BOB, EVE]),
    "game": st.sampled_from(["g1", "g2"]),
    "currency": st.sampled_from(["USD", "EUR"]),
    "provider": st.sampled_from([LM, KYREN]),
}


def changed(asked, field, value):
    if asked.get(field) is None or (field == "provider" and path_of(asked)[:3] == "/V4"):
        return asked
    return {**asked, field: value}


# from what is asked to what is sent


def path_of(asked):
    prefix = "/V4" if asked["provider"] == LM else "/v1"
    if asked["call"] == "win":
        return f"{prefix}/{WINS[asked['kind']]}"
    if asked["call"] == "reverse":
        return f"{prefix}/{'Refund' if asked['form'] == 'later' else 'Cancel'}"
    return f"{prefix}/{PATHS[asked['call']]}"


def body_of(asked):
    number = next(UUIDS)
    body = {
        "providerId": asked["provider"],
        "userId": asked["user"],
        "currency": asked["currency"],
        "roundId": asked["round"],
        "gameId": asked["game"],
        "gameName": f"name {number}",
        "sessionId": asked["session"],
        "reference": asked["reference"],
        "uuid": f"uuid {number}",
        "timestamp": str(number),
        "roundDetails": {"number": number},
        "campaignId": "c",
        "campaignType": "t",
    }
    if "amount" in asked:
        body["amount"] = text(asked["amount"]) if number % 2 else asked["amount"] / CENTS
    if asked.get("form") in ("refund", "later"):
        del body["sessionId"]
    return {key: value for key, value in body.items() if value is not None}


SEEN_OF_A_ROUND = ("userId", "currency", "gameId", "status", "staked", "won", "reversed")


@dataclass
class World:
    """What may have happened: what the book holds, and the transactions' names."""

    model: Model
    names: dict[tuple[str, ...], str]

    def copy(self):
        return World(self.model.copy(), dict(self.names))


class Wallets(RuleBasedStateMachine):
    store = "memory://"
    many = 1
    allow_completed = False

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="roundbook-"))
        self.defects = []
        self.start()
        self.worlds = [World(Model(allow_completed=self.allow_completed), {})]
        self.sent = []

    def start(self):
        settled = wire.new_settings(
            store=self.store.format(self.folder),
            wallet={"allow_cancel_completed": self.allow_completed},
        )
        self.services = [wire.Service(settled) for _ in range(self.many)]
        for service in self.services:
            service.book._writer._on_defect = self.defects.append

    @property
    def service(self):
        return random.choice(self.services)

    def close(self):
        for service in self.services:
            service.close()

    # talking to the service

    def send(self, asked):
        if asked["call"] in {"open", "deposit", "withdraw", "freeze", "unfreeze"}:
            return self.to_the_cashier(asked)
        return self.service.call(path_of(asked), body_of(asked))

    def to_the_cashier(self, asked):
        path = f"/api/wallets/{asked['user']}/{asked['currency']}"
        match asked["call"]:
            case "open":
                return self.service.office("PUT", path)
            case "freeze" | "unfreeze":
                return self.service.office("POST", f"{path}/{asked['call']}")
            case "deposit" | "withdraw":
                kind = "deposits" if asked["call"] == "deposit" else "withdrawals"
                body = {"reference": asked["reference"], "amount": text(asked["amount"])}
                return self.service.office("POST", f"{path}/{kind}", body)

    def keep(self, judged):
        """Keeps the worlds with which nothing is wrong. A race may leave several until an answer tells."""
        kept = []
        for world, wrong in judged:
            if wrong is None and world not in kept:
                kept.append(world)
        assert kept, [wrong for _, wrong in judged]
        self.worlds = kept

    def wrong_answer(self, world, asked, answer, recorded=None):
        expected = world.model.answer(asked)
        if recorded not in (None, expected.recorded):
            return f"{asked}: recorded {recorded}"
        wrong = self.wrong_words(asked, answer.json, expected, world.names)
        return wrong and f"{asked}: {wrong}"

    def wrong_words(self, asked, said, expected, names):
        code = int(said.get("error", said.get("code", 0)))
        if code != expected.code:
            return f"answered {code}, expected {expected.code}: {said}"
        if expected.cash is not None and "cash" in said and said["cash"] != text(expected.cash):
            return f"cash {said['cash']}, expected {text(expected.cash)}"
        if "transactionId" in said:
            known = names.setdefault(expected.name, said["transactionId"])
            if known != said["transactionId"]:
                return f"transaction {said['transactionId']} was {known}"
        if asked["call"] in ("cancel_round", "reverse") and "reference" in said:
            assert said["reference"] == asked["reference"]
        return None

    def ask(self, asked):
        before = self.service.head
        answer = self.send(asked)
        recorded = self.service.head != before
        self.keep([(w, self.wrong_answer(w, asked, answer, recorded)) for w in self.worlds])
        self.sent.append(asked)

    # the rules

    @initialize()
    def players_come_with_cash(self):
        for user, currency in ((ANN, "USD"), (BOB, "USD"), (BOB, "EUR")):
            wallet = {"user": user, "currency": currency}
            self.ask({"call": "open", **wallet})
            paid = {"reference": f"first {user} {currency}", "amount": 10000}
            self.ask({"call": "deposit", **wallet, **paid})
        self.sent.clear()

    @rule(asked=CALLS)
    def a_call_comes(self, asked):
        self.ask(asked)

    @rule(asked=CALLS)
    def another_call_comes(self, asked):
        self.ask(asked)

    @rule(asked=QUESTIONS)
    def a_question_comes(self, asked):
        self.ask(asked)

    @rule(asked=CASHIER)
    def the_cashier_moves(self, asked):
        self.ask(asked)

    @rule(back=st.integers(0, 30))
    def a_call_comes_again(self, back):
        if self.sent:
            self.ask(self.sent[-1 - back % len(self.sent)])

    @rule(back=st.integers(0, 30), data=st.data())
    def a_call_comes_again_changed(self, back, data):
        if self.sent:
            field = data.draw(st.sampled_from(sorted(CHANGES)))
            value = data.draw(CHANGES[field])
            self.ask(changed(self.sent[-1 - back % len(self.sent)], field, value))

    @rule(fresh=st.lists(CALLS, min_size=1, max_size=3), back=st.integers(0, 10), data=st.data())
    def calls_race(self, fresh, back, data):
        known = [*fresh, *([self.sent[-1 - back % len(self.sent)]] if self.sent else [])]
        racers = data.draw(st.lists(st.sampled_from(known), min_size=2, max_size=4))
        self.settle(racers, self.race(racers))
        self.sent += racers

    @rule(asked=CALLS, copies=st.integers(2, 4))
    def one_call_races_itself(self, asked, copies):
        self.settle([asked] * copies, self.race([asked] * copies))
        self.sent.append(asked)

    @rule(bet=BETS, other=reversals(), turn=st.booleans())
    def a_bet_races_its_reversal(self, bet, other, turn):
        same = ("provider", "user", "currency", "game", "reference")
        other = {**other, **{key: bet[key] for key in same}}
        if other["call"] == "cancel_round" or other["form"] == "refund":
            bet = {**bet, "provider": LM}
            other["provider"] = LM
        elif bet["provider"] == KYREN and other["round"] is None:
            other["round"] = bet["round"]
        racers = [bet, other, bet] if turn else [other, bet, other]
        self.settle(racers, self.race(racers))
        self.sent += [bet, other]

    def race(self, racers):
        answers = [None] * len(racers)
        line = threading.Barrier(len(racers))

        def run(place):
            line.wait()
            answers[place] = self.send(racers[place])

        threads = [threading.Thread(target=run, args=(place,)) for place in range(len(racers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def settle(self, racers, answers):
        judged = []
        for world in self.worlds:
            for order in set(permutations(range(len(racers)))):
                raced = world.copy()
                wrongs = [self.wrong_answer(raced, racers[n], answers[n]) for n in order]
                judged.append((raced, next(filter(None, wrongs), None)))
        self.keep(judged)
        self.keep_what_is_seen()

    def keep_what_is_seen(self):
        wallets, rounds = self.seen_of_wallets(), self.seen_of_rounds()
        self.keep([(w, self.wrong_sight(w.model, wallets, rounds)) for w in self.worlds])

    def wrong_sight(self, model, wallets, rounds):
        for seen, expected in (
            (wallets, model.seen_of_wallets()),
            (rounds, model.seen_of_rounds()),
        ):
            if seen != expected:
                return f"seen {seen}, expected {expected}"
        return None

    # what must always hold

    def seen_of_wallets(self):
        return {
            (user, currency): (found["cash"], found["frozen"])
            for user, currency in self.worlds[0].model.wallets
            for found in [self.service.office("GET", f"/api/wallets/{user}/{currency}").json]
        }

    def seen_of_rounds(self):
        found = {
            (provider, round_): self.service.office("GET", f"/api/rounds/{provider}/{round_}")
            for provider, round_ in product((LM, KYREN), OWNERS)
        }
        return {
            key: tuple(answer.json[field] for field in SEEN_OF_A_ROUND)
            for key, answer in found.items()
            if answer.status == 200
        }

    @invariant()
    def every_wallet_holds_what_the_model_says_and_never_less_than_nothing(self):
        seen = self.seen_of_wallets()
        for world in self.worlds:
            assert seen == world.model.seen_of_wallets()
            for purse in world.model.wallets.values():
                assert purse["cash"] >= 0
                moved = purse["in"] - purse["out"] - purse["stakes"] + purse["wins"]
                assert purse["cash"] == moved + purse["reversals"]

    @invariant()
    def nothing_fails_inside(self):
        assert self.defects == []

    @invariant()
    def no_two_transactions_share_a_name(self):
        for world in self.worlds:
            assert len(set(world.names.values())) == len(world.names)

    @rule()
    def an_auditor_comes(self):
        self.audit()

    def audit(self):
        store = self.service.book.store
        assert differences(store, MAPPER) == []
        self.keep_what_is_seen()
        records = store.records(after=0, limit=EVERYTHING)
        assert [record.hash for record in records] == auditor.chain(records)
        derived = auditor.derive(records)
        for table, rows in derived.items():
            assert [tuple(row) for row in store.rows(table)] == rows
        reversed_bets = [
            (record.topic, MAPPER.decode(record.topic, record.state))
            for record in records
            if record.topic in ("BetCancelled", "BetRefunded")
        ]
        bets = [(event.provider, event.reference) for _, event in reversed_bets]
        assert len(bets) == len(set(bets))

    @rule()
    def the_tables_are_made_anew(self):
        before = self.seen_of_wallets()
        rebuild(self.service.book.store, MAPPER)
        assert self.seen_of_wallets() == before

    def teardown(self):
        try:
            self.audit()
        finally:
            self.close()
            shutil.rmtree(self.folder, ignore_errors=True)


class WalletsOnDisk(Wallets):
    store = "sqlite:///{}/book.db"

    @rule()
    def the_service_starts_again(self):
        self.close()
        self.start()


class WalletsThatTakeWinsBack(Wallets):
    allow_completed = True


class WalletsOfTwoServices(WalletsOnDisk):
    many = 2


def sized(examples):
    return settings(
        max_examples=examples * 50 if SOAK else examples,
        stateful_step_count=100 if SOAK else 40,
        deadline=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


TestWalletsInMemory = Wallets.TestCase
TestWalletsInMemory.settings = sized(50)
TestWalletsThatTakeWinsBack = WalletsThatTakeWinsBack.TestCase
TestWalletsThatTakeWinsBack.settings = sized(25)
TestWalletsOnDisk = WalletsOnDisk.TestCase
TestWalletsOnDisk.settings = sized(25)
TestWalletsOfTwoServices = WalletsOfTwoServices.TestCase
TestWalletsOfTwoServices.settings = sized(25)


@pytest.mark.parametrize("turn", [1, -1])
def test_what_a_race_left_open_is_kept_open_until_an_answer_tells(turn):
    wallets = Wallets()
    wallets.players_come_with_cash()
    said = {"provider": LM, "user": EVE, "currency": "USD", "game": "g1", "reference": "a"}
    reversal = said | {"call": "reverse", "form": "cancel", "session": "s1", "whole": False}
    racers = [reversal | {"round": None}, reversal | {"round": "r1"}]
    answers = [wallets.send(asked) for asked in racers[::turn]]
    wallets.settle(racers, answers[::turn])
    assert len(wallets.worlds) == 2
    wallets.ask(reversal | {"round": "r2"})
    assert len(wallets.worlds) == 1
    wallets.teardown()
