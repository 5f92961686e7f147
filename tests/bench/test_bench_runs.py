import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click import ClickException
from click.testing import CliRunner

from ledger.store import StoreUnfit
from scripts import bench_books, bench_pgledger, bench_postgres, bench_server
from scripts.bench_books import ALONE, BESIDE, TOGETHER

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
ROUNDBOOK = ("-m", "scripts.cli")
SMALL_LEDGER = """
create table pgledger_accounts (
    id text primary key, name text, currency text, allow_negative_balance boolean,
    allow_positive_balance boolean, created_at timestamptz, updated_at timestamptz
);
create function pgledger_create_transfer(source text, target text, amount numeric) returns text
language sql as 'select id from pgledger_accounts where id = target';
"""
"""What the command calls of it."""

FIGURES = {"requests_per_s", "p50_ms", "p99_ms", "p99_9_ms"}


def found_by(*command: str, folder: Path, patience_s: float) -> Any:
    ran = subprocess.run(
        [sys.executable, *command, "--json", "--folder", str(folder)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=patience_s,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert list(folder.iterdir()) == []
    return json.loads(ran.stdout)


def test_a_quick_run_prints_every_documented_figure_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    quick = ("--quick", "--seconds", "0.2")
    found = found_by("scripts/bench.py", *quick, folder=tmp_path, patience_s=90)
    assert set(found) == {"date", "command", "machine", "http", "in_process"}
    assert set(found["machine"]) == {"cores", "kernel", "python", "sqlite", "flush_us"}
    for server in ("service", "no_op", "service_logging", "evening"):
        assert set(found["http"][server]) >= FIGURES
    assert len(found["http"]["ratios"]) == found["http"]["runs"] == 1
    assert found["http"]["seconds"] == 0.2
    assert set(found["http"]["by_connections"]) == {"1", "8", "32", "128"}
    for figures in found["http"]["by_connections"].values():
        assert set(figures) >= FIGURES
    for lists in ("submit_many", "store_lists", "raw_lists"):
        assert set(found["in_process"][lists]) == {"32", "500"}
    for held in ("", "_one_core"):
        assert set(found["in_process"][f"book_submit{held}"]) == {"1", "8", "32", "64"}
        assert set(found["in_process"][f"stock_save{held}"]) == {"1", "32"}
    assert set(found["in_process"]["raw_sqlite"]) == {"1", "500"}


def test_refunds_are_measured_alone_beside_a_dead_wallet_and_in_one_lane_with_it(
    tmp_path: Path,
) -> None:
    command = (*ROUNDBOOK, "bench", "deliveries", "--refunds", "4", "--runs", "1")
    found = found_by(*command, folder=tmp_path, patience_s=60)
    assert found["alone"]["confirmed"] == found["beside a wallet that hangs"]["confirmed"] == 4
    assert set(found) == {
        "refunds",
        "runs",
        "alone",
        "beside a wallet that hangs",
        "control: both in one lane",
    }


def test_a_quiet_book_is_measured_alone_beside_a_busy_one_and_in_one_with_it(
    tmp_path: Path,
) -> None:
    quick = ("--seconds", "0.1", "--runs", "1", "--connections", "2")
    found = found_by(*ROUNDBOOK, "bench", "books", *quick, folder=tmp_path, patience_s=90)
    alone, beside, together = (found.pop(way) for way in (ALONE, BESIDE, TOGETHER))
    assert set(found) == {"seconds", "runs", "connections", "machine"}
    assert alone["busy"] is None
    for each in (beside["busy"], together["busy"]):
        assert each["requests_per_s"] > 0
    for each in (alone["quiet"], beside["quiet"], together["quiet"]):
        assert set(each) == FIGURES - {"p99_9_ms"}


class Loads:
    """Of the loads that are begun one after another, each lasts as it is said."""

    def __init__(self, last: list[bool]) -> None:
        self._last = iter(last)
        self.seconds: list[float] = []

    def __call__(self, _: int) -> "Loads":
        return self

    def __enter__(self) -> "Loads":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, *asked: Any) -> Any:
        self.seconds.append(asked[-1])
        lasts = next(self._last)
        return SimpleNamespace(done=lambda: not lasts, result=lambda: {"lasts": lasts})


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loads]:
    monkeypatch.setattr(bench_books, "_wait_until_moving", lambda _: None)
    monkeypatch.setattr(bench_books, "answer_of", lambda *_: "measured")

    def begun(last: list[bool]) -> Loads:
        made = Loads(last)
        monkeypatch.setattr(bench_books, "ThreadPoolExecutor", made)
        return made

    return begun


