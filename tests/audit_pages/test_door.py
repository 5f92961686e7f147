import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import itsdangerous.timed
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from api import close, create_app
from api.audit.pages import FORMS, HEADERS
from api.configuration import settle
from projections.audit_file import open_audit_file
from scripts import audit_serve as command
from scripts.audit_serve import audit_serve
from tests.audit_pages import PARTIES, address, form_of, shown, visit
from tests.audit_pages.test_pages import PAGES
from tests.http import wire

COOKIE = "roundbook_audit"
GAME, OTHER = "game-canary-5f1d", "another-canary-77aa"
ADMIN, AUDITOR = "admin-canary-0f1e2d3c", "auditor-canary-1a2b3c4d"
HOME = address("operator", "home")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

Serve = Callable[..., Flask]


def document(folder: Path, **changes: Any) -> dict[str, Any]:
    tokens = {"admin": {"token": ADMIN}, "auditor": {"token": AUDITOR}}
    return {
        **wire.document(f"sqlite:///{folder}/operator.db", **tokens),
        "provider_book": {"store": f"sqlite:///{folder}/provider.db", "token": GAME},
        **changes,
    }


@pytest.fixture(scope="module")
def serve(files: dict[str, Path]) -> Iterator[Serve]:
    with ExitStack() as opened:

        def application(
            *, audit: dict[str, Any] | None = None, without: str = "", **changes: Any
        ) -> Flask:
            said = document(files["operator"].parent, **changes)
            said.pop(without, None)
            said["audit"] = {"keep": False, **(audit or {})}
            app = create_app(settle(said, {}))
            opened.callback(close, app)
            return app

        yield application


@pytest.fixture(scope="module")
def app(serve: Serve) -> Flask:
    return serve()


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def auditor(app: Flask) -> FlaskClient:
    return entered(app)


def entered(app: Flask, token: str = AUDITOR) -> FlaskClient:
    client = app.test_client()
    assert log_in(client, token).status_code == 303
    return client


def log_in(client: FlaskClient, token: str, target: str = "") -> Any:
    return client.post("/audit/login", data={"token": token, "next": target})


def session(client: FlaskClient) -> str:
    found = client.get_cookie(COOKIE, path="/audit")
    assert found
    return found.value


def shows(client: FlaskClient, session: str) -> bool:
    """Returns whether a session is let in, in a browser that had none."""
    fresh = client.application.test_client()
    fresh.set_cookie(COOKIE, session, path="/audit")
    return fresh.get(HOME).status_code == 200


def addresses(app: Flask) -> Iterator[tuple[str, str]]:
    """Yields every address under /audit that its map has a rule for, with a method of it."""
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/audit"):
            continue
        said = {
            "party": "operator",
            "name": "adjustments",
            "rest": "any/where",
            "filename": "audit.css",
        }
        for form in FORMS if "form" in rule.arguments else [""]:
            _, path = rule.build({**{n: said.get(n, form) for n in rule.arguments}}) or ("", "")
            for method in (rule.methods or set()) & {"GET", "POST"}:
                yield method, path


# strangers


def test_nothing_but_the_login_is_shown_to_a_stranger(app: Flask, stranger: FlaskClient) -> None:
    tried = list(addresses(app))
    assert len(tried) > 40
    for method, path in tried:
        answer = stranger.open(path, method=method)
        if path.startswith(("/audit/login", "/audit/static/")):
            assert answer.status_code in (200, 401)
        elif path.endswith(FORMS):
            assert (answer.status_code, answer.mimetype) == (401, "application/problem+json"), path
        else:
            assert answer.status_code == 302, path
            parts = urlsplit(answer.headers["Location"])
            assert (parts.netloc, parts.path) == ("", "/audit/login")
            assert parse_qs(parts.query) == ({"next": [path]} if method == "GET" else {})
        assert "operator.db" not in answer.text


