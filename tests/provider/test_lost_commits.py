import pytest

from ledger.provider import courier as couriers
from ledger.provider.book import Book
from ledger.provider.commands import EndSend, StartSend
from ledger.refusals import OutcomeUnknown
from tests.http.server import until
from tests.provider.table import KINDS, LOGINS, PATIENT_S, WORDS, Table, kind_of

LEASE_S = 0.25

each_kind = pytest.mark.parametrize("kind", KINDS)
each_operator = pytest.mark.parametrize("login", LOGINS)
recorded_or_not = pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "lost"])


@pytest.fixture
def unknown_once(monkeypatch):
    """The first command of this type, about this kind, comes to nobody knows what."""

    def made(type_, kind, *, recorded):
        submit, met = Book.submit, []

        def submitted(book, command):
            if met or not isinstance(command, type_) or command.kind != kind_of(kind):
                return submit(book, command)
            met.append(command)
            if recorded:
                submit(book, command)
            raise OutcomeUnknown("ask again")

        monkeypatch.setattr(Book, "submit", submitted)

    return made


def met_once(table):
    until(lambda: table.defects, "it is told")
    assert [type(defect) for defect in table.defects] == [OutcomeUnknown]
    table.defects.clear()


def sends(table, kind):
    return len(table.starts(kind)), len(table.wallet.bodies(WORDS[kind_of(kind)]))


def answers(table, kind):
    return [(end.outcome, end.code) for end in table.ends(kind)]


@each_kind
@each_operator
@recorded_or_not
def test_what_a_wallet_said_is_recorded_once_and_not_asked_for_again(
    tmp_path, unknown_once, login, kind, recorded
):
    unknown_once(EndSend, kind, recorded=recorded)
    with Table(tmp_path, login) as table:
        table.play(kind)
        table.settle()

        met_once(table)
        assert (answers(table, kind), sends(table, kind)) == ([("answered", 0)], (1, 1))
        table.check()


@each_kind
@each_operator
@recorded_or_not
def test_a_send_that_may_have_been_taken_goes_out_once(
    tmp_path, monkeypatch, unknown_once, login, kind, recorded
):
    monkeypatch.setattr(couriers, "LEASE_MARGIN_S", LEASE_S - PATIENT_S)
    unknown_once(StartSend, kind, recorded=recorded)
    with Table(tmp_path, login) as table:
        table.play(kind)
        table.settle()

        met_once(table)
        assert (answers(table, kind), sends(table, kind)) == (
            [("answered", 0)],
            (1 + recorded, 1),
        )
        table.check(killed=["one"])
