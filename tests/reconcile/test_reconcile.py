import csv
import json
from datetime import UTC, datetime
from io import StringIO
from itertools import count

import msgspec
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from ledger.mapper import Mapper
from ledger.operator import events as ours
from ledger.operator.book import MAPPER
from ledger.provider import events as theirs
from ledger.store import StoreUnfit, open_store
from projections.reconcile import reconcile
from scripts.reconcile import reconcile as command
from tests import controls

LOGIN, OTHER_LOGIN = "acme", "bellagio"
BEFORE, AT, AFTER = (f"2026-11-{day}T12:00:00.000000Z" for day in (20, 21, 22))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROVIDERS = Mapper(theirs.TYPES)

SAID = {
    "recorded_at": AT,
    "provider": controls.PROVIDER,
    "round": controls.ROUND,
    "user": controls.PLAYER,
    "currency": controls.CURRENCY,
    "scale": 2,
    "game": controls.GAME,
    "reference": controls.REFERENCE,
    "transaction_id": "t",
    "amount": 10001,
}
AT_OPERATOR = SAID | {
    "wallet_version": 1,
    "cash_before": 0,
    "cash_after": 0,
    "cash": 0,
    "kind": "result",
    "by": "cancel",
    "campaign": controls.CAMPAIGN,
    "campaign_type": "R",
    "said": controls.said(),
}
AT_PROVIDER = SAID | {
    "operator": LOGIN,
    "game_name": controls.GAME_NAME,
    "session": controls.SESSION,
    "call": theirs.Call(path="/V4/Bet", body="{}"),
    "by": "operator",
    "code": 15,
}


def made(types, values):
    return [
        event(**{f.name: values[f.name] for f in msgspec.structs.fields(event) if f.required})
        for event in types
    ]


def operator(*types, **said):
    return made(types, AT_OPERATOR | said)


def provider(*types, **said):
    return made(types, AT_PROVIDER | said)


PLACED = (ours.RoundOpened, ours.BetPlaced)
REQUESTED = (theirs.RoundOpened, theirs.BetRequested)
ACCEPTED = (*REQUESTED, theirs.BetAccepted)
GIVEN_UP = (*REQUESTED, theirs.BetGivenUp, theirs.CancelRequested)
REFUNDING = (*ACCEPTED, theirs.RefundRequested)
RESULT = {"reference": controls.RESULT_REFERENCE, "amount": 25000}
RECORDED = operator(ours.ResultRecorded, **RESULT)
CONFIRMED = provider(
    theirs.ResultRequested, theirs.ResultConfirmed, theirs.RoundCompleted, **RESULT
)


def write(path, mapper, events):
    store = open_store(f"sqlite:///{path}")
    store.insert_events(
        [
            StoredEvent("all", version, type(event).__name__, mapper.encode(event))
            for version, event in enumerate(events, 1)
        ]
    )
    store.close()
    return str(path)


@pytest.fixture
def run(tmp_path, monkeypatch):
    number = count()
    monkeypatch.setattr("scripts.reconcile.utc_now", lambda: NOW)

    def runner(at_operator, at_provider, *options):
        folder = tmp_path / str(next(number))
        folder.mkdir()
        stores = [
            write(folder / "operator.db", MAPPER, at_operator),
            write(folder / "provider.db", PROVIDERS, at_provider),
        ]
        return CliRunner().invoke(command, [*stores, *options])

    return runner


@pytest.fixture
def differences(run):
    def found(at_operator, at_provider, *options):
        result = run(at_operator, at_provider, "--json", *options)
        listed = json.loads(result.stdout)["differences"]
        assert result.exit_code == bool(listed)
        return {(d["kind"], d["difference"], d["at_operator"], d["at_provider"]) for d in listed}

    return found


def test_two_books_that_say_the_same_do_not_differ(run):
    at_operator = [*operator(*PLACED), *RECORDED, *operator(ours.RoundEnded)]
    result = run(at_operator, [*provider(*ACCEPTED), *CONFIRMED])

    assert result.stdout == "1 bet, 1 result, 1 round compared; nothing differs\n"
    assert result.exit_code == 0


def test_books_that_have_nothing_do_not_differ(run):
    result = run([], [])

    assert result.stdout == "0 bets, 0 results, 0 rounds compared; nothing differs\n"


def test_a_book_without_its_counterpart_is_found(differences):
    at_provider = [*provider(*ACCEPTED), *CONFIRMED]

    assert differences([], at_provider) == {
        ("bet", "missing-at-operator", "absent", "100.01 USD accepted"),
        ("result", "missing-at-operator", "absent", "250.00 USD confirmed"),
    }


# what the provider's book does not have


