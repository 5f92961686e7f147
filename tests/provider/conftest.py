from collections.abc import Iterator

import pytest

from ledger.provider.book import Book
from tests.provider import examples


@pytest.fixture
def clock() -> examples.Clock:
    return examples.Clock()


@pytest.fixture
def book(store_url: str, clock: examples.Clock) -> Iterator[Book]:
    opened = examples.new_book(store_url, now=clock)
    yield opened
    opened.close()
