import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_plus

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import controls
from tests.audit_pages import (
    DAY_1,
    HISTORY,
    PARTIES,
    address,
    copy,
    operator_book,
    provider_book,
)
from tests.browser.conftest import violations, watched
from tests.http import wire
from tests.http.server import Server, clean, free_port, until
from tests.provider import examples

ROUND = {"partner": controls.PROVIDER, "round": controls.ROUND}
WALLET = {"user": controls.PLAYER, "currency": controls.CURRENCY}
VERSIONS = 7
LATER = (6, 6, 5, 4, 2, 1, 0, 0)
"""Dots of the round's line that are later than a version."""

STRETCH = 7
LONG = "x" * 128

# Short ones of every kind: what axe takes grows with what a page holds. The first page is below.
PAGES = (
    address("operator", "events", after=26),
    address("operator", "event", position=4),
    address("operator", "round", **ROUND),
    address("provider", "round", partner=examples.LM, round="cancelled", at=3),
    address("operator", "wallet", **WALLET, at=4),
    address("operator", "search", q=controls.REFERENCE),
    address("operator", "reports"),
    address("operator", "reports/gaming-revenue"),
    address("operator", "reports/round-history"),
    address("operator", "chain", after=0),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    operator_book(HISTORY, url=f"sqlite:///{folder}/book.db").close()
    provider_book(url=f"sqlite:///{folder}/provider.db").close()
    provider = {"store": f"sqlite:///{folder}/provider.db", "token": "game-token", "worker": False}
    said = wire.document(
        f"sqlite:///{folder}/book.db",
        provider_book=provider,
        audit={"keep": True, "every_s": 0.1},
        server={"log_requests": True},
    )
    found = Server(folder, said)
    try:
        found.start()
        for party in PARTIES:
            caught_up(found, party)
        yield found
    finally:
        found.kill()


def caught_up(server: Server, party: str = "operator") -> None:
    def holds() -> bool:
        answer = server.get(f"/audit/{party}/home.json")
        return answer.status == 200 and answer.json["lag"] == 0

    until(holds, f"the {party}'s audit file is where its book is")


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def auditor(page: Page, url: str) -> Page:
    return let_in(page, url)


def let_in(page: Page, url: str) -> Page:
    entered = page.context.request.post(f"{url}/audit/login", form={"token": wire.AUDITOR})
    assert entered.status == 200
    return page


def log_in(page: Page) -> None:
    page.get_by_label("Token").fill(wire.AUDITOR)
    page.get_by_role("button", name="Log in").click()


def slider(page: Page) -> Locator:
    return page.get_by_label("As of event")


def is_at(page: Page, version: int) -> None:
    """The page says in every place that it is as of a version."""
    expect(page.locator("#version")).to_have_text(f"{version} of {VERSIONS}")
    expect(slider(page)).to_have_value(str(version))
    expect(page.locator("#chart circle.later")).to_have_count(LATER[version])
    expect(page.locator("#timeline li.later")).to_have_count(VERSIONS - version)


def state(page: Page) -> list[str]:
    """Returns what of a round's page depends on the version."""
    return [
        page.locator(part).inner_text()
        for part in ("#state", "#version", "#transactions", "#timeline", ".shell")
    ] + [str(page.locator("#chart circle.later").count())]


@contextmanager
def without_a_page_load(page: Page) -> Iterator[None]:
    page.evaluate("window.stays = true")
    yield
    assert page.evaluate("window.stays === true")


# the way in, and through


@pytest.mark.answers(401)
def test_an_auditor_logs_in_and_follows_the_newest_event_to_its_round(
    page: Page, url: str, server: Server
) -> None:
    page.goto(f"{url}/audit")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the auditor’s token.")
    expect(page.get_by_label("Token")).to_be_focused()
    log_in(page)
    expect(page).to_have_url(f"{url}/audit/operator/home")

    body = {**wire.SHAPES["Bet"], "providerId": "LuckyMonaco", "amount": "1.00"}
    said = {**body, "roundId": "fresh", "reference": "fresh-1", "sessionId": "fresh"}
    with server.connect() as connection:
        assert connection.call("/V4/Bet", said).code == 0
    caught_up(server)
    page.reload()
    newest = page.get_by_role("region", name="Newest events").locator("tbody tr").first
    expect(newest).to_contain_text("BetPlaced")
    newest.locator("a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("BetPlaced")
    expect(page.get_by_label("Stored JSON")).to_contain_text('"reference":"fresh-1"')
    page.get_by_role("region", name="About").get_by_role("link", name="fresh", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Round fresh of LuckyMonaco")
    expect(page.locator(".verdict strong")).to_have_text("they agree")
    page.locator("#state").get_by_role("link", name=wire.PLAYER).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Wallet of {wire.PLAYER} in USD")


def test_whoever_logs_out_is_out(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}/audit/operator/home")
    auditor.get_by_role("button", name="Log out").click()
    expect(auditor).to_have_url(f"{url}/audit/login")
    auditor.goto(f"{url}/audit/operator/home")
    expect(auditor.get_by_role("heading", level=1)).to_have_text("Look at the books")


def test_a_search_leads_from_any_page_to_what_goes_by_the_name(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}/audit/operator/reports")
    auditor.get_by_role("searchbox").fill(controls.REFERENCE)
    auditor.keyboard.press("Enter")
    expect(auditor.get_by_role("heading", level=1)).to_have_text(f"Search: {controls.REFERENCE}")
    found = auditor.get_by_role("region", name="Events")
    expect(found.locator("tbody tr")).to_have_count(1)
    found.get_by_role("link", name=controls.ROUND).click()
    expect(auditor.get_by_role("heading", level=1)).to_contain_text(controls.ROUND)


def test_the_first_stop_of_the_keyboard_skips_to_the_content(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}/audit/operator/home")
    auditor.keyboard.press("Tab")
    skip = auditor.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    auditor.keyboard.press("Enter")
    expect(auditor).to_have_url(f"{url}/audit/operator/home#main")


def test_an_export_is_a_download(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}{address('operator', 'wallet', **WALLET)}")
    with auditor.expect_download() as started:
        auditor.get_by_role("link", name="Statement as CSV").click()
    assert started.value.suggested_filename == "wallet-statement.csv"
    assert started.value.path().read_text().startswith("position,at,topic,")


# the slider


def test_the_keyboard_moves_the_slider_through_the_versions(auditor: Page, url: str) -> None:
    there = f"{url}{address('operator', 'round', **ROUND)}"
    auditor.goto(there)
    is_at(auditor, VERSIONS)
    latest = state(auditor)
    expect(auditor.locator("#state .badge")).to_have_text("Completed")
    expect(auditor.get_by_role("button", name="Show")).to_be_hidden()

    with without_a_page_load(auditor):
        slider(auditor).focus()
        auditor.keyboard.press("ArrowLeft")
        expect(auditor).to_have_url(f"{there}&at=6")
        is_at(auditor, 6)
        assert "as of event 6" in auditor.title()
        auditor.keyboard.press("Home")
        expect(auditor).to_have_url(f"{there}&at=1")
        is_at(auditor, 1)
        expect(auditor.locator("#state .badge")).to_have_text("InProgress")
        expect(auditor.locator("#transactions")).to_have_text("Bets and results None.")
        expect(auditor.locator(".shell pre")).to_contain_text("--at 1")
        for version in (2, 3, 4):
            auditor.keyboard.press("ArrowRight")
            is_at(auditor, version)
        expect(auditor.locator("#transactions tbody tr")).to_have_count(2)
        expect(auditor.locator("#transactions")).to_contain_text("cancelled")
        auditor.keyboard.press("End")
        expect(auditor).to_have_url(f"{there}&at={VERSIONS}")
        is_at(auditor, VERSIONS)
        expect(slider(auditor)).to_be_focused()
    assert state(auditor)[:-2] == latest[:-2]


def test_the_mouse_moves_the_slider_and_its_neighbours_follow(auditor: Page, url: str) -> None:
    there = f"{url}{address('operator', 'round', **ROUND)}"
    auditor.goto(there)
    box = slider(auditor).bounding_box()
    assert box
    with without_a_page_load(auditor):
        auditor.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
        is_at(auditor, 1)
        auditor.mouse.move(box["x"] + 6, box["y"] + box["height"] / 2)
        auditor.mouse.down()
        auditor.mouse.move(box["x"] + box["width"] / 2, box["y"] + 3, steps=8)
        auditor.mouse.up()
        is_at(auditor, 4)
        slider(auditor).fill("3")
        is_at(auditor, 3)
        expect(auditor.get_by_role("link", name="One event earlier")).to_have_attribute(
            "href", f"{address('operator', 'round', **ROUND)}&at=2"
        )
    auditor.get_by_role("link", name="One event later").click()
    is_at(auditor, 4)
    auditor.get_by_role("link", name="show it as it is now").click()
    expect(auditor).to_have_url(there)
    is_at(auditor, VERSIONS)


def test_what_is_open_stays_open_while_the_slider_moves(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")
    stored = auditor.locator("#timeline li#p4 pre")
    expect(stored).to_be_hidden()
    auditor.locator("#timeline li#p4 summary").click()
    expect(stored).to_be_visible()
    slider(auditor).fill("2")
    is_at(auditor, 2)
    expect(stored).to_be_visible()
    expect(auditor.locator("#timeline details[open]")).to_have_count(1)


def test_a_permalink_shows_another_auditor_the_same_after_the_login(
    auditor: Page, browser: Browser, url: str
) -> None:
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")
    slider(auditor).fill("3")
    is_at(auditor, 3)
    permalink = auditor.url

    with watched(browser) as other:
        other.goto(permalink)
        expect(other.get_by_role("heading", level=1)).to_have_text("Look at the books")
        log_in(other)
        expect(other).to_have_url(permalink)
        is_at(other, 3)
        assert state(other) == state(auditor)
        assert other.title() == auditor.title()


def test_the_export_of_the_page_follows_the_slider(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")
    slider(auditor).fill("3")
    is_at(auditor, 3)

    assert "at=3" in (auditor.locator("p.exports.all a").get_attribute("href") or "")


def test_moving_the_slider_when_the_session_is_over_leads_to_the_login_and_back(
    auditor: Page, url: str
) -> None:
    there = f"{url}{address('operator', 'round', **ROUND)}"
    auditor.goto(there)
    auditor.context.clear_cookies()
    slider(auditor).fill("2")
    expect(auditor.get_by_role("heading", level=1)).to_have_text("Look at the books")
    log_in(auditor)
    expect(auditor).to_have_url(f"{there}&at=2")
    is_at(auditor, 2)


# without JavaScript


def test_without_js_the_versions_are_a_form_and_links(page_without_js: Page, url: str) -> None:
    page = page_without_js
    there = f"{url}{address('operator', 'round', **ROUND)}"
    page.goto(there)
    log_in(page)
    expect(page).to_have_url(there)
    is_at(page, VERSIONS)
    for _ in range(5):
        slider(page).press("ArrowLeft")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(f"{there}&at=2")
    is_at(page, 2)
    page.get_by_role("link", name="One event later").click()
    is_at(page, 3)
    page.get_by_role("link", name="One event earlier").click()
    is_at(page, 2)
    page.get_by_role("searchbox").fill("nobody")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("main")).to_contain_text("Nothing goes by that name")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{url}/audit/login")


# what everybody can use


COLOURS = ("color-contrast", "link-in-text-block")


def against_anybody(page: Page, url: str) -> dict[str, list[str]]:
    """Returns what axe finds on a page; in the dark of colours alone, the rest is the same."""
    page.emulate_media(color_scheme="light")
    page.goto(url)
    light = violations(page)
    page.emulate_media(color_scheme="dark")
    return {"light": light, "dark": violations(page, rules=COLOURS)}


NOTHING: dict[str, list[str]] = {"light": [], "dark": []}


def test_axe_finds_nothing_on_any_page_in_light_and_dark(auditor: Page, url: str) -> None:
    found = {path: against_anybody(auditor, f"{url}{path}") for path in PAGES}

    assert found == dict.fromkeys(PAGES, NOTHING)


@pytest.mark.answers(401)
def test_axe_finds_nothing_on_the_login(page: Page, url: str) -> None:
    assert against_anybody(page, f"{url}/audit/login") == NOTHING
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert violations(page) == []


@pytest.mark.answers(404)
def test_axe_finds_nothing_on_an_error(auditor: Page, url: str) -> None:
    assert against_anybody(auditor, f"{url}/audit/operator/nothing") == NOTHING


HINT_AND_LINK = """() => [
  getComputedStyle(document.querySelector("#q"), "::placeholder"),
  getComputedStyle(document.querySelector(".top nav a:not([aria-current])")),
].map((each) => `${each.color} ${each.opacity}`)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_an_empty_field_says_is_as_plain_as_a_link_beside_it(
    auditor: Page, url: str, scheme: Literal["light", "dark"]
) -> None:
    auditor.emulate_media(color_scheme=scheme)
    auditor.goto(f"{url}{address('operator', 'home')}")

    hint, link = auditor.evaluate(HINT_AND_LINK)
    assert hint == link


def test_no_page_scrolls_sideways_on_a_telephone(auditor: Page, url: str) -> None:
    auditor.set_viewport_size({"width": 390, "height": 844})
    assert {path: too_wide(auditor, f"{url}{path}") for path in PAGES} == {
        path: [] for path in PAGES
    }


@pytest.mark.parametrize("width", [390, 640, 1024, 1280])
def test_the_way_out_stands_beside_the_search(auditor: Page, url: str, width: int) -> None:
    auditor.set_viewport_size({"width": width, "height": 844})
    auditor.goto(f"{url}{address('operator', 'home')}")

    search, out = (auditor.locator(f".top .{each}").bounding_box() for each in ("search", "out"))
    assert search
    assert out
    assert out["x"] >= search["x"] + search["width"]
    assert search["y"] < out["y"] + out["height"] / 2 < search["y"] + search["height"]


def test_the_name_of_an_export_stays_on_one_line(auditor: Page, url: str) -> None:
    auditor.set_viewport_size({"width": 390, "height": 844})
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")

    lines = auditor.locator(".exports a").evaluate_all(
        "(all) => all.map((a) => a.getClientRects().length)"
    )
    assert set(lines) == {1}


def test_a_telephone_shows_a_chart_that_can_be_read(auditor: Page, url: str) -> None:
    auditor.set_viewport_size({"width": 390, "height": 844})
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")

    value = auditor.locator("#chart text.value").first
    assert value.evaluate("each => 12 * each.getScreenCTM().a") > 10


def test_a_caption_stays_where_a_wide_table_scrolls(auditor: Page, url: str) -> None:
    auditor.set_viewport_size({"width": 390, "height": 844})
    auditor.goto(f"{url}{address('operator', 'events')}")
    caption = auditor.locator("#t-events > span")
    before = caption.bounding_box()

    scrolled = auditor.locator(".scroll").evaluate("each => (each.scrollLeft = 200)")

    assert scrolled == 200
    assert caption.bounding_box() == before


TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth <= width) return []
  return [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > width + 1 && !each.closest(".scroll"))
    .map((each) => `${each.tagName} ${each.className} ${each.id}`)
}"""


def too_wide(page: Page, url: str) -> Any:
    """Returns what makes a page wider than the window; nothing where it fits."""
    page.goto(url)
    return page.evaluate(TOO_WIDE)


def test_on_paper_there_is_the_content_and_no_navigation(auditor: Page, url: str) -> None:
    auditor.goto(f"{url}{address('operator', 'round', **ROUND)}")
    permalink = auditor.locator("#permalink")
    auditor.locator("#at").press("ArrowLeft")
    expect(permalink).to_contain_text("at=")
    expect(permalink).to_be_hidden()
    navigation = auditor.locator(".top nav, .search, .out, .travel, .exports, .skip")
    assert navigation.count() > 5
    auditor.emulate_media(media="print")
    for each in navigation.all():
        expect(each).to_be_hidden()
    for part in ("h1", "#state", "#chart svg", "#transactions", "#timeline", ".verdict", ".shell"):
        expect(auditor.locator(part)).to_be_visible()
    expect(permalink).to_be_visible()
    expect(permalink).to_have_text(auditor.url.removeprefix("http://"))


def test_on_paper_a_verdict_covers_nothing_beside_it(page: Page, laptop: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{laptop}{address('operator', 'chain')}")
    page.emulate_media(media="print")
    cells = page.get_by_role("region", name="Seals").locator("tbody tr").first.locator("td")
    boxes = [box for cell in cells.all() if (box := cell.bounding_box())]

    assert len(boxes) == cells.count() > 5
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"] + 1


# audit-serve: a laptop, and the files

SERVE = (
    f"from api.audit import views; views.STRETCH = {STRETCH}; from scripts.cli import main; main()"
)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("laptop")
    said = {"user": LONG, "provider": LONG, "game": LONG}
    long = (
        controls.open_wallet(user=LONG),
        controls.deposit(user=LONG, reference=LONG),
        controls.place_bet(**said, round_id=LONG, reference=LONG, amount="1.00"),
        controls.cancel(**said, reference=LONG),
    )
    history = [*HISTORY, *((DAY_1, command) for command in long)]
    with closing(operator_book(history)) as operator, closing(provider_book()) as provider:
        files = [
            copy(operator, folder / "operator.audit.db"),
            copy(provider, folder / "provider.audit.db"),
        ]
    with closing(sqlite3.connect(files[0])) as db, db:
        db.execute("update rounds set won = won + 1 where round = 'l'")
        db.execute("insert into contradictions values (1, 'then', 7, 'is gone')")
    with audit_served(folder, *files) as url:
        yield url


@contextmanager
def audit_served(folder: Path, *files: Path) -> Iterator[str]:
    """Gives the address of `roundbook audit-serve` over audit files."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "audit-serve", "--port", str(port), *map(str, files)],
        cwd=folder,
        env=clean(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: process.poll() is None and answers_at(port), "audit-serve gets ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def answers_at(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/audit/operator/home")
            return connection.getresponse().status == 200
        except OSError:
            return False


def test_a_laptop_shows_both_books_without_a_login(page: Page, laptop: str) -> None:
    page.goto(laptop)
    expect(page.get_by_role("heading", level=1)).to_have_text("The operator's book")
    expect(page.get_by_role("main")).to_contain_text("not known here")
    page.get_by_role("link", name="provider’s book").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The provider's book")
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)


def test_axe_finds_nothing_where_something_is_wrong(page: Page, laptop: str) -> None:
    home = address("operator", "home")
    round_ = address("operator", "round", partner=controls.PROVIDER, round="l")

    assert against_anybody(page, f"{laptop}{home}") == NOTHING
    expect(page.get_by_role("alert")).to_contain_text("contradicted this file 1 time")
    assert against_anybody(page, f"{laptop}{round_}") == NOTHING
    expect(page.locator(".verdict strong")).to_have_text("THEY DIFFER")


def test_the_check_of_the_chain_runs_through_to_the_end(page: Page, laptop: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition("?")[2]))
    page.goto(f"{laptop}/audit/operator/chain")
    with without_a_page_load(page):
        page.get_by_role("button", name="Check from the first event").click()
        head = int(page.locator(".facts dd").first.inner_text())
        first = (head - 1) // STRETCH * STRETCH
        expect(page.get_by_role("status").locator("strong")).to_have_text(
            f"Positions {first + 1} to {head} hold."
        )
        expect(page.get_by_role("button", name="Check from the first event")).to_be_visible()
    steps = [query for query in asked if query]
    assert steps == [f"after={after}" for after in range(0, head, STRETCH)]
    assert page.get_by_role("status").locator("code").inner_text() == (
        page.locator(".head code").inner_text()
    )


def test_the_check_goes_on_behind_what_the_button_says(page: Page, laptop: str) -> None:
    page.goto(f"{laptop}/audit/operator/chain?after={STRETCH}")
    with page.expect_request("**/chain?after=*") as asked:
        page.get_by_role("button", name=f"Go on behind {2 * STRETCH}").click()

    assert asked.value.url.endswith(f"?after={2 * STRETCH}")


def test_after_the_check_the_keyboard_is_where_it_was(page: Page, laptop: str) -> None:
    page.goto(f"{laptop}/audit/operator/chain")
    button = page.get_by_role("button", name="Check from the first event")
    button.focus()
    page.keyboard.press("Enter")
    head = page.locator(".facts dd").first.inner_text()
    expect(page.get_by_role("status")).to_contain_text(f"to {head} hold.")

    assert page.evaluate("document.activeElement.closest('#check') !== null")


def test_without_js_the_chain_is_checked_a_stretch_at_a_time(
    page_without_js: Page, laptop: str
) -> None:
    page = page_without_js
    page.goto(f"{laptop}/audit/provider/chain")
    page.get_by_role("button", name="Check from the first event").click()
    expect(page.get_by_role("status")).to_contain_text(f"Positions 1 to {STRETCH} hold.")
    page.get_by_role("button", name=f"Go on behind {STRETCH}").click()
    expect(page.get_by_role("status")).to_contain_text(
        f"Positions {STRETCH + 1} to {2 * STRETCH} hold."
    )
    expect(page.get_by_role("progressbar", name="Checked")).to_be_visible()


def test_the_longest_names_scroll_no_page_sideways(page: Page, laptop: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    pages = (
        address("operator", "home"),
        address("operator", "round", partner=LONG, round=LONG),
        address("operator", "wallet", user=LONG, currency="USD"),
        address("operator", "search", q=LONG),
        address("operator", "event", position=36),
        address("operator", "reports/round-history", provider=LONG, round=LONG),
    )

    assert {path: too_wide(page, f"{laptop}{path}") for path in pages} == {
        path: [] for path in pages
    }


@pytest.mark.parametrize("width", [390, 1440])
def test_a_verdict_is_seen_beside_the_longest_names(page: Page, laptop: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{laptop}{address('operator', 'round', partner=LONG, round=LONG)}")

    table = page.get_by_role("region", name="Replay").bounding_box()
    verdict = page.locator(".verdict td.same").last.bounding_box()
    assert table
    assert verdict
    assert verdict["x"] + verdict["width"] <= table["x"] + table["width"]


# last, when all was asked


def test_no_log_says_a_token_or_a_session(server: Server, auditor: Page, url: str) -> None:
    auditor.goto(f"{url}/audit/operator/home")
    (session,) = auditor.context.cookies()
    said = server.out.read_text() + server.err.read_text()

    assert '"path":"/audit/login"' in said
    assert '"path":"/audit/operator/home"' in said
    for secret in (wire.AUDITOR, wire.ADMIN, str(session["value"]), quote_plus(wire.AUDITOR)):
        assert secret not in said
    assert '"event":"defect"' not in said