def test_a_bet_the_provider_does_not_have_is_missing_there(differences):
    at_operator = [*operator(*PLACED), *operator(ours.BetPlaced, reference="stray")]

    assert differences(at_operator, provider(*ACCEPTED)) == {
        ("bet", "missing-at-provider", "100.01 USD placed", "absent")
    }


def test_a_reversal_the_provider_does_not_have_is_missing_there_with_its_bet(differences):
    stray = operator(ours.BetPlaced, ours.BetRefunded, reference="stray")

    assert differences([*operator(*PLACED), *stray], provider(*ACCEPTED)) == {
        ("bet", "missing-at-provider", "100.01 USD refunded", "absent")
    }


@pytest.mark.parametrize("kind", ["result", "bonus", "jackpot"])
def test_a_win_of_any_kind_that_the_provider_does_not_have_is_missing_there(differences, kind):
    paid = operator(ours.ResultRecorded, kind=kind, **RESULT)
    ended = provider(theirs.RoundEnded, theirs.RoundCompleted)

    assert differences([*operator(*PLACED), *paid], [*provider(*ACCEPTED), *ended]) == {
        (kind, "missing-at-provider", "250.00 USD recorded", "absent")
    }


@pytest.mark.parametrize("event", [ours.BetRefused, ours.TombstoneRecorded, ours.PromoPaid])
def test_what_moved_no_money_of_a_round_need_not_be_at_the_provider(differences, event):
    at_operator = [*operator(*PLACED), *operator(event, reference="stray")]

    assert differences(at_operator, provider(*ACCEPTED)) == set()


def test_a_bet_and_a_result_of_one_reference_are_two_transactions(differences):
    result = operator(ours.ResultRecorded, amount=25000)
    confirmed = provider(
        theirs.ResultRequested, theirs.ResultConfirmed, theirs.RoundCompleted, amount=25000
    )

    assert differences([*operator(*PLACED), *result], [*provider(*ACCEPTED), *confirmed]) == set()


# what one party says of money, round and player


def test_another_amount_is_a_difference(differences):
    assert differences(operator(*PLACED, amount=10002), provider(*ACCEPTED)) == {
        ("bet", "amount", "100.02 USD placed", "100.01 USD accepted")
    }


def test_another_win_is_a_difference(differences):
    at_operator = [*operator(*PLACED), *operator(ours.ResultRecorded, **RESULT | {"amount": 1})]

    assert differences(at_operator, [*provider(*ACCEPTED), *CONFIRMED]) == {
        ("result", "amount", "0.01 USD recorded", "250.00 USD confirmed")
    }


def test_amounts_are_compared_as_values_where_the_parties_count_other_minor_units(differences):
    same = operator(*PLACED, amount=100010, scale=3)
    other = operator(*PLACED, amount=10001, scale=3)

    assert differences(same, provider(*ACCEPTED)) == set()
    assert differences(other, provider(*ACCEPTED)) == {
        ("bet", "amount", "10.001 USD placed", "100.01 USD accepted")
    }


def test_another_currency_is_a_difference(differences):
    assert differences(operator(*PLACED, currency="EUR"), provider(*ACCEPTED)) == {
        ("bet", "currency", "100.01 EUR placed", "100.01 USD accepted")
    }


def test_another_round_is_a_difference(differences):
    assert differences(operator(*PLACED, round=controls.OTHER_ROUND), provider(*ACCEPTED)) == {
        ("bet", "round", controls.OTHER_ROUND, controls.ROUND)
    }


def test_another_player_is_a_difference(differences):
    assert differences(operator(*PLACED, user=controls.OTHER_PLAYER), provider(*ACCEPTED)) == {
        ("bet", "player", controls.OTHER_PLAYER, controls.PLAYER)
    }


# the operator's ids, as its wallet answered them


ENDED = (theirs.RoundEnded, theirs.EndRequested, theirs.EndConfirmed, theirs.RoundCompleted)
ANSWERED = {
    "bet": (PLACED, ACCEPTED),
    "refund": ((*PLACED, ours.BetRefunded), (*REFUNDING, theirs.RefundConfirmed)),
    "refund of what a cancel gave back": (
        (*PLACED, ours.BetCancelled),
        (*REFUNDING, theirs.RefundConfirmed),
    ),
    "cancel": (
        (*PLACED, ours.BetCancelled, ours.RoundCancelled),
        (*GIVEN_UP, theirs.CancelConfirmed, theirs.RoundCancelled),
    ),
    "cancel of a bet that never came": (
        (ours.TombstoneRecorded,),
        (*GIVEN_UP, theirs.CancelConfirmed, theirs.RoundCancelled),
    ),
    "cancel of a bet that was refused": (
        (ours.RoundOpened, ours.BetRefused, ours.TombstoneRecorded),
        (*GIVEN_UP, theirs.CancelConfirmed, theirs.RoundCancelled),
    ),
    "result": (
        (*PLACED, ours.ResultRecorded),
        (*ACCEPTED, theirs.ResultRequested, theirs.ResultConfirmed, theirs.RoundCompleted),
    ),
    "end": (
        (*PLACED, ours.RoundEnded),
        (*ACCEPTED, *ENDED),
    ),
}
IDS = {"bet": "t-bet", "result": "t-result", "end": "t-end"}


