import csv
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.audit import views
from projections.forms import inert, said
from projections.reports import REPORTS
from tests import controls
from tests.audit_pages import (
    DAY_1,
    PARTIES,
    POOR,
    address,
    copy,
    form_of,
    operator_book,
    plain,
    shown,
    submitted,
    visit,
)
from tests.audit_pages.html import read, table
from tests.provider import examples

ROUND = {
    "operator": {"partner": controls.PROVIDER, "round": controls.ROUND},
    "provider": {"partner": examples.LM, "round": controls.ROUND},
}
WALLET = {"user": controls.PLAYER, "currency": controls.CURRENCY}
ONE_ROUND = {"provider": controls.PROVIDER, "round": controls.ROUND}

SHARED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("home", {}),
    ("events", {}),
    ("events", {"after": 5}),
    ("events", {"after": 10**17}),
    ("event", {"position": 4}),
    ("search", {}),
    ("search", {"q": controls.PLAYER}),
    ("search", {"q": controls.REFERENCE}),
    ("search", {"q": "7"}),
    ("search", {"q": "nobody"}),
    ("reports", {}),
    ("reports/verification", {}),
    ("chain", {}),
    ("chain", {"after": 0}),
)
OPERATORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("wallet", WALLET),
    ("wallet", {**WALLET, "at": 6}),
    ("wallet", {**WALLET, "as_of": "2026-11-22"}),
    ("wallet", {"user": POOR, "currency": "JPY"}),
    ("search", {"q": POOR}),
    ("reports/round-history", ONE_ROUND),
    *(
        (f"reports/{name}", {})
        for name, kind in REPORTS.items()
        if name != "verification" and not kind.needs
    ),
    ("reports/daily-wallets", {**WALLET, "since": "2026-11-22", "until": "2026-11-23"}),
)
PAGES = [
    *(address(party, page, **asked) for party in PARTIES for page, asked in SHARED),
    *(address("operator", page, **asked) for page, asked in OPERATORS),
    *(address(party, "round", **ROUND[party]) for party in PARTIES),
    *(address(party, "round", **ROUND[party], at=2) for party in PARTIES),
]


# every page, and every form of it


@pytest.mark.parametrize("url", PAGES)
def test_every_page_has_a_title_a_heading_and_a_way_everywhere(
    pages: FlaskClient, url: str
) -> None:
    found = shown(pages, url)

    assert found.one("head").one("title").words.endswith(" · Roundbook audit")
    assert found.one("h1").words
    party = url.split("/")[2]
    (here,) = found.one("nav", **{"aria-label": "Book"}).all("a", **{"aria-current": "true"})
    assert here.words == f"{party}’s book"
    for name in ("home", "events", "reports", "chain"):
        assert address(party, name) in found.links


def rows_of_lines(answer: Any) -> list[Any]:
    assert answer.status_code == 200
    assert answer.mimetype == "application/jsonl"
    return [json.loads(line) for line in answer.text.splitlines()]


