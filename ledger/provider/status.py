"""The five words for where a round stands. Source: contract.md, "Calls the provider answers"."""

from typing import Literal

RoundStatus = Literal[
    "InProgress", "Completed", "Cancelled", "CompleteInProcess", "CancelInProcess"
]


def status(
    *,
    cancelled: bool,
    cancelling: bool,
    decided: bool,
    owing: int,
    unanswered: int,
    open_bets: int,
    reversing: int,
) -> RoundStatus:
    """Returns a round's status.

    `owing` counts what of its outcome the wallet has not confirmed, `reversing` the reversals it has
    not; a round of which some bets go back and others are open is still InProgress.
    """
    if cancelled:
        return "Cancelled"
    if decided:
        return "CompleteInProcess" if owing else "Completed"
    if cancelling or (reversing and not open_bets and not unanswered):
        return "CancelInProcess"
    return "InProgress"