def with_ids(events, **changed):
    """Returns the events with the id each transaction has; a reversal's is another than its bet's."""
    ids = IDS | {"reversal": "t-reversal"} | changed
    return [
        msgspec.structs.replace(event, transaction_id=ids[kind]) if kind else event
        for event in events
        for kind in [transaction_of(event)]
    ]


def transaction_of(event):
    match event:
        case ours.BetPlaced() | theirs.BetAccepted():
            return "bet"
        case ours.ResultRecorded() | theirs.ResultConfirmed():
            return "result"
        case ours.RoundEnded() | theirs.EndConfirmed():
            return "end"
        case ours.BetReversed() | ours.TombstoneRecorded() | theirs.Confirmed():
            return "reversal"


@pytest.mark.parametrize("story", ANSWERED)
def test_a_transaction_has_the_id_that_the_wallet_answered(differences, story):
    at_operator, at_provider = (
        with_ids(operator(*ANSWERED[story][0])),
        provider(*ANSWERED[story][1]),
    )
    of = {each for each in map(transaction_of, at_provider) if each}

    assert differences(at_operator, with_ids(at_provider)) == set(), "the control"
    for changed in of:
        found = differences(at_operator, with_ids(at_provider, **{changed: "forged"}))
        ((kind, word, ours_said, theirs_said),) = found
        assert (word, kind) == (
            "transaction",
            {"end": "round", "result": "result"}.get(changed, "bet"),
        )
        assert f"t-{changed}" in ours_said
        assert "forged" in theirs_said


@pytest.mark.parametrize("story", ANSWERED)
def test_an_answer_that_named_no_transaction_contradicts_none(differences, story):
    at_operator, at_provider = ANSWERED[story]

    assert differences(with_ids(operator(*at_operator)), provider(*at_provider)) == set()


def test_ids_of_a_bet_and_its_reversal_are_told_together(differences):
    at_operator, at_provider = ANSWERED["refund"]
    other = with_ids(provider(*at_provider), reversal="forged")

    assert differences(with_ids(operator(*at_operator)), other) == {
        ("bet", "transaction", "t-bet, t-reversal", "t-bet, forged")
    }


# whether the stake was taken, and whether it went back


def test_an_accepted_bet_that_the_operator_refused_differs_in_status(differences):
    assert differences(operator(ours.RoundOpened, ours.BetRefused), provider(*ACCEPTED)) == {
        ("bet", "status", "refused", "100.01 USD accepted")
    }


def test_a_declined_bet_that_the_operator_took_differs_in_status(differences):
    assert differences(operator(*PLACED), provider(*REQUESTED, theirs.BetDeclined)) == {
        ("bet", "status", "100.01 USD placed", "100.01 USD declined")
    }


@pytest.mark.parametrize("at_operator", [(), (ours.RoundOpened, ours.BetRefused)])
def test_a_declined_bet_may_be_refused_at_the_operator_or_absent(differences, at_operator):
    declined = provider(*REQUESTED, theirs.BetDeclined)

    assert differences(operator(*at_operator), declined) == set()


@pytest.mark.parametrize(
    "at_operator",
    [
        (),
        (ours.TombstoneRecorded,),
        (ours.RoundOpened, ours.BetRefused, ours.TombstoneRecorded),
        (*PLACED, ours.BetCancelled, ours.RoundCancelled),
    ],
)
def test_a_bet_whose_cancel_is_confirmed_may_be_anything_but_open(differences, at_operator):
    at_provider = provider(*GIVEN_UP, theirs.CancelConfirmed, theirs.RoundCancelled)

    assert differences(operator(*at_operator), at_provider) == set()


def test_a_cancelled_bet_that_is_open_at_the_operator_differs_in_its_reversal(differences):
    assert differences(operator(*PLACED), provider(*GIVEN_UP, theirs.CancelConfirmed)) == {
        ("bet", "reversal", "100.01 USD placed", "100.01 USD cancelled")
    }


