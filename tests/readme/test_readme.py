import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from api.configuration import settle
from scripts.ports import free_port
from tests.audit.test_help import VERBS, shown
from tests.http.server import argv, clean

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
EXAMPLES = [
    (command.strip(), answer.strip())
    for block in CONSOLE
    for command, answer in re.findall(
        r"^\$ (.*?)(?:\n(\{.*?\})?\s*)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE
    )
]
WILD = "TRANSACTION"
ID = r"[0-9a-f-]{36}"


def wait_until_ready(url, server):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except OSError:
            continue
    pytest.fail("the demo did not get ready")


@pytest.fixture
def demo(tmp_path):
    folder, port = tmp_path, free_port()
    with subprocess.Popen(
        argv("serve", "--port", port),
        cwd=folder,
        env=clean({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            exports = next(line for line in server.stdout if line.startswith("export"))
            pasted = next(line for line in server.stdout if line.startswith("curl"))
            wait_until_ready(f"http://127.0.0.1:{port}", server)
            yield exports, pasted
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def run(exports, command):
    done = subprocess.run(
        ["bash", "-ec", f"{exports}\n{command}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_readme_has_all_five_seeds_as_examples():
    paths = ("Cancel?", "Round?", "cancelround?")
    seeds = [command for command, answer in EXAMPLES if any(path in command for path in paths)]
    assert len(seeds) == 5
    assert len(EXAMPLES) == 16


def test_every_example_of_the_tour_answers_what_the_readme_prints(demo):
    exports, _ = demo
    for command, printed in EXAMPLES:
        answer = run(exports, command)
        expected = re.escape(printed).replace(WILD, ID) if printed else r"\{\"(?!type).*\}"
        assert re.fullmatch(expected, answer), command


def test_the_curl_line_that_serve_prints_works_when_pasted_and_leaves_the_tour_its_cash(demo):
    exports, pasted = demo
    assert '"cash":"99899.99"' in run(exports, pasted)
    assert '"position":2' in run(exports, 'curl -s "$URL/api/head" -H "$AUDITOR"')


LASTING = ("demo", "serve", "worker", "bench", "audit-serve")
"""Which go on until they are stopped, or take minutes."""

DIFFERS = "roundbook reconcile"
"""Exits 1 after the tour, as the README says."""


def examples_of_the_helps():
    found = {}
    for verb in VERBS:
        if verb[0] not in LASTING:
            (example,) = re.findall(r"Example: (roundbook .*)", shown(*verb).output)
            found[example] = "rotate" in verb  # a seal by the old key is none after it
    return sorted(found, key=found.__getitem__)


def test_every_example_of_a_help_works_in_the_folder_of_the_demo_after_the_tour(demo, tmp_path):
    exports, _ = demo
    for command, _ in EXAMPLES:
        run(exports, command)
    told = {}
    for example in examples_of_the_helps():
        done = subprocess.run(
            ["bash", "-c", f'roundbook() {{ "{sys.executable}" -m scripts.cli "$@"; }}\n{example}'],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        told[example] = done.stdout
        assert done.returncode == example.startswith(DIFFERS), (example, done.stderr)
        assert done.stderr == ""
        if "--json" in example:
            assert [*map(json.loads, done.stdout.splitlines())]

    silent = {example for example, said in told.items() if not said}
    assert {each for each in silent if ">" not in each and "--out" not in each} == set()


def test_the_python_example_runs_as_printed(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = code.replace('book.wallet("42", "EUR").cash', 'print(book.wallet("42", "EUR").cash)')
    done = subprocess.run(
        [sys.executable, "-c", shown],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2500\n"


def test_the_links_of_the_readme_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_configuration_of_the_readme_is_valid():
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    settings = settle(tomllib.loads(text), {"ROUNDBOOK_ADMIN_SECRET": "x"})
    assert [provider.id for provider in settings.provider] == ["LuckyMonaco", "Kyren"]
