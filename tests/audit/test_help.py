from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from scripts.cli import roundbook

WIDTH = 80


def verbs(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, verb in group.commands.items():
        yield (*before, name)
        if isinstance(verb, click.Group):
            yield from verbs(verb, *before, name)


VERBS = list(verbs(roundbook))


def shown(*verb: str) -> Any:
    return CliRunner().invoke(roundbook, [*verb, "--help"], terminal_width=WIDTH)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_an_example_is_one_line_that_can_be_pasted(verb: tuple[str, ...]) -> None:
    lines = shown(*verb).output.splitlines()
    (example,) = [number for number, line in enumerate(lines) if "Example: roundbook" in line]

    assert lines[example + 1] == ""
    assert len(lines[example]) <= WIDTH


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_is_plain_enough_for_any_terminal(verb: tuple[str, ...]) -> None:
    assert shown(*verb).output.isascii()


SERVES = {("serve",), ("worker",), ("audit-serve",)}
NO_MORE_THAN_A_FILE = {("prove",)}
GROUPS = {("keys",)}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_whatever_prints_data_prints_json_too(verb: tuple[str, ...]) -> None:
    prints = verb not in SERVES | NO_MORE_THAN_A_FILE | GROUPS

    assert ("--json" in shown(*verb).output) is prints


@pytest.mark.parametrize("group", [(), *(v for v in VERBS if len(v) == 1)], ids=" ".join)
def test_no_summary_is_cut(group: tuple[str, ...]) -> None:
    _, _, summaries = shown(*group).output.partition("\nCommands:\n")

    assert [line for line in summaries.splitlines() if line.endswith("...")] == []