def rows_of_csv(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    return list(csv.reader(io.StringIO(answer.text)))


def shown_rows(made: dict[str, Any]) -> list[list[str]]:
    return [[said(row[column]) for column in made["columns"]] for row in made["rows"]]


@pytest.mark.parametrize("url", PAGES)
def test_every_form_of_every_table_says_what_the_page_says(pages: FlaskClient, url: str) -> None:
    whole = plain(pages.get(form_of(url, "json")))
    found = shown(pages, url)

    for name, made in whole["tables"].items():
        assert plain(pages.get(form_of(url, "json", table=name))) == made
        assert rows_of_lines(pages.get(form_of(url, "jsonl", table=name))) == made["rows"]
        cells = shown_rows(made)
        header, *rows = rows_of_csv(pages.get(form_of(url, "csv", table=name)))
        assert header == made["columns"]
        assert rows == [[inert(cell) for cell in row] for row in cells]
        columns, written = table(found, name)
        if columns:
            assert (columns, written) == (made["columns"], cells[: views.SHOWN])


@pytest.mark.parametrize("url", PAGES)
def test_every_table_that_is_shown_links_its_three_forms(pages: FlaskClient, url: str) -> None:
    found = shown(pages, url)

    for caption in found.all("caption"):
        (name,) = [node.attrs["id"] for node in caption.walk() if "id" in node.attrs]
        assert caption.links == [
            form_of(url, form, table=str(name).removeprefix("t-"))
            for form in ("json", "csv", "jsonl")
        ]


@pytest.mark.parametrize("url", [address("operator", "events"), address("provider", "home")])
def test_without_a_table_named_csv_and_lines_are_of_the_first(pages: FlaskClient, url: str) -> None:
    first = next(iter(plain(pages.get(form_of(url, "json")))["tables"].values()))

    assert rows_of_lines(pages.get(form_of(url, "jsonl"))) == first["rows"]
    assert rows_of_csv(pages.get(form_of(url, "csv")))[0] == first["columns"]


def test_an_export_is_a_file_that_is_called_after_its_table(pages: FlaskClient) -> None:
    def called(url: str) -> str | None:
        return pages.get(url).headers.get("Content-Disposition")

    wallet = address("operator", "wallet", **WALLET)
    assert called(form_of(wallet, "csv", table="rounds")) == (
        'attachment; filename="wallet-rounds.csv"'
    )
    assert called(form_of(wallet, "jsonl")) == 'attachment; filename="wallet.jsonl"'
    assert called(form_of(wallet, "json")) is None


# a long history


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    deposits = [
        (DAY_1, controls.deposit(reference=f"d-{number}", amount="1.00")) for number in range(450)
    ]
    with closing(operator_book([(DAY_1, controls.open_wallet()), *deposits])) as book:
        return visit({"operator": copy(book, tmp_path_factory.mktemp("long") / "audit.db")})


def test_a_page_shows_the_newest_two_hundred_and_its_exports_have_all(
    long_history: FlaskClient,
) -> None:
    url = address("operator", "wallet", **WALLET)
    _, written = table(shown(long_history, url), "statement")
    exported = rows_of_lines(long_history.get(form_of(url, "jsonl")))

    assert len(written) == views.SHOWN
    assert [row["position"] for row in exported] == list(range(451, 0, -1))
    assert [row[0] for row in written] == [said(row["position"]) for row in exported][:200]


def test_a_search_shows_the_newest_two_hundred_events_in_order(long_history: FlaskClient) -> None:
    url = address("operator", "search", q=controls.PLAYER)
    _, written = table(shown(long_history, url), "events")
    exported = rows_of_lines(long_history.get(form_of(url, "jsonl", table="events")))

    assert [row["position"] for row in exported] == list(range(1, 452))
    assert [row[0] for row in written] == [said(row["position"]) for row in exported][-200:]


def test_a_table_that_was_cut_says_so(long_history: FlaskClient) -> None:
    found = shown(long_history, address("operator", "wallet", **WALLET))

    assert "the exports hold all" in found.id("t-statement").words


def test_a_long_line_has_at_most_so_many_points_and_ends_where_the_wallet_does(
    long_history: FlaskClient,
) -> None:
    figure = shown(long_history, address("operator", "wallet", **WALLET)).one("figure")

    assert "from 1.00 to 450.00" in figure.words
    assert (figure.one("path").said("d") or "").count("H") <= 402


def test_the_stretches_of_events_follow_on_one_another(long_history: FlaskClient) -> None:
    url: str | None = address("operator", "events")
    seen: list[str] = []
    while url:
        found = shown(long_history, url)
        seen += [row[0] for row in table(found, "events")[1]]
        url = next((n.attrs["href"] for n in found.all("a", rel="next")), None)

    assert seen == [str(position) for position in range(1, 452)]
    back = found.all("a", rel="prev")[0].attrs["href"]
    assert table(shown(long_history, str(back)), "events")[1][-1][0] == "400"


# what is not there


def test_audit_leads_to_the_first_book(pages: FlaskClient) -> None:
    for url in ("/audit", "/audit/"):
        answer = pages.get(url)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/audit/operator/home")
    assert pages.get("/").headers["Location"] == "/audit"


def test_one_file_alone_is_the_first_book(files: dict[str, Path]) -> None:
    alone = visit({"provider": files["provider"]})

    assert alone.get("/audit").headers["Location"] == "/audit/provider/home"
    assert alone.get("/audit/operator/home").status_code == 404


NOWHERE = (
    "/audit/nobody/home",
    "/audit/operator",
    "/audit/operator/",
    "/audit/operator/nothing",
    "/audit/operator/home/",
    "/audit/operator/home.xml",
    "/audit/operator/home.",
    pytest.param("/audit/operator/home.html"),
    "/audit/operator/reports/nothing",
    "/audit/operator/reports/verification.xml",
    "/audit/provider/reports/daily-wallets",
    "/audit/provider/wallet?user=123456&currency=USD",
    "/audit/operator/event?position=999",
    "/audit/operator/event?position=999999999999999999",
    "/audit/operator/chain?after=999",
    "/audit/operator/round?partner=LuckyMonaco&round=nothing",
    "/audit/operator/round?partner=luckymonaco&round=5103188801",
    "/audit/operator/wallet?user=nobody&currency=USD",
    "/audit/operator/wallet?user=123456&currency=usd",
    "/audit/operator/wallet?user=123456&currency=USD&at=0",
    "/audit/operator/wallet?user=123456&currency=USD&at=999",
    "/audit/operator/wallet?user=123456&currency=USD&as_of=2026-11-20",
    "/audit/operator/reports/round-history?provider=LuckyMonaco&round=nothing",
    "/audit/static/nothing.css",
    "/audit/static/../views.py",
    "/audit/%3Cscript%3E",
)


@pytest.mark.parametrize("url", NOWHERE)
def test_what_is_not_there_is_404_in_words(pages: FlaskClient, url: str) -> None:
    found = shown(pages, url, 404)

    assert found.one("h1").words == "404"
    assert found.one("p", class_="alarm").words
    assert "/audit" in found.links


@pytest.mark.parametrize("party", PARTIES)
@pytest.mark.parametrize("asked", ["nothing", "event?position=999", "event?position=x"])
def test_from_what_is_wrong_one_goes_on_in_the_same_book(
    pages: FlaskClient, party: str, asked: str
) -> None:
    answer = pages.get(f"/audit/{party}/{asked}")
    found = read(answer.text)

    assert answer.status_code in (400, 404)
    assert found.one("form", class_="search").said("action") == address(party, "search")
    assert found.one("main").links == [address(party, "home")]
    assert {address(party, "events"), address(party, "chain")} <= set(found.links)


@pytest.mark.parametrize(
    "url",
    [
        "/audit/nobody/home.json",
        "/audit/operator/nothing.csv",
        "/audit/operator/home.json?table=nothing",
        "/audit/operator/search.csv?table=wallets",
        "/audit/operator/reports/nothing.jsonl",
        "/audit/operator/round.json?partner=LuckyMonaco&round=nothing",
        "/audit/operator/event.csv?position=999",
    ],
)
def test_an_export_that_is_not_there_is_a_problem_in_json(pages: FlaskClient, url: str) -> None:
    answer = pages.get(url)

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.json
    assert answer.json["status"] == 404


def test_a_table_that_is_not_there_is_told_from_those_that_are(pages: FlaskClient) -> None:
    answer = pages.get("/audit/operator/home.json?table=nothing")

    assert answer.json
    assert answer.json["detail"] == (
        "there is no table nothing: newest, types, seals, contradictions"
    )


# questions that cannot be answered

ROUND_1 = "partner=LuckyMonaco&round=5103188801"
WALLET_1 = "user=123456&currency=USD"
UNASKED = (
    ("round", "partner"),
    ("round?partner=LuckyMonaco", "round"),
    ("round?partner=&round=1", "partner"),
    (f"round?{ROUND_1}&at=0", "at"),
    (f"round?{ROUND_1}&at=x", "at"),
    (f"round?{ROUND_1}&at=-1", "at"),
    (f"round?{ROUND_1}&at=1.0", "at"),
    (f"round?{ROUND_1}&at=1e3", "at"),
    (f"round?{ROUND_1}&at=%D9%A1", "at"),
    (f"round?{ROUND_1}&at={'9' * 19}", "at"),
    (f"round?{ROUND_1}&at={'9' * 5000}", "at"),
    ("wallet", "user"),
    ("wallet?user=123456", "currency"),
    (f"wallet?{WALLET_1}&at=x", "at"),
    (f"wallet?{WALLET_1}&at=1&as_of=2026-11-21", "as_of"),
    (f"wallet?{WALLET_1}&as_of=yesterday", "as_of"),
    (f"wallet?{WALLET_1}&as_of=2026-11-31", "as_of"),
    (f"wallet?{WALLET_1}&as_of=0001-01-01T00:00%2B14:00", "as_of"),
    (f"wallet?{WALLET_1}&as_of=9999-12-31T23:59-14:00", "as_of"),
    ("event", "position"),
    ("event?position=0", "position"),
    ("event?position=x", "position"),
    ("events?after=x", "after"),
    ("events?after=-1", "after"),
    (f"events?after={'9' * 19}", "after"),
    ("chain?after=x", "after"),
    ("reports/daily-wallets?since=x", "since"),
    ("reports/daily-wallets?until=2026-13-01", "until"),
    ("reports/daily-wallets?since=2026-11-22&until=2026-11-21", "since"),
    ("reports/incomplete-rounds?as_of=2026-11-21T10:00:00Z", "as_of"),
)


@pytest.mark.parametrize(("asked", "field"), UNASKED)
def test_a_question_that_cannot_be_answered_is_400_and_names_the_field(
    pages: FlaskClient, asked: str, field: str
) -> None:
    url = f"/audit/operator/{asked}"
    found = shown(pages, url, 400)
    assert found.one("p", class_="alarm").words.startswith(f"{field}: ")

    answer = pages.get(form_of(url, "json"))
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert answer.json
    assert answer.json["detail"].startswith(f"{field}: ")
    assert (answer.json["code"], answer.json["field"]) == (57, field)


def test_a_report_says_on_its_page_what_it_has_to_be_asked(pages: FlaskClient) -> None:
    found = shown(pages, address("operator", "reports/round-history"))

    assert found.one("title").words.startswith("Round history · ")
    assert "It needs: provider, round." in found.one("main").words
    assert [n.attrs["name"] for n in found.all("input") if "required" in n.attrs] == [
        "provider",
        "round",
    ]


@pytest.mark.parametrize("form", ["json", "csv", "jsonl"])
def test_an_export_of_a_report_that_was_not_asked_enough_is_400(
    pages: FlaskClient, form: str
) -> None:
    answer = pages.get(form_of(address("operator", "reports/round-history", round="1"), form))

    assert answer.status_code == 400
    assert answer.json
    assert answer.json["detail"].startswith("provider: ")


@pytest.mark.parametrize("name", ["daily-wallets", "daily-providers"])
def test_a_report_has_no_day_that_the_file_has_not_seen(pages: FlaskClient, name: str) -> None:
    made = plain(pages.get(f"/audit/operator/reports/{name}.json?until=2027-12-31"))

    copied = plain(pages.get("/audit/operator/home.json"))["overview"]["updated_at"]
    assert max(row["day"] for row in made["tables"]["report"]["rows"]) == copied[:10]


def test_what_a_report_says_of_itself_is_for_people(pages: FlaskClient) -> None:
    found = shown(pages, address("operator", "reports"))

    assert "Raises" not in found.one("main").words


@pytest.mark.parametrize(
    "q",
    [
        '"',
        "*",
        "'",
        "%",
        "NEAR(a b)",
        "9" * 5000,
        pytest.param("\0"),
        pytest.param("a\0b"),
        pytest.param(
            "0" * 18 + "1" + "0" * 5000,
            id="a long number that begins with noughts",
        ),
    ],
)
def test_a_search_for_anything_is_answered(pages: FlaskClient, q: str) -> None:
    found = shown(pages, address("operator", "search", q=q))

    assert "Nothing goes by that name" in found.one("main").words


def test_a_number_that_is_no_position_leads_to_none(pages: FlaskClient) -> None:
    found = shown(pages, address("operator", "search", q="0" * 18 + "19999"))

    assert not [link for link in found.links if "/event?" in link]


# files


def unfit(file: Path, kind: str) -> Path:
    whole = file.read_bytes()
    broken = file.parent / f"{kind}.db"
    match kind:
        case "empty":
            broken.write_bytes(b"")
        case "text":
            broken.write_text("text" * 1000)
        case "cut short":
            broken.write_bytes(whole[:5000])
        case "overwritten":
            broken.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    return broken


UNFIT = pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut short", "overwritten"])


@UNFIT
def test_a_file_that_is_unfit_is_503(files: dict[str, Path], tmp_path: Path, kind: str) -> None:
    own = tmp_path / "audit.db"
    shutil.copy(files["operator"], own)
    broken = visit({"operator": unfit(own, kind)})

    for name in ("home", "events", "chain", "reports/verification"):
        url = address("operator", name)
        assert shown(broken, url, 503).one("p", class_="alarm").words
        answer = broken.get(form_of(url, "json"))
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")


@UNFIT
def test_of_an_unfit_file_it_is_said_what_to_do_and_not_where_it_is(
    files: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    own = tmp_path / "audit.db"
    shutil.copy(files["operator"], own)
    broken = visit({"operator": unfit(own, kind)})
    words = shown(broken, address("operator", "home"), 503).one("p", class_="alarm").words

    assert "roundbook audit-file" in words
    assert str(tmp_path) not in words


# without JavaScript


@pytest.mark.parametrize("party", PARTIES)
def test_the_sliders_form_leads_to_every_version_and_links_to_its_neighbours(
    pages: FlaskClient, party: str
) -> None:
    url = address(party, "round", **ROUND[party])
    whole = plain(pages.get(form_of(url, "json")))
    found = shown(pages, url)
    for version in range(1, whole["versions"] + 1):
        form = found.one("form", class_="travel")
        slider = form.one("input", type="range")
        assert (slider.attrs["min"], slider.attrs["max"]) == ("1", str(whole["versions"]))
        here = submitted(form, url, at=version)
        found = shown(pages, here)
        assert found.id("version").words == f"{version} of {whole['versions']}"
        assert plain(pages.get(form_of(here, "json")))["round"]["version"] == version
        neighbours = {name: found.id(name).attrs.get("href") for name in ("earlier", "later")}
        assert neighbours == {
            "earlier": address(party, "round", **ROUND[party], at=version - 1)
            if version > 1
            else None,
            "later": address(party, "round", **ROUND[party], at=version + 1)
            if version < whole["versions"]
            else None,
        }


def test_a_chain_is_checked_a_stretch_at_a_time_with_a_button(
    pages: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "STRETCH", 9)
    head = plain(pages.get("/audit/operator/home.json"))["overview"]["position"]
    url, seen = address("operator", "chain"), []
    while True:
        section = shown(pages, url).id("check")
        seen += [node.words for node in section.all("strong")]
        form = section.one("form")
        if seen and not form.one("button").words.startswith("Go on"):
            break
        url = submitted(form, url)

    first = range(1, head + 1, 9)
    assert seen == [f"Positions {n} to {min(n + 8, head)} hold." for n in first]


def test_every_form_has_a_button_and_every_field_a_label(pages: FlaskClient) -> None:
    for url in PAGES:
        found = shown(pages, url)
        labelled = {node.attrs["for"] for node in found.all("label")}
        for form in found.all("form"):
            assert form.all("button"), url
            fields = [n for n in form.all("input") if n.attrs.get("type") != "hidden"]
            assert {node.attrs["id"] for node in fields} <= labelled, url


def test_a_wallet_is_asked_for_by_a_position_or_a_time_in_its_form(pages: FlaskClient) -> None:
    url = address("operator", "wallet", **WALLET)
    form = shown(pages, url).one("form", class_="travel")

    by_position = shown(pages, submitted(form, url, at=6))
    by_time = shown(pages, submitted(form, url, as_of="2026-11-21T12:00:00Z"))

    assert "as of position 6" in by_position.one("p", class_="cash").words
    assert "as of position" in by_time.one("p", class_="cash").words


def test_a_wallet_in_the_past_shows_no_round_of_its_future(pages: FlaskClient) -> None:
    now, then = (address("operator", "wallet", **WALLET, **at) for at in ({}, {"at": 6}))
    rows, known = (
        plain(pages.get(form_of(url, "json", table="rounds")))["rows"] for url in (now, then)
    )
    assert 0 < len(known) < len(rows)
    assert all(row in rows for row in known)
    assert "opened by then" in shown(pages, then).text


def test_a_round_is_asked_for_no_version_it_has_not_come_to(pages: FlaskClient) -> None:
    for party in PARTIES:
        url = address(party, "round", **ROUND[party], at=99)
        assert pages.get(url).status_code == 404


def test_the_form_of_a_wallet_in_the_past_takes_a_time_too(pages: FlaskClient) -> None:
    url = address("operator", "wallet", **WALLET, at=6)
    form = shown(pages, url).one("form", class_="travel")

    assert pages.get(submitted(form, url, as_of="2026-11-22")).status_code == 200


def test_before_the_last_change_there_is_a_wallet_or_no_link(pages: FlaskClient) -> None:
    url = address("operator", "wallet", user=POOR, currency="JPY")
    while link := next(
        (n for n in shown(pages, url).all("a") if n.words == "before the last change"), None
    ):
        url = str(link.attrs["href"])


@pytest.mark.parametrize("form", ["", "json"])
def test_a_page_waits_until_its_file_goes_as_far_as_is_asked(tmp_path: Path, form: str) -> None:
    with closing(operator_book()) as book:
        file = copy(book, tmp_path / "audit.db")
        pages, held = visit({"operator": file}), book.store.head().position
        url = address("operator", "home", min_position=held + 2)
        url = form_of(url, form) if form else url

        late = pages.get(url)
        assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
        assert f"ends at position {held}, {held + 2} is asked for" in late.text

        assert book.submit(controls.open_wallet(currency="SEK")).recorded
        assert book.submit(controls.open_wallet(currency="NOK")).recorded
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(pages.get, url)
            copy(book, file)
            assert waiting.result().status_code == 200


def test_a_position_that_is_none_is_refused(pages: FlaskClient) -> None:
    url = address("operator", "home", min_position="soon")

    assert pages.get(form_of(url, "json")).status_code == 400
    assert "min_position: must be a position" in shown(pages, url, 400).text


@pytest.mark.parametrize(("at", "said"), [(28, []), (29, ["Frozen"]), (30, [])])
def test_a_wallet_says_whether_it_was_frozen_then(
    pages: FlaskClient, at: int, said: list[str]
) -> None:
    url = address("operator", "wallet", **WALLET, at=at)

    assert [node.words for node in shown(pages, url).all("span", class_="badge frozen")] == said
    assert plain(pages.get(form_of(url, "json")))["wallet"]["frozen"] is bool(said)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (address("provider", "home"), "The provider's book"),
        (address("provider", "events"), "Events 1 to 52 · provider’s book"),
        (
            address("operator", "round", **ROUND["operator"], at=3),
            "Round 5103188801 of LuckyMonaco as of event 3 · operator’s book",
        ),
        (
            address("operator", "wallet", **WALLET, at=6),
            "Wallet of 123456 in USD as of position 6 · operator’s book",
        ),
    ],
)
def test_a_title_says_of_whose_book_and_when_a_page_is(
    pages: FlaskClient, url: str, said: str
) -> None:
    assert shown(pages, url).one("head").one("title").words == f"{said} · Roundbook audit"


