import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.operator.book import MAPPER as OPERATOR
from ledger.provider.book import MAPPER as PROVIDER
from ledger.rebuild import differences
from ledger.store import open_store
from projections import IN_TRANSACTION as OPERATOR_TABLES
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from scripts.demo import Report
from scripts.demo_evening import MUST_NOT_HAPPEN
from scripts.demo_report import again
from scripts.demo_side import set_up
from tests.http.server import until

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
DEMO = (sys.executable, "-c", "from scripts.demo import demo; demo()")
PATIENCE_S = 120


def processes_about(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in said:
            found.append(said)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "evening"


@pytest.fixture(scope="module")
def evening(folder: Path) -> Any:
    ran = subprocess.run(
        [*DEMO, "--rounds", "40", "--json", "--no-stay", "--folder", str(folder)],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_both_books_agree_after_an_evening_of_lost_answers_and_kills(evening: Any) -> None:
    assert evening["reconciled"]["differences"] == []
    assert evening["reconciled"]["compared"]["bets"] > 40
    assert evening["faults"] == []
    assert evening["undelivered"] == 0


def test_who_keeps_a_side_s_audit_files_finds_its_books(evening: Any, folder: Path) -> None:
    for side in ("operator", "provider"):
        assert "there is no" not in (folder / side / "log").read_text()


def test_everything_that_an_evening_is_for_did_happen(evening: Any) -> None:
    played, wire = evening["played"], evening["wire"]

    assert [kill["side"] for kill in evening["kills"]] == ["operator", "provider"]
    assert min(wire["lost"], wire["duplicated"], wire["failed"], wire["found nobody"]) > 0
    assert min(played["by the game"], played["by acme"], played["by acme-kyren"]) > 0
    assert min(played["repeated"], played["late bets refused"], played["bets declined"]) > 0
    assert min(played["won"], played["lost"]) > 0
    assert played["sends"] > played["calls"]


def test_the_sweep_stops_when_the_clock_jumps_and_refunds_once_confirmed(evening: Any) -> None:
    alarm = evening["alarm"]

    assert alarm["ready"]["sweep"] == "stopped"
    assert alarm["status"] == 1
    assert alarm["sweep"].startswith("stopped: ")
    assert "refunded" in alarm["confirmed"]
    assert evening["played"]["refunded by age"] > 0


def test_the_books_that_stay_verify(evening: Any, folder: Path) -> None:
    for side, tables, mapper in (
        ("operator", OPERATOR_TABLES, OPERATOR),
        ("provider", PROVIDER_TABLES, PROVIDER),
    ):
        store = open_store(f"sqlite:///{folder}/{side}/book.db", tables, create=False)
        assert differences(store, mapper) == []
        assert store.head().position > 100
        store.close()


def test_no_process_is_left(evening: Any, folder: Path) -> None:
    assert processes_about(folder) == []


def test_a_book_of_another_evening_does_not_reconcile(
    evening: Any, folder: Path, tmp_path: Path
) -> None:
    foreign = f"sqlite:///{tmp_path}/foreign.db"
    open_store(foreign, OPERATOR_TABLES).close()

    command = [foreign, str(folder / "provider" / "book.db"), "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "reconcile", *command],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert ran.returncode == 1, ran.stderr
    words = {found["difference"] for found in json.loads(ran.stdout)["differences"]}
    assert words == {"missing-at-operator"}


def reported(evening: Any, **otherwise: Any) -> Report:
    said = {key: value for key, value in evening.items() if key != "faults"}
    return msgspec.convert({**said, **otherwise}, Report)


def test_a_report_of_which_one_thing_is_wrong_has_that_one_fault(evening: Any) -> None:
    first, *others = evening["balances"]
    robbed = {**first, "reversals": first["reversals"] + 1}
    missing = {"operator": 3, "provider": 2}
    difference = {
        "difference": "reversal",
        "kind": "bet",
        "provider": "Kyren",
        "round": "evening-0001",
        "reference": "evening-0001-bet-1",
        "at_operator": "1.00 EUR placed",
        "at_provider": "1.00 EUR refunded",
    }
    wrong: list[dict[str, Any]] = [
        {"undelivered": 1},
        {"played": {**evening["played"], "left open": 0}},
        {"reconciled": {**evening["reconciled"], "differences": [difference]}},
        {"rebuilt": {**evening["rebuilt"], "operator": [["rounds", ["Kyren"], None, [1]]]}},
        {"balances": [robbed, *others]},
        {"statuses": {**evening["statuses"], "Cancelled": missing}},
        *({"played": {**evening["played"], what: 1}} for what in MUST_NOT_HAPPEN),
    ]

    assert reported(evening).faults == []
    assert [len(reported(evening, **each).faults) for each in wrong] == [1] * len(wrong)


def test_the_way_back_to_what_is_kept_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "an evening; its books"
    folder.mkdir()
    with set_up(folder, sweep_cap=1, seed=1) as stage:
        (way,) = [line for line in again(stage).splitlines() if line.startswith("cd ")]

    assert subprocess.check_output(["bash", "-c", f"{way} && pwd"], text=True) == f"{folder}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_early_leaves_no_service(number: int, tmp_path: Path) -> None:
    folder = tmp_path / "evening"
    with subprocess.Popen(
        [*DEMO, "--no-stay", "--folder", str(folder)],
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "funded" in line:
                break
        assert processes_about(folder / "operator")
        demo.send_signal(number)
        demo.communicate(timeout=PATIENCE_S)

    assert demo.returncode != 0
    if number != signal.SIGKILL:
        assert processes_about(folder) == []
    until(lambda: not processes_about(folder), "the services end by themselves")


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    Path(tmp_path, "book.db").touch()

    ran = subprocess.run(
        [*DEMO, "--folder", str(tmp_path)],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert ran.returncode == 2
    assert "is not empty" in ran.stderr
