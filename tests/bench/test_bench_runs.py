import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
ROUNDBOOK = ("-m", "scripts.cli")
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
    found = found_by("scripts/bench.py", "--quick", folder=tmp_path, patience_s=90)
    assert set(found) == {"date", "command", "machine", "http", "in_process"}
    assert set(found["machine"]) == {"cores", "kernel", "python", "sqlite", "flush_us"}
    for server in ("service", "no_op", "service_logging", "evening"):
        assert set(found["http"][server]) >= FIGURES
    assert len(found["http"]["ratios"]) == found["http"]["runs"] == 1
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
