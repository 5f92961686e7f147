from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import CliRunner

from ledger.money import Amount
from ledger.operator import commands as ours
from ledger.operator import events
from ledger.operator.book import MAPPER as OPERATOR
from ledger.operator.book import Outcome
from ledger.provider import commands as theirs
from ledger.provider import events as owed
from ledger.provider.book import MAPPER as PROVIDER
from ledger.provider.house import House, Operator
from ledger.refusals import Refusal
from ledger.store import open_store
from scripts.rebuild import rebuild
from tests import controls
from tests.provider import examples
from tests.verify import books

GOLDEN = Path(__file__).parents[1] / "golden"
LOGINS = ("acme", "beta")
HOUSE = House(
    operators={
        login: Operator(id=login, dialect="lucky-monaco-v4", provider="LuckyMonaco")
        for login in LOGINS
    }
)


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    made = tmp_path / "book.db"
    with closing(apsw.Connection(str(made))) as connection:
        connection.execute((GOLDEN / f"earlier_{request.param}.sql").read_text())
    return made


def of(book: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", [book], indirect=True)


def recorded(file: Path, mapper: Any) -> list[Any]:
    with closing(open_store(f"sqlite:///{file}", read_only=True)) as store:
        return [mapper.decode(each.topic, each.state) for each in store.walk()]


@pytest.mark.parametrize(
    ("file", "party"),
    [("roundbook", "operator"), ("provider", "provider")],
    indirect=["file"],
)
def test_a_book_that_an_earlier_version_made_holds_with_its_tables(file: Path, party: str) -> None:
    before = file.read_bytes()
    verified = books.run(file, "--bodies", "--pages")
    assert verified.exit_code == 0, verified.output
    assert file.read_bytes() == before

    for check in (["--check"], [], ["--check"]):
        options = ["--store", f"sqlite:///{file}", "--party", party, *check]
        done = CliRunner().invoke(rebuild, options)
        assert done.exit_code == 0, done.output
    assert books.run(file, "--bodies", "--pages").output == verified.output


@of("roundbook")
def test_its_operator_s_calls_come_again_and_have_their_answers_and_no_effect(file: Path) -> None:
    told = recorded(file, OPERATOR)
    with closing(controls.new_book(f"sqlite:///{file}")) as book:
        before = book.store.head()
        for event, command in again(told):
            answer = sent(book, command)
            if isinstance(event, events.BetRefused | events.LateBetRefused):
                assert isinstance(answer, Refusal), event
            else:
                assert isinstance(answer, Outcome), (event, answer)
                assert not answer.recorded
                named = getattr(event, "transaction_id", answer.transaction_id)
                assert answer.transaction_id == named, event
        assert book.store.head() == before


@of("provider")
def test_its_games_calls_come_again_and_have_no_effect(file: Path) -> None:
    told = recorded(file, PROVIDER)
    url = f"sqlite:///{file}"
    with closing(examples.new_book(url, now=examples.Clock(), house=HOUSE)) as book:
        before = book.store.head()
        for command in game_s(told):
            assert not book.submit(command).recorded, command
        assert book.store.head() == before


def sent(book: Any, command: Any) -> Any:
    try:
        return book.submit(command)
    except Refusal as refusal:
        return refusal


def again(told: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    games: dict[str, str] = {}
    for event in told:
        if isinstance(event, events.RoundOpened):
            games[event.round] = event.game
        elif not isinstance(event, events.RoundCancelled):
            yield event, command_of(event, games)


def amount(event: Any) -> Amount:
    return Amount(event.amount, event.scale)


def command_of(event: Any, games: dict[str, str]) -> Any:
    whose = {"user": event.user}
    if not isinstance(event, events.SessionExpired):
        whose["currency"] = event.currency
    match event:
        case events.WalletOpened():
            return ours.OpenWallet(**whose)
        case events.WalletFrozen():
            return ours.Freeze(**whose)
        case events.DepositMade():
            return ours.Deposit(**whose, reference=event.reference, amount=amount(event))
        case events.WithdrawalMade():
            return ours.Withdraw(**whose, reference=event.reference, amount=amount(event))
    call = {**whose, "provider": event.provider, "said": event.said}
    if isinstance(event, events.SessionExpired):
        return ours.ExpireSession(**call, session=event.session)
    if isinstance(event, events.PromoPaid):
        campaign = {"campaign": event.campaign, "campaign_type": event.campaign_type}
        return ours.PayPromo(**call, **campaign, reference=event.reference, amount=amount(event))
    call |= {"round": event.round, "game": games.get(event.round, "g1")}
    if isinstance(event, events.RoundEnded):
        return ours.EndRound(**call)
    call["reference"] = event.reference
    match event:
        case events.ResultRecorded():
            return ours.RecordResult(**call, kind=event.kind, amount=amount(event))
        case events.BetReversed() | events.TombstoneRecorded():
            return ours.ReverseBet(**call, by="cancel")
    stake = amount(event) if isinstance(event, events.BetPlaced) else Amount(1, 0)
    return ours.PlaceBet(**call, session=event.said.session, amount=stake)


def game_s(told: Iterable[Any]) -> Iterator[Any]:
    opened: dict[str, Any] = {}
    for event in told:
        match event:
            case owed.RoundOpened():
                opened[event.round] = event
            case owed.BetRequested():
                first = opened[event.round]
                yield theirs.PlaceBet(
                    operator=event.operator,
                    round=event.round,
                    user=first.user,
                    currency=first.currency,
                    session=event.session,
                    game=first.game,
                    game_name=first.game_name,
                    reference=event.reference,
                    amount=Amount(event.amount, first.scale),
                    details=event.details,
                )
            case owed.ResultRequested():
                yield theirs.ReportResult(
                    operator=event.operator,
                    round=event.round,
                    reference=event.reference,
                    amount=Amount(event.amount, opened[event.round].scale),
                    details=event.details,
                )
            case owed.RoundEnded():
                yield theirs.EndRound(operator=event.operator, round=event.round)
            case owed.CancellationRequested():
                yield theirs.CancelRound(
                    operator=event.operator, round=event.round, by=event.by, uuid=event.uuid
                )
