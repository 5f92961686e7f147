"""No wait for a PostgreSQL server is without end: not for a connection, and not for an answer."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

CONNECT_S = 3
STATEMENT_S = 5
LOCK_WAIT_S = 5
ANSWER_S = STATEMENT_S + 1.0
"""A server that runs answers by then, if only that it took too long; one that is frozen says nothing, ever."""

LOST_S = 1.0
"""A read that failed sooner met a connection that its server had ended, and is asked again; a later one is not."""

LOOK_S = 0.25

TCP: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
"""What libpq waits at most: a server that is gone is noticed."""

WAITS = (
    f"-c statement_timeout={STATEMENT_S}s -c lock_timeout={LOCK_WAIT_S}s"
    " -c idle_in_transaction_session_timeout=30s"
)


class Hosts:
    """The servers an address names: who answered last is asked first, so that one that hangs costs its wait once."""

    def __init__(self, address: str) -> None:
        said = conninfo_to_dict(address)
        names, ports = (str(said.get(key) or "").split(",") for key in ("host", "port"))
        self._address, self._options = address, said.get("options") or ""
        ports = ports * len(names) if len(ports) == 1 else ports
        plain = "hostaddr" not in said and len(names) == len(ports)  # else the driver's own affair
        self._hosts = list(zip(names, ports, strict=True)) if plain else []

    def connect(self, options: str = "", **how: Any) -> psycopg.Connection[Any]:
        """Returns a new connection to the first that takes one. Raises psycopg's OperationalError.

        `options`: for the session, more than the address has, and before those.
        """
        hosts, how = self._hosts, {**how, "options": f"{self._options} {options}"}
        if len(hosts) < 2:
            return psycopg.connect(self._address, **how)
        host, port = (",".join(parts) for parts in zip(*hosts, strict=True))
        connection = psycopg.connect(self._address, host=host, port=port, **how)
        answered = connection.info.host, str(connection.info.port)
        self._hosts = sorted(hosts, key=lambda each: (each[0], each[1] or answered[1]) != answered)
        return connection


class Watch:
    """Cuts the connections on which an answer takes longer than it may; whoever waits there gets an error."""

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._since: dict[psycopg.Connection[Any], float] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Watches one question on a connection."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()
        self._since[connection] = time.monotonic()
        try:
            yield
        finally:
            del self._since[connection]

    def close(self) -> None:
        """Stops watching."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            late = time.monotonic() - self._answer_s
            for connection, since in list(self._since.items()):
                if since < late:
                    _cut(connection)


def is_silent(connection: psycopg.Connection[Any]) -> bool:
    """Returns whether an idle connection has nothing to say: that its server ended it, as a rule."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return not waiting.poll(0)


def _cut(connection: psycopg.Connection[Any]) -> None:
    """Ends a connection under whoever waits on it: to close it is theirs."""
    with (
        suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as ours,
    ):
        ours.shutdown(socket.SHUT_RDWR)