def test_what_was_measured_without_its_load_is_measured_again_beside_a_longer_one(
    loads: Callable[..., Loads],
) -> None:
    made = loads([False, True])
    assert bench_books._run(1, 2, 1.0, 3) == {"quiet": "measured", "busy": {"lasts": True}}
    assert made.seconds == [6, 24]


def test_a_load_that_never_lasts_is_told(loads: Callable[..., Loads]) -> None:
    loads([False, False, False])
    with pytest.raises(ClickException, match="the load ended before"):
        bench_books._run(1, 2, 1.0, 3)


def test_bets_on_postgres_are_measured_with_a_copy_that_is_waited_for_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_http = {"scripts.bench_book": "book_submit", "scripts.bench_stock": "stock_save"}

    def answer_of(module: str, *arguments: object) -> Any:
        named = without_http.get(module)
        if named:
            return {name: {"1": 1.0} for name in (named, f"{named}_one_core")}
        return bench_server.answer_of(module, *arguments)

    monkeypatch.setattr(bench_postgres, "PROCESSES", (2,))
    monkeypatch.setattr(bench_postgres, "answer_of", answer_of)
    quick = ("--seconds", "0.1", "--runs", "1", "--connections", "4", "--folder", str(tmp_path))
    ran = CliRunner().invoke(bench_postgres.postgres, [*quick, "--json"])
    if "no PostgreSQL is found" in ran.stderr:
        pytest.skip(ran.stderr)
    found = json.loads(ran.stdout)
    ways = ("2 of one book", "a copy, not waited for", "a copy, waited for", "no-op")
    assert tuple(found["http"]) == ways
    for figures in found["http"].values():
        assert set(figures) == FIGURES - {"p99_9_ms"}
        assert figures["requests_per_s"] > 0
    assert found["stock_save_one_core"] == {"1": 1.0}
    assert list(tmp_path.iterdir()) == []


def test_pgledger_is_measured_beside_our_bets_from_a_checkout_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in bench_pgledger.SQL:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / bench_pgledger.SQL[-1]).write_text(SMALL_LEDGER)
    quick = ("--seconds", "1", "--runs", "1", "--connections", "2", "--folder", str(tmp_path))
    ran = CliRunner().invoke(bench_pgledger.pgledger, [str(tmp_path), *quick, "--json"])
    if "no PostgreSQL is found" in ran.stderr:
        pytest.skip(ran.stderr)
    found = json.loads(ran.stdout)
    assert len(found["ways"]) == 3
    for figures in found["ways"].values():
        assert set(figures) == FIGURES - {"p99_9_ms"}
        assert figures["requests_per_s"] > 0
    monkeypatch.setattr(bench_pgledger, "_measured", lambda *_: found["ways"])
    shown = CliRunner().invoke(bench_pgledger.pgledger, [str(tmp_path), *quick])
    assert "1 run of 1 s" in shown.stdout


def test_what_is_no_checkout_of_pgledger_is_refused_before_it_measures(tmp_path: Path) -> None:
    ran = CliRunner().invoke(bench_pgledger.pgledger, [str(tmp_path)])
    assert ran.exit_code == 2
    assert f"{tmp_path} holds no {bench_pgledger.SQL[0]}" in " ".join(ran.stderr.split())


def test_large_books_and_long_rounds_are_measured_and_drawn(tmp_path: Path) -> None:
    made, picture = tmp_path / "made", tmp_path / "size.svg"
    made.mkdir()
    small = ("--events", "5000", "--events", "6000", "--runs", "1", "--bets", "5")
    command = (*ROUNDBOOK, "bench", "size", *small, "--picture", str(picture))
    found = found_by(*command, folder=made, patience_s=90)
    assert set(found["books"]) == {"5000", "6000"}
    for of in found["books"].values():
        assert set(of) == {"p50_ms", "p99_ms", "start_s", "memory_mb"}
    assert set(found["rounds"]) == {"5", "5000"}
    drawn = ET.fromstring(picture.read_text())
    lines = drawn.findall(f"{SVG}path[@fill='none']")
    assert len(lines) == 2
    assert {text.text for text in drawn.iter(f"{SVG}text")} >= {"5,000", "6,000", "p50", "p99"}


def test_without_what_the_stock_store_needs_it_says_what_to_install_before_it_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_postgres, "find_spec", {}.get)

    ran = CliRunner().invoke(bench_postgres.postgres, [])

    assert isinstance(ran.exception, StoreUnfit)
    assert str(ran.exception).endswith("needs psycopg-pool: scripts/setup test")
