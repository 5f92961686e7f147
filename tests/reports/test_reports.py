import csv
import io
import json
import re
import shlex
from collections import defaultdict
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pysqlite3
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.operator.book import Book
from ledger.operator.house import House
from ledger.refusals import Refusal
from ledger.seal import Signer
from ledger.sealing import Sealer
from ledger.store import StoreUnfit, open_store
from projections import IN_TRANSACTION
from projections.audit_file import continue_audit_file, open_audit_file
from projections.provider.audit_tables import PROVIDER
from projections.reports import REPORTS, Question
from scripts import cli
from scripts.audit_file import catch_up
from scripts.report import report
from scripts.source import open_source
from tests import controls
from tests.seals import Clock

DAY_1, DAY_2, DAY_4, DAY_5 = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (21, 22, 24, 25))
COPIED = datetime(2026, 12, 1, 9, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HASH = re.compile("[0-9a-f]{64}")
FORMULA = '=HYPERLINK("http://evil")'

OTHERS_ROUND = {"provider": controls.OTHER_PROVIDER, "round_id": "9"}

HISTORY = (
    (DAY_1, controls.open_wallet()),
    (DAY_1, controls.deposit()),
    (DAY_1, controls.place_bet()),
    (DAY_1, controls.result()),
    (DAY_1, controls.end_round()),
    (DAY_2, controls.open_wallet(user=controls.OTHER_PLAYER, currency="JPY")),
    (
        DAY_2,
        controls.place_bet(reference=controls.SECOND_REFERENCE, round_id=controls.OTHER_ROUND),
    ),
    (DAY_2, controls.place_bet(reference="poor", amount="1000000.00", round_id="poor")),
    (DAY_4, controls.cancel(reference=controls.SECOND_REFERENCE)),
    (DAY_4, controls.place_bet(reference="later", amount="7.50", **OTHERS_ROUND)),
    (DAY_4, controls.cancel(reference="buried")),
    (DAY_4, controls.place_bet(reference="buried", round_id="late")),
    (DAY_4, controls.pay_promo(amount="5.00")),
    (DAY_5, controls.freeze()),
    (DAY_5, controls.unfreeze()),
    (DAY_5, controls.withdraw(amount="1000.00")),
    (DAY_5, controls.refund(reference="later", provider=controls.OTHER_PROVIDER)),
    (DAY_5, controls.place_bet(reference=FORMULA, amount="1.00", round_id="open")),
)


def play(path, history, house):
    clock = Clock()
    store = open_store(f"sqlite:///{path}", IN_TRANSACTION)
    with closing(Book(store, house, now=clock)) as book:
        for clock.at, command in history:
            try:
                book.submit(command)
            except Refusal:
                continue
        Sealer(book.store, SIGNER, now=clock).seal()


def copied(folder, history, *, house=None):
    book, out = folder / "book.db", folder / "audit.db"
    play(book, history, house)
    with open_source(str(book)) as source:
        source.name = "book.db"
        catch_up(out, source, now=lambda: COPIED)
    return out


@pytest.fixture(scope="module")
def audit_file(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("reports"), HISTORY)


@pytest.fixture
def own_file(tmp_path):
    return copied(tmp_path, HISTORY)


def behind(file, statement):
    with closing(pysqlite3.connect(file)) as db, db:
        db.execute(statement)


def run(*args):
    return CliRunner().invoke(report, list(map(str, args)))


def read(file, name, **about):
    with closing(open_audit_file(file)) as db:
        made = REPORTS[name].make(db, Question(**about))
    return made, [dict(zip(made.columns, row, strict=True)) for row in made.rows]


def plain(output):
    # without the events' hashes: another field of an event would change them all
    shown = HASH.sub(lambda found: found[0] if found[0] == SIGNER.key else "f" * 64, output)
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


# what is printed


ROUND = ("--provider", controls.PROVIDER, "--round", controls.ROUND)

GOLDEN = {
    "round-history": {
        "table": """
                                                                                                    Round 5103188801 of LuckyMonaco
┏━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ version ┃ position ┃ at                          ┃ what           ┃ by     ┃ reference                ┃ amount ┃ win taken back ┃ cash before ┃ cash after ┃ transaction id                       ┃ uuid                             ┃
┡━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 1       │ 3        │ 2026-11-21T12:00:00.000000Z │ RoundOpened    │        │                          │        │                │             │            │                                      │                                  │
│ 2       │ 4        │ 2026-11-21T12:00:00.000000Z │ BetPlaced      │        │ 585c1306f89c56f5ecfc2f5d │ 100.01 │                │ 100000.00   │ 99899.99   │ fc136c65-2dd5-554c-8a94-009bce1aa78c │ 4a5d375ac1311b04fba2ea66d067b8e5 │
│ 3       │ 5        │ 2026-11-21T12:00:00.000000Z │ ResultRecorded │ result │ 585c1306f89c56f5ecfc3000 │ 250.00 │                │ 99899.99    │ 100149.99  │ 46eb1b38-d5fb-5224-9be2-6281ffd234d4 │ 4a5d375ac1311b04fba2ea66d067b8e5 │
│ 4       │ 6        │ 2026-11-21T12:00:00.000000Z │ RoundEnded     │        │                          │        │                │             │            │ b26d0bb3-0600-5273-8643-3d40b38a7582 │ 4a5d375ac1311b04fba2ea66d067b8e5 │
└─────────┴──────────┴─────────────────────────────┴────────────────┴────────┴──────────────────────────┴────────┴────────────────┴─────────────┴────────────┴──────────────────────────────────────┴──────────────────────────────────┘
the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
version,position,at,what,by,reference,amount,win_taken_back,cash_before,cash_after,transaction_id,uuid
1,3,2026-11-21T12:00:00.000000Z,RoundOpened,,,,,,,,
2,4,2026-11-21T12:00:00.000000Z,BetPlaced,,585c1306f89c56f5ecfc2f5d,100.01,,100000.00,99899.99,fc136c65-2dd5-554c-8a94-009bce1aa78c,4a5d375ac1311b04fba2ea66d067b8e5
3,5,2026-11-21T12:00:00.000000Z,ResultRecorded,result,585c1306f89c56f5ecfc3000,250.00,,99899.99,100149.99,46eb1b38-d5fb-5224-9be2-6281ffd234d4,4a5d375ac1311b04fba2ea66d067b8e5
4,6,2026-11-21T12:00:00.000000Z,RoundEnded,,,,,,,b26d0bb3-0600-5273-8643-3d40b38a7582,4a5d375ac1311b04fba2ea66d067b8e5
""",
    },
    "incomplete-rounds": {
        "table": """
                                                                        Incomplete rounds
┏━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ provider    ┃ round ┃ user   ┃ game                ┃ opened at                   ┃ currency ┃ open bets ┃ open stakes ┃ age days ┃ due at                      ┃
┡━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ LuckyMonaco │ open  │ 123456 │ Im_60_tumblefortune │ 2026-11-25T12:00:00.000000Z │ USD      │ 1         │ 1.00        │ 0        │ 2027-02-23T12:00:00.000000Z │
└─────────────┴───────┴────────┴─────────────────────┴─────────────────────────────┴──────────┴───────────┴─────────────┴──────────┴─────────────────────────────┘
as of 2026-11-25T12:00:00.000000Z, 0 overdue; the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
provider,round,user,game,opened_at,currency,open_bets,open_stakes,age_days,due_at
LuckyMonaco,open,123456,Im_60_tumblefortune,2026-11-25T12:00:00.000000Z,USD,1,1.00,0,2027-02-23T12:00:00.000000Z
""",
    },
    "cancelled-and-refunded": {
        "table": """
                                                                                                                                              Cancelled and refunded bets
┏━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ position ┃ at                          ┃ outcome   ┃ triggered by ┃ provider    ┃ round      ┃ user   ┃ reference                ┃ bet at                      ┃ currency ┃ stake  ┃ win taken back ┃ bet transaction id                   ┃ transaction id                       ┃ uuid                             ┃
┡━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 12       │ 2026-11-24T12:00:00.000000Z │ cancelled │ cancel       │ LuckyMonaco │ 5103188802 │ 123456 │ 585c1306f89c56f5ecfc2f5e │ 2026-11-22T12:00:00.000000Z │ USD      │ 100.01 │ 0.00           │ ae72d285-e3e1-56e2-b820-fbdea4f745ea │ 38f79f54-82cb-537d-86d1-4d8edcb675e8 │ 4a5d375ac1311b04fba2ea66d067b8e5 │
│ 23       │ 2026-11-25T12:00:00.000000Z │ refunded  │ refund       │ Kyren       │ 9          │ 123456 │ later                    │ 2026-11-24T12:00:00.000000Z │ USD      │ 7.50   │ 0.00           │ 4a2af2a6-a6da-5a8f-a5a1-4aae469c60f7 │ 2a92b36f-1e99-5283-822e-f74e7e1a271c │ 4a5d375ac1311b04fba2ea66d067b8e5 │
└──────────┴─────────────────────────────┴───────────┴──────────────┴─────────────┴────────────┴────────┴──────────────────────────┴─────────────────────────────┴──────────┴────────┴────────────────┴──────────────────────────────────────┴──────────────────────────────────────┴──────────────────────────────────┘
the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
position,at,outcome,triggered_by,provider,round,user,reference,bet_at,currency,stake,win_taken_back,bet_transaction_id,transaction_id,uuid
12,2026-11-24T12:00:00.000000Z,cancelled,cancel,LuckyMonaco,5103188802,123456,585c1306f89c56f5ecfc2f5e,2026-11-22T12:00:00.000000Z,USD,100.01,0.00,ae72d285-e3e1-56e2-b820-fbdea4f745ea,38f79f54-82cb-537d-86d1-4d8edcb675e8,4a5d375ac1311b04fba2ea66d067b8e5
23,2026-11-25T12:00:00.000000Z,refunded,refund,Kyren,9,123456,later,2026-11-24T12:00:00.000000Z,USD,7.50,0.00,4a2af2a6-a6da-5a8f-a5a1-4aae469c60f7,2a92b36f-1e99-5283-822e-f74e7e1a271c,4a5d375ac1311b04fba2ea66d067b8e5
""",
    },
    "daily-wallets": {
        "table": """
                                                     Daily statements of wallets
┏━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━┓
┃ day        ┃ user   ┃ currency ┃ opening   ┃ deposits  ┃ withdrawals ┃ stakes ┃ wins   ┃ promos ┃ reversals ┃ closing   ┃ variance ┃
┡━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━┩
│ 2026-11-21 │ 123456 │ USD      │ 0.00      │ 100000.00 │ 0.00        │ 100.01 │ 250.00 │ 0.00   │ 0.00      │ 100149.99 │ 0.00     │
│ 2026-11-22 │ 123456 │ USD      │ 100149.99 │ 0.00      │ 0.00        │ 100.01 │ 0.00   │ 0.00   │ 0.00      │ 100049.98 │ 0.00     │
│ 2026-11-23 │ 123456 │ USD      │ 100049.98 │ 0.00      │ 0.00        │ 0.00   │ 0.00   │ 0.00   │ 0.00      │ 100049.98 │ 0.00     │
│ 2026-11-24 │ 123456 │ USD      │ 100049.98 │ 0.00      │ 0.00        │ 7.50   │ 0.00   │ 5.00   │ 100.01    │ 100147.49 │ 0.00     │
│ 2026-11-25 │ 123456 │ USD      │ 100147.49 │ 0.00      │ 1000.00     │ 1.00   │ 0.00   │ 0.00   │ 7.50      │ 99153.99  │ 0.00     │
│ 2026-11-22 │ 654321 │ JPY      │ 0         │ 0         │ 0           │ 0      │ 0      │ 0      │ 0         │ 0         │ 0        │
│ 2026-11-23 │ 654321 │ JPY      │ 0         │ 0         │ 0           │ 0      │ 0      │ 0      │ 0         │ 0         │ 0        │
│ 2026-11-24 │ 654321 │ JPY      │ 0         │ 0         │ 0           │ 0      │ 0      │ 0      │ 0         │ 0         │ 0        │
│ 2026-11-25 │ 654321 │ JPY      │ 0         │ 0         │ 0           │ 0      │ 0      │ 0      │ 0         │ 0         │ 0        │
└────────────┴────────┴──────────┴───────────┴───────────┴─────────────┴────────┴────────┴────────┴───────────┴───────────┴──────────┘
no variance; the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
day,user,currency,opening,deposits,withdrawals,stakes,wins,promos,reversals,closing,variance
2026-11-21,123456,USD,0.00,100000.00,0.00,100.01,250.00,0.00,0.00,100149.99,0.00
2026-11-22,123456,USD,100149.99,0.00,0.00,100.01,0.00,0.00,0.00,100049.98,0.00
2026-11-23,123456,USD,100049.98,0.00,0.00,0.00,0.00,0.00,0.00,100049.98,0.00
2026-11-24,123456,USD,100049.98,0.00,0.00,7.50,0.00,5.00,100.01,100147.49,0.00
2026-11-25,123456,USD,100147.49,0.00,1000.00,1.00,0.00,0.00,7.50,99153.99,0.00
2026-11-22,654321,JPY,0,0,0,0,0,0,0,0,0
2026-11-23,654321,JPY,0,0,0,0,0,0,0,0,0
2026-11-24,654321,JPY,0,0,0,0,0,0,0,0,0
2026-11-25,654321,JPY,0,0,0,0,0,0,0,0,0
""",
    },
    "daily-providers": {
        "table": """
                                  Daily statements of providers
┏━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┓
┃ day        ┃ provider    ┃ currency ┃ bets ┃ stakes ┃ wins   ┃ reversals ┃ revenue ┃ variance ┃
┡━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━┩
│ 2026-11-24 │ Kyren       │ USD      │ 1    │ 7.50   │ 0.00   │ 0.00      │ 7.50    │ 0.00     │
│ 2026-11-25 │ Kyren       │ USD      │ 0    │ 0.00   │ 0.00   │ 7.50      │ -7.50   │ 0.00     │
│ 2026-11-21 │ LuckyMonaco │ USD      │ 1    │ 100.01 │ 250.00 │ 0.00      │ -149.99 │ 0.00     │
│ 2026-11-22 │ LuckyMonaco │ USD      │ 1    │ 100.01 │ 0.00   │ 0.00      │ 100.01  │ 0.00     │
│ 2026-11-23 │ LuckyMonaco │ USD      │ 0    │ 0.00   │ 0.00   │ 0.00      │ 0.00    │ 0.00     │
│ 2026-11-24 │ LuckyMonaco │ USD      │ 0    │ 0.00   │ 0.00   │ 100.01    │ -100.01 │ 0.00     │
│ 2026-11-25 │ LuckyMonaco │ USD      │ 1    │ 1.00   │ 0.00   │ 0.00      │ 1.00    │ 0.00     │
└────────────┴─────────────┴──────────┴──────┴────────┴────────┴───────────┴─────────┴──────────┘
no variance; the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",
        "csv": """
day,provider,currency,bets,stakes,wins,reversals,revenue,variance
2026-11-24,Kyren,USD,1,7.50,0.00,0.00,7.50,0.00
2026-11-25,Kyren,USD,0,0.00,0.00,7.50,-7.50,0.00
2026-11-21,LuckyMonaco,USD,1,100.01,250.00,0.00,-149.99,0.00
2026-11-22,LuckyMonaco,USD,1,100.01,0.00,0.00,100.01,0.00
2026-11-23,LuckyMonaco,USD,0,0.00,0.00,0.00,0.00,0.00
2026-11-24,LuckyMonaco,USD,0,0.00,0.00,100.01,-100.01,0.00
2026-11-25,LuckyMonaco,USD,1,1.00,0.00,0.00,1.00,0.00
""",
    },
    "gaming-revenue": {
        "table": """
                                Gross gaming revenue
┏━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┓
┃ provider    ┃ currency ┃ bets ┃ stakes ┃ wins   ┃ reversals ┃ revenue ┃ variance ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━┩
│ Kyren       │ USD      │ 1    │ 7.50   │ 0.00   │ 7.50      │ 0.00    │ 0.00     │
│ LuckyMonaco │ USD      │ 3    │ 201.02 │ 250.00 │ 100.01    │ -148.99 │ 0.00     │
└─────────────┴──────────┴──────┴────────┴────────┴───────────┴─────────┴──────────┘
no variance; the first day to 2026-11-25; the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",
        "csv": """
provider,currency,bets,stakes,wins,reversals,revenue,variance
Kyren,USD,1,7.50,0.00,7.50,0.00,0.00
LuckyMonaco,USD,3,201.02,250.00,100.01,-148.99,0.00
""",
    },
    "tombstones-and-late-bets": {
        "table": """
                                                                                   Tombstones and late bets
┏━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ position ┃ at                          ┃ what      ┃ by     ┃ provider    ┃ round ┃ user   ┃ currency ┃ reference ┃ transaction id                       ┃ uuid                             ┃
┡━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 16       │ 2026-11-24T12:00:00.000000Z │ tombstone │ cancel │ LuckyMonaco │       │ 123456 │ USD      │ buried    │ 0033d1d3-e842-576a-8b0d-b3e3729808f3 │ 4a5d375ac1311b04fba2ea66d067b8e5 │
│ 18       │ 2026-11-24T12:00:00.000000Z │ late-bet  │        │ LuckyMonaco │ late  │ 123456 │ USD      │ buried    │                                      │ 4a5d375ac1311b04fba2ea66d067b8e5 │
└──────────┴─────────────────────────────┴───────────┴────────┴─────────────┴───────┴────────┴──────────┴───────────┴──────────────────────────────────────┴──────────────────────────────────┘
the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
position,at,what,by,provider,round,user,currency,reference,transaction_id,uuid
16,2026-11-24T12:00:00.000000Z,tombstone,cancel,LuckyMonaco,,123456,USD,buried,0033d1d3-e842-576a-8b0d-b3e3729808f3,4a5d375ac1311b04fba2ea66d067b8e5
18,2026-11-24T12:00:00.000000Z,late-bet,,LuckyMonaco,late,123456,USD,buried,,4a5d375ac1311b04fba2ea66d067b8e5
""",
    },
    "adjustments": {
        "table": """
                                                                                                 Adjustments
┏━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ position ┃ at                          ┃ what       ┃ user   ┃ currency ┃ amount    ┃ cash before ┃ cash after ┃ provider    ┃ campaign ┃ reference                ┃ transaction id                       ┃
┡━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 2        │ 2026-11-21T12:00:00.000000Z │ deposit    │ 123456 │ USD      │ 100000.00 │ 0.00        │ 100000.00  │             │          │ deposit-1                │ 83d4a5bd-345f-588b-97ac-99abbad87797 │
│ 19       │ 2026-11-24T12:00:00.000000Z │ promo      │ 123456 │ USD      │ 5.00      │ 100142.49   │ 100147.49  │ LuckyMonaco │ summer   │ 585c1306f89c56f5ecfc3000 │ 4500f481-39ea-5bb6-8f4b-5dbc12d578a9 │
│ 20       │ 2026-11-25T12:00:00.000000Z │ freeze     │ 123456 │ USD      │           │             │            │             │          │                          │                                      │
│ 21       │ 2026-11-25T12:00:00.000000Z │ unfreeze   │ 123456 │ USD      │           │             │            │             │          │                          │                                      │
│ 22       │ 2026-11-25T12:00:00.000000Z │ withdrawal │ 123456 │ USD      │ 1000.00   │ 100147.49   │ 99147.49   │             │          │ withdrawal-1             │ 9cd57831-c642-552d-8e92-ae0ad69e87dc │
└──────────┴─────────────────────────────┴────────────┴────────┴──────────┴───────────┴─────────────┴────────────┴─────────────┴──────────┴──────────────────────────┴──────────────────────────────────────┘
the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
position,at,what,user,currency,amount,cash_before,cash_after,provider,campaign,reference,transaction_id
2,2026-11-21T12:00:00.000000Z,deposit,123456,USD,100000.00,0.00,100000.00,,,deposit-1,83d4a5bd-345f-588b-97ac-99abbad87797
19,2026-11-24T12:00:00.000000Z,promo,123456,USD,5.00,100142.49,100147.49,LuckyMonaco,summer,585c1306f89c56f5ecfc3000,4500f481-39ea-5bb6-8f4b-5dbc12d578a9
20,2026-11-25T12:00:00.000000Z,freeze,123456,USD,,,,,,,
21,2026-11-25T12:00:00.000000Z,unfreeze,123456,USD,,,,,,,
22,2026-11-25T12:00:00.000000Z,withdrawal,123456,USD,1000.00,100147.49,99147.49,,,withdrawal-1,9cd57831-c642-552d-8e92-ae0ad69e87dc
""",
    },
    "verification": {
        "table": """
                                                                                                              Verification
┏━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ what   ┃ party    ┃ source  ┃ position ┃ hash                                                             ┃ at                          ┃ key                                                              ┃ next key ┃ contradiction ┃
┡━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ copied │ operator │ book.db │ 26       │ ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff │ 2026-12-01T09:00:00.000000Z │                                                                  │          │               │
│ sealed │          │         │ 26       │ ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff │ 2026-11-25T12:00:00.000000Z │ 03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8 │          │               │
└────────┴──────────┴─────────┴──────────┴──────────────────────────────────────────────────────────────────┴─────────────────────────────┴──────────────────────────────────────────────────────────────────┴──────────┴───────────────┘
seals: 1; nothing contradicted it; the file ends at position 26, 2026-11-25T12:00:00.000000Z
""",  # noqa: E501
        "csv": """
what,party,source,position,hash,at,key,next_key,contradiction
copied,operator,book.db,26,ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff,2026-12-01T09:00:00.000000Z,,,
sealed,,,26,ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff,2026-11-25T12:00:00.000000Z,03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8,,
""",
    },
}


def golden(form):
    return [pytest.param(name, said[form], id=name) for name, said in GOLDEN.items()]


def arguments(name):
    return ROUND if name == "round-history" else ()


def test_every_report_has_its_golden_text():
    assert list(GOLDEN) == list(REPORTS)


@pytest.mark.parametrize(("name", "expected"), golden("table"))
def test_a_report_as_a_table(name, expected, audit_file):
    got = run(name, audit_file, *arguments(name))

    assert (got.exit_code, plain(got.output)) == (0, expected.lstrip("\n"))


@pytest.mark.parametrize(("name", "expected"), golden("csv"))
def test_a_report_as_csv(name, expected, audit_file):
    got = run(name, audit_file, *arguments(name), "--csv")

    assert (got.exit_code, plain(got.output)) == (0, expected.lstrip("\n"))


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_as_json_has_its_columns_in_every_row(name, audit_file):
    made = json.loads(run(name, audit_file, *arguments(name), "--json").output)

    assert list(made) == ["title", "columns", "rows", "note", "holds"]
    assert made["rows"]
    assert all(list(row) == made["columns"] for row in made["rows"])


def test_amounts_in_json_are_decimal_text_and_what_is_not_there_is_null(audit_file):
    _, freeze = json.loads(run("adjustments", audit_file, "--json").output)["rows"][1:3]

    assert (freeze["what"], freeze["amount"]) == ("freeze", None)
    (row,) = json.loads(run("incomplete-rounds", audit_file, "--json").output)["rows"]
    assert (row["open_stakes"], row["open_bets"], row["age_days"]) == ("1.00", 1, 0)


def test_no_cell_of_csv_is_a_formula_and_numbers_below_zero_stay_numbers(audit_file):
    of_round = ("--provider", controls.PROVIDER, "--round", "open", "--csv")
    trail = run("round-history", audit_file, *of_round).output
    revenue = run("gaming-revenue", audit_file, "--csv").output

    cells = [row["reference"] for row in csv.DictReader(io.StringIO(trail))]
    assert cells == ["", f"'{FORMULA}"]
    assert [row["revenue"] for row in csv.DictReader(io.StringIO(revenue))] == ["0.00", "-148.99"]


# what is asked


def test_days_on_which_nothing_happened_are_there_up_to_the_one_asked_for(audit_file):
    _, rows = read(audit_file, "daily-wallets", user=controls.PLAYER, until=date(2026, 11, 27))

    assert [(row["day"], row["opening"], row["closing"]) for row in rows[2:]] == [
        ("2026-11-23", "100049.98", "100049.98"),
        ("2026-11-24", "100049.98", "100147.49"),
        ("2026-11-25", "100147.49", "99153.99"),
        ("2026-11-26", "99153.99", "99153.99"),
        ("2026-11-27", "99153.99", "99153.99"),
    ]
    _, rows = read(audit_file, "daily-providers", provider="Kyren", until=date(2026, 11, 26))
    assert [row["day"] for row in rows] == ["2026-11-24", "2026-11-25", "2026-11-26"]


def test_a_statement_since_a_quiet_day_opens_with_what_was_there(audit_file):
    days = {"since": date(2026, 11, 23), "until": date(2026, 11, 23)}

    _, rows = read(audit_file, "daily-wallets", user=controls.PLAYER, **days)
    assert [(row["opening"], row["closing"]) for row in rows] == [("100049.98", "100049.98")]
    _, rows = read(audit_file, "gaming-revenue", **days)
    assert [(row["provider"], row["revenue"]) for row in rows] == [("LuckyMonaco", "0.00")]


def test_nothing_is_said_of_days_before_the_first(audit_file):
    for name in ("daily-wallets", "daily-providers", "gaming-revenue", "adjustments"):
        assert read(audit_file, name, until=date(2026, 11, 20))[1] == []


def test_a_clock_that_goes_back_does_not_change_a_day_that_is_over(tmp_path):
    history = (
        (DAY_1, controls.open_wallet()),
        (DAY_2, controls.deposit(amount="1.00")),
        (DAY_1, controls.deposit(amount="2.00", reference="deposit-2")),
    )

    _, rows = read(copied(tmp_path, history), "daily-wallets")

    assert [row["deposits"] for row in rows] == ["0.00", "3.00"]


def test_rounds_are_incomplete_as_of_a_day_as_they_were_then(audit_file):
    _, rows = read(audit_file, "incomplete-rounds", as_of=date(2026, 11, 23))
    assert [(row["round"], row["open_stakes"], row["age_days"]) for row in rows] == [
        (controls.OTHER_ROUND, controls.STAKE, 1)
    ]

    made, rows = read(audit_file, "incomplete-rounds", as_of=date(2027, 2, 22))
    assert [(row["round"], row["age_days"]) for row in rows] == [("open", 89)]
    assert "0 overdue" in made.note

    made, rows = read(audit_file, "incomplete-rounds", as_of=date(2027, 2, 23))
    assert [(row["due_at"], row["age_days"]) for row in rows] == [
        ("2027-02-23T12:00:00.000000Z", 90)
    ]
    assert "1 overdue" in made.note


def test_a_round_is_due_by_its_oldest_open_bet_and_not_by_one_that_was_refused_or_went_back(
    tmp_path,
):
    history = (
        (DAY_1, controls.open_wallet()),
        (DAY_1, controls.place_bet(reference="refused", round_id="poor")),
        (DAY_1, controls.deposit()),
        (DAY_1, controls.place_bet(reference="back", round_id="rich")),
        (DAY_2, controls.place_bet(reference="poor", round_id="poor")),
        (DAY_4, controls.place_bet(reference="rich", round_id="rich")),
        (DAY_5, controls.place_bet(reference="richer", round_id="rich")),
        (DAY_5, controls.cancel(reference="back")),
    )

    made, rows = read(copied(tmp_path, history), "incomplete-rounds", as_of=date(2027, 2, 20))
    assert [(row["round"], row["due_at"], row["age_days"]) for row in rows] == [
        ("poor", "2027-02-20T12:00:00.000000Z", 91),
        ("rich", "2027-02-22T12:00:00.000000Z", 91),
    ]
    assert "1 overdue" in made.note


def test_a_trail_goes_on_where_the_cash_stood_and_holds_tombstones_that_name_the_round(tmp_path):
    history = (
        (DAY_1, controls.open_wallet()),
        (DAY_1, controls.deposit(amount="100.00")),
        (DAY_1, controls.place_bet(amount="40.00")),
        (DAY_2, controls.place_bet(reference="poor", amount="60.01")),
        (DAY_2, controls.cancel(reference="unknown", round_id=controls.ROUND)),
        (DAY_4, controls.cancel()),
    )

    made, rows = read(
        copied(tmp_path, history),
        "round-history",
        provider=controls.PROVIDER,
        round=controls.ROUND,
    )

    assert [(row["what"], row["cash_before"], row["cash_after"]) for row in rows] == [
        ("RoundOpened", None, None),
        ("BetPlaced", "100.00", "60.00"),
        ("BetRefused", "60.00", "60.00"),
        ("TombstoneRecorded", None, None),
        ("BetCancelled", "60.00", "100.00"),
        ("RoundCancelled", None, None),
    ]
    assert made.title == "Round 5103188801 of LuckyMonaco"


def test_a_win_that_is_taken_back_is_said_and_leaves_no_variance(tmp_path):
    history = (
        (DAY_1, controls.open_wallet()),
        (DAY_1, controls.deposit(amount="100.00")),
        (DAY_1, controls.place_bet(amount="40.00")),
        (DAY_1, controls.result(amount="15.00")),
        (DAY_2, controls.cancel_round()),
    )
    file = copied(tmp_path, history, house=House(allow_cancel_completed=True))

    _, (row,) = read(file, "cancelled-and-refunded")
    said = [row[name] for name in ("triggered_by", "at", "stake", "win_taken_back")]
    assert said == ["cancel-round", "2026-11-22T12:00:00.000000Z", "40.00", "15.00"]

    _, rows = read(file, "round-history", provider=controls.PROVIDER, round=controls.ROUND)
    said = [(row["amount"], row["win_taken_back"], row["cash_after"]) for row in rows]
    assert ("40.00", "15.00", "100.00") in said

    for name in ("daily-wallets", "daily-providers"):
        made, rows = read(file, name)
        assert (made.holds, rows[-1]["reversals"]) == (True, "25.00")
    assert rows[-1]["revenue"] == "-25.00"


def test_a_day_may_come_to_more_than_an_integer_of_the_file_holds(tmp_path):
    whale = {"currency": "BIG", "amount": "1000000"}
    history = [(DAY_1, controls.open_wallet(currency="BIG")), (DAY_1, controls.deposit(**whale))]
    for number in range(12):
        named = {"reference": f"b-{number}", "currency": "BIG"}
        bet = controls.place_bet(**whale, reference=f"b-{number}", round_id=f"r-{number}")
        history += [(DAY_1, bet), (DAY_1, controls.cancel(**named))]
    file = copied(tmp_path, history, house=House(scales={"BIG": 12}))

    for name in ("daily-wallets", "daily-providers", "gaming-revenue"):
        made, (row,) = read(file, name)
        zeros = "0" * 12
        assert (made.holds, row["variance"]) == (True, f"0.{zeros}")
        assert (row["stakes"], row["reversals"]) == (f"12000000.{zeros}", f"12000000.{zeros}")


@pytest.mark.parametrize(
    ("name", "about", "positions"),
    [
        ("adjustments", {"since": DAY_5.date(), "currency": "USD"}, [20, 21, 22]),
        ("adjustments", {"provider": "LuckyMonaco"}, [19]),
        ("adjustments", {"user": controls.OTHER_PLAYER}, []),
        ("cancelled-and-refunded", {"until": DAY_4.date()}, [12]),
        ("cancelled-and-refunded", {"provider": "Kyren"}, [23]),
        ("tombstones-and-late-bets", {"provider": "Kyren"}, []),
        ("tombstones-and-late-bets", {"user": controls.PLAYER}, [16, 18]),
    ],
)
def test_a_report_says_only_what_was_asked(name, about, positions, audit_file):
    _, rows = read(audit_file, name, **about)

    assert [row["position"] for row in rows] == positions


def test_an_empty_book_has_reports_too(tmp_path):
    file = copied(tmp_path, ())

    for name in [name for name in REPORTS if name not in ("round-history", "verification")]:
        got = run(name, file)
        assert (got.exit_code, ": none\n" in got.output) == (0, True)


# what holds for every history


HOURS = st.integers(0, 60)
AMOUNTS = st.integers(0, 3000).map(lambda cents: f"{cents // 100}.{cents % 100:02}")
ABOUT = {
    "user": st.sampled_from((controls.PLAYER, controls.OTHER_PLAYER)),
    "currency": st.sampled_from(("USD", "EUR")),
}
IN_ROUND = ABOUT | {
    "reference": st.sampled_from("abcdef"),
    "provider": st.sampled_from((controls.PROVIDER, controls.OTHER_PROVIDER)),
}
COMMANDS = st.one_of(
    st.builds(controls.place_bet, amount=AMOUNTS, round_id=st.sampled_from("123"), **IN_ROUND),
    st.builds(controls.result, amount=AMOUNTS, round_id=st.sampled_from("123"), **IN_ROUND),
    st.builds(controls.cancel, **IN_ROUND),
    st.builds(controls.refund, **IN_ROUND),
    st.builds(controls.cancel_round, **IN_ROUND),
    st.builds(controls.pay_promo, amount=AMOUNTS, **IN_ROUND),
    st.builds(controls.deposit, amount=AMOUNTS, reference=st.sampled_from("uvw"), **ABOUT),
    st.builds(controls.withdraw, amount=AMOUNTS, reference=st.sampled_from("xyz"), **ABOUT),
)
SIGNS = {
    "deposits": 1,
    "withdrawals": -1,
    "stakes": -1,
    "wins": 1,
    "promos": 1,
    "reversals": 1,
}


@st.composite
def histories(draw):
    at = DAY_1
    history = [
        (at, command)
        for user in (controls.PLAYER, controls.OTHER_PLAYER)
        for command in (
            controls.open_wallet(user=user),
            controls.deposit(user=user, amount="50.00", reference=user),
        )
    ]
    for hours, command in draw(st.lists(st.tuples(HOURS, COMMANDS), min_size=5, max_size=30)):
        at += timedelta(hours=hours)
        history.append((at, command))
    return history


def minor(amount):
    return int(amount.replace(".", ""))


def by_wallet(rows):
    wallets = defaultdict(list)
    for row in rows:
        wallets[row["user"], row["currency"]].append(row)
    return wallets


@settings(max_examples=15)
@given(history=histories(), after=st.integers(0, 5))
def test_statements_go_on_from_day_to_day_and_come_to_what_the_book_says(history, after):
    with TemporaryDirectory() as folder:
        file = copied(Path(folder), history)
        made, rows = read(file, "daily-wallets")
        since = DAY_1.date() + timedelta(days=after)
        later = read(file, "daily-wallets", since=since)[1]
        played, plays = read(file, "daily-providers")
        revenue = read(file, "gaming-revenue")[1]
        with closing(pysqlite3.connect(file)) as db:
            cash = dict(db.execute("select user, cash from wallets where currency = 'USD'"))
            totals = db.execute(
                "select provider, staked - reversed - won from gross_gaming_revenue"
            ).fetchall()

    assert made.holds
    assert played.holds
    assert {row["variance"] for row in [*rows, *plays, *revenue]} <= {"0.00"}
    for (user, _), days in by_wallet(rows).items():
        dates = [date.fromisoformat(row["day"]) for row in days]
        assert dates == [DAY_1.date() + timedelta(days=n) for n in range(len(days))]
        assert [row["opening"] for row in days[1:]] == [row["closing"] for row in days[:-1]]
        sums = (sign * minor(row[name]) for row in days for name, sign in SIGNS.items())
        assert sum(sums) == minor(days[-1]["closing"]) == cash[user]
    assert later == [row for row in rows if row["day"] >= str(since)]
    for provider, total in totals:
        for said in (plays, revenue):
            assert total == sum(
                minor(row["revenue"]) for row in said if row["provider"] == provider
            )


# exit codes


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("daily-wallets", "update postings set amount = amount + 1 where position = 5"),
        ("daily-providers", "update results set amount = amount + 1"),
        ("gaming-revenue", "update postings set amount = amount + 1 where position = 5"),
    ],
)
def test_a_variance_is_shown_and_exits_1(name, statement, own_file):
    behind(own_file, statement)

    got = run(name, own_file, "--json")

    assert got.exit_code == 1
    made = json.loads(got.output)
    assert not made["holds"]
    assert made["note"].startswith("a variance in 1 of ")
    assert {row["variance"] for row in made["rows"]} > {"0.00"}


