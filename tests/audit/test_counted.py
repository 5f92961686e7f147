from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.operator.commands import OpenWallet
from ledger.sealing import Sealer
from scripts.cli import roundbook
from tests import controls, seals

ONE_OF_EACH = {
    "verify book.db": "1 event, 1 seal: all hold",
    "copy book.db copy.db": "holds 1 event, 1 of them new, and 1 seal; both ends hold",
    "audit-file audit.db --from book.db": "up to position 1, 1 event new;",
    "rebuild --store sqlite:///book.db": "1 row of sqlite:///book.db derived from 1 event\n",
    "rebuild --check --store sqlite:///book.db": "agrees with its only event\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with closing(controls.new_book("sqlite:///book.db")) as book:
        book.submit(OpenWallet(user="1", currency="EUR"))
        Sealer(book.store, seals.new_signer()).seal()
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ONE_OF_EACH)
def test_one_of_a_thing_is_no_plural(command: str) -> None:
    done = CliRunner().invoke(roundbook, command.split())

    assert ONE_OF_EACH[command] in done.stdout


@pytest.mark.usefixtures("folder")
def test_one_event_was_verified_before() -> None:
    command = ["verify", "book.db", "--resume", "state"]
    CliRunner().invoke(roundbook, command)
    again = CliRunner().invoke(roundbook, command)

    assert "the first was verified before" in again.stdout


@pytest.mark.usefixtures("folder")
def test_none_of_a_thing_is_one() -> None:
    CliRunner().invoke(roundbook, ["copy", "book.db", "copy.db"])
    again = CliRunner().invoke(roundbook, ["copy", "book.db", "copy.db"])

    assert "holds 1 event, 0 of them new, and 1 seal;" in again.stdout
