import json
import os
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from projections.reports import REPORTS
from tests import controls
from tests.audit_pages import SIGNER, address, form_of, plain, shown
from tests.provider import examples

# ROUNDBOOK_RENEW=1 pytest tests/audit_pages/test_golden.py   writes what is shown now: read the difference
GOLDEN = Path(__file__).parent / "golden"
RENEW = "ROUNDBOOK_RENEW"

HASH = re.compile("[0-9a-f]{64}")
WALLET = {"user": controls.PLAYER, "currency": controls.CURRENCY}
ROUND = {"partner": controls.PROVIDER, "round": controls.ROUND}
ASKED = {"round-history": {"provider": controls.PROVIDER, "round": controls.ROUND}}

PAGES = {
    "round": address("operator", "round", **ROUND),
    "round-at-3": address("operator", "round", **ROUND, at=3),
    "round-of-provider": address("provider", "round", partner=examples.LM, round=controls.ROUND),
    "wallet": address("operator", "wallet", **WALLET),
    "wallet-at-6": address("operator", "wallet", **WALLET, at=6),
}
REPORT = {
    **{name: address("operator", f"reports/{name}", **ASKED.get(name, {})) for name in REPORTS},
    "verification-of-provider": address("provider", "reports/verification"),
}


def without_hashes(text: str) -> str:
    # another field of an event would change them all
    return HASH.sub(lambda found: found[0] if found[0] == SIGNER.key else "f" * 64, text)


def check(file: Path, text: str) -> None:
    if os.environ.get(RENEW):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{RENEW}=1 makes it"
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_it_was_looked_at(
    pages: FlaskClient, files: dict[str, Path], name: str
) -> None:
    shown(pages, PAGES[name])
    text = pages.get(PAGES[name]).text.replace(f"{files['operator'].parent}/", "")
    lines = (" ".join(line.split()) for line in text.splitlines())

    check(GOLDEN / f"{name}.html", without_hashes("".join(f"{line}\n" for line in lines if line)))


@pytest.mark.parametrize("name", REPORT)
def test_a_report_in_json_is_as_it_was_looked_at(pages: FlaskClient, name: str) -> None:
    made = plain(pages.get(form_of(REPORT[name], "json")))

    text = json.dumps(made, ensure_ascii=False, indent=1)
    check(GOLDEN / f"{name}.json", without_hashes(f"{text}\n"))


def test_every_golden_file_is_looked_at() -> None:
    known = {f"{name}.html" for name in PAGES} | {f"{name}.json" for name in REPORT}

    assert {file.name for file in GOLDEN.iterdir()} == known
