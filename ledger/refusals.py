"""Every refusal and every breakdown, each with its stable word and its code on the wire.

A refusal is a denial by the rules: nothing moved, asking again changes nothing. A breakdown is our
own failure: the outcome is unknown, asking again with the same reference is safe.
Source: contract.md, "Error codes".
"""


class Refusal(Exception):
    """A command was denied by the rules."""

    code = 999
    word = "refused"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail


class NotEnoughCash(Refusal):
    """Quotes the wallet's true `cash`, a decimal in its `currency`."""

    code, word = 15, "not-enough-cash"

    def __init__(self, *, currency: str, cash: str) -> None:
        super().__init__(f"the wallet holds {cash} {currency}", field="amount")
        self.currency = currency
        self.cash = cash


class NotTogether(Refusal):
    """The round, the reference and the player do not belong together."""

    code, word = 16, "not-together"


class NoSuchRound(Refusal):
    code, word = 17, "no-such-round"


class WrongCurrency(Refusal):
    code, word = 52, "wrong-currency"


class BetsNotAllowed(Refusal):
    code, word = 53, "bets-not-allowed"


class LoginWrong(Refusal):
    code, word = 54, "login-wrong"


class SessionInvalid(Refusal):
    code, word = 55, "session-invalid"


class PlayerFrozen(Refusal):
    code, word = 56, "player-frozen"


class Malformed(Refusal):
    code, word = 57, "malformed"


class ReferenceReused(Refusal):
    """A known reference came back with another payload."""

    code, word = 57, "reference-reused"


class GameUnknown(Refusal):
    code, word = 58, "game-unknown"


class AmountInvalid(Refusal):
    code, word = 59, "amount-invalid"


class PlayerNotFound(Refusal):
    code, word = 62, "player-not-found"


class FieldMissing(Refusal):
    code, word = 64, "field-missing"


class CredentialWrong(Refusal):
    code, word = 401, "credential-wrong"


class Final(Refusal):
    """Refused for good, where no narrower word fits."""

    code, word = 999, "refused-for-good"


class Breakdown(Exception):
    """We failed; the caller may ask again with the same reference."""

    code = 998
    word = "breakdown"


class Busy(Breakdown):
    """The writer's queue is full: nothing was recorded."""

    word = "busy"


class Unsettled(Breakdown):
    """The wallet has to answer first what was sent before: nothing was recorded."""

    word = "unsettled"


class OutcomeUnknown(Breakdown):
    """It may or may not have been recorded; the same reference finds out."""

    word = "outcome-unknown"
