import json
import shlex
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from scripts.cli import roundbook
from tests import controls
from tests.audit_pages import DAY_1, address, copy, form_of, operator_book, plain, shown, visit
from tests.audit_pages.html import Node
from tests.audit_pages.test_pages import PAGES

ELSEWHERE = ("verify", "audit-file")
"""They ask the book itself, which a page over a file does not have."""


def lines(page: Node) -> list[list[str]]:
    """Returns the commands under a page, as a shell reads them."""
    found = [
        line
        for node in page.all("section", class_="shell")
        for line in node.one("pre").text.splitlines()
    ]
    assert all(line.startswith("$ ") for line in found)
    return [shlex.split(line[2:]) for line in found]


def run(words: list[str]) -> Any:
    program, *rest = words
    assert program == "roundbook"
    return CliRunner().invoke(roundbook, rest)


@pytest.mark.parametrize("url", PAGES)
def test_the_same_in_a_shell_works_beside_the_file(
    pages: FlaskClient, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(files["operator"].parent)
    ran = 0
    for words in lines(shown(pages, url)):
        if words[0] == "datasette" or words[1] in ELSEWHERE:
            continue
        done = run(words)
        assert done.exit_code == 0, (words, done.output)
        ran += 1
    assert ran or "search" in url or "chain" in url


def said(pages: FlaskClient, url: str, verb: str) -> Any:
    """Returns what the command under a page says in JSON."""
    (words,) = [words for words in lines(shown(pages, url)) if words[1] == verb]
    done = run([*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.parametrize("at", [1, 3, 7])
def test_the_command_under_a_round_says_what_the_page_says(
    pages: FlaskClient, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.chdir(files["operator"].parent)
    asked = {"partner": controls.PROVIDER, "round": controls.ROUND}
    url = address("operator", "round", **asked, at=at)
    shown_there = plain(pages.get(form_of(url, "json")))["round"]

    told = said(pages, url, "round")

    for field in ("version", "status", "staked", "won", "reversed", "position"):
        assert told[field] == shown_there[field], field


@pytest.mark.parametrize("at", [2, 6, 32])
def test_the_command_under_a_wallet_says_what_the_page_says(
    pages: FlaskClient, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.chdir(files["operator"].parent)
    asked = {"user": controls.PLAYER, "currency": controls.CURRENCY}
    url = address("operator", "wallet", **asked, at=at)

    told = said(pages, url, "balance")

    assert told["cash"] == plain(pages.get(form_of(url, "json")))["wallet"]["cash"]
    assert told["position"] == at


def test_a_name_that_begins_with_a_dash_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "-1"
    history = (
        controls.open_wallet(user=name),
        controls.deposit(user=name),
        controls.place_bet(user=name, round_id=name, reference=name, amount="1.00"),
    )
    with closing(operator_book([(DAY_1, command) for command in history])) as book:
        pages = visit({"operator": copy(book, tmp_path / "audit.db")})
    monkeypatch.chdir(tmp_path)

    for url in (
        address("operator", "round", partner=controls.PROVIDER, round=name),
        address("operator", "wallet", user=name, currency="USD"),
        address("operator", "search", q=name),
    ):
        for words in lines(shown(pages, url)):
            done = run(words)
            assert done.exit_code == 0, (words, done.output)
