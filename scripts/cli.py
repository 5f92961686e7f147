"""The `roundbook` command."""

import signal
import sys
from io import TextIOWrapper

from scripts.importing import importing, open_closed_streams

open_closed_streams()
with importing():
    import click
    from eventsourcing.persistence import PersistenceError
    from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

    from api.settings import SettingsWrong
    from ledger.mapper import Unreadable
    from ledger.refusals import Breakdown
    from ledger.sealing import SealContradicted
    from ledger.store import StoreUnfit
    from scripts.as_of import balance, history, replay, round_
    from scripts.audit_file import audit_file
    from scripts.audit_serve import audit_serve
    from scripts.bench import bench
    from scripts.books import books
    from scripts.check_proof import check_proof
    from scripts.copy_book import copy
    from scripts.deliveries import deliveries
    from scripts.demo import demo
    from scripts.incomplete import incomplete
    from scripts.keys import keys
    from scripts.piped import output
    from scripts.prove import prove
    from scripts.rebuild import rebuild
    from scripts.reconcile import reconcile
    from scripts.report import report
    from scripts.seal import seal
    from scripts.serve import serve
    from scripts.sweep import sweep
    from scripts.verify import verify
    from scripts.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="roundbook")
def roundbook() -> None:
    """An event-sourced ledger for casino game rounds.

    Start with: roundbook serve
    """


for verb in (
    *(demo, serve, books, worker, deliveries, incomplete, sweep, reconcile),
    *(keys, seal, verify, prove, check_proof, rebuild, copy, bench),
    *(audit_file, audit_serve, balance, round_, history, replay, report),
):
    roundbook.add_command(verb)


UNFIT = (
    SettingsWrong,
    StoreUnfit,
    PersistenceError,
    Breakdown,
    Unreadable,
    OSError,
    sqlite3.Error,
)


def _check_text(arguments: list[str]) -> None:
    """Raises UsageError where a name was typed in no UTF-8: no book could hold it."""
    for each in arguments:
        if each != each.encode(errors="replace").decode():
            raise click.UsageError(f"{each!r} is no UTF-8")


def _sentence(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of nothing but getcwd
        return "the folder that this was called in is gone"
    if isinstance(error, Breakdown):
        return f"{error.__cause__ or error}; once that is mended, do it again: it has one effect"
    return str(error)


def _ran() -> int:
    try:
        return roundbook(standalone_mode=False) or 0
    finally:
        if sys.stdout:
            sys.stdout.flush()


def main() -> None:
    """Runs the command; what the user can mend is one sentence on standard error, exit 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout = output(sys.stdout)
    try:
        _check_text(sys.argv)
        sys.exit(_ran())
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    except UNFIT as error:
        click.echo(f"roundbook: {_sentence(error)}", err=True)
        sys.exit(2)
    except SealContradicted as error:
        click.echo(f"roundbook: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
