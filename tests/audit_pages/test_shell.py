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
from tests.audit_pages import (
    DAY_1,
    PARTIES,
    SIGNER,
    address,
    copy,
    form_of,
    operator_book,
    plain,
    shown,
    visit,
)
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
def test_the_same_in_a_shell_works_from_anywhere(pages: FlaskClient, url: str) -> None:
    ran = 0
    for words in lines(shown(pages, url)):
        if words[0] == "datasette" or words[1] in ELSEWHERE:
            continue
        done = run(words)
        assert done.exit_code == 0, (words, done.output)
        ran += 1
    assert ran or "search" in url or "chain" in url


def test_a_report_that_has_to_be_asked_more_has_no_command_yet(pages: FlaskClient) -> None:
    assert lines(shown(pages, address("operator", "reports/round-history"))) == []


@pytest.mark.parametrize("party", PARTIES)
def test_the_chain_is_verified_with_the_key_that_sealed_it(pages: FlaskClient, party: str) -> None:
    for words in lines(shown(pages, address(party, "chain"))):
        assert words[-2:] == ["--key", SIGNER.key]


def test_what_is_not_sealed_is_verified_without_a_key(tmp_path: Path) -> None:
    pages = visit({"operator": empty_file(tmp_path)})

    assert all("--key" not in words for words in lines(shown(pages, address("operator", "chain"))))


@pytest.mark.parametrize("after", [0, 5])
def test_where_no_event_is_the_command_finds_none(tmp_path: Path, after: int) -> None:
    pages = visit({"operator": empty_file(tmp_path)})
    (words,) = lines(shown(pages, address("operator", "events", after=after)))

    done = run(words)

    assert (done.exit_code, done.output) == (0, "")
    assert "--to" not in words


def empty_file(folder: Path) -> Path:
    with closing(operator_book(())) as book:
        return copy(book, folder / "audit.db")


def said(pages: FlaskClient, url: str, verb: str) -> Any:
    """Returns what the command under a page says in JSON."""
    (words,) = [words for words in lines(shown(pages, url)) if words[1] == verb]
    done = run([*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.parametrize("at", [1, 3, 7])
def test_the_command_under_a_round_says_what_the_page_says(pages: FlaskClient, at: int) -> None:
    asked = {"partner": controls.PROVIDER, "round": controls.ROUND}
    url = address("operator", "round", **asked, at=at)
    shown_there = plain(pages.get(form_of(url, "json")))["round"]

    told = said(pages, url, "round")

    for field in ("version", "status", "staked", "won", "reversed", "position"):
        assert told[field] == shown_there[field], field


@pytest.mark.parametrize("at", [2, 6, 32])
def test_the_command_under_a_wallet_says_what_the_page_says(pages: FlaskClient, at: int) -> None:
    asked = {"user": controls.PLAYER, "currency": controls.CURRENCY}
    url = address("operator", "wallet", **asked, at=at)

    told = said(pages, url, "balance")

    assert told["cash"] == plain(pages.get(form_of(url, "json")))["wallet"]["cash"]
    assert told["position"] == at


def test_a_name_that_begins_with_a_dash_can_be_typed(tmp_path: Path) -> None:
    name = "-1"
    history = (
        controls.open_wallet(user=name),
        controls.deposit(user=name),
        controls.place_bet(user=name, round_id=name, reference=name, amount="1.00"),
    )
    with closing(operator_book([(DAY_1, command) for command in history])) as book:
        pages = visit({"operator": copy(book, tmp_path / "audit.db")})

    for url in (
        address("operator", "round", partner=controls.PROVIDER, round=name),
        address("operator", "wallet", user=name, currency="USD"),
        address("operator", "search", q=name),
    ):
        for words in lines(shown(pages, url)):
            done = run(words)
            assert done.exit_code == 0, (words, done.output)


def test_the_report_under_a_wallet_is_of_its_currency_alone(pages: FlaskClient) -> None:
    asked = {"user": controls.PLAYER, "currency": controls.CURRENCY}
    page = shown(pages, address("operator", "wallet", **asked))

    (words,) = [words for words in lines(page) if words[1] == "report"]
    assert words[-2:] == [f"--user={controls.PLAYER}", f"--currency={controls.CURRENCY}"]
