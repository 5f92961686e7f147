import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.seal import new_key
from ledger.sealing import Sealer
from ledger.store import StoreUnfit, open_store
from projections import IN_TRANSACTION
from scripts.cli import roundbook
from scripts.ports import free_port
from tests import controls, seals
from tests.provider import examples

ROOT = Path(__file__).parents[2]

NOT_THERE = {
    "balance nobody USD --from audit.db": "player nobody has no wallet in USD",
    "balance 123456 XXX --from audit.db --json": "player 123456 has no wallet in XXX",
    "balance 123456 USD --from audit.db --at 99": "the book ends at position 2",
    "balance 123456 USD --from book.db --at 99 --json": "the book ends at position 2",
    "round LuckyMonaco none --from audit.db": "there is no round none of LuckyMonaco",
    "history nobody --from audit.db": "nothing is known of nobody",
    "history nobody --from book.db --json": "nothing is known of nobody",
    "prove none --from book.db": "no such event in book.db names none",
    "report round-history audit.db --provider Kyren --round none": "of round none of Kyren",
    "deliveries retry acme/refund/none": "acme/refund/none: ",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("books")
    with closing(controls.new_book(f"sqlite:///{path}/book.db")) as book:
        controls.fund(book)
        Sealer(book.store, seals.new_signer()).seal()
    examples.new_book(f"sqlite:///{path}/provider.db", now=examples.Clock()).close()
    operator = (
        "secure_login='acme'", "token='t'", "hash='off'", "wallet_url='http://127.0.0.1'",
        "dialect='kyren-v1'", "member='m'", "wallet_token='w'",
    )  # fmt: skip
    (path / "roundbook.toml").write_text(
        "store = 'sqlite:///book.db'\nadmin.token = 'a'\n"
        "provider_book = {store = 'sqlite:///provider.db', token = 'g'}\n"
        f"operator = [{{{', '.join(operator)}}}]\n"
    )
    made = CliRunner().invoke(
        roundbook, ["audit-file", f"{path}/audit.db", "--from", f"{path}/book.db"]
    )
    assert made.exit_code == 0
    return path


@pytest.mark.parametrize("command", NOT_THERE)
def test_what_is_not_there_is_one_sentence_and_exits_1(
    folder: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(roundbook, command.split())

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert NOT_THERE[command] in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["verify book.db --resume none/state", "bench --picture none/bets.svg"]
)
def test_what_cannot_be_written_in_the_end_is_told_before_it_is_waited_for(
    folder: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(roundbook, command.split())

    assert (done.exit_code, done.stdout) == (2, "")
    assert "nothing can be made in the folder of none/" in done.stderr


def test_a_file_is_no_folder_to_make_another_in(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(roundbook, ["verify", "book.db", "--resume", "book.db/state"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert "nothing can be made in the folder of book.db/state" in done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("replay --from book.db --from-position 2 --to 1", "--to: 1 is before --from-position 2"),
        ("sweep --dry-run --confirm", "give either --dry-run or --confirm"),
    ],
)
def test_what_contradicts_itself_is_not_taken_for_one_half_of_it(
    folder: Any, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(roundbook, command.split())

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(f"{told}\n")


@pytest.mark.parametrize("command", ["deliveries", "incomplete", "sweep", "worker", "serve"])
def test_a_configuration_that_takes_one_book_for_the_other_is_told_which_key_does(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = (folder / "roundbook.toml").read_text().replace("book.db'", "book.copy.db'")
    port = f"server.port = {free_port()}\n"
    (tmp_path / "roundbook.toml").write_text(port + said.replace("provider.db", "book.db"))
    (tmp_path / "book.db").write_bytes((folder / "book.db").read_bytes())
    done = CliRunner().invoke(roundbook, [command])

    assert isinstance(done.exception, StoreUnfit)
    assert str(done.exception) == (
        "provider_book.store: sqlite:///book.db is the operator's book, not the provider's:"
        " name another store"
    )


@pytest.mark.parametrize("command", ["seal {} --key seal.pem", "history x --from {}"])
def test_of_a_seal_that_cannot_be_read_it_is_told_whose_it_is(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    book = tmp_path / "book.db"
    book.write_bytes((folder / "book.db").read_bytes())
    seals.behind(book, ("update seals set seal = cast(? as text)", (b"\xff",)), table="seals")
    (tmp_path / "seal.pem").write_bytes(new_key())
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(roundbook, command.format("book.db").split())

    assert isinstance(done.exception, StoreUnfit)
    assert str(done.exception) == "store: book.db: a text is not UTF-8"


def test_of_an_event_of_another_version_it_is_told_in_which_book_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///book.db", IN_TRANSACTION)) as store:
        seals.grow(store)
    done = CliRunner().invoke(roundbook, ["rebuild", "--check", "--store", "sqlite:///book.db"])

    assert isinstance(done.exception, StoreUnfit)
    assert str(done.exception) == "store: sqlite:///book.db: no event type is called Told"


def process(*arguments: str | bytes, cwd: Any, **environ: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_name_that_is_no_utf_8_accuses_no_audit_file(folder: Any) -> None:
    with process("balance", b"\xfc", "USD", "--from", "audit.db", cwd=folder) as done:
        said, told = done.communicate()

    assert (done.returncode, said, told) == (2, "", "Error: '\\udcfc' is no UTF-8\n")


def test_a_folder_that_is_no_utf_8_accuses_no_book(folder: Any) -> None:
    other = Path(os.fsdecode(bytes(folder) + b"/\xfc"))
    other.mkdir()
    (other / "book.db").write_bytes((folder / "book.db").read_bytes())
    with process("verify", "book.db", cwd=other) as done:
        said, told = done.communicate()

    assert (done.returncode, said, told.count("\n")) == (2, "", 1)


def test_what_a_terminal_has_no_sign_for_is_escaped(folder: Any) -> None:
    command = ("audit-file", "\u73a9.db", "--from", "book.db")
    with process(*command, cwd=folder, PYTHONIOENCODING="latin-1") as done:
        said, _ = done.communicate()

    assert done.returncode == 0
    assert said.startswith("\\u73a9.db holds the operator's book")


def test_a_command_that_was_interrupted_does_not_say_that_a_book_is_wrong(folder: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with process("verify", url, cwd=folder) as asking, silent.accept()[0]:
            asking.send_signal(signal.SIGINT)
            asking.wait()

    assert asking.returncode == 128 + signal.SIGINT


def test_a_command_that_is_interrupted_while_it_is_imported_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT); raise SystemExit('it went on')"
    )
    with process("verify", "book.db", cwd=tmp_path) as interrupted:
        said, told = interrupted.communicate()

    assert (interrupted.returncode, said, told) == (128 + signal.SIGINT, "", "")


def test_no_round_is_overdue_though_one_may_be_open(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    due = CliRunner().invoke(roundbook, ["sweep", "--dry-run"])
    left = CliRunner().invoke(roundbook, ["incomplete"])

    assert (due.stdout, left.stdout) == ("no round is overdue\n", "no round is open\n")


ROUNDBOOK = f"{shlex.quote(sys.executable)} -m scripts.cli"


def in_a_shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["verify book.db", "books", "serve"])
def test_a_folder_that_is_gone_is_told_as_such(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = in_a_shell(gone, f"rmdir '{gone}'; exec {ROUNDBOOK} {command}")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "roundbook: the folder that this was called in is gone\n"


def test_a_key_that_the_disk_cannot_hold_is_one_sentence_and_leaves_no_half_one(
    tmp_path: Path,
) -> None:
    new = f"{ROUNDBOOK} keys new seal.pem"
    full = in_a_shell(tmp_path, f"ulimit -f 0; exec {new}")

    assert (full.returncode, full.stdout) == (2, "")
    assert full.stderr.endswith("Error: Invalid value for FILE: seal.pem: File too large\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_seals_that_cannot_grow_is_one_sentence_and_has_the_seal_the_next_time(
    folder: Any, tmp_path: Path
) -> None:
    (tmp_path / "book.db").write_bytes((folder / "book.db").read_bytes())
    (tmp_path / "seal.pem").write_bytes(new_key())
    (tmp_path / "kept").write_bytes(b"a line\n" * 2**18)
    seal = f"{ROUNDBOOK} seal book.db --key seal.pem --file kept"
    full = in_a_shell(tmp_path, f"ulimit -f $(($(wc -c < kept) / 512)); exec {seal}")
    room = in_a_shell(tmp_path, f"exec {seal}")

    assert (full.returncode, full.stdout) == (2, "")
    assert full.stderr.endswith(
        "Invalid value for --file: kept lacks the newest seals: File too large;"
        " the next call adds them\n"
    )
    assert room.returncode == 0
    assert (tmp_path / "kept").read_bytes().endswith(b"}\n")


PRINTING = [
    "replay --from book.db",
    "replay --from book.db --json",
    "history 123456 --from audit.db --json",
    "report daily-wallets audit.db",
    "report daily-wallets audit.db --csv",
    "verify book.db",
    "--help",
]


@pytest.mark.parametrize("command", PRINTING)
def test_a_command_whose_reader_has_gone_ends_quietly_as_by_sigpipe(
    folder: Any, command: str
) -> None:
    with process(*command.split(), cwd=folder) as unread:
        unread.stdout.close()
        told = unread.stderr.read()

    assert (unread.returncode, told) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("command", PRINTING)
def test_a_disk_that_takes_no_more_output_is_one_sentence(folder: Any, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.cli", *command.split()],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (2, "roundbook: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("verify book.db", 0),
        ("replay --from book.db --json", 0),
        ("verify none.db", 2),
        ("balance nobody USD --from audit.db", 1),
    ],
)
def test_a_command_with_every_stream_closed_ends_as_with_them(
    folder: Any, command: str, status: int
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {ROUNDBOOK} {command} <&- >&- 2>&-"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )

    assert done.returncode == status
