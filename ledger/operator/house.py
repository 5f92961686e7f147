"""What the operator decided for the whole house: settings the rules depend on."""

from collections.abc import Mapping

import msgspec

from ledger.money import iso_scale


class House(msgspec.Struct, frozen=True, kw_only=True):
    """Settings by provider id, and the scales of currencies where ISO 4217 is not meant."""

    allow_cancel_completed: bool = False
    bets_stopped: frozenset[str] = frozenset()
    games: Mapping[str, frozenset[str]] = {}
    """Only these games, for the providers named here; every game for the others."""
    games_off: Mapping[str, frozenset[str]] = {}
    scales: Mapping[str, int] = {}

    def scale(self, currency: str) -> int | None:
        """Returns how many decimals a currency has, None where nobody says."""
        found = self.scales.get(currency)
        return iso_scale(currency) if found is None else found

    def plays(self, provider: str, game: str) -> bool:
        """Returns whether new bets on the game are taken."""
        known = self.games.get(provider)
        return (known is None or game in known) and game not in self.games_off.get(provider, ())