def test_what_is_not_there_is_told_to_nobody_but_the_auditor(
    stranger: FlaskClient, auditor: FlaskClient
) -> None:
    for path in (
        "/audit/nobody/home",
        "/audit/operator/nothing",
        "/audit/operator/event?position=x",
    ):
        assert stranger.get(path).status_code == 302
        assert auditor.get(path).status_code in (400, 404)


@pytest.mark.parametrize(
    "token", ["", "nonsense", AUDITOR[:-1], f"{AUDITOR}x", AUDITOR.upper(), "\0", "é"]
)
def test_a_wrong_token_is_refused_and_begins_no_session(stranger: FlaskClient, token: str) -> None:
    answer = log_in(stranger, token)

    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "That is not the auditor’s token." in answer.text
    assert not token or token not in answer.text
    assert stranger.get(HOME).status_code == 302


def test_the_games_token_and_a_partners_do_not_admit(app: Flask, stranger: FlaskClient) -> None:
    for token in (GAME, "lm-token", "kyren-token"):
        assert log_in(stranger, token).status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert stranger.get(HOME, headers=bearer).status_code == 401


# the session


@pytest.mark.parametrize("token", [AUDITOR, ADMIN])
def test_the_auditors_token_and_the_admins_begin_a_session(app: Flask, token: str) -> None:
    client = app.test_client()
    answer = log_in(client, token)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/audit")
    assert client.get("/audit", follow_redirects=True).status_code == 200
    assert client.get(f"{HOME}.json").status_code == 200


@pytest.mark.parametrize("audit", [{"session_hours": 3}, {"session_hours": 3, "https": True}])
def test_the_cookie_is_for_these_pages_alone_and_out_of_reach_of_scripts(
    serve: Serve, audit: dict[str, Any]
) -> None:
    answer = log_in(serve(audit=audit).test_client(), AUDITOR)

    (said,) = answer.headers.getlist("Set-Cookie")
    morsel = SimpleCookie(said)[COOKIE]
    assert (morsel["path"], morsel["samesite"], morsel["max-age"]) == ("/audit", "Lax", "10800")
    assert morsel["httponly"]
    assert bool(morsel["secure"]) is audit.get("https", False)
    assert not morsel["domain"]
    assert AUDITOR not in said


def test_a_session_that_was_tampered_with_does_not_admit(auditor: FlaskClient) -> None:
    whole = session(auditor)
    role, stamp, signature = whole.split(".")
    assert shows(auditor, whole)

    for tampered in (
        "",
        ".",
        "..",
        role,
        f"admin.{stamp}.{signature}",
        f"nobody.{stamp}.{signature}",
        f".{stamp}.{signature}",
        f"{role}.{stamp}.",
        f"{role}.zzzzzz.{signature}",
        f"{role}.{stamp}.{signature[:-2]}",
        f"{role}.{stamp}.{signature.swapcase()}",
        f"{role}.{stamp}.{signature}.{signature}",
        f"{role}.x.{stamp}.{signature}",
        "x" * 3000,
    ):
        assert not shows(auditor, tampered), tampered


def test_a_session_that_another_key_signed_does_not_admit(auditor: FlaskClient) -> None:
    for key, salt in (
        (ADMIN, "roundbook audit session"),
        ("", "roundbook audit session"),
        (AUDITOR, "itsdangerous.Signer"),
    ):
        forged = TimestampSigner(key, salt=salt).sign("auditor").decode()
        assert not shows(auditor, forged)


