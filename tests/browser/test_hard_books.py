from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests import controls
from tests.audit_pages import DAY_1, address, copy, operator_book
from tests.browser.test_pages import audit_served

RICH, MOST = "rich", "999999999999999.99"

WALLET = address("operator", "wallet", user=RICH, currency="USD")


def history() -> Iterator[object]:
    yield controls.open_wallet(user=RICH)
    for number in range(3):
        yield controls.deposit(user=RICH, reference=f"d-{number}", amount=MOST)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hard")
    with closing(operator_book([(DAY_1, command) for command in history()])) as book:
        file = copy(book, folder / "operator.audit.db")
    with audit_served(folder, file) as url:
        yield url


def test_a_chart_shows_every_digit_of_a_large_balance(page: Page, hard: str) -> None:
    page.goto(f"{hard}{WALLET}")
    chart = page.locator("figure svg").bounding_box()
    labels = page.locator("svg text.value")
    expect(labels.last).to_have_text("2999999999999999.97")

    boxes = [label.bounding_box() for label in labels.all()]
    assert chart
    assert all(box and box["x"] >= chart["x"] for box in boxes)