def test_a_refunded_bet_that_is_open_at_the_operator_differs_in_its_reversal(differences):
    assert differences(operator(*PLACED), provider(*REFUNDING, theirs.RefundConfirmed)) == {
        ("bet", "reversal", "100.01 USD placed", "100.01 USD refunded")
    }


def test_an_accepted_bet_that_went_back_at_the_operator_differs_in_its_reversal(differences):
    assert differences(operator(*PLACED, ours.BetCancelled), provider(*ACCEPTED)) == {
        ("bet", "reversal", "100.01 USD cancelled", "100.01 USD accepted")
    }


@pytest.mark.parametrize("reversal", [ours.BetCancelled, ours.BetRefunded])
def test_a_refund_agrees_with_either_reversal(differences, reversal):
    at_operator = operator(*PLACED, reversal, ours.RoundCancelled)
    at_provider = provider(*REFUNDING, theirs.RefundConfirmed, theirs.RoundCancelled)

    assert differences(at_operator, at_provider) == set()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"amount": 10002}, "amount"),
        ({"user": controls.OTHER_PLAYER}, "player"),
        ({"currency": "EUR"}, "currency"),
        ({"round": controls.OTHER_ROUND}, "round"),
    ],
)
def test_a_stake_that_went_back_otherwise_than_it_was_taken_is_found(differences, changes, word):
    refunded = provider(*REFUNDING, theirs.RefundConfirmed)

    taken_otherwise = [*operator(*PLACED, **changes), *operator(ours.BetRefunded)]
    assert {word, "reversal"} <= {found[1] for found in differences(taken_otherwise, refunded)}

    given_back_otherwise = [*operator(*PLACED), *operator(ours.BetRefunded, **changes)]
    assert {found[:2] for found in differences(given_back_otherwise, refunded)} >= {
        ("bet", "reversal")
    }


@pytest.mark.parametrize(
    ("again", "kind", "said"),
    [
        (operator(ours.BetPlaced), "bet", "100.01 USD placed"),
        (operator(ours.BetPlaced, round=controls.OTHER_ROUND), "bet", "100.01 USD placed"),
        (RECORDED, "result", "250.00 USD recorded"),
    ],
)
def test_what_was_taken_or_paid_twice_is_missing_at_the_provider_once(
    differences, again, kind, said
):
    at_operator = [*operator(*PLACED), *RECORDED, *again]

    assert differences(at_operator, [*provider(*ACCEPTED), *CONFIRMED]) == {
        (kind, "missing-at-provider", said, "absent")
    }


def test_a_stake_that_went_back_twice_is_missing_at_the_provider_once(differences):
    at_operator = operator(*PLACED, ours.BetCancelled, ours.BetRefunded, ours.RoundCancelled)
    at_provider = provider(*REFUNDING, theirs.RefundConfirmed, theirs.RoundCancelled)

    assert differences(at_operator, at_provider) == {
        ("bet", "missing-at-provider", "100.01 USD refunded", "absent")
    }


def test_what_the_provider_asked_for_twice_is_missing_at_the_operator_once(differences):
    at_provider = [*provider(*ACCEPTED), *provider(theirs.BetRequested, theirs.BetAccepted)]

    assert differences(operator(*PLACED), at_provider) >= {
        ("bet", "missing-at-operator", "absent", "100.01 USD accepted")
    }


def test_a_refund_of_a_bet_the_operator_never_had_is_missing_there(differences):
    assert differences([], provider(*REFUNDING, theirs.RefundConfirmed)) == {
        ("bet", "missing-at-operator", "absent", "100.01 USD refunded")
    }


def test_a_refund_that_is_asked_of_an_operator_without_the_bet_is_missing_there_too(differences):
    asked = ("absent", "100.01 USD refunding")

    assert differences([], provider(*REFUNDING)) == {
        ("bet", "missing-at-operator", *asked),
        ("bet", "unsettled", *asked),
    }


# what waits for the wallet


@pytest.mark.parametrize("at_operator", [(), PLACED])
def test_a_bet_without_an_answer_is_unsettled_whatever_the_operator_has(differences, at_operator):
    found = differences(operator(*at_operator), provider(*REQUESTED))

    assert [(kind, word) for kind, word, *_ in found] == [("bet", "unsettled")]


@pytest.mark.parametrize(
    ("at_provider", "state"), [(GIVEN_UP, "given-up"), (REFUNDING, "refunding")]
)
def test_a_bet_whose_reversal_is_not_confirmed_is_unsettled_and_so_is_its_round(
    differences, at_provider, state
):
    at_operator = operator(*PLACED, ours.BetCancelled, ours.RoundCancelled)

    assert differences(at_operator, provider(*at_provider)) == {
        ("bet", "unsettled", "100.01 USD cancelled", f"100.01 USD {state}"),
        ("round", "unsettled", "Cancelled", "CancelInProcess"),
    }


