import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    sync_playwright,
)

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
NO_CHROMIUM = "no Chromium is found: scripts/browser installs one, ROUNDBOOK_CHROMIUM names one"
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
# A page without JavaScript runs no timers, and axe would wait for ever; promises it keeps.
TIMERS_FOR_AXE = """
if (matchMedia("(scripting: none)").matches)
  window.setTimeout = (then) => { Promise.resolve().then(then) }
"""
AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "answers(*statuses): the pages under test answer these, which Chromium logs as errors",
    )


def chromium() -> str:
    """Returns the path of the Chromium to drive. Skips where none is found, and fails where one is needed."""
    named = os.environ.get("ROUNDBOOK_CHROMIUM")
    for name in (named,) if named else CHROMIUMS:
        if path := shutil.which(name):
            return path
    if os.environ.get("ROUNDBOOK_NEED_BROWSER"):
        pytest.fail(NO_CHROMIUM)
    pytest.skip(NO_CHROMIUM)


def origin(url: str) -> str:
    scheme, host, *_ = urlsplit(url)
    return f"{scheme}://{host}"


class Watch:
    """What goes wrong in a context: errors in its console, its scripts' errors, requests to elsewhere.

    The origin under test is that of the first request."""

    def __init__(self, context: BrowserContext, *, answers: Collection[int] = ()) -> None:
        self.complaints: list[str] = []
        self._expected = tuple(f"responded with a status of {status} " for status in answers)
        self._origin: str | None = None
        context.on("console", self._logged)
        context.on("weberror", self._raised)
        context.on("request", self._asked)

    # Chromium logs what a Content Security Policy forbids, and answers of 400 and more, as errors.
    # It asks for /favicon.ico in its own time, perhaps after the test: an error of that is chance.
    def _logged(self, message: ConsoleMessage) -> None:
        expected = any(said in message.text for said in self._expected)
        url = message.location["url"]
        if message.type == "error" and not expected and not url.endswith("/favicon.ico"):
            self.complaints.append(f"{message.text} ({url})")

    def _raised(self, error: WebError) -> None:
        self.complaints.append(str(error.error))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith("http"):
            return
        self._origin = self._origin or origin(request.url)
        if origin(request.url) != self._origin:
            self.complaints.append(f"a request left {self._origin}: {request.url}")


@contextmanager
def watched(
    browser: Browser, *, javascript: bool = True, answers: Collection[int] = ()
) -> Iterator[Page]:
    """Gives a page in a context of its own; at the end, fails on whatever its watch complains of."""
    with browser.new_context(java_script_enabled=javascript) as context:
        watch = Watch(context, answers=answers)
        yield context.new_page()
    assert not watch.complaints, "\n".join(watch.complaints)


def violations(page: Page, *, rules: Sequence[str] = ()) -> list[str]:
    """Returns a line for each element against WCAG 2.2 A or AA or axe's best practice: rule, impact, HTML.

    `rules`: those alone, by axe's names.
    """
    only = {"type": "rule", "values": rules} if rules else AXE_TAGS
    page.evaluate(TIMERS_FOR_AXE)
    found = Axe().run(page, options={"runOnly": only, "resultTypes": ["violations"]})
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(node['html'].split())}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


# It ends with this folder's tests: while it runs, its event loop is the thread's, and in no test
# after it could asyncio.run another.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=[LOOPBACK_ONLY]) as launched,
    ):
        yield launched


@pytest.fixture
def answers(request: pytest.FixtureRequest) -> set[int]:
    return {status for mark in request.node.iter_markers("answers") for status in mark.args}


@pytest.fixture
def page(browser: Browser, answers: set[int]) -> Iterator[Page]:
    with watched(browser, answers=answers) as watched_page:
        yield watched_page


@pytest.fixture
def page_without_js(browser: Browser, answers: set[int]) -> Iterator[Page]:
    with watched(browser, javascript=False, answers=answers) as watched_page:
        yield watched_page
