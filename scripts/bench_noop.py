"""The yardstick: a Flask route that parses the same body and answers constant JSON of the same size.

Example: python -m scripts.bench_noop PORT THREADS
"""

import sys

from flask import Flask, Response, request
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

ANSWER = (
    b'{"error":0,"description":"Success","currency":"USD","cash":"99999998.99",'
    b'"transactionId":"fc136c65-2dd5-554c-8a94-009bce1aa78c"}\n'
)

app = Flask("no-op")


@app.post("/V4/Bet")
def bet() -> Response:
    """Does nothing with a bet."""
    request.get_json()
    return Response(ANSWER, mimetype="application/json")


if __name__ == "__main__":
    port, threads = map(int, sys.argv[1:])
    Server(
        "scripts.bench_noop:app",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=1,
        blocking_threads=threads,
        log_level=LogLevels.error,
    ).serve()
