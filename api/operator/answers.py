"""What the wallet answers, key by key and in the order the documents print. Amounts are text."""

from typing import Any

from ledger.money import to_text
from ledger.operator.book import Outcome
from ledger.operator.wallet import Wallet
from ledger.refusals import Breakdown, NotEnoughCash, Refusal

Answer = dict[str, Any]

SUCCESS: Answer = {"error": 0, "description": "Success"}

CASH: Answer = {**SUCCESS, "currency": "USD", "cash": "99899.99"}
TRANSACTION: Answer = {**CASH, "transactionId": "fc136c65-2dd5-554c-8a94-009bce1aa78c"}
REFERENCE: Answer = {**SUCCESS, "reference": "585c1306f89c56f5ecfc2f5d"}
REFUNDED: Answer = {
    "transactionId": "c39d8149-ab03-564c-bd5d-3da89d40b2d1",
    "error": "0",
    "description": "Success",
}
"""Examples, as the documents print them."""


def with_cash(found: Outcome | Wallet) -> Answer:
    """Returns the wallet as it is now."""
    return {**SUCCESS, "currency": found.currency, "cash": to_text(found.cash, found.scale)}


def with_transaction(outcome: Outcome) -> Answer:
    """Returns the wallet and the operator's own id of the transaction (seed 004)."""
    return {**with_cash(outcome), "transactionId": outcome.transaction_id}


def with_reference(reference: str) -> Answer:
    """Returns the provider's reference back (seeds 001 and 002)."""
    return {**SUCCESS, "reference": reference}


def refunded(outcome: Outcome) -> Answer:
    """Returns a Refund's answer, whose error is text (seed 003)."""
    return {"transactionId": outcome.transaction_id, "error": "0", "description": "Success"}


def denied(denial: Refusal | Breakdown) -> Answer:
    """Returns the code, the field and the rule; with too little cash also what there is."""
    answer: Answer = {"error": denial.code, "description": str(denial)}
    if isinstance(denial, NotEnoughCash):
        answer |= {"currency": denial.currency, "cash": denial.cash}
    return answer