def test_the_title_of_what_is_wrong_names_the_field(pages: FlaskClient) -> None:
    title = shown(pages, "/audit/operator/event?position=x", 400).one("title").words

    assert title.startswith("400: position: must be a whole number")


def test_from_behind_the_last_event_one_goes_back_to_events(pages: FlaskClient) -> None:
    found = shown(pages, address("operator", "events", after=10**17))

    (back,) = {str(node.said("href")) for node in found.all("a", rel="prev")}
    assert table(shown(pages, back), "events")[1]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/audit/operator/home", 405)]
)
def test_what_audit_serve_does_not_answer_is_a_page_too(
    pages: FlaskClient, method: str, path: str, status: int
) -> None:
    answer = pages.open(path, method=method)
    found = read(answer.text)

    assert answer.status_code == status
    assert found.one("h1").words == str(status)
    assert "/audit" in found.links


def test_a_page_that_takes_no_post_says_what_it_takes(pages: FlaskClient) -> None:
    answer = pages.post("/audit/operator/home")

    assert answer.status_code == 405
    assert set(answer.allow) == {"GET", "HEAD", "OPTIONS"}


def test_of_an_empty_book_no_hash_is_to_be_computed(tmp_path: Path) -> None:
    with closing(operator_book(())) as book:
        pages = visit({"operator": copy(book, tmp_path / "audit.db")})
    check = shown(pages, address("operator", "chain", after=0)).id("check")

    assert (check.all("form"), check.one("p").words) == ([], "The book is empty.")
