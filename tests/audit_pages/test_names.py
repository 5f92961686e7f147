import csv
import io
import shlex
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient

from ledger.operator.book import Book
from ledger.provider.book import Book as ProviderBook
from tests import controls
from tests.audit_pages import (
    DAY_1,
    DAY_2,
    address,
    copy,
    form_of,
    operator_book,
    plain,
    shown,
    visit,
)
from tests.audit_pages.html import Node, read, table
from tests.provider import examples

FORMULA = '=HYPERLINK("http://evil")'
NAMES = (
    '<script>alert("1")</script>',
    "'\"><img src=x onerror=alert(1)>&amp;",
    "a.json",
    "../a/b%2Fc?d=e#f+g h;i&at=1",
    "🎰 100% {{7*7}} \\ é",
    "javascript:alert(1)",
    FORMULA,
    "-2+3",
    "007",
    "x" * 128,
)
SPACED = " spaces "
ODD = {"<b>key</b>": ["</pre><script>alert(2)</script>", {"&lt;": '"'}]}

OURS = """
html head meta title link script body a header span nav form label input button main h1 h2 h3 p small code
pre dl dt dd div section table caption thead tbody tr th td strong ol li details summary figure figcaption
svg line text path circle datalist option output progress
"""
"""What the pages are made of: anything else came out of a name."""


class Link(NamedTuple):
    url: str
    text: str
    found_on: str


def operators() -> Book:
    history: list[Any] = []
    for name in NAMES:
        said = {"user": name, "provider": name, "game": name}
        history += [
            (DAY_1, controls.open_wallet(user=name)),
            (DAY_1, controls.deposit(user=name, reference=f"in {name[:100]}", amount="10.00")),
            (
                DAY_1,
                controls.place_bet(
                    **said, round_id=name, reference=name, session=name, uuid=name, amount="1.00"
                ),
            ),
            (DAY_2, controls.cancel(**said, reference=name, session=name, game_name=name)),
        ]
    return operator_book(history)


def providers() -> ProviderBook:
    book = examples.new_book("memory://", now=examples.Clock())
    for name in NAMES:
        said = {"user": name, "round_id": name, "reference": name, "game": name, "session": name}
        book.submit(examples.place_bet(**said, game_name=name, details=ODD))
        started = book.submit(examples.start_send("bet", name, worker=name))
        assert started.send
        said_of_it = examples.end_send("bet", name, attempt=started.send.attempt, code=None)
        book.submit(said_of_it)
    return book


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def odd(folder: Path) -> FlaskClient:
    with closing(operators()) as operator, closing(providers()) as provider:
        return visit(
            {
                "operator": copy(operator, folder / "operator.audit.db"),
                "provider": copy(provider, folder / "provider.audit.db"),
            }
        )


# Before its opening a wallet is not there, and the link to it leads nowhere: it has a test of its own.
EXPORTS = (".json", ".csv", ".jsonl")


def kind(url: str) -> str:
    path, query = urlsplit(url)[2:4]
    return f"{path} {parse_qs(query).get('table')}" if path.endswith(EXPORTS) else url


def crawled(pages: FlaskClient) -> tuple[dict[str, Node], list[Link]]:
    """Returns every page that is linked from the first, by its address, and every link.

    Of each form of each table one is asked for.
    """
    found: dict[str, Node] = {}
    links: list[Link] = []
    asked: set[str] = set()
    todo = ["/audit/operator/home", "/audit/provider/home"]
    while todo:
        url = todo.pop()
        if kind(url) in asked:
            continue
        asked.add(kind(url))
        answer = pages.get(url, follow_redirects=True)
        assert answer.status_code == 200, f"{url}: {[n for n in links if n.url == url][:1]}"
        if answer.mimetype != "text/html" or answer.history:
            continue
        found[url] = read(answer.text)
        for node in found[url].all("a"):
            if "href" in node.attrs:
                to = urljoin(url, node.attrs["href"] or "").partition("#")[0]
                links.append(Link(to, node.text, url))
                todo.append(to)
    return found, links


@pytest.fixture(scope="module")
def crawl(odd: FlaskClient) -> tuple[dict[str, Node], list[Link]]:
    return crawled(odd)


@pytest.fixture(scope="module")
def every_page(crawl: tuple[dict[str, Node], list[Link]]) -> dict[str, Node]:
    return crawl[0]


