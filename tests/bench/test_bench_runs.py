import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {"requests_per_s", "p50_ms", "p99_ms", "p99_9_ms"}


def test_a_quick_run_prints_every_documented_figure_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "scripts/bench.py", "--quick", "--json", "--folder", str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    found = json.loads(ran.stdout)
    assert set(found) == {"date", "command", "machine", "http", "in_process"}
    assert set(found["machine"]) == {"cores", "kernel", "python", "sqlite", "flush_us"}
    for server in ("service", "no_op", "service_logging", "evening"):
        assert set(found["http"][server]) >= FIGURES
    assert len(found["http"]["ratios"]) == found["http"]["runs"] == 1
    assert set(found["http"]["by_connections"]) == {"1", "8", "32", "128"}
    for figures in found["http"]["by_connections"].values():
        assert set(figures) >= FIGURES
    assert set(found["in_process"]["submit_many"]) == {"32", "500"}
    assert set(found["in_process"]["raw_lists"]) == {"32", "500"}
    for held in ("", "_one_core"):
        assert set(found["in_process"][f"book_submit{held}"]) == {"1", "8", "32", "64"}
        assert set(found["in_process"][f"stock_save{held}"]) == {"1", "32"}
    assert set(found["in_process"]["raw_sqlite"]) == {"1", "500"}
    assert list(tmp_path.iterdir()) == []


def test_refunds_are_measured_alone_beside_a_dead_wallet_and_in_one_lane_with_it(
    tmp_path: Path,
) -> None:
    command = ("bench", "deliveries", "--refunds", "4", "--runs", "1", "--json")
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.cli", *command, "--folder", str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["alone"]["confirmed"] == found["beside a wallet that hangs"]["confirmed"] == 4
    assert set(found) == {
        "refunds",
        "runs",
        "alone",
        "beside a wallet that hangs",
        "control: both in one lane",
    }
    assert list(tmp_path.iterdir()) == []


def test_large_books_and_long_rounds_are_measured_and_drawn(tmp_path: Path) -> None:
    command = (
        "bench",
        "size",
        "--events",
        "5000",
        "--events",
        "6000",
        "--runs",
        "1",
        "--bets",
        "5",
    )
    made = tmp_path / "made"
    made.mkdir()
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "scripts.cli", *command, "--json", "--folder", str(made)),
            *("--picture", str(tmp_path / "size.svg")),
        ],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert set(found["books"]) == {"5000", "6000"}
    for of in found["books"].values():
        assert set(of) == {"p50_ms", "p99_ms", "start_s", "memory_mb"}
    assert set(found["rounds"]) == {"5", "5000"}
    drawn = ET.fromstring((tmp_path / "size.svg").read_text())
    lines = drawn.findall(f"{SVG}path[@fill='none']")
    assert len(lines) == 2
    assert {text.text for text in drawn.iter(f"{SVG}text")} >= {"5,000", "6,000", "p50", "p99"}
    assert list(made.iterdir()) == []