def test_a_result_without_an_answer_is_unsettled_and_so_is_its_round(differences):
    at_provider = provider(*ACCEPTED) + provider(theirs.ResultRequested, **RESULT)

    assert differences([*operator(*PLACED), *RECORDED], at_provider) == {
        ("result", "unsettled", "250.00 USD recorded", "250.00 USD requested"),
        ("round", "unsettled", "Completed", "CompleteInProcess"),
    }


def test_a_round_whose_end_is_not_confirmed_is_unsettled_until_it_is(differences):
    at_operator = [*operator(*PLACED), *RECORDED, *operator(ours.RoundEnded)]
    ending = provider(theirs.RoundEnded, theirs.EndRequested)
    ended = provider(theirs.EndConfirmed, theirs.RoundCompleted)
    at_provider = [*provider(*ACCEPTED), *CONFIRMED, *ending]

    assert differences(at_operator, at_provider) == {
        ("round", "unsettled", "Completed", "CompleteInProcess")
    }
    assert differences(at_operator, [*at_provider, *ended]) == set()


# where a round stands


def test_a_round_that_is_over_at_the_operator_only_differs_in_status(differences):
    assert differences(operator(*PLACED, ours.RoundEnded), provider(*ACCEPTED)) == {
        ("round", "status", "Completed", "InProgress")
    }


def test_a_round_that_is_cancelled_at_the_provider_only_differs_in_status(differences):
    at_provider = provider(
        *ACCEPTED,
        theirs.CancellationRequested,
        theirs.RefundRequested,
        theirs.RefundConfirmed,
        theirs.RoundCancelled,
    )

    assert differences(operator(*PLACED, ours.BetRefunded), at_provider) == {
        ("round", "status", "InProgress", "Cancelled")
    }


def test_a_round_of_which_some_bets_went_back_is_in_progress_in_both_books(differences):
    second = {"reference": controls.SECOND_REFERENCE}
    at_operator = operator(*PLACED) + operator(ours.BetPlaced, ours.BetRefunded, **second)
    refunded = (theirs.BetRequested, theirs.BetAccepted, *REFUNDING[-1:], theirs.RefundConfirmed)

    assert differences(at_operator, provider(*ACCEPTED) + provider(*refunded, **second)) == set()


def test_a_round_of_which_some_bets_are_going_back_is_in_progress_in_both_books(differences):
    second = {"reference": controls.SECOND_REFERENCE}
    at_operator = operator(*PLACED) + operator(ours.BetPlaced, **second)
    refunding = provider(*REFUNDING[1:], **second)

    assert differences(at_operator, provider(*ACCEPTED) + refunding) == {
        ("bet", "unsettled", "100.01 USD placed", "100.01 USD refunding")
    }


def test_a_round_that_was_cancelled_stays_so_when_it_is_ended(differences):
    at_operator = operator(*PLACED, ours.BetRefunded, ours.RoundCancelled, ours.RoundEnded)
    at_provider = provider(*REFUNDING, theirs.RefundConfirmed, theirs.RoundCancelled)

    assert differences(at_operator, at_provider) == set()


def test_a_bet_after_the_result_leaves_the_round_completed(differences):
    second = {"reference": controls.SECOND_REFERENCE}
    at_operator = [*operator(*PLACED), *RECORDED, *operator(ours.BetPlaced, **second)]
    accepted = provider(theirs.BetRequested, theirs.BetAccepted, **second)

    assert differences(at_operator, [*provider(*ACCEPTED), *CONFIRMED, *accepted]) == set()


def test_a_round_in_which_no_stake_was_taken_is_not_compared(run):
    at_operator = operator(ours.RoundOpened, ours.BetRefused, ours.RoundEnded)
    result = run(at_operator, provider(*REQUESTED, theirs.BetDeclined))

    assert result.stdout == "1 bet, 0 results, 0 rounds compared; nothing differs\n"


# which are compared


def test_provider_ids_are_compared_without_case(run):
    result = run(operator(*PLACED, provider="LUCKYMONACO"), provider(*ACCEPTED))

    assert result.stdout == "1 bet, 0 results, 1 round compared; nothing differs\n"


def test_a_provider_that_the_other_book_is_not_of_is_named_and_not_compared(run):
    other = operator(*PLACED, provider=controls.OTHER_PROVIDER)
    result = run([*operator(*PLACED), *other], provider(*ACCEPTED))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "1 bet, 0 results, 1 round compared; nothing differs",
        f"not compared, as the provider's book is not theirs: {controls.OTHER_PROVIDER}",
    ]


