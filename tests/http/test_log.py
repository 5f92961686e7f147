import json
import os
import signal
import subprocess
import sys

import pytest

from tests.http.server import serving
from tests.http.wire import ADMIN, ROOT, document, problem


def lines_of(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import logging; from api.http import log_libraries\n{code}"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == b""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_what_a_library_warns_of_is_a_line_of_the_log_once_however_often_it_was_asked_for():
    (line,) = lines_of(
        "log_libraries(); log_libraries()\n"
        "logging.getLogger('psycopg').info('connected')\n"
        "logging.getLogger('psycopg').warning('error ignored\\nterminating %s', 'PIPELINE')\n"
    )

    assert line.pop("at")
    assert line == {
        "event": "library",
        "name": "psycopg",
        "level": "warning",
        "detail": "error ignored\nterminating PIPELINE",
    }


def test_what_only_follows_on_an_error_that_was_raised_is_no_line():
    (line,) = lines_of(
        "log_libraries(); psycopg = logging.getLogger('psycopg')\n"
        "psycopg.warning('error ignored terminating %r: %s', 'PIPELINE', 'pipeline aborted')\n"
        "psycopg.warning('error ignored terminating %r: %s', 'PIPELINE', 'it is lost')\n"
    )

    assert line["detail"] == "error ignored terminating 'PIPELINE': it is lost"


def test_what_is_no_character_is_escaped_in_a_line():
    library, defect = lines_of(
        "from api.http import log_defect; log_libraries()\n"
        "logging.getLogger('psycopg').warning('no %s', 'file-\\udcff')\n"
        "log_defect(OSError('file-\\udcff'))\n"
    )

    assert library["detail"] == "no file-\\udcff"
    assert (defect["kind"], defect["detail"]) == ("OSError", "file-\\udcff")


def test_a_librarys_own_slip_hurts_nobody():
    (line,) = lines_of("log_libraries(); logging.getLogger('psycopg').error('%d seconds', 'two')\n")

    assert line["detail"] == "%d seconds (TypeError)"


@pytest.mark.parametrize(
    "said",
    [
        "cannot reach postgresql://me:s3cret/x@host/books",
        "cannot reach 'host=a password=s3cret'",
        "cannot read 'sslkey=a.key sslpassword=s3cret'",
        "the environment has PGPASSWORD=s3cret",
        "no such option: wallet_token: s3cret",
        "asked with {'HASH': 's3cret'}",
        "sent Authorization: Bearer s3cret",
    ],
)
def test_what_may_hold_a_password_is_left_out(said):
    (line,) = lines_of(f"log_libraries(); logging.getLogger('psycopg').warning({said!r})\n")

    assert line["detail"] == "left out, for it may hold a password"


@pytest.mark.parametrize(
    "said",
    [
        'FATAL: password authentication failed for user "roundbook"',
        "error ignored terminating <psycopg.Pipeline [BAD] at 0x7f6461b34fd0>: it is lost",
    ],
)
def test_what_holds_none_is_there(said):
    (line,) = lines_of(f"log_libraries(); logging.getLogger('psycopg').warning({said!r})\n")

    assert line["detail"] == said


def test_a_fallen_worker_is_told_in_the_log_and_not_on_standard_output(tmp_path):
    with serving(tmp_path) as server:
        os.kill(server.workers()[-1], signal.SIGKILL)
        assert server.process.wait(30) == 1

        (welcome,) = filter(None, server.out.read_text().splitlines())
        *_, told = map(json.loads, server.err.read_text().splitlines())

    assert welcome.startswith("Roundbook on http://")
    assert (told["event"], told["name"]) == ("library", "_granian")
    assert told["detail"] == "Unexpected exit from worker-1"


def test_a_request_s_line_has_the_code_that_it_was_answered(tmp_path):
    found = document(f"sqlite:///{tmp_path}/book.db", server={"log_requests": True})
    deposits = "/api/wallets/42/USD/deposits"
    with serving(tmp_path, found) as server:
        answer = server.send("POST", deposits, b"[]", token=ADMIN)
        *_, line = map(json.loads, server.err.read_text().splitlines())

    problem(answer, 400, "not-json", code=57, field="body")
    assert (line["path"], line["error"]) == (deposits, 57)
