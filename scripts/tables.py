"""Tables as people read them: aligned, every cell plain text, whole where it is to be copied."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 500
"""Columns, where no terminal sets them: every row stays on its own line."""


def show(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None
) -> None:
    """Prints a table; what does not fit is folded, never cut."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as plain text: an id may look like markup
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
