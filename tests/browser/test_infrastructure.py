from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import chromium, violations, watched

Serve = Callable[..., str]

POLICY = "default-src 'none'; script-src 'self'; img-src 'self' http://localhost:*"
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Rounds</title>
<main><h1>Rounds</h1>{}</main>
<script src="script.js"></script>
"""
WRITES = "document.querySelector('h1').textContent = 'Written'"


class Handler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    def write(body: str = "", *, script: str = "") -> str:
        for name, text in (
            ("page.html", PAGE.format(body)),
            ("script.js", script),
            ("dot.svg", DOT),
        ):
            (tmp_path / name).write_text(text)
        return f"http://127.0.0.1:{server.server_port}/page.html"

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield write
        server.shutdown()
        thread.join()


def test_a_page_is_shown_and_its_own_script_runs(page: Page, serve: Serve) -> None:
    page.goto(serve(script=WRITES))
    assert page.get_by_role("heading").inner_text() == "Written"


def test_letters_are_drawn_with_a_font_not_as_boxes(page: Page, serve: Serve) -> None:
    page.goto(serve("<p>X</p><p>O</p>"))
    first, second = page.locator("p").all()
    assert first.screenshot() != second.screenshot()


def test_a_page_without_js_runs_no_script(page_without_js: Page, serve: Serve) -> None:
    page_without_js.goto(serve("<noscript>Without</noscript>", script=WRITES))
    assert page_without_js.get_by_role("main").inner_text().split() == ["Rounds", "Without"]


# what fails a test


def test_an_inline_script_against_the_policy_fails_the_test(browser: Browser, serve: Serve) -> None:
    url = serve(f"<script>{WRITES}</script>")
    with pytest.raises(AssertionError, match="Content Security Policy"), watched(browser) as page:
        page.goto(url)


@pytest.mark.parametrize("script", ["throw new Error('broken')", "console.error('broken')"])
def test_an_error_of_a_script_fails_the_test(browser: Browser, serve: Serve, script: str) -> None:
    with pytest.raises(AssertionError, match="broken"), watched(browser) as page:
        page.goto(serve(script=script))


def test_a_request_to_another_origin_fails_the_test(browser: Browser, serve: Serve) -> None:
    elsewhere = serve().replace("127.0.0.1", "localhost").replace("page.html", "dot.svg")
    url = serve(f'<img src="{elsewhere}" alt="A dot">')
    with pytest.raises(AssertionError, match=f"left .*: {elsewhere}"), watched(browser) as page:
        page.goto(url)


def test_a_page_that_is_not_found_fails_the_test(browser: Browser, serve: Serve) -> None:
    with pytest.raises(AssertionError, match="404"), watched(browser) as page:
        page.goto(f"{serve()}.missing")


@pytest.mark.answers(404)
def test_a_page_may_be_not_found_where_the_test_says_so(page: Page, serve: Serve) -> None:
    answer = page.goto(f"{serve()}.missing")
    assert answer is not None
    assert answer.status == 404


def test_what_is_said_of_one_status_allows_no_other(browser: Browser, serve: Serve) -> None:
    with pytest.raises(AssertionError, match="404"), watched(browser, answers=[403]) as page:
        page.goto(f"{serve()}.missing")


# axe


@pytest.mark.parametrize("kind", ["page", "page_without_js"])
def test_axe_finds_an_image_without_a_text(
    request: pytest.FixtureRequest, serve: Serve, kind: str
) -> None:
    page: Page = request.getfixturevalue(kind)
    page.goto(serve('<img src="dot.svg">'))
    assert violations(page) == ['image-alt (critical): <img src="dot.svg">']


def test_axe_finds_nothing_on_a_clean_page(page: Page, serve: Serve) -> None:
    page.goto(serve('<img src="dot.svg" alt="A dot">'))
    assert violations(page) == []


# no Chromium


def test_without_a_chromium_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDBOOK_CHROMIUM", "/none")
    monkeypatch.delenv("ROUNDBOOK_NEED_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium is found"):
        chromium()


def test_without_a_chromium_a_test_fails_where_one_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROUNDBOOK_CHROMIUM", "/none")
    monkeypatch.setenv("ROUNDBOOK_NEED_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium is found"):
        chromium()