@pytest.mark.parametrize(
    ("name", "more", "complaint"),
    [
        ("round-history", (), "round-history needs --provider"),
        ("round-history", ("--provider", "Kyren"), "round-history needs --round"),
        ("daily-wallets", ("--provider", "Kyren"), "daily-wallets takes no --provider"),
        ("daily-wallets", ("--json", "--csv"), "give either --json or --csv"),
        ("verification", ("--as-of", "2026-11-21"), "verification takes no --as-of"),
        ("adjustments", ("--since", "yesterday"), "'yesterday' is no day, as 2026-11-21"),
        (
            "adjustments",
            ("--since", "2026-11-22", "--until", "2026-11-21"),
            "2026-11-22 is after --until 2026-11-21",
        ),
        ("of-nothing", (), "'of-nothing' is not one of"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence_and_exits_2(name, more, complaint, audit_file):
    got = run(name, audit_file, *more)

    assert got.exit_code == 2
    assert complaint in got.output


def told(monkeypatch, capsys, *args):
    monkeypatch.setitem(cli.roundbook.commands, "report", report)
    monkeypatch.setattr("sys.argv", ["roundbook", "report", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return ended.value.code, said.err


def test_a_file_that_is_none_is_one_sentence_and_exits_2(tmp_path, monkeypatch, capsys):
    code, said = told(monkeypatch, capsys, "adjustments", tmp_path / "none.db")
    assert (code, said) == (2, f"roundbook: there is no {tmp_path}/none.db\n")

    (tmp_path / "text").write_text("text" * 100)
    assert told(monkeypatch, capsys, "adjustments", tmp_path / "text")[0] == 2


def test_a_book_is_told_how_it_becomes_an_audit_file(tmp_path, monkeypatch, capsys):
    play(tmp_path / "a book.db", HISTORY, None)

    code, said = told(monkeypatch, capsys, "adjustments", tmp_path / "a book.db")
    program, *command = shlex.split(said.split("`")[1])
    made = CliRunner().invoke(cli.roundbook, command)

    assert (code, program, made.exit_code) == (2, "roundbook", 0)
    assert run("adjustments", tmp_path / "a book.audit.db").exit_code == 0


def test_an_old_file_is_one_sentence_and_exits_2(own_file, monkeypatch, capsys):
    behind(own_file, "update audit set format = 0")

    code, said = told(monkeypatch, capsys, "adjustments", own_file)

    assert (code, "has the format 0" in said) == (2, True)


def test_a_file_without_what_a_report_reads_is_one_sentence_and_exits_2(own_file):
    behind(own_file, "drop table reversals")

    refused = run("gaming-revenue", own_file).exception

    assert isinstance(refused, StoreUnfit)
    assert "no such table: reversals" in str(refused)


def test_a_providers_file_has_a_verification_and_no_other_report(tmp_path):
    file = tmp_path / "provider.db"
    continue_audit_file(file, PROVIDER, source="there", at="now").db.close()

    assert run("verification", file).exit_code == 0
    refused = run("adjustments", file).exception
    assert isinstance(refused, StoreUnfit)
    assert "is of a provider's book" in str(refused)


def test_help_names_every_report_and_an_example():
    shown = run("--help").output

    assert all(name in shown for name in REPORTS)
    assert "Example: roundbook report" in shown


def test_a_report_leaves_the_file_as_it_is(audit_file):
    before = audit_file.read_bytes()

    for name in REPORTS:
        run(name, audit_file, *arguments(name))

    assert audit_file.read_bytes() == before