def test_every_link_of_every_page_leads_somewhere(pages: FlaskClient) -> None:
    found, links = crawled(pages)

    assert len(found) > 200
    assert {urlsplit(link.url).path for link in links} > {
        "/audit",
        "/audit/operator/home",
        "/audit/operator/round",
        "/audit/operator/wallet",
        "/audit/operator/search",
        "/audit/operator/event.csv",
        "/audit/provider/round.jsonl",
        "/audit/provider/reports/verification",
    }


def test_every_link_of_an_empty_books_pages_leads_somewhere(tmp_path: Path) -> None:
    with (
        closing(operator_book(())) as ours,
        closing(examples.new_book("memory://", now=examples.Clock())) as other,
    ):
        books = {"operator": ours, "provider": other}
        files = {party: copy(book, tmp_path / f"{party}.db") for party, book in books.items()}

    assert len(crawled(visit(files))[0]) > 10


def test_no_name_becomes_a_part_of_a_page(every_page: dict[str, Node]) -> None:
    ours = {"", *OURS.split()}
    for url, page in every_page.items():
        for node in page.walk():
            assert node.tag in ours, url
            assert not [name for name in node.attrs if name.startswith("on")], url
            assert "style" not in node.attrs, url
            if node.tag == "script":
                assert node.attrs["src"] == "/audit/static/audit.js"
                assert node.text == ""
        assert not [n for n in page.all("link") if not str(n.said("href")).startswith("/audit/")]


def test_every_link_stays_under_audit(crawl: tuple[dict[str, Node], list[Link]]) -> None:
    found, links = crawl
    for page in found.values():
        for node in page.all("a"):
            assert (node.said("href") or "#").startswith(("/audit", "#"))
        for form in page.all("form"):
            assert (form.said("action") or "/audit").startswith("/audit")
    assert {urlsplit(link.url)[:2] for link in links} == {("", "")}


