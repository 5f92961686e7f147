"""What every request shares: a strict body, plain JSON answers, paths in any case, one log line."""

import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from traceback import extract_tb
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from apiflask import APIBlueprint, APIFlask, Schema
from apiflask.schema_adapters.marshmallow import parser
from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import MapAdapter, PathConverter

from api.credentials import IN_QUERY
from ledger.reader import MOST_BYTES, NotJson, read
from ledger.refusals import Breakdown, CredentialWrong, Malformed, OutcomeUnknown, Refusal

JSON = "application/json"
WRITES = frozenset({"POST", "PUT"})
"""The methods that may change something."""

UNANSWERED = {
    400: ("Not JSON", 57, "body: the body is not a JSON object"),
    401: ("No partner", 401, "{pair} is wrong"),
    413: ("Too large", 57, "body: the body is larger than 64 KiB"),
}
"""What never became a partner's call, by HTTP status: why, the code and the description."""

_encode = msgspec.json.Encoder().encode


UNTOLD = (
    "AUTO_AUTH_ERROR_RESPONSE",
    "AUTO_VALIDATION_ERROR_RESPONSE",
    "AUTO_404_RESPONSE",
)
"""What APIFlask would put into /docs by itself: answers that are not ours."""


class StrictRequest(Request):
    """A request whose JSON is read by the strict reader, whatever its content type says."""

    # one more, because a body in chunks is cut at the limit without a word
    max_content_length = MOST_BYTES + 1

    def get_json(self, *_: Any, **__: Any) -> dict[str, Any]:
        return read(self.whole())

    def whole(self) -> bytes:
        """Returns the body. Raises RequestEntityTooLarge."""
        body = self.get_data()
        if len(body) > MOST_BYTES:
            raise RequestEntityTooLarge
        return body


class App(APIFlask):
    """Flask, without what no request here needs: views that are coroutines, and the host for routing."""

    request_class = StrictRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        environ, path = request.environ, request.environ["PATH_INFO"]
        if not path.isascii():  # PEP 3333 has each byte a character
            path = path.encode("latin-1").decode("utf-8", "replace")
        return MapAdapter(
            self.url_map,
            environ.get("HTTP_HOST", "localhost"),
            script_name=f"{environ.get('SCRIPT_NAME', '').rstrip('/')}/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=path,
            default_method=environ["REQUEST_METHOD"],
            query_args=environ.get("QUERY_STRING", ""),
        )


class Described(Protocol):
    """What /docs say of a call; `answer` does it in its docstring."""

    @property
    def path(self) -> str: ...
    @property
    def schema(self) -> Schema: ...
    @property
    def answer(self) -> Callable[..., Any]: ...
    @property
    def example(self) -> dict[str, Any]: ...


class IdInPath(PathConverter):
    """An id in a path: it may hold slashes, and begin with one; they come percent-encoded."""

    regex = ".+?"
    part_isolating = False


@parser.location_loader("json")
def _load_json(incoming: Request, _: Any) -> Any:
    return incoming.get_json()


def add_call(
    blueprint: APIBlueprint,
    path: str,
    view: Callable[[], Response],
    call: Described,
    *,
    other: Described | None = None,
    pair: str = IN_QUERY,
    text: bool = False,
    security: Any = None,
) -> None:
    """Adds a partner's call to the paths, and to /docs; its view reads its body itself, without wrappers.

    `other`: what else a body on this path may be; `pair`: what its credential is called; `text`: the
    error code is text though it never became a call.
    """
    answers = {200: ("Answered", call.example)}
    for status, (why, code, description) in UNANSWERED.items():
        said = description.format(pair=pair)
        answers[status] = why, {"error": str(code) if text else code, "description": said}
    told: Any = {
        status: {"description": why, "content": {JSON: {"example": example}}}
        for status, (why, example) in answers.items()
    }
    summary = (call.answer.__doc__ or "").rstrip(".")
    described = blueprint.doc(summary=summary, responses=told, security=security)(
        blueprint.input(call.schema, validation=False)(view)
    )
    spec = vars(view)["_spec"] = vars(described)["_spec"]
    if other:
        spec["body"] = {"anyOf": [call.schema, other.schema]}
    blueprint.add_url_rule(path, call.path, view, methods=["POST"])


def encoded(body: Any) -> bytes:
    """Returns a value as a line of JSON, keys in the order given."""
    return _encode(body) + b"\n"


def json_response(body: Any, status: int = 200, *, mimetype: str = JSON) -> Response:
    """Returns a value as JSON."""
    return Response(encoded(body), status, mimetype=mimetype)


class Reply(NamedTuple):
    """JSON that answers a request; for the log the code, and what it is about."""

    status: int
    body: bytes
    code: int = 0
    about: dict[str, Any] | None = None


def denial_of(error: Exception, *, advice: str) -> tuple[Refusal | Breakdown, int]:
    """Returns what a partner's call is denied with, and the HTTP status; `advice` where the failure is ours."""
    match error:
        case NotJson():
            return Malformed(str(error), field="body"), 400
        case RequestEntityTooLarge():
            return Malformed("the body is larger than 64 KiB", field="body"), 413
        case CredentialWrong():
            return error, 401
        case Refusal() | Breakdown():
            return error, 200
    log_defect(error)
    return OutcomeUnknown(advice), 200


Direct = Callable[[bytes, bytes], Reply]
"""What answers a path without Flask, from a request's query and body."""


