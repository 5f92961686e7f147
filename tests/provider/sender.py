"""A courier in a process of its own, which delivers until it is killed.

Its one argument is a JSON object: the store, an operator's login and wallet, and the terms with it.
"""

import sys
import threading

import msgspec
from msgspec.structs import replace

from ledger.provider import courier
from ledger.provider.book import Book
from ledger.provider.house import House
from ledger.provider.wire import Remote
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from tests.provider import examples

WORKER = "to be killed"


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    store: str
    login: str
    remote: Remote
    terms: dict[str, int]
    poll_s: float
    lease_margin_s: float


def run(errand):
    courier.POLL_S, courier.LEASE_MARGIN_S = errand.poll_s, errand.lease_margin_s
    operator = replace(examples.OPERATORS[errand.login], **errand.terms)
    house = House(operators={errand.login: operator})
    book = Book(open_store(errand.store, IN_TRANSACTION), house, on_defect=tell)
    remotes = {errand.login: errand.remote}
    courier.Courier(book, remotes, worker=WORKER, on_defect=tell).start()
    threading.Event().wait()


def tell(defect):
    sys.stderr.write(f"{defect!r}\n")


if __name__ == "__main__":
    run(msgspec.json.decode(sys.argv[1], type=Errand))
