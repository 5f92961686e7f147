"""What the provider agreed with each operator: settings the rules depend on."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from ledger.moments import DAY_S, later
from ledger.money import iso_scale
from ledger.provider.events import Kind
from ledger.refusals import Malformed

Dialect = Literal["lucky-monaco-v4", "kyren-v1"]
PROVIDER_ID: Mapping[Dialect, str] = {"lucky-monaco-v4": "LuckyMonaco", "kyren-v1": "Kyren"}


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator, by its secure login. `provider` is the providerId its wallet knows us by."""

    id: str
    dialect: Dialect
    provider: str
    retries: int = 3
    """Retransmissions after the first send, of all but results."""
    result_retries: int = 10
    retention_days: int = 90

    def most_sends(self, kind: Kind) -> int:
        """Returns how many sends a burst has."""
        return 1 + (self.result_retries if kind == "result" else self.retries)

    def due(self, open_since: str) -> str:
        """Returns the time from which a bet that is open since another is refunded by its age."""
        return later(open_since, seconds=self.retention_days * DAY_S)


class House(msgspec.Struct, frozen=True, kw_only=True):
    """Operators by secure login, and the scales of currencies where ISO 4217 is not meant."""

    operators: Mapping[str, Operator] = {}
    scales: Mapping[str, int] = {}

    def operator(self, login: str) -> Operator:
        """Returns an operator. Raises Malformed."""
        found = self.operators.get(login)
        if found is None:
            raise Malformed("no such operator is configured", field="operator")
        return found

    def scale(self, currency: str) -> int | None:
        """Returns how many decimals a currency has, None where nobody says."""
        found = self.scales.get(currency)
        return iso_scale(currency) if found is None else found
