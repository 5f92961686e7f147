import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from ledger.operator.book import Book
from ledger.operator.house import House
from ledger.projection import Projection
from ledger.store import memory
from ledger.store.postgres import PostgresStore
from scripts.private_postgres import wheels
from tests import controls
from tests.postgres import Books, Given, running

settings.register_profile("roundbook", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("roundbook")


def pytest_configure(config: pytest.Config) -> None:
    """A store in memory that a test leaves open costs nothing; on PostgreSQL its connection says so."""
    if ON_POSTGRES:
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


ON_POSTGRES = os.environ.get("ROUNDBOOK_TEST_STORE") == "postgres"


@pytest.fixture(scope="session", autouse=True)
def every_store() -> Iterator[None]:
    """ROUNDBOOK_TEST_STORE=postgres: what says memory:// runs on a schema of PostgreSQL instead."""
    if not ON_POSTGRES:
        yield
        return
    with running(QUICK) as cluster, pytest.MonkeyPatch.context() as patch:

        def in_a_schema(projections: Sequence[Projection]) -> PostgresStore:
            return PostgresStore(cluster.new_book(), projections)

        patch.setattr(memory, "MemoryStore", in_a_schema)
        yield


QUICK = "-c fsync=off -c max_connections=200"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Books]:
    """The one that ROUNDBOOK_TEST_POSTGRES names, else one of our own."""
    given = os.environ.get("ROUNDBOOK_TEST_POSTGRES")
    if given:
        yield Given(given)
        return
    with running(QUICK) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def newest_postgres() -> Iterator[Books]:
    """The wheel's, which is of a later version than Debian's."""
    with running(QUICK, programs=wheels()) as cluster:
        yield cluster


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/book.db"
    cluster: Books = request.getfixturevalue("postgres")
    return cluster.new_book()


@pytest.fixture
def open_book(store_url: str) -> Iterator[Callable[..., Book]]:
    opened: list[Book] = []

    def opener(*, house: House | None = None) -> Book:
        book = controls.new_book(store_url, house=house)
        controls.fund(book)
        opened.append(book)
        return book

    yield opener
    for book in opened:
        book.close()


@pytest.fixture
def book(open_book: Callable[..., Book]) -> Book:
    return open_book()


@pytest.fixture
def seed() -> str:
    found = os.environ.get("ROUNDBOOK_SEED") or str(random.randrange(10**9))
    sys.stdout.write(f"ROUNDBOOK_SEED={found}\n")
    return found
