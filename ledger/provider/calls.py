"""What is sent to an operator's wallet: the path, and the body's exact text. Pure, no credentials.

Source: contract.md, "Calls the operator's wallet answers"; seeds 002, 003 and 004.
"""

from typing import Any

import msgspec

from ledger.moments import milliseconds
from ledger.money import to_text
from ledger.names import transaction_id
from ledger.provider.events import Call, Kind
from ledger.provider.house import Dialect

_PATHS: dict[Dialect, dict[Kind, str]] = {
    "lucky-monaco-v4": {
        "bet": "/V4/Bet",
        "result": "/V4/Result",
        "end": "/V4/EndRound",
        "cancel": "/V4/Cancel",
        "refund": "/v4/Cancel",
    },
    "kyren-v1": {
        "bet": "/v1/Bet",
        "result": "/v1/Result",
        "end": "/v1/EndRound",
        "cancel": "/v1/Cancel",
        "refund": "/v1/Cancel",
    },
}


def dialect_of(call: Call) -> Dialect:
    """Returns in which dialect a call was made, whatever its operator speaks now."""
    return next(dialect for dialect, paths in _PATHS.items() if call.path in paths.values())


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The round a call is about; `session` is the bet's own."""

    operator: str
    dialect: Dialect
    provider: str
    round: str
    user: str
    currency: str
    scale: int
    game: str
    game_name: str
    session: str

    def _call(self, kind: Kind, of: str, fields: dict[str, Any]) -> Call:
        body = {
            "providerId": self.provider,
            "userId": self.user,
            "currency": self.currency,
            "gameId": self.game,
            **fields,
            "uuid": transaction_id(self.operator, f"send {kind}", of).replace("-", ""),
        }
        return Call(path=_PATHS[self.dialect][kind], body=msgspec.json.encode(body).decode())

    def money(self, kind: Kind, reference: str, *, amount: int, at: str, details: Any) -> Call:
        """Returns a Bet or a Result; `amount` in minor units, `at` when it was recorded.

        Without details, or with empty ones that a wallet takes for none, it says its kind.
        """
        fields = {
            "gameName": self.game_name,
            "roundId": self.round,
            "sessionId": self.session,
            "reference": reference,
            "amount": to_text(amount, self.scale),
            "timestamp": str(milliseconds(at)),
            "roundDetails": kind if details in (None, "") else details,
        }
        return self._call(kind, reference, fields)

    def end(self) -> Call:
        """Returns an EndRound."""
        return self._call("end", self.round, {"roundId": self.round, "sessionId": self.session})

    def reversal(self, kind: Kind, reference: str) -> Call:
        """Returns a Cancel or a Refund: seed 004 at Kyren's, seeds 002 and 003 at Lucky Monaco's."""
        fields = {"gameName": self.game_name, "reference": reference}
        if self.dialect == "kyren-v1":
            fields |= {"sessionId": self.session, "roundId": self.round}
        elif kind == "cancel":
            fields |= {"sessionId": self.session}
        return self._call(kind, reference, fields)
