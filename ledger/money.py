"""Money is a whole number of minor units; this is the one place where decimals are read and written.

The scale of a currency is how many decimals it has: USD 2, JPY 0, KWD 3.
"""

import re

import msgspec
from iso4217 import Currency

from ledger.refusals import AmountInvalid

MOST_MINOR_UNITS = 10**18
"""No amount and no wallet may hold more; it leaves room in the store's 63-bit integers."""

MOST_SUM = 2**63 - 1
"""No sum may be more: it is what the store's integers hold."""

MOST_SCALE = 12

_TEXT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,18}))?")
_NUMBER = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,18}))?(?:[eE]([+-]?[0-9]{1,2}))?")


class Amount(msgspec.Struct, frozen=True):
    """An exact decimal as it was said: `digits` divided by ten to the power of `places`."""

    digits: int
    places: int


def read_text(text: str) -> Amount:
    """Returns the amount a caller wrote as a JSON string.

    Raises AmountInvalid for anything but plain digits and at most one point.
    """
    found = _TEXT.fullmatch(text)
    if not found or not text.isascii():
        raise AmountInvalid("must be digits with at most one decimal point", field="amount")
    whole, decimals = found.group(1), found.group(2) or ""
    return Amount(int(whole + decimals), len(decimals))


def read_number(literal: str) -> Amount:
    """Returns the amount of a JSON number, from its literal text: never through a float.

    Raises AmountInvalid for a negative, a non-finite, a too long or a too large one.
    """
    found = _NUMBER.fullmatch(literal)
    if not found or not literal.isascii():
        raise AmountInvalid("must be a number of zero or more, not too long", field="amount")
    whole, decimals, exponent = found.group(1), found.group(2) or "", int(found.group(3) or 0)
    digits, places = int(whole + decimals), len(decimals) - exponent
    if places < 0:
        digits, places = digits * 10**-places, 0
    return Amount(digits, places)


def to_minor(amount: Amount, scale: int) -> int:
    """Returns the amount in minor units of a currency with `scale` decimals.

    Raises AmountInvalid for more decimals than the currency has (nothing is ever rounded) and for
    more than MOST_MINOR_UNITS.
    """
    if amount.places > scale:
        raise AmountInvalid(f"has more than the currency's {scale} decimals", field="amount")
    minor: int = amount.digits * 10 ** (scale - amount.places)
    if minor > MOST_MINOR_UNITS:
        raise AmountInvalid("is too large", field="amount")
    return minor


def check_sum(minor: int) -> None:
    """Raises AmountInvalid where a round's sum would be more than MOST_SUM."""
    if minor > MOST_SUM:
        raise AmountInvalid(
            "would make the round's sum larger than a book can hold", field="amount"
        )


def to_text(minor: int, scale: int) -> str:
    """Returns minor units as a decimal with exactly `scale` decimals: `99899.99`."""
    if scale == 0:
        return str(minor)
    sign, digits = ("-", -minor) if minor < 0 else ("", minor)
    whole, decimals = divmod(digits, 10**scale)
    return f"{sign}{whole}.{decimals:0{scale}}"


def iso_scale(currency: str) -> int | None:
    """Returns the ISO 4217 scale of a currency code, None where the code has none."""
    try:
        found: int | None = Currency(currency).exponent
    except ValueError:
        return None
    return found