def test_a_link_leads_to_the_page_of_what_it_names(
    crawl: tuple[dict[str, Node], list[Link]],
) -> None:
    found, links = crawl
    followed = 0
    for link in links:
        if link.url not in found or link.text not in NAMES:
            continue
        heading = found[link.url].one("h1")
        match urlsplit(link.url).path.rpartition("/")[2]:
            case "round" | "wallet":
                assert heading.one("span", class_="id").text == link.text
            case "search":
                assert heading.text == f"Search: {link.text}"
            case other:
                raise AssertionError(f"{link} leads to {other}")
        followed += 1
    assert followed > 20 * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_on_every_page_about_it(
    every_page: dict[str, Node], odd: FlaskClient, name: str
) -> None:
    round_ = every_page[address("operator", "round", partner=name, round=name)]
    assert round_.one("h1").text.split("\n")[0] == f"Round {name} of {name}"
    assert round_.one("head").one("title").text.startswith(f"Round {name} of {name}")
    facts = {n.one("dt").text: n.one("dd").text for n in round_.id("state").one("dl").all("div")}
    assert (facts["Player"], facts["Game"]) == (name, name)
    hidden = {n.said("name"): n.said("value") for n in round_.all("input", type="hidden")}
    assert hidden == {"partner": name, "round": name}

    wallet = every_page[address("operator", "wallet", user=name, currency="USD")]
    assert wallet.one("h1").one("span", class_="id").text == name
    search = shown(odd, address("operator", "search", q=name))
    assert search.id("q").said("value") == name
    for kind, column in (("wallets", "user"), ("rounds", "round"), ("events", "reference")):
        columns, rows = table(search, kind)
        assert name in [row[columns.index(column)] for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_a_providers_details_are_shown_as_they_are_stored(odd: FlaskClient, name: str) -> None:
    page = shown(odd, address("provider", "round", partner=examples.LM, round=name))

    stored = "".join(node.text for node in page.all("pre"))
    assert '"<b>key</b>":["</pre><script>alert(2)</script>",{"&lt;":"\\""}]' in stored
    assert f"Player{name}" in "".join(page.id("state").text.split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_a_command_in_a_shell_names_what_the_page_is_about(
    every_page: dict[str, Node], folder: Path, name: str
) -> None:
    round_ = every_page[address("operator", "round", partner=name, round=name)]
    lines = round_.one("section", class_="shell").one("pre").text.splitlines()

    names, options = [name, name], ["--from", f"{folder}/operator.audit.db"]
    said = [*options, "--", *names] if name.startswith("-") else [*names, *options]
    assert shlex.split(lines[0]) == ["$", "roundbook", "round", *said]


def test_no_cell_of_an_export_is_a_formula(odd: FlaskClient, every_page: dict[str, Node]) -> None:
    seen = set()
    for url in every_page:
        if "at=" in url or "/event?" in url or url.endswith("/round-history"):
            continue
        for name in plain(odd.get(form_of(url, "json")))["tables"]:
            text = odd.get(form_of(url, "csv", table=name)).text
            for row in csv.reader(io.StringIO(text)):
                for cell in row:
                    seen.add(cell)
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), url
                    assert not cell.startswith("-") or cell.lstrip("-").replace(".", "").isdigit()
    assert {f"'{FORMULA}", "'-2+3", "-1.00", "007"} <= seen


def test_an_export_of_a_name_with_a_dot_is_the_export(odd: FlaskClient) -> None:
    url = address("operator", "round", partner="a.json", round="a.json")

    assert plain(odd.get(form_of(url, "json")))["round"]["round"] == "a.json"
    assert odd.get(form_of(url, "csv")).headers["Content-Disposition"] == (
        'attachment; filename="round.csv"'
    )


# names of nothing


def history_of(tmp_path: Path, *commands: Any) -> FlaskClient:
    with closing(operator_book([(DAY_1, command) for command in commands])) as book:
        return visit({"operator": copy(book, tmp_path / "audit.db")})


def broken_links(pages: FlaskClient, url: str) -> list[str]:
    links = [link for link in shown(pages, url).links if not link.startswith("#")]
    return [link for link in links if pages.get(link).status_code >= 400]


def test_a_tombstone_of_a_round_that_never_was_has_no_broken_link(tmp_path: Path) -> None:
    pages = history_of(tmp_path, controls.cancel(reference="ghost", round_id="nowhere"))
    events = shown(pages, address("operator", "events"))
    assert table(events, "events")[1][0][4] == "nowhere"

    assert broken_links(pages, address("operator", "events")) == []


@pytest.mark.parametrize("said", [{"user": controls.STRANGER}, {"currency": "EUR"}])
def test_a_tombstone_of_a_wallet_that_never_was_has_no_broken_link(
    tmp_path: Path, said: dict[str, str]
) -> None:
    buried = controls.cancel(reference="ghost", **said)
    pages = history_of(tmp_path, controls.open_wallet(), buried)

    assert broken_links(pages, address("operator", "events")) == []


def test_a_name_between_spaces_is_found(tmp_path: Path) -> None:
    bet = controls.place_bet(reference=SPACED, round_id=SPACED, amount="1.00")
    pages = history_of(tmp_path, controls.open_wallet(), controls.deposit(), bet)

    found = shown(pages, address("operator", "search", q=SPACED))
    assert table(found, "rounds")[1]


def test_a_round_that_is_called_as_its_player_is_found_once(tmp_path: Path) -> None:
    bet = controls.place_bet(round_id=controls.PLAYER, amount="1.00")
    pages = history_of(tmp_path, controls.open_wallet(), controls.deposit(), bet)

    found = shown(pages, address("operator", "search", q=controls.PLAYER))
    assert len(table(found, "rounds")[1]) == 1


def test_a_report_of_a_name_between_spaces_is_made(tmp_path: Path) -> None:
    bet = controls.place_bet(reference="bet", round_id=SPACED, amount="1.00")
    pages = history_of(tmp_path, controls.open_wallet(), controls.deposit(), bet)

    asked = {"provider": controls.PROVIDER, "round": SPACED}
    assert pages.get(address("operator", "reports/round-history", **asked)).status_code == 200


def test_the_query_of_a_page_is_kept_in_the_links_to_its_exports(odd: FlaskClient) -> None:
    url = address("operator", "round", partner=NAMES[3], round=NAMES[3], at=2)
    (whole,) = shown(odd, url).all("p", class_="exports all")

    (link,) = whole.links
    assert parse_qs(urlsplit(link).query) == parse_qs(urlsplit(url).query)
    assert plain(odd.get(link))["round"]["version"] == 2
