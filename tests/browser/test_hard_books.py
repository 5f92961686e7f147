from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests import controls
from tests.audit_pages import DAY_1, address, copy, operator_book
from tests.browser.test_pages import audit_served

TELEPHONE = {"width": 360, "height": 800}
SCREEN = {"width": 1600, "height": 900}

RICH, MOST = "rich", "999999999999999.99"
BLANKS = " two  blanks "
LONG = "W" * 128

WALLET = address("operator", "wallet", user=RICH, currency="USD")


def history() -> Iterator[object]:
    yield controls.open_wallet(user=RICH)
    for number in range(3):
        yield controls.deposit(user=RICH, reference=f"d-{number}", amount=MOST)
    for name in (BLANKS, LONG):
        said = {"user": name, "provider": name, "game": name, "round_id": name}
        yield controls.open_wallet(user=name)
        yield controls.deposit(user=name, reference=f"in {name[:9]}", amount="10.00")
        yield controls.place_bet(**said, reference=name, amount="1.00")


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


@pytest.mark.answers(404)
@pytest.mark.parametrize("path", [WALLET, f"/audit/operator/{LONG}"])
def test_no_long_number_and_no_long_path_makes_a_page_wider(
    page: Page, hard: str, path: str
) -> None:
    page.set_viewport_size(TELEPHONE)  # type: ignore[arg-type]

    page.goto(f"{hard}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") == TELEPHONE["width"]


@pytest.mark.parametrize("name", ["daily-wallets", "round-history", "incomplete-rounds"])
def test_no_field_reaches_out_of_its_form_on_a_telephone(page: Page, hard: str, name: str) -> None:
    page.set_viewport_size(TELEPHONE)  # type: ignore[arg-type]
    page.goto(f"{hard}{address('operator', f'reports/{name}')}")

    assert (
        page.evaluate("""() => [...document.querySelectorAll("form.travel > *")]
        .flatMap((each) => [each, ...each.children])
        .filter((each) => each.getBoundingClientRect().right
            > each.closest("form").getBoundingClientRect().right)
        .map((each) => each.id)""")
        == []
    )


def test_a_title_of_long_names_stays_in_its_table(page: Page, hard: str) -> None:
    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]
    page.goto(f"{hard}{address('operator', 'reports/round-history', provider=LONG, round=LONG)}")
    title, region = (
        page.locator(part).bounding_box() for part in ("#t-report > span", "main .scroll")
    )

    assert title
    assert region
    assert title["x"] + title["width"] <= region["x"] + region["width"]
    assert (
        page.locator("#t-report > span").evaluate("each => each.scrollWidth - each.clientWidth")
        <= 0
    )


def test_blanks_in_a_name_are_seen(page: Page, hard: str) -> None:
    page.goto(f"{hard}{address('operator', 'round', partner=BLANKS, round=BLANKS)}")
    expect(page.locator("h1 .id")).to_have_js_property("innerText", BLANKS)
    expect(page.locator("#state .facts dd").first).to_have_js_property("innerText", BLANKS)
    cell = page.locator("#transactions tbody td.id").first
    expect(cell).to_have_js_property("innerText", BLANKS)