def body_of(answer: Iterable[bytes]) -> bytes:
    """Returns all that a WSGI application answers, and closes it."""
    try:
        return b"".join(answer)
    finally:
        close = getattr(answer, "close", None)
        if close:
            close()


class AnyCase:
    """Lets the paths of the wallet answer in any letter case: `/v4/cancel` is `/V4/Cancel`."""

    def __init__(self, app: Any, paths: Iterable[str]) -> None:
        self._app = app
        self._paths = {path.lower(): path for path in paths}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # each byte is a character here, and none above ASCII has one of ASCII as its other case
        environ["PATH_INFO"] = self._paths.get(path.lower(), path)
        # a list goes out at once; any other iterable costs the server a second turn
        return [body_of(self._app(environ, start_response))]


class ToldByBody:
    """Sends a path to another where the body has a key: two parties' calls may differ in case only."""

    def __init__(self, app: Any, *, path: str, key: str, instead: str) -> None:
        self._app = app
        self._path, self._key, self._instead = path, key.casefold(), instead

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == self._path and self._has_key(environ):
            environ["PATH_INFO"] = self._instead
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def _has_key(self, environ: dict[str, Any]) -> bool:
        asked = Request(environ)
        if (asked.content_length or 0) > MOST_BYTES:
            return False
        body = asked.stream.read(MOST_BYTES + 1)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            return self._key in {key.casefold() for key in read(body)}
        except (NotJson, Refusal):
            return False


UNREAD = frozenset({401, 403, 404, 405, 413})
"""Answered before the body was read, so that a stranger cannot hold a thread with a slow one."""


def close_unread(response: Response) -> Response:
    """Says that the connection ends, where what is left of the body makes the server end it."""
    if response.status_code in UNREAD:
        response.headers["Connection"] = "close"
    return response


# the log


def log_requests(app: Flask, hide: Callable[[Any], Any]) -> None:
    """Logs one structured line a request to standard error: the path, never the query.

    A query whose `?` was percent-encoded is a path: `hide` takes the credentials out of what is logged.
    """

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def line(response: Response) -> Response:
        _log_request(
            g.started,
            request.method,
            str(hide(request.path)),
            response.status_code,
            g.get("code", 0),
            g.get("about"),
        )
        return response


def logged(path: str, direct: Direct) -> Direct:
    """Returns what answers a path, and logs the same line of it."""

    def answered(query: bytes, body: bytes) -> Reply:
        started = time.perf_counter()
        reply = direct(query, body)
        _log_request(started, "POST", path, reply.status, reply.code, reply.about)
        return reply

    return answered


def _log_request(
    started: float, method: str, path: str, status: int, code: int, about: dict[str, Any] | None
) -> None:
    _write(
        "request",
        method=method,
        path=path,
        **{key: value for key, value in (about or {}).items() if value is not None},
        error=code,
        status=status,
        ms=round((time.perf_counter() - started) * 1000, 3),
    )


def log_defect(defect: Exception) -> None:
    """Logs our own failure: what kind, where, and its text."""
    last = extract_tb(defect.__traceback__, limit=-1)
    where = "".join(f"{frame.filename}:{frame.lineno}" for frame in last)
    _write("defect", kind=type(defect).__name__, detail=str(defect), where=where)


def warn(event: str, **said: str | int) -> None:
    """Logs what whoever runs the service should know before it hurts."""
    _write(event, **said)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            detail = record.getMessage()
        except Exception as error:  # noqa: BLE001  (a library's own slip must not hurt who called it)
            detail = f"{record.msg} ({type(error).__name__})"
        if (record.name, detail.rpartition(": ")[2]) == NO_NEWS:
            return
        _write(
            "library",
            name=record.name,
            level=record.levelname.lower(),
            detail=LEFT_OUT if _MAY_BE_SECRET.search(detail) else detail,
        )


NO_NEWS = ("psycopg", "pipeline aborted")
"""Follows on an error that was raised: where that was a wrong presumption, all is well."""

LEFT_OUT = "left out, for it may hold a password"
_MAY_BE_SECRET = re.compile(
    r"://\S*@|(pass\w*|secret\w*|tokens?|hash|authorization)['\"]?\s*[=:]|\bbearer\s",
    re.IGNORECASE,
)
"""An address with who connects, a field by its name, a header: what libraries quote them in."""

_LINES = _Lines(logging.WARNING)


def log_libraries() -> None:
    """Has what libraries warn of be lines like all others, in this process and those it forks."""
    logging.getLogger().addHandler(_LINES)


def log_for(book: str) -> None:
    """Has every line of this process say which of several books it is of."""
    _always["book"] = book


_always: dict[str, str] = {}


def _as_json(line: dict[str, Any], **_: Any) -> bytes:
    """Returns a line; what is no character, of a file's name in no UTF-8 say, stands escaped in it."""
    try:
        return _encode(line)
    except UnicodeEncodeError:
        return _encode({key: _escaped(said) for key, said in line.items()})


def _escaped(said: Any) -> Any:
    return said.encode(errors="backslashreplace").decode() if isinstance(said, str) else said


structlog.configure(
    processors=[
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.JSONRenderer(serializer=_as_json),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
    cache_logger_on_first_use=True,
)
_log = structlog.get_logger()


def _write(event: str, **said: Any) -> None:
    """A log that cannot be written must not turn a commit into an error."""
    with suppress(OSError, ValueError):
        _log.info(event, **_always, **said)
