from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from flask.testing import FlaskClient

from api.audit.views import SHOWN
from tests import controls
from tests.audit_pages import DAY_1, address, copy, operator_book, shown, visit
from tests.audit_pages.html import Node, table

BETS = 450
LAST = 3 + BETS + 1


def history() -> Iterator[Any]:
    yield controls.open_wallet()
    yield controls.deposit()
    for number in range(BETS):
        yield controls.place_bet(reference=f"b-{number}", amount="1.00")
    yield controls.cancel(reference="b-0")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with closing(operator_book([(DAY_1, command) for command in history()])) as book:
        return copy(book, tmp_path_factory.mktemp("big") / "audit.db")


@pytest.fixture(scope="module")
def big(file: Path) -> FlaskClient:
    return visit({"operator": file})


def round_at(**at: int) -> str:
    return address("operator", "round", partner=controls.PROVIDER, round=controls.ROUND, **at)


def positions(page: Node) -> list[int]:
    return [int(str(node.attrs["id"])[1:]) for node in page.one("ol").all("li")]


@pytest.mark.parametrize("version", [1, 2, 99, 100, 101, 250, 251, 400, 451, 452])
def test_the_timeline_of_a_long_round_is_of_what_is_around_its_version(
    big: FlaskClient, version: int
) -> None:
    page = shown(big, round_at(at=version))
    seen = positions(page)

    assert seen == list(range(seen[0], seen[0] + SHOWN))
    assert version + 2 in seen
    assert len(page.all("li", class_="later")) == seen[-1] - (version + 2)
    assert f"{SHOWN} of {BETS + 2}, around the one" in page.id("timeline").words


def test_the_bets_of_a_long_round_are_the_last_ones_up_to_its_version(big: FlaskClient) -> None:
    columns, rows = table(shown(big, round_at(at=300)), "transactions")

    seen = [row[columns.index("reference")] for row in rows]
    assert seen == [f"b-{number}" for number in range(299 - SHOWN, 299)]


@pytest.mark.parametrize("version", [1, 250, 452])
def test_in_a_long_round_a_bet_and_its_reversal_lead_to_each_other(
    big: FlaskClient, version: int
) -> None:
    page = shown(big, round_at(at=version))
    seen = positions(page)
    links = [link for link in page.one("ol").links if link.startswith("#")]

    assert all(int(link.removeprefix("#p")) in seen for link in links)
    others = {4: LAST, LAST: 4}
    for node in page.one("ol").all("li"):
        if other := others.get(int(str(node.attrs["id"])[1:])):
            assert address("operator", "event", position=other) in node.links


def test_what_differs_in_a_long_round_stands_first(file: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    own.write_bytes(file.read_bytes())
    with closing(pysqlite3.connect(own)) as db, db:
        db.execute("update bets set amount = 7 where reference = 'b-449'")

    columns, rows = table(shown(visit({"operator": own}), round_at()), "replay")

    first, second = (dict(zip(columns, row, strict=True)) for row in rows[:2])
    assert (first["field"], first["verdict"]) == ("stake of b-449", "DIFFERS")
    assert (second["field"], second["verdict"]) == ("user", "same")
