import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils.utils import sqlite3

from projections.reports import REPORTS
from scripts import cli
from scripts.audit_file import catch_up
from scripts.source import open_source
from tests import controls, seals
from tests.audit_file import evening

PAGE = 4096
MARKED = 72
"""Bytes up to the end of what tells an audit file from any other."""

TABLES = (
    *("audit", "events", "postings", "accounts", "wallets", "rounds", "seals", "events_fts"),
    *("bets", "results", "reversals"),
)

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "book.db"
    evening(path, rounds=12, seal=seals.new_signer())
    return path


@pytest.fixture(scope="module")
def audited(kept: Path) -> Path:
    path = kept.parent / "audit.db"
    with open_source(str(kept)) as source:
        catch_up(path, source)
    return path


def by_sql(*statements: str) -> Damage:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return damage


def of_any_type(table: str, column: str, value: str) -> Damage:
    """Has a column of a table that takes whatever comes hold a value in every row."""
    return by_sql(
        "pragma legacy_alter_table = on",
        f"create table other as select * from {table}",
        f"update other set {column} = {value}",
        f"drop table {table}",
        f"alter table other rename to {table}",
    )


def cut(size: int) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def noise(seed: int) -> Damage:
    def damage(path: Path) -> None:
        dice, whole = random.Random(seed), bytearray(path.read_bytes())
        for _ in range(40):
            whole[dice.randrange(PAGE, len(whole))] = dice.randrange(256)
        path.write_bytes(whole)

    return damage


def other_bytes(path: Path) -> None:
    head = path.read_bytes()[:MARKED]
    path.write_bytes(head + random.Random(1).randbytes(3 * PAGE))


DAMAGES: dict[str, Damage] = {
    **{f"no table {table}": by_sql(f"drop table {table}") for table in TABLES},
    **{f"no row in {table}": by_sql(f"delete from {table}") for table in TABLES},
    "another column": by_sql("alter table events rename column state to body"),
    "a word for a balance": of_any_type("postings", "balance", "'much'"),
    "no scale": of_any_type("wallets", "scale", "null"),
    "bytes for an event": of_any_type("events", "state", "x'ff00fe'"),
    "an event that is none": of_any_type("events", "state", "'{'"),
    "no UTF-8 for a topic": of_any_type("events", "topic", "cast(x'ff80' as text)"),
    "a word for a position": of_any_type("audit", "position", "'far'"),
    "an unknown party": of_any_type("audit", "party", "'nobody'"),
    "a seal that is none": of_any_type("seals", "seal", "'sealed'"),
    "a scale for a stranger": of_any_type("accounts", "scale", "null"),
    "no byte": cut(0),
    "a head alone": cut(MARKED),
    "a page and a bit": cut(PAGE + 900),
    "a half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "other bytes": other_bytes,
    **{f"noise {seed}": noise(seed) for seed in (1, 2, 3)},
}


@pytest.fixture
def damaged(audited: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(audited, tmp_path / "damaged.db"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., tuple[Any, str]]:
    def run(*arguments: object) -> tuple[Any, str]:
        monkeypatch.setattr("sys.argv", ["roundbook", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.fixture
def commands(audited: Path, damaged: Path, kept: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(audited)) as connection:
        statement = "select provider, round, reference from bets limit 1"
        provider, round_id, reference = connection.execute(statement).fetchone()
    found = ("--from", damaged)
    of_round = ("--provider", provider, "--round", round_id)
    return [
        ("balance", controls.PLAYER, "USD", *found),
        ("balance", controls.PLAYER, "USD", *found, "--at", "9", "--json"),
        ("balance", controls.PLAYER, "USD", *found, "--as-of", "2999-01-01"),
        ("round", provider, round_id, *found),
        ("history", reference, *found),
        ("history", controls.PLAYER, *found, "--json"),
        ("replay", *found),
        ("replay", *found, "--json"),
        *(("report", n, damaged, *(of_round if each.needs else ())) for n, each in REPORTS.items()),
        ("verify", damaged),
        ("prove", reference, *found),
        ("rebuild", "--check", "--store", f"sqlite:///{damaged}"),
        ("audit-file", damaged, "--from", kept),  # the last: it may mend the file
    ]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_audit_file_is_one_sentence_to_every_command(
    damaged: Path,
    commands: list[tuple[object, ...]],
    said: Callable[..., tuple[Any, str]],
    damage: Damage,
) -> None:
    damage(damaged)

    for command in commands:
        code, complaint = said(*command)

        assert code in {0, 1, 2}, command
        assert complaint.count("\n") <= 1, command
        assert code < 2 or complaint.startswith("roundbook: "), command


@pytest.mark.parametrize("damage", ["no row in audit", "no table events", "a page and a bit"])
def test_nothing_is_answered_from_what_cannot_be_read(
    damaged: Path,
    commands: list[tuple[object, ...]],
    said: Callable[..., tuple[Any, str]],
    damage: str,
) -> None:
    DAMAGES[damage](damaged)

    for command in commands:
        code, complaint = said(*command)

        assert code == 2, command
        assert complaint.startswith("roundbook: "), command


@pytest.mark.parametrize(
    "damage",
    [
        of_any_type("rounds", "staked", "'much'"),
        of_any_type("audit", "hash", "'none'"),
        of_any_type("seals", "seal", "null"),
    ],
)
def test_a_damaged_file_is_not_continued(
    kept: Path, tmp_path: Path, said: Callable[..., tuple[Any, str]], damage: Damage
) -> None:
    half = tmp_path / "half.db"
    with open_source(str(kept)) as source:
        catch_up(half, source, upto=source.head().position // 2)
    damage(half)

    code, complaint = said("audit-file", half, "--from", kept)

    assert (code, complaint.count("\n")) == (2, 1)
    assert "the audit file" in complaint


@pytest.mark.parametrize("damage", ["no row in audit", "a half", "no byte"])
def test_no_page_is_served_from_what_cannot_be_read(
    damaged: Path, said: Callable[..., tuple[Any, str]], damage: str
) -> None:
    DAMAGES[damage](damaged)
    code, complaint = said("audit-serve", damaged)

    assert (code, complaint.count("\n")) == (2, 1)
    assert complaint.startswith("roundbook: ")
