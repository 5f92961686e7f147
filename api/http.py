"""What every request shares: a strict body, plain JSON answers, paths in any case, one log line."""

import logging
import sys
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from apiflask.schema_adapters.marshmallow import parser
from flask import Flask, Request, Response, g, request

from api.reader import MOST_BYTES, read

_encode = msgspec.json.Encoder().encode


class StrictRequest(Request):
    """A request whose JSON is read by the strict reader, whatever its content type says."""

    max_content_length = MOST_BYTES

    def get_json(self, *_: Any, **__: Any) -> dict[str, Any]:
        return read(self.get_data())


@parser.location_loader("json")
def _load_json(incoming: Request, _: Any) -> Any:
    return incoming.get_json()


def json_response(body: Any, status: int = 200, *, mimetype: str = "application/json") -> Response:
    """Returns a value as JSON, keys in the order given."""
    return Response(_encode(body) + b"\n", status, mimetype=mimetype)


class AnyCase:
    """Lets the paths of the wallet answer in any letter case: `/v4/cancel` is `/V4/Cancel`."""

    def __init__(self, app: Any, paths: Iterable[str]) -> None:
        self._app = app
        self._paths = {path.casefold(): path for path in paths}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        environ["PATH_INFO"] = self._paths.get(path.casefold(), path)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


# the log


def note(call: str, fields: dict[str, Any]) -> None:
    """Says what the request's log line is about; never a credential."""
    g.about = {
        "call": call,
        "provider": fields["providerId"],
        "user": fields["userId"],
        "round": fields.get("roundId"),
        "reference": fields.get("reference"),
    }


def log_requests(app: Flask) -> None:
    """Logs one structured line a request to standard error: the path, never the query."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.JSONRenderer(serializer=lambda line, **_: _encode(line)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger()

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def line(response: Response) -> Response:
        said = g.get("about") or {}
        log.info(
            "request",
            method=request.method,
            path=request.path,
            **{key: value for key, value in said.items() if value is not None},
            error=g.get("code", 0),
            status=response.status_code,
            ms=round((time.perf_counter() - g.started) * 1000, 3),
        )
        return response


def log_defect(defect: Exception) -> None:
    """Logs our own failure: what kind, where, and its text."""
    structlog.get_logger().error(
        "defect", kind=type(defect).__name__, detail=str(defect), where=_where(defect)
    )


def _where(defect: BaseException) -> str:
    trace = defect.__traceback__
    if trace is None:
        return ""
    while trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
