"""A table to be read, and the forms it is given out in."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from ledger.money import to_text

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
QUOTED = re.compile(r'[",\r\n]')
"""What a cell of CSV is not written with as it is: a spreadsheet ends a row at a carriage return alone, too."""

Cell = str | int | None
Row = tuple[Cell, ...]


class Report(msgspec.Struct, frozen=True):
    """A table to be read. Amounts are decimal text; `holds`: no variance is other than zero."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    holds: bool = True

    @property
    def dicts(self) -> list[dict[str, Cell]]:
        """The rows, each by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def as_plain(report: Report) -> dict[str, Any]:
    """Returns a report as JSON values."""
    return {**msgspec.structs.asdict(report), "rows": report.dicts}


def as_lines(report: Report) -> bytes:
    """Returns a report as JSON, a line a row."""
    return msgspec.json.Encoder().encode_lines(report.dicts)


def as_csv(report: Report) -> str:
    """Returns a report as CSV, in which no spreadsheet finds a formula."""
    rows = ([inert(said(cell)) for cell in row] for row in report.rows)
    return "".join(f"{','.join(map(_quoted, row))}\n" for row in (report.columns, *rows))


def _quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"' if QUOTED.search(cell) else cell


def said(cell: Cell) -> str:
    """Returns a cell as text."""
    return "" if cell is None else str(cell)


def plain(text: str) -> str:
    """Returns a text that does nothing to a terminal but stand there."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def decimals(scale: int | None, minors: Iterable[int | None]) -> Iterator[str | None]:
    """Yields minor units as decimals; None where there is no amount, or no scale to say it in."""
    for minor in minors:
        yield None if minor is None or scale is None else to_text(minor, scale)


def inert(cell: str) -> str:
    """Returns a cell that no spreadsheet takes for a formula; a number below zero stays a number."""
    return f"'{cell}" if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell) else cell