def test_a_session_ends_after_its_hours(
    auditor: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, now = session(auditor), time.time()

    def at(moment: float) -> bool:
        clock = SimpleNamespace(time=lambda: moment)
        monkeypatch.setattr(itsdangerous.timed, "time", clock)
        return shows(auditor, whole)

    assert at(now + 8 * 3600 - 60)
    assert not at(now + 8 * 3600 + 5)
    assert not at(now - 60)


def test_another_token_ends_the_sessions_of_the_old_one_and_no_others(
    serve: Serve, auditor: FlaskClient
) -> None:
    admins = entered(auditor.application, ADMIN)
    changed = serve(auditor={"token": OTHER}).test_client()

    assert not shows(changed, session(auditor))
    assert shows(changed, session(admins))


def test_without_an_auditor_in_the_configuration_the_admin_may_look(serve: Serve) -> None:
    client = serve(without="auditor").test_client()

    assert log_in(client, AUDITOR).status_code == 401
    assert log_in(client, ADMIN).status_code == 303


def test_who_logs_out_has_to_log_in_again(auditor: FlaskClient) -> None:
    form = shown(auditor, HOME).one("form", class_="out")
    assert (form.said("method"), form.said("action")) == ("post", "/audit/logout")
    assert form.all("button")

    answer = auditor.post("/audit/logout")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/audit/login")
    (said,) = answer.headers.getlist("Set-Cookie")
    morsel = SimpleCookie(said)[COOKIE]
    assert (morsel.value, morsel["path"], morsel["max-age"]) == ("", "/audit", "0")
    assert auditor.get(HOME).status_code == 302


def test_a_link_does_not_log_anybody_out(auditor: FlaskClient) -> None:
    assert auditor.get("/audit/logout").status_code in (404, 405)
    assert auditor.get(HOME).status_code == 200


def test_who_logs_out_of_a_session_that_is_over_finds_a_page_after_the_login(
    stranger: FlaskClient,
) -> None:
    to_login = stranger.post("/audit/logout").headers["Location"]
    target = shown(stranger, to_login).one("input", type="hidden").said("value")

    answer = log_in(stranger, AUDITOR, target or "")
    assert stranger.get(answer.headers["Location"], follow_redirects=True).status_code == 200


# a bearer token


@pytest.mark.parametrize("token", [AUDITOR, ADMIN])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_admits_without_a_session(
    stranger: FlaskClient, scheme: str, token: str
) -> None:
    bearer = {"Authorization": f"{scheme} {token}"}

    assert stranger.get(f"{HOME}.json", headers=bearer).status_code == 200
    answer = stranger.get(HOME, headers=bearer)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "said", ["Bearer wrong", "Bearer", "Bearer ", "Basic YXVkaXRvcjo=", AUDITOR, "Bearer é"]
)
def test_another_bearer_token_is_401_as_a_problem(stranger: FlaskClient, said: str) -> None:
    for path in (HOME, f"{HOME}.json", "/audit/nothing"):
        answer = stranger.get(path, headers={"Authorization": said})
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
        assert answer.json
        assert answer.json["type"] == "urn:roundbook:credential-wrong"


def test_who_bears_a_token_reads_of_an_error_as_a_problem(stranger: FlaskClient) -> None:
    bearer = {"Authorization": f"Bearer {AUDITOR}"}
    for path, status in (("event?position=x", 400), ("nothing", 404), ("event?position=999", 404)):
        answer = stranger.get(f"/audit/operator/{path}", headers=bearer)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")


def test_a_wrong_bearer_token_is_refused_though_there_is_a_session(auditor: FlaskClient) -> None:
    assert auditor.get(HOME, headers={"Authorization": "Bearer wrong"}).status_code == 401


# where the login leads

KEPT = (
    "/audit",
    "/audit/operator/home",
    "/audit/operator/round?partner=a%26b%5Cc&round=1%2F2&at=3",
    "/audit/operator/search?q=%3Cscript%3E",
    "/audit/operator/search?q=a%0d%0ab",
    "/audit/provider/events.csv?after=5",
)
ELSEWHERE = (
    "//evil",
    "///evil",
    "https://evil",
    "https://evil/audit",
    "//evil/audit",
    "https:/audit",
    "https:audit",
    "/\\evil",
    "\\\\evil",
    "/audit\\@evil",
    "\t//evil",
    " //evil",
    "/\t/evil",
    "javascript:alert(1)",
    "data:text/html,x",
    "/audit\r\nSet-Cookie: a=b",
    "/audit\nx",
    "\0/audit",
    "/audit\u2028x",
    "audit",
    "/api/head",
    "/",
    "",
    "http://[",
)


