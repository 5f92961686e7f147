import os
import subprocess
from collections import Counter
from contextlib import contextmanager

import pytest

from ledger.operator.book import MAPPER
from ledger.rebuild import differences
from ledger.store import open_store
from projections import IN_TRANSACTION
from tests import auditor

EVERYTHING = 10**9

TAKEN = {"Bet": {"BetPlaced"}, "Result": {"ResultRecorded"}}
TAKEN["Cancel"] = {"BetCancelled", "TombstoneRecorded"}


@contextmanager
def locked(file):
    if os.geteuid():
        file.chmod(0o444)
        yield
        return
    bind = ["mount", "--bind", str(file), str(file)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(file)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(file)], check=True)


def check_the_book(where, acknowledged):
    url = where if "://" in str(where) else f"sqlite:///{where}"
    store = open_store(url, IN_TRANSACTION)
    try:
        assert differences(store, MAPPER) == []
        records = store.records(after=0, limit=EVERYTHING)
        assert [record.id for record in records] == list(range(1, len(records) + 1))
        assert [record.hash for record in records] == auditor.chain(records)
        for table, rows in auditor.derive(records).items():
            assert [tuple(row) for row in store.rows(table)] == rows
    finally:
        store.close()
    recorded = Counter()
    names = {}
    for record in records:
        event = MAPPER.decode(record.topic, record.state)
        for call, topics in TAKEN.items():
            if record.topic in topics:
                recorded[call, event.reference] += 1
                names[call, event.reference] = event.transaction_id
    assert [key for key, times in recorded.items() if times > 1] == []
    assert [key for key in acknowledged if key not in recorded] == []
    assert [key for key, name in acknowledged.items() if name and names[key] != name] == []
    check_rounds_are_whole(records)
    return records


def check_rounds_are_whole(records):
    opened, cancelled, reversed_bets = set(), set(), set()
    for record in records:
        event = MAPPER.decode(record.topic, record.state)
        if record.topic == "RoundOpened":
            opened.add(event.round)
        if record.topic == "BetPlaced":
            assert event.round in opened
        if record.topic == "BetCancelled":
            reversed_bets.add(event.round)
        if record.topic == "RoundCancelled":
            cancelled.add(event.round)
    assert reversed_bets == cancelled
