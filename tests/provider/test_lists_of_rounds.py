import json
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from api.configuration import settle
from ledger.store import StoreUnfit
from scripts import sweep
from scripts.cli import roundbook
from tests.crash.books import locked
from tests.http import provider
from tests.http.server import as_toml
from tests.http.server import roundbook as process
from tests.provider import examples

LONG_AGO = examples.NOON.replace(year=2020)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configured(tmp_path, provider.document(tmp_path, "http://127.0.0.1:9"))


def configured(folder: Path, document: dict[str, Any]) -> Path:
    store, house = document["provider_book"]["store"], settle(document, {}).provider_house()
    with closing(examples.new_book(store, now=lambda: LONG_AGO, house=house)) as book:
        for number in range(3):
            examples.accepted_bet(
                book, operator=provider.LM, round_id=f"r-{number}", reference=f"b-{number}"
            )
    return written(folder, document)


def written(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "roundbook.toml"
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


LOOKS = [("deliveries", "--json"), ("incomplete", "--json"), ("sweep", "--dry-run", "--json")]


def looked(config: Path) -> list[str]:
    said = [ran(config, *command) for command in LOOKS]
    assert [each.exit_code for each in said] == [0, 0, 0], [each.exception for each in said]
    return [each.stdout for each in said]


def test_who_only_looks_may_do_so_in_a_file_that_nobody_may_write(
    config: Path, tmp_path: Path
) -> None:
    before = looked(config)
    with locked(tmp_path / "provider.db"):
        assert looked(config) == before
        for command in (
            ("sweep",),
            ("sweep", "--confirm"),
            ("deliveries", "retry", "acme/bet/b-0"),
        ):
            refused = ran(config, *command)
            assert isinstance(refused.exception, StoreUnfit)
            assert "provider.db may not be written" in str(refused.exception)


@pytest.fixture
def read_only(tmp_path: Path, postgres: Any) -> tuple[Path, list[str]]:
    """The configuration of a role that only reads, and what who writes the book sees."""
    url = postgres.new_book()
    document = provider.document(tmp_path, "http://127.0.0.1:9")
    document["provider_book"]["store"] = url
    seen = looked(configured(tmp_path, document))

    _, _, schema = url.partition("?schema=")
    reader = f"reader_{schema}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            f"create role {reader} login; grant usage on schema {schema} to {reader};"
            f" grant select on all tables in schema {schema} to {reader}"
        )
    document["provider_book"]["store"] = url.replace("postgres@", f"{reader}@")
    return written(tmp_path, document), seen


def test_who_only_looks_may_do_so_as_a_role_that_only_reads(
    read_only: tuple[Path, list[str]],
) -> None:
    config, seen = read_only

    assert looked(config) == seen


@pytest.mark.parametrize(
    "command", [("sweep",), ("sweep", "--confirm"), ("deliveries", "retry", "acme/bet/b-0")]
)
def test_what_could_not_be_written_is_one_sentence_that_says_why(
    read_only: tuple[Path, list[str]], command: tuple[str, ...]
) -> None:
    verb, *rest = command
    done = process(verb, "--config", read_only[0], *rest, folder=read_only[0].parent)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("roundbook: permission denied for ")
    assert done.stderr.endswith("; once that is mended, do it again: it has one effect\n")
    assert done.stderr.count("\n") == 1
