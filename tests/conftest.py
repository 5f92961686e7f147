from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ledger.operator.book import Book
from ledger.operator.house import House
from tests import controls
from tests.postgres import Cluster, running

settings.register_profile("roundbook", deadline=None, print_blob=True, derandomize=False)
settings.load_profile("roundbook")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    with running("-c fsync=off -c max_connections=200") as cluster:
        yield cluster


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/book.db"
    cluster: Cluster = request.getfixturevalue("postgres")
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