@pytest.mark.parametrize("target", KEPT)
def test_the_login_leads_to_the_very_page_that_was_asked_for(
    stranger: FlaskClient, target: str
) -> None:
    if not urlsplit(target).path.endswith(FORMS):
        assert (
            stranger.get(target).headers["Location"]
            == f"/audit/login?{urlencode({'next': target})}"
        )
    login = shown(stranger, f"/audit/login?{urlencode({'next': target})}")
    assert login.one("input", type="hidden").said("value") == target

    answer = log_in(stranger, AUDITOR, target)

    assert (answer.status_code, answer.headers["Location"]) == (303, target)


def test_the_login_leads_to_a_question_that_ends_with_a_question_mark(
    stranger: FlaskClient,
) -> None:
    answer = stranger.get("/audit/operator/search?q=what?")

    assert parse_qs(urlsplit(answer.headers["Location"]).query)["next"] == [
        "/audit/operator/search?q=what?"
    ]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_login_leads_nowhere_else(stranger: FlaskClient, target: str) -> None:
    login = shown(stranger, f"/audit/login?{urlencode({'next': target})}")
    assert login.one("input", type="hidden").said("value") == "/audit"

    answer = log_in(stranger, AUDITOR, target)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/audit")
    assert len(answer.headers.getlist("Set-Cookie")) == 1


def test_a_wrong_token_keeps_where_the_login_leads(stranger: FlaskClient) -> None:
    answer = log_in(stranger, "wrong", KEPT[2])

    assert KEPT[2].replace("&", "&amp;") in answer.text


# what no answer holds, and every answer does


@pytest.fixture(scope="module")
def answers(app: Flask) -> list[Any]:
    """Answers of every kind, to an auditor and to a stranger."""
    client = entered(app)
    paths = [
        "/audit",
        "/audit/",
        "/audit/login",
        "/audit/nothing",
        "/audit/nobody/home.json",
        *PAGES,
    ]
    forms = [form_of(url, form) for url in PAGES for form in FORMS]
    return [
        *(client.get(path) for path in [*paths, *forms]),
        *(client.open(HOME, method=method) for method in ("HEAD", "OPTIONS")),
        client.get("/audit/operator/event?position=x"),
        log_in(client, "nonsense"),
        log_in(client, AUDITOR),
        client.post("/audit/logout"),
        client.get(HOME),
        client.get(f"{HOME}.csv"),
    ]


def test_every_answer_has_the_policy_and_is_kept_nowhere(answers: list[Any]) -> None:
    assert HEADERS["Content-Security-Policy"] == POLICY
    assert {answer.status_code for answer in answers} == {200, 302, 303, 400, 401, 404}
    for answer in answers:
        assert answer.headers.getlist("Content-Security-Policy") == [POLICY]
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_no_answer_says_a_token(answers: list[Any]) -> None:
    for answer in answers:
        said = answer.text + str(answer.headers) + answer.request.url
        for token in (AUDITOR, ADMIN, GAME, "lm-token"):
            assert token not in said


def test_what_pages_are_made_of_has_the_policy_and_is_asked_for_again(
    stranger: FlaskClient,
) -> None:
    for name in ("audit.css", "audit.js", "icon.svg"):
        answer = stranger.get(f"/audit/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        again = stranger.get(
            f"/audit/static/{name}", headers={"If-None-Match": answer.headers["ETag"]}
        )
        assert again.status_code == 304


@pytest.mark.parametrize(
    ("method", "path"), [("POST", HOME), ("DELETE", f"{HOME}.json"), ("GET", "/audit/a%0ab")]
)
def test_what_is_refused_before_a_page_has_the_policy_too(
    auditor: FlaskClient, method: str, path: str
) -> None:
    answer = auditor.open(path, method=method)

    assert answer.status_code in (404, 405)
    assert answer.headers.get("Content-Security-Policy") == POLICY
    assert answer.headers.get("Cache-Control") == "no-store"
    assert answer.headers.get("X-Content-Type-Options") == "nosniff"


