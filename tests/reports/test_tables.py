from functools import partial

import pytest
from rich.console import Console

from scripts import tables

COLUMNS = ("user", "opened_at", "cash")
ROWS = [("ada", "2026-11-22T11:43:56.980355Z", "9.50"), ("[b]", "", "1000.25")]


@pytest.fixture
def terminal(monkeypatch):
    def of(width):
        console = partial(Console, force_terminal=True, width=width, color_system=None)
        monkeypatch.setattr(tables, "Console", console)

    return of


def cells(line):
    return [cell[1:-1] for cell in line.split("│")[1:-1]]


def test_a_terminal_shows_numbers_right_justified(terminal, capsys):
    terminal(80)

    tables.show(COLUMNS, ROWS)

    lines = capsys.readouterr().out.splitlines()
    assert "opened at" in lines[1]
    assert [cells(line)[0] for line in lines[3:5]] == ["ada ", "[b] "]
    assert [cells(line)[2] for line in lines[3:5]] == ["   9.50", "1000.25"]


@pytest.mark.parametrize("width", [20, 46])
def test_a_table_that_is_too_wide_is_a_line_a_cell(terminal, capsys, width):
    terminal(width)

    tables.show(COLUMNS, ROWS, title="Wallets")

    assert capsys.readouterr().out.splitlines() == [
        *("Wallets", ""),
        *("user       ada", "opened at  2026-11-22T11:43:56.980355Z", "cash       9.50", ""),
        *("user       [b]", "opened at", "cash       1000.25", ""),
    ]


def test_a_table_that_fits_exactly_stays_one(terminal, capsys):
    terminal(80)
    tables.show(COLUMNS, ROWS)
    natural = max(map(len, capsys.readouterr().out.splitlines()))

    terminal(natural)
    tables.show(COLUMNS, ROWS)
    assert "┃" in capsys.readouterr().out

    terminal(natural - 1)
    tables.show(COLUMNS, ROWS)
    assert "┃" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "title", ["Round [/x] of y", "Round [red]9[/red]", "Round :smile:", "Round [b]"]
)
def test_a_title_is_what_it_says_whatever_is_in_it(title, capsys):
    tables.show(COLUMNS, ROWS, title=title)

    assert capsys.readouterr().out.splitlines()[0].strip() == title


def test_a_pipe_gets_a_table_as_ever_unless_it_is_wider_than_any(capsys):
    tables.show(COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert [cells(line)[2] for line in lines[3:5]] == ["9.50   ", "1000.25"]

    long = "x" * tables.WIDE
    tables.show(("id", "what"), [("1", long)])
    assert capsys.readouterr().out == f"id    1\nwhat  {long}\n\n"


def test_a_name_that_ends_with_a_space_keeps_it_in_a_line_a_cell(terminal, capsys):
    terminal(20)

    tables.show(COLUMNS, [("ada ", "2026-11-22T11:43:56.980355Z", "")])

    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[2]) == ("user       ada ", "cash")
