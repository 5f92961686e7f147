import shutil
from contextlib import closing
from pathlib import Path

import pysqlite3
import pytest

from tests.audit_pages import form_of, shown, visit
from tests.audit_pages.test_pages import PAGES

LOOSE = "update sqlite_schema set sql = substr(sql, 1, instr(sql, ') strict')) where type = 'table'"
"""Columns that take any value: of tables with a rowid alone, the others keep what they are."""


def with_wrong_type(file: Path, own: Path, statement: str) -> Path:
    shutil.copy(file, own)
    with closing(pysqlite3.connect(own)) as db:
        db.execute("pragma writable_schema = on")
        db.execute(f"{LOOSE} and sql like '%) strict'")
        db.execute("pragma writable_schema = reset")
        db.execute(statement)
        db.commit()
    return own


@pytest.mark.parametrize(
    ("party", "statement"),
    [
        ("operator", "update events set clock = x'ff' where position = 4"),
        ("operator", "update events set version = 'x' where position = 4"),
        ("operator", "update bets set amount = 'x'"),
        ("operator", "update reversals set scale = 1e300"),
        ("operator", "update audit set updated_at = x'ff'"),
        ("operator", "update audit set position = 'x'"),
        ("operator", "update seals set key = x'ff'"),
        ("provider", "update events set version = 'x' where position = 2"),
    ],
)
def test_a_page_of_a_file_whose_columns_are_of_wrong_types_says_so_and_what_to_do(
    files: dict[str, Path], tmp_path: Path, party: str, statement: str
) -> None:
    own = with_wrong_type(files[party], tmp_path / "own.db", statement)
    pages = visit({party: own})

    urls = [url for url in PAGES if url.split("/")[2] == party]
    statuses = {url: pages.get(url).status_code for url in urls}

    assert set(statuses.values()) <= {200, 404, 409}
    damaged = [url for url, status in statuses.items() if status == 409]
    assert damaged
    for url in damaged:
        words = shown(pages, url, 409).one("p", class_="alarm").words
        assert words.startswith("own.db is damaged, ")
        assert words.endswith("move it away, and make it anew with `roundbook audit-file`")
        answer = pages.get(form_of(url, "json"))
        said = (answer.status_code, answer.mimetype)
        assert said in ((409, "application/problem+json"), (200, "application/json"))