def test_a_provider_whose_book_is_empty_has_lost_every_bet(run):
    result = run(operator(*PLACED), [])

    assert result.exit_code == 1
    assert "missing-at-provider" in result.stdout


def test_only_the_chosen_operators_are_compared(differences):
    kyren = provider(*ACCEPTED, operator=OTHER_LOGIN, provider=controls.OTHER_PROVIDER)
    books = operator(*PLACED), [*provider(*ACCEPTED), *kyren]
    missing = ("bet", "missing-at-operator", "absent", "100.01 USD accepted")

    assert differences(*books) == {missing}
    assert differences(*books, "--operator", LOGIN) == set()
    assert differences(*books, "--operator", OTHER_LOGIN) == {missing}
    assert differences(*books, "--operator", OTHER_LOGIN, "--operator", LOGIN) == {missing}


def test_a_book_of_several_operators_is_compared_as_a_whole(run):
    kyren = {"provider": controls.OTHER_PROVIDER}
    at_operator = operator(*PLACED) + operator(*PLACED, **kyren)
    at_provider = provider(*ACCEPTED) + provider(*ACCEPTED, **kyren, operator=OTHER_LOGIN)
    result = run(at_operator, at_provider)

    assert result.stdout == "2 bets, 0 results, 2 rounds compared; nothing differs\n"


def test_one_reference_at_two_operators_is_two_transactions(run):
    at_provider = provider(*ACCEPTED) + provider(*ACCEPTED, operator=OTHER_LOGIN, amount=1)
    result = run(operator(*PLACED), at_provider, "--json")

    assert json.loads(result.stdout)["compared"]["bets"] == 2
    assert [d["difference"] for d in json.loads(result.stdout)["differences"]] == ["amount"]


def test_an_operator_the_provider_does_not_know_is_said_to_be_unknown(run):
    result = run(operator(*PLACED), provider(*ACCEPTED), "--operator", "nobody")

    assert result.exit_code == 2
    assert "--operator: the provider's book has no round at nobody" in result.stderr


def test_since_leaves_out_what_began_before_in_both_books(run):
    old = operator(*PLACED, recorded_at=BEFORE), provider(*ACCEPTED, recorded_at=BEFORE, amount=1)
    new = {"round": controls.OTHER_ROUND, "reference": controls.SECOND_REFERENCE}
    result = run(
        old[0] + operator(*PLACED, **new),
        old[1] + provider(*ACCEPTED, **new, recorded_at=BEFORE),
        "--since",
        AT,
    )

    assert result.stdout == "1 bet, 0 results, 1 round compared; nothing differs\n"


@pytest.mark.parametrize(("taken_at", "asked_at"), [(BEFORE, AFTER), (AFTER, BEFORE)])
def test_since_holds_what_began_later_in_one_book_against_all_of_the_other(run, taken_at, asked_at):
    at_operator = operator(*PLACED, recorded_at=taken_at)
    result = run(at_operator, provider(*ACCEPTED, recorded_at=asked_at), "--since", AT)

    assert result.stdout == "1 bet, 0 results, 1 round compared; nothing differs\n"


def test_since_finds_what_is_missing_from_the_other_book(differences):
    assert differences([], provider(*ACCEPTED, recorded_at=AFTER), "--since", AT) == {
        ("bet", "missing-at-operator", "absent", "100.01 USD accepted")
    }


def test_what_comes_later_to_an_old_bet_does_not_make_it_new(run):
    at_operator = operator(*PLACED, recorded_at=BEFORE) + operator(ours.BetRefunded)
    at_provider = provider(*ACCEPTED, recorded_at=BEFORE) + provider(theirs.RefundRequested)
    result = run(at_operator, at_provider, "--since", AT)

    assert result.stdout == "0 bets, 0 results, 0 rounds compared; nothing differs\n"


@pytest.mark.parametrize(
    ("time", "bets"),
    [
        ("2026-11-21", 1),
        ("2026-11-22", 0),
        ("2026-11-21T12:00:00Z", 1),
        ("2026-11-21T14:00:00+02:00", 1),
        ("2026-11-21T12:00:00.000001Z", 0),
    ],
)
def test_since_is_a_date_in_utc_or_a_time_with_its_offset(run, time, bets):
    result = run(operator(*PLACED), provider(*ACCEPTED), "--since", time)

    assert result.stdout.startswith(("0 bets, ", "1 bet, ")[bets])


def test_since_is_not_of_the_future(run):
    books = operator(*PLACED), provider(*ACCEPTED)
    now, later = "2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00.000001Z"

    assert run(*books, "--since", now).exit_code == 0
    refused = run(*books, "--since", later)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"--since: {later} is still to come" in refused.stderr


