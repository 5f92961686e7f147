import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.configuration import settle
from scripts import sweep
from scripts.cli import roundbook
from tests.http import provider
from tests.http.server import as_toml
from tests.provider import examples

LONG_AGO = examples.NOON.replace(year=2020)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    document = provider.document(tmp_path, "http://127.0.0.1:9")
    store, house = document["provider_book"]["store"], settle(document, {}).provider_house()
    with closing(examples.new_book(store, now=lambda: LONG_AGO, house=house)) as book:
        for number in range(3):
            examples.accepted_bet(
                book, operator=provider.LM, round_id=f"r-{number}", reference=f"b-{number}"
            )
    file = tmp_path / "roundbook.toml"
    file.write_text(as_toml(document))
    return file


def ran(config: Path, *command: str) -> Any:
    return CliRunner().invoke(roundbook, [command[0], "--config", f"{config}", *command[1:]])


@pytest.mark.parametrize(
    ("command", "what"),
    [(("incomplete", "--limit", "2"), "open"), (("sweep", "--dry-run"), "overdue")],
)
def test_a_list_that_was_cut_says_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], what: str
) -> None:
    monkeypatch.setattr(sweep, "MOST_LISTED", 2)

    people, machine = ran(config, *command), ran(config, *command, "--json")

    assert f"2 and more {what}" in people.stdout
    assert [each["round"] for each in json.loads(machine.stdout)] == ["r-0", "r-1"]
    assert people.stderr == machine.stderr == f"more than these 2 are {what}\n"


@pytest.mark.parametrize("command", [("incomplete", "--limit", "3"), ("sweep", "--dry-run")])
def test_a_list_that_is_whole_says_how_many_there_are(
    config: Path, command: tuple[str, ...]
) -> None:
    said = ran(config, *command)

    assert said.stdout.strip().startswith("3 ")
    assert said.stderr == ""
