"""The load: calls over kept-alive connections from one thread; prints what it measured as JSON.

A closed loop: a connection sends its next bet when the last is answered, so that latency is that of
so many callers, not of a fixed rate.
Example: python -m scripts.bench_load PORT CONNECTIONS SECONDS [bets|evening]
"""

import gc
import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, NoReturn

from scripts.bench_bets import LOADS, MOST_BETS_A_SECOND, PAIR, Call

WARM_UP_S = 0.5
HEAD = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Request(NamedTuple):
    """A whole HTTP request, and what its answer has in it."""

    sent: bytes
    answered: bytes


class Connection:
    """A kept-alive connection, when its last call was sent, and what came back of the answer so far."""

    __slots__ = ("answer", "expected", "sent", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent, self.answer, self.expected = 0.0, b"", b""


def requests(calls: Iterable[Call]) -> list[Request]:
    """Returns calls as they are sent."""
    return [_request(call) for call in calls]


def _request(call: Call) -> Request:
    body = json.dumps(call.body, separators=(",", ":")).encode()
    head = f"POST {call.path}?{PAIR} {HEAD}Content-Length: {len(body)}\r\n\r\n"
    return Request(head.encode() + body, f'"error":{call.error},'.encode())


def drive(
    connections: Sequence[Connection], to_send: Iterator[Request], until: float
) -> list[float]:
    """Sends until a time of the performance counter or the last request; returns seconds of each.

    Exits where an answer is not HTTP 200 with the error that is expected.
    """
    clock, took = time.perf_counter, []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            _send(connection, next(to_send))
        waiting = len(connections)
        while waiting:
            for key, _ in selector.select(10) or _fail(b"no answer in 10 s"):
                connection = key.data
                connection.answer += connection.socket.recv(65536) or _fail(b"it was closed")
                now = clock()
                if not _whole(connection):
                    continue
                took.append(now - connection.sent)
                request = next(to_send, None) if now < until else None
                if request:
                    _send(connection, request)
                else:
                    waiting -= 1
    return took


def _send(connection: Connection, request: Request) -> None:
    connection.answer, connection.expected = b"", request.answered
    connection.sent = time.perf_counter()
    connection.socket.sendall(request.sent)


def _whole(connection: Connection) -> bool:
    head, _, body = connection.answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not length or len(body) < int(length[1]):
        return False
    if not (head.startswith(b"HTTP/1.1 200 ") and connection.expected in body):
        _fail(connection.answer)
    return True


def _fail(answer: bytes) -> NoReturn:
    sys.exit(f"the load stops: {answer.decode(errors='replace')}")


def measured(took: list[float], seconds: float, cpu_s: float) -> dict[str, float]:
    """Returns the figures of one run. `client_us` is this process's own CPU time a request."""
    took.sort()
    milliseconds = {
        f"{name}_ms": at_share(took, share)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
    }
    return {
        "requests": len(took),
        "seconds": round(seconds, 3),
        "requests_per_s": round(len(took) / seconds, 1),
        **milliseconds,
        "client_us": round(cpu_s / len(took) * 1e6, 1),
    }


def at_share(took: Sequence[float], share: float) -> float:
    """Returns the milliseconds behind which a share of seconds in order of size stand."""
    return round(took[int(len(took) * share)] * 1000, 3)


def main() -> None:
    """Warms up, measures, prints."""
    port, size, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    calls = LOADS[sys.argv[4] if len(sys.argv) > 4 else "bets"]()
    to_send = iter(requests(islice(calls, int((WARM_UP_S + seconds) * MOST_BETS_A_SECOND))))
    connections = [Connection(port) for _ in range(size)]
    gc.disable()
    drive(connections, to_send, time.perf_counter() + WARM_UP_S)
    began, cpu_began = time.perf_counter(), time.process_time()
    took = drive(connections, to_send, began + seconds)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    print(json.dumps(measured(took, seconds, cpu_s)))  # noqa: T201  (another process reads it)


if __name__ == "__main__":
    main()
