from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.audit_pages import copy, operator_book, provider_book, visit


@pytest.fixture(scope="package")
def books() -> Iterator[dict[str, Any]]:
    made = {"operator": operator_book(), "provider": provider_book()}
    yield made
    for book in made.values():
        book.close()


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory, books: dict[str, Any]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("audit")
    return {party: copy(book, folder / f"{party}.audit.db") for party, book in books.items()}


@pytest.fixture(scope="package")
def pages(files: dict[str, Path]) -> FlaskClient:
    return visit(files)
