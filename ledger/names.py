"""Names of streams and transactions, derived from what the provider calls them.

Parts are escaped, so that no two lists of parts give one name: `a/b`, `c` and `a`, `b/c` differ.
"""

from uuid import UUID, uuid5

_NAMESPACE = UUID("8d7b7a52-6f0c-5b3e-9a4d-52f3b1c0a7e1")


def name(*parts: str) -> str:
    """Returns the parts joined by `/`, each escaped: `round/LuckyMonaco/5103188801`."""
    return "/".join(
        part.replace("%", "%25").replace("/", "%2F") if "/" in part or "%" in part else part
        for part in parts
    )


def transaction_id(provider: str, kind: str, reference: str) -> str:
    """Returns the operator's own id of a transaction: the same for the same reference, for ever."""
    return str(uuid5(_NAMESPACE, name(provider, kind, reference)))
