"""The pages under /audit: a view of an audit file as HTML, and each of its tables as JSON, CSV or lines."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from apiflask import APIBlueprint
from flask import Response, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as Redirect

from api.audit import links
from api.audit.door import Door, inside
from api.audit.shelf import Behind, NotKept, Shelf
from api.audit.views import SHOWN, VIEWS, Elsewhere, Look, View, report
from api.fresh import NotYet, await_position
from api.http import json_response, log_defect
from api.problems import later, problem, unasked
from ledger.refusals import Malformed
from projections.as_of import Damaged, NotThere
from projections.forms import Report, as_csv, as_lines, as_plain
from projections.reports import RoundUnknown

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FORMS = ("json", "csv", "jsonl")
MOST_LOGIN = 8 * 1024

WRONG: dict[type[Exception], tuple[int, str]] = {
    NotThere: (404, "not-there"),
    RoundUnknown: (404, "not-there"),
    NotKept: (503, "no-audit-file"),
    Behind: (503, "no-audit-file"),
    NotYet: (503, "behind"),
    Damaged: (409, "damaged"),
}
"""How what cannot be told of an audit file is answered, on a page and as JSON."""


def pages(shelf: Shelf, door: Door | None) -> APIBlueprint:
    """Returns the pages over the files of a shelf; without a door they are open to all."""
    blueprint = APIBlueprint(
        "audit",
        __name__,
        url_prefix="/audit",
        template_folder="templates",
        static_folder="static",
        enable_openapi=False,  # for people
    )
    blueprint.before_request(lambda: _guarded(door))
    blueprint.after_app_request(_private)
    blueprint.context_processor(
        lambda: {"door": door, "parties": list(shelf.files), **_party(shelf)}
    )
    blueprint.app_template_global("page")(links.page)
    blueprint.app_template_global("shown")(links.shown)

    first = next(iter(shelf.files))
    blueprint.add_url_rule("", "root", lambda: redirect(links.page(first, "home")))
    blueprint.add_url_rule("/", "slash", lambda: redirect(links.page(first, "home")))
    if door:
        _add_door(blueprint, door)
    for name, view in VIEWS.items():
        _add(blueprint, shelf, name, name, view)
    _add(blueprint, shelf, "reports/<name>", "report", report)
    blueprint.add_url_rule("/<path:rest>", "nowhere", _nowhere)
    for wrong, (status, word) in WRONG.items():
        blueprint.register_error_handler(wrong, _answered(status, word))
    blueprint.register_error_handler(Malformed, _unasked)
    blueprint.register_error_handler(Elsewhere, lambda there: redirect(there.url))
    blueprint.register_error_handler(HTTPException, refused)
    blueprint.register_error_handler(Exception, _defect)
    return blueprint


def _party(shelf: Shelf) -> dict[str, str]:
    """Returns whose book the address names, where it is one of ours: of what is wrong there too."""
    named = request.path.removeprefix("/audit/").partition("/")[0]
    return {"party": named} if named in shelf.files else {}


def _add(
    blueprint: APIBlueprint, shelf: Shelf, path: str, page: str, view: Callable[..., View]
) -> None:
    def shown(party: str, form: str = "", **named: str) -> Response | str:
        return _shown(shelf, party, page, partial(view, **named), form)

    blueprint.add_url_rule(f"/<party>/{path}", page, shown)
    blueprint.add_url_rule(f"/<party>/{path}.<form>", f"{page}_as", shown)


# the door


def _guarded(door: Door | None) -> Redirect | None:
    """Shows strangers the login, and nothing else but what it is made of."""
    free = ("audit.login", "audit.enter", "audit.static")
    if door is None or request.endpoint in free or door.admits(request):
        return None
    if _wants_html():
        here = request.full_path if request.query_string else request.path
        back = f"?{urlencode({'next': here})}" if request.method == "GET" else ""
        return redirect(f"/audit/login{back}")
    return problem(
        401, "credential-wrong", "the auditor's token is needed: Authorization: Bearer ..."
    )


def _add_door(blueprint: APIBlueprint, door: Door) -> None:
    @blueprint.get("/login")
    def login() -> str:
        return render_template("login.html", next=inside(request.args.get("next", "")), wrong=False)

    @blueprint.post("/login")
    def enter() -> Any:
        request.max_content_length = MOST_LOGIN  # a stranger's is not read at length
        target = inside(request.form.get("next", ""))
        role = door.role(request.form.get("token", "").strip())
        if role is None:
            return render_template("login.html", next=target, wrong=True), 401
        response = redirect(target, 303)
        door.begin(response, role)
        return response

    @blueprint.post("/logout")
    def logout() -> Any:
        response = redirect("/audit/login", 303)
        door.end(response)
        return response


# answers


def _shown(
    shelf: Shelf, party: str, page: str, view: Callable[[Look], View], form: str
) -> Response | str:
    if party not in shelf.files or form not in ("", *FORMS):
        raise NotThere("there is no such page")
    await_position(partial(shelf.reached, party))
    limit = -1 if form else SHOWN + 1
    with shelf.reading(party) as db:
        look = Look(db, party, str(shelf.files[party]), request.args, shelf.head(party), limit)
        made = view(look)
        if form:
            return _exported(made, form)
        return render_template(f"{page}.html", view=made, address=_address, **made.drawn)


def _address(form: str = "", **changed: Any) -> str:
    """Returns where this page is, with some of its question changed, or in another form."""
    query = {**request.args.to_dict(), **changed}
    known = {field: value for field, value in query.items() if value is not None}
    path = f"{request.path}.{form}" if form else request.path
    return path + (f"?{urlencode(known)}" if known else "")


def _exported(made: View, form: str) -> Response:
    """Returns the page's tables: as JSON all of them and its facts, or the one that is named."""
    named = request.args.get("table")
    if named is not None and named not in made.tables:
        raise NotThere(f"there is no table {named}: {', '.join(made.tables) or 'none'}")
    if form == "json" and named is None:
        tables = {name: as_plain(table) for name, table in made.tables.items()}
        return json_response({"title": made.title, **made.facts, "tables": tables})
    table = made.tables.get(named or next(iter(made.tables), ""), Report(made.title, (), ()))
    if form == "json":
        return json_response(as_plain(table))
    if form == "csv":
        response = Response(as_csv(table), mimetype="text/csv")
    else:
        response = Response(as_lines(table), mimetype="application/jsonl")
    file = (
        f"{request.path.rpartition('/')[2].partition('.')[0]}{f'-{named}' if named else ''}.{form}"
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
    return response


def _private(response: Response) -> Response:
    if not request.path.startswith("/audit"):
        return response
    response.headers.update(HEADERS)
    if request.endpoint == "audit.static":
        response.headers["Cache-Control"] = "no-cache"
    return response


def _wants_html() -> bool:
    return not request.path.endswith(tuple(f".{form}" for form in FORMS)) and (
        "Authorization" not in request.headers
    )


def _nowhere(rest: str) -> Response:
    return _wrong(404, "not-there", f"there is no page {rest}")


def _wrong(status: int, word: str, text: str) -> Response:
    if _wants_html():
        response = Response(render_template("wrong.html", status=status, text=text), status)
    else:
        response = problem(status, word, text)
    return later(response) if status == HTTPStatus.SERVICE_UNAVAILABLE else response


def _unasked(error: Malformed) -> Response:
    return _wrong(400, error.word, str(error)) if _wants_html() else unasked(error)


def _answered(status: int, word: str) -> Callable[[Exception], Response]:
    return lambda error: _wrong(status, word, str(error))


def refused(error: HTTPException) -> Response:
    """Returns what is no page, or is not asked for as one."""
    word = (error.name or "error").casefold().replace(" ", "-")
    response = _wrong(error.code or 500, word, error.name)
    response.headers.extend([said for said in error.get_headers() if said[0] == "Allow"])
    return response


def _defect(error: Exception) -> Response:
    log_defect(error)
    return _wrong(500, "defect", "we failed; the log has it")