@pytest.mark.parametrize("time", ["yesterday", "2026-11-31", "2026-11-21T12:00:00", "1"])
def test_since_takes_no_other_time(run, time):
    result = run(operator(*PLACED), provider(*ACCEPTED), "--since", time)

    assert result.exit_code == 2
    assert "is neither a date nor a time with its offset" in result.stderr


# what is printed


def test_differences_are_a_table_with_one_line_each(run):
    result = run(operator(*PLACED, amount=1, user="[red]654[/]"), provider(*ACCEPTED))
    lines = result.stdout.splitlines()

    assert lines[0] == "1 bet, 0 results, 1 round compared; 2 differ"
    assert [cell.strip() for cell in lines[2].strip("┃").split("┃")] == [
        "difference",
        "kind",
        "provider",
        "round",
        "reference",
        "at the operator",
        "at the provider",
    ]
    assert [[cell.strip() for cell in line.strip("│").split("│")] for line in lines[4:6]] == [
        [
            *("amount", "bet", controls.PROVIDER, controls.ROUND, controls.REFERENCE),
            *("0.01 USD placed", "100.01 USD accepted"),
        ],
        [
            *("player", "bet", controls.PROVIDER, controls.ROUND, controls.REFERENCE),
            *("[red]654[/]", controls.PLAYER),
        ],
    ]
    assert result.exit_code == 1
    assert result.stderr == ""


def test_json_is_one_object_with_named_values(run):
    result = run(operator(*PLACED, amount=1), provider(*ACCEPTED), "--json")

    assert json.loads(result.stdout) == {
        "compared": {"bets": 1, "results": 0, "rounds": 1},
        "differences": [
            {
                "difference": "amount",
                "kind": "bet",
                "provider": controls.PROVIDER,
                "round": controls.ROUND,
                "reference": controls.REFERENCE,
                "at_operator": "0.01 USD placed",
                "at_provider": "100.01 USD accepted",
            }
        ],
        "left_out": [],
    }
    assert result.exit_code == 1


def test_csv_has_a_header_even_where_nothing_differs(run):
    result = run(operator(*PLACED), provider(*ACCEPTED), "--csv")

    assert result.stdout.splitlines() == [
        "difference,kind,provider,round,reference,at_operator,at_provider"
    ]
    assert result.exit_code == 0


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(run, begins):
    player = f'{begins}HYPERLINK("x"),1'
    result = run(operator(*PLACED, user=player), provider(*ACCEPTED), "--csv")
    (row,) = csv.DictReader(StringIO(result.stdout_bytes.decode(), newline=""))

    assert row["at_operator"] == f"'{player}"
    assert row["at_provider"] == controls.PLAYER


@pytest.mark.parametrize("ends", ["\r", "\n", "\r\n"])
def test_no_cell_of_the_csv_ends_its_row(run, ends):
    player = f"x{ends}=1+1"
    result = run(operator(*PLACED, user=player), provider(*ACCEPTED), "--csv")
    (row,) = csv.DictReader(StringIO(result.stdout_bytes.decode(), newline=""))

    assert (row["at_operator"], row["at_provider"]) == (player, controls.PLAYER)


def test_differences_are_sorted_by_round(run):
    strays = [
        stray
        for name in ("3", "1", "2")
        for stray in operator(*PLACED, round=name, reference=f"r{name}")
    ]
    result = run(strays, provider(*ACCEPTED, round="0"), "--json")

    found = [d["round"] for d in json.loads(result.stdout)["differences"]]
    assert found == ["0", "1", "2", "3"]


def test_help_has_an_example():
    assert "Example: roundbook reconcile " in CliRunner().invoke(command, ["--help"]).stdout


# which stores are read


@pytest.fixture
def stores(tmp_path):
    return (
        write(tmp_path / "operator.db", MAPPER, operator(*PLACED)),
        write(tmp_path / "provider.db", PROVIDERS, provider(*ACCEPTED)),
    )


def test_a_store_is_named_by_its_path_or_its_url(stores):
    urls = [f"sqlite:///{path}" for path in stores]

    assert CliRunner().invoke(command, stores).exit_code == 0
    assert CliRunner().invoke(command, urls).exit_code == 0


def test_nothing_is_recorded_in_either_book(stores):
    def heads():
        found = [open_store(f"sqlite:///{path}") for path in stores]
        try:
            return [store.head() for store in found]
        finally:
            for store in found:
                store.close()

    before = heads()
    CliRunner().invoke(command, stores)

    assert heads() == before


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ((1, 1), "provider.db cannot be read as the operator's book: no event type is called"),
        ((0, 0), "operator.db cannot be read as the provider's book: RoundOpened: "),
        ((1, 0), "cannot be read as the "),
    ],
)
def test_a_book_of_the_other_party_is_said_to_be_unreadable(stores, order, sentence):
    error = CliRunner().invoke(command, [stores[place] for place in order]).exception

    assert isinstance(error, StoreUnfit)
    assert sentence in str(error)
    assert "\n" not in str(error)


