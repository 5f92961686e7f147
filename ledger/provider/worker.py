"""What runs beside a provider's book: the courier, and the sweep of what is overdue."""

import os
import secrets
import socket
from collections.abc import Callable, Mapping

from ledger.periodic import Periodic
from ledger.provider.answers import Answer
from ledger.provider.book import Book
from ledger.provider.courier import Courier
from ledger.provider.delivery import Delivery
from ledger.provider.retention import Sweeper
from ledger.provider.round import Round
from ledger.provider.wire import Remote


class Worker:
    """Delivers and sweeps for one book. Several may run, in as many processes."""

    def __init__(
        self,
        book: Book,
        remotes: Mapping[str, Remote],
        *,
        sweep_every_s: float,
        sweep_cap: int,
        on_settled: Callable[[Round], None],
        on_stuck: Callable[[Delivery, Answer], None],
        on_defect: Callable[[Exception], None],
    ) -> None:
        self._courier = Courier(
            book,
            remotes,
            worker=worker_name(),
            on_settled=on_settled,
            on_stuck=on_stuck,
            on_defect=on_defect,
        )
        sweeper = Sweeper(book, cap=sweep_cap, on_refunded=lambda found: self.wake(found.operator))
        self._retention = Periodic(
            sweeper.sweep, every_s=sweep_every_s, name="retention", on_defect=on_defect
        )

    def start(self) -> None:
        """Begins to deliver and to sweep."""
        self._courier.start()
        self._retention.start()

    def stop(self) -> None:
        """Ends both; what is under way is sent again later if it does not end in time."""
        self._retention.stop()
        self._courier.stop()

    def wake(self, operator: str) -> None:
        """Looks at once for what is due to an operator; from any thread, started or not."""
        self._courier.wake(operator)


def worker_name() -> str:
    """Returns a name that no other worker has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