def test_nothing_under_audit_can_be_written(auditor: FlaskClient, files: dict[str, Path]) -> None:
    before = {party: file.read_bytes() for party, file in files.items()}
    for url in PAGES[::4]:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert auditor.open(url, method=method).status_code == 405
        auditor.get(url)

    assert {party: file.read_bytes() for party, file in files.items()} == before


# audit-serve


@pytest.mark.parametrize("party", PARTIES)
def test_audit_serve_with_a_token_asks_for_it(files: dict[str, Path], party: str) -> None:
    client = visit({party: files[party]}, AUDITOR)
    home = address(party, "home")

    assert client.get(home).status_code == 302
    assert client.get(f"{home}.json").status_code == 401
    assert log_in(client, "wrong").status_code == 401
    assert log_in(client, AUDITOR).status_code == 303
    assert client.get(home).status_code == 200
    assert shown(client, home).all("form", class_="out")


def test_audit_serve_without_a_token_has_no_login_and_no_logout(
    files: dict[str, Path],
) -> None:
    client = visit(files)

    assert client.get(HOME).status_code == 200
    assert client.get("/audit/login").status_code == 404
    assert not shown(client, HOME).all("form", class_="out")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost:8081", 200),
        ("localhost", 200),
        ("evil.example", 400),
        ("evil.example:8081", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example", 400),
        pytest.param("[::1]:8081", 200),
    ],
)
def test_without_a_token_only_this_machines_names_lead_to_the_pages(
    files: dict[str, Path], host: str, status: int
) -> None:
    assert visit(files).get(HOME, headers={"Host": host}).status_code == status


def test_with_a_token_any_name_leads_to_the_login(files: dict[str, Path]) -> None:
    client = visit(files, AUDITOR)

    assert client.get(HOME, headers={"Host": "books.example"}).status_code == 302


class Served(Exception):
    pass


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> Callable[..., Any]:
    """Returns how the command ends that would serve: with Served, if it would."""

    def serves(*_: Any, **__: Any) -> None:
        raise Served

    monkeypatch.setattr(command.WebServer, "serve", serves)
    monkeypatch.setattr(command, "check_free", lambda *_: None)
    monkeypatch.delenv("ROUNDBOOK_AUDITOR_TOKEN", raising=False)

    def run(*words: Any, **environ: str) -> Any:
        return CliRunner().invoke(audit_serve, list(map(str, words)), env=environ)

    return run


def test_audit_serve_is_for_this_machine_where_it_asks_for_no_token(
    starts: Callable[..., Any], files: dict[str, Path]
) -> None:
    file = files["operator"]

    assert isinstance(starts(file).exception, Served)
    assert isinstance(starts(file, "--host", "::1").exception, Served)
    refused = starts(file, "--host", "0.0.0.0")
    assert (refused.exit_code, "give a --token" in refused.output) == (2, True)
    unset = starts(file, "--host", "0.0.0.0", ROUNDBOOK_AUDITOR_TOKEN="")
    assert (unset.exit_code, "give a --token" in unset.output) == (2, True)
    assert isinstance(starts(file, "--host", "0.0.0.0", "--token", "t").exception, Served)
    told = starts(file, "--host", "0.0.0.0", ROUNDBOOK_AUDITOR_TOKEN="t")
    assert isinstance(told.exception, Served)
    assert "t on" not in told.output


def test_an_empty_token_is_none(starts: Callable[..., Any], files: dict[str, Path]) -> None:
    refused = starts(files["operator"], "--host", "0.0.0.0", "--token", "")

    assert (refused.exit_code, "give a --token" in refused.output) == (2, True)


def test_audit_serve_takes_one_file_of_each_book(
    starts: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    assert isinstance(starts(files["operator"], files["provider"]).exception, Served)
    twice = starts(files["operator"], files["operator"])
    assert (twice.exit_code, "are both of the operator's book" in twice.output) == (2, True)
    assert starts().exit_code == 2
    refused = starts(tmp_path / "none.db").exception
    assert str(refused) == f"there is no {tmp_path}/none.db"
    with open_audit_file(files["operator"]) as db:  # it is only read
        assert db.execute("select count(*) from seals").fetchone() == (1,)