def test_a_store_that_is_not_there_is_not_made(stores, tmp_path):
    error = CliRunner().invoke(command, [stores[0], str(tmp_path / "none.db")]).exception

    assert isinstance(error, StoreUnfit)
    assert not (tmp_path / "none.db").exists()


def test_what_is_in_memory_cannot_be_compared(stores):
    assert isinstance(CliRunner().invoke(command, ["memory://", stores[1]]).exception, StoreUnfit)


# any history


BETS = {
    "accepted": ((ours.BetPlaced,), (theirs.BetAccepted,)),
    "refunded": (
        (ours.BetPlaced, ours.BetRefunded),
        (theirs.BetAccepted, theirs.RefundRequested, theirs.RefundConfirmed),
    ),
    "given-up": (
        (ours.BetPlaced, ours.BetCancelled),
        (theirs.BetGivenUp, theirs.CancelRequested, theirs.CancelConfirmed),
    ),
    "buried": (
        (ours.TombstoneRecorded,),
        (theirs.BetGivenUp, theirs.CancelRequested, theirs.CancelConfirmed),
    ),
    "refused": ((ours.BetRefused,), (theirs.BetDeclined,)),
    "declined": ((), (theirs.BetDeclined,)),
}
TAKEN = ("accepted", "refunded")

amounts = st.integers(0, 10**18)
bets = st.lists(st.tuples(st.sampled_from(sorted(BETS)), amounts), max_size=4)
histories = st.lists(st.tuples(bets, st.none() | amounts), max_size=6)
"""By round: its bets, and the win where it has a result."""


def mirrored(history):
    """Returns (reference, how, the operator's events, the provider's) in order, rounds' own events too."""
    stories = []
    for number, (bets, win) in enumerate(history):
        round_ = {"round": f"round-{number}"}
        opened = operator(ours.RoundOpened, **round_), provider(theirs.RoundOpened, **round_)
        stories.append(("", "opening", *opened))
        for place, (how, amount) in enumerate(bets):
            said = {**round_, "reference": f"{number}-{place}", "amount": amount}
            taken, answered = BETS[how]
            at_provider = provider(theirs.BetRequested, *answered, **said)
            stories.append((said["reference"], how, operator(*taken, **said), at_provider))
        if win is not None:
            said = {**round_, "reference": f"{number}-win", "amount": win}
            at_provider = provider(theirs.ResultRequested, theirs.ResultConfirmed, **said)
            recorded = operator(ours.ResultRecorded, **said)
            stories.append((said["reference"], "accepted", recorded, at_provider))
            stories.append(("", "closing", [], provider(theirs.RoundCompleted, **round_)))
    return stories


def compared(stories):
    return reconcile(
        operator=[event for _, _, at_operator, _ in stories for event in at_operator],
        provider=[event for _, _, _, at_provider in stories for event in at_provider],
    )


def with_amount(events):
    return [msgspec.structs.replace(event, amount=event.amount + 1) for event in events]


def with_user(events):
    return [msgspec.structs.replace(event, user=controls.STRANGER) for event in events]


SPOILED = {
    "missing-at-operator": lambda at_operator, at_provider: ([], at_provider),
    "missing-at-provider": lambda at_operator, at_provider: (at_operator, []),
    "amount": lambda at_operator, at_provider: (with_amount(at_operator), at_provider),
    "player": lambda at_operator, at_provider: (with_user(at_operator), at_provider),
    "unsettled": lambda at_operator, at_provider: (at_operator, at_provider[:1]),
}


@given(histories)
def test_a_history_mirrored_in_both_books_never_differs(history):
    assert compared(mirrored(history)).differences == []


@given(histories, st.sampled_from(sorted(SPOILED)), st.data())
def test_whatever_is_dropped_or_altered_in_one_book_is_found(history, word, data):
    stories = mirrored([([("accepted", 1)], None), *history])
    spoilt = data.draw(st.sampled_from([n for n, story in enumerate(stories) if story[1] in TAKEN]))
    reference, how, *books = stories[spoilt]
    stories[spoilt] = (reference, how, *SPOILED[word](*books))

    found = compared(stories).differences
    assert (reference, word) in {(d.reference, d.difference) for d in found}
    assert {d.reference for d in found if d.kind != "round"} == {reference}
