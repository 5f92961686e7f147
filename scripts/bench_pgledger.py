"""`roundbook bench pgledger`: its transfers beside our bets, on one PostgreSQL server, with as many connections."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from ledger.counted import many
from scripts import options
from scripts.bench_load import at_share
from scripts.bench_postgres import FIGURES, ROOM, Load, load_of, serving
from scripts.bench_report import in_turns, machine
from scripts.private_postgres import NoPostgres, Server, running
from scripts.tables import show

SQL = (
    "vendor/scoville-pgsql-ulid/ulid-to-uuid.sql",
    "vendor/scoville-pgsql-ulid/uuid-to-ulid.sql",
    "pgledger.sql",
)
PLAYERS = 200
ACCOUNTS = """
insert into pgledger_accounts
    (id, name, currency, allow_negative_balance, allow_positive_balance, created_at, updated_at)
select 'account_' || number, number, 'USD', true, true, now(), now()
from generate_series(0, %s) as number
"""
TRANSFER = (
    "select * from pgledger_create_transfer('account_' || :player, 'account_' || :other, 1.01);"
)
SPREAD = (
    f"\\set player random(1, {PLAYERS // 2})\n\\set other random({PLAYERS // 2 + 1}, {PLAYERS})\n"
)
ONE_HOUSE = f"\\set player random(1, {PLAYERS})\n\\set other 0\n"
"""A script of pgbench's: its account 0 meets every transfer."""

MICROSECONDS = 1_000_000


@click.command(short_help="Measure pgledger's transfers beside our bets.")
@click.argument(
    "checkout", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(1))
@click.option("--connections", default=16, show_default=True, type=click.IntRange(2, 64))
@options.bench_folder
@options.as_json
def pgledger(
    checkout: Path, runs: int, seconds: float, connections: int, folder: Path, *, as_json: bool
) -> None:
    """Measure pgledger's transfers beside our bets over HTTP, on one PostgreSQL.

    FOLDER is a checkout of github.com/pgr0ss/pgledger. PostgreSQL's own pgbench
    calls its function, one transfer a call, with prepared statements.

    \b
    Example: roundbook bench pgledger ~/src/pgledger --runs 3
    """
    missing = [name for name in SQL if not (checkout / name).is_file()]
    if missing:
        raise click.BadParameter(f"{checkout} holds no {missing[0]}", param_hint="FOLDER")
    try:
        found = _measured(checkout, runs, seconds, connections, folder)
    except NoPostgres as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode({"machine": machine(folder), "ways": found}))
        return
    rows = [(name, *(f"{of[each]:,.2f}" for each in FIGURES)) for name, of in found.items()]
    columns = (f"{connections} connections", "a second", "p50 ms", "p99 ms")
    title = f"one PostgreSQL server, {many(runs, 'run')} of {seconds:g} s, medians"
    show(columns, rows, title=title, numbers=columns[1:])


def _measured(
    checkout: Path, runs: int, seconds: float, connections: int, folder: Path
) -> dict[str, dict[str, float]]:
    with ExitStack() as stack:
        server = stack.enter_context(running(ROOM))
        _install(server, checkout)
        ports = serving(server, 1, folder=folder, stack=stack)
        transfers = partial(_transfers, server, seconds, connections, folder)
        ways: dict[str, Load] = {
            "our bets, over HTTP": partial(
                load_of, ports, connections=connections, seconds=seconds
            ),
            f"pgledger, {PLAYERS} accounts": partial(transfers, SPREAD),
            "pgledger, every transfer to one house": partial(transfers, ONE_HOUSE),
        }
        return in_turns(ways, runs, FIGURES)


def _install(server: Server, checkout: Path) -> None:
    import psycopg  # here, so that no other verb loads it

    with psycopg.connect(server.url) as connection:
        for name in SQL:
            connection.execute((checkout / name).read_bytes())
        connection.execute(ACCOUNTS, [PLAYERS])


def _transfers(
    server: Server, seconds: float, connections: int, folder: Path, accounts: str
) -> dict[str, float]:
    """Returns the figures of pgbench's own log: a line a transfer, its third word microseconds."""
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        script, log = Path(made, "transfer.sql"), Path(made, "log")
        script.write_text(accounts + TRANSFER)
        load = ("-n", "-c", str(connections), "-j", "2", "-T", f"{seconds:.0f}", "-M", "prepared")
        server.client("pgbench", *load, "-f", str(script), "-l", f"--log-prefix={log}", server.url)
        lines = [
            line for part in Path(made).glob("log.*") for line in part.read_text().splitlines()
        ]
    took = sorted(int(line.split()[2]) / MICROSECONDS for line in lines)
    percentiles = {
        name: at_share(took, share) for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
    }
    return {"requests_per_s": len(took) / round(seconds), **percentiles}
