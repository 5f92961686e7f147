"""Who may call: the pair of MEMB_ID and HASH that each provider shares with the operator."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import parse_qs

from ledger.refusals import CredentialWrong


class Partner(NamedTuple):
    """One provider's relation to this operator; every one of its tokens is valid."""

    id: str
    member: bytes
    tokens: Sequence[bytes]

    def admits(self, member: bytes, token: bytes) -> bool:
        """Returns whether the pair is this partner's, in the same time whatever it is."""
        admitted = [compare_digest(token, known) for known in self.tokens]
        return compare_digest(member, self.member) & any(admitted)


IN_QUERY, IN_BODY = "MEMB_ID or HASH", "secureLogin or token"
"""What the pair is called, by where it comes."""

MOST_REMEMBERED = 1024
MOST_FIELDS = 64
"""What a stranger says is not read at length."""


class Gate:
    """Lets partners in by the query of a call. A query that was right is remembered, as it was written.

    Its place is found by a keyed hash, so that nothing but the whole query takes a different time.
    """

    def __init__(self, partners: Sequence[Partner]) -> None:
        self._partners = partners
        self._right: dict[bytes, list[Partner]] = {}

    def admitted(self, query: bytes) -> list[Partner]:
        """Returns every partner whose pair a call carries. Raises CredentialWrong."""
        known = self._right.get(query)
        if known is None:
            known = admitted(self._partners, *pair(query))
            if len(self._right) < MOST_REMEMBERED:
                self._right[query] = known
        return known


def pair(query: bytes) -> tuple[str, str]:
    """Returns the MEMB_ID and HASH of a call. Raises CredentialWrong where either is not given once."""
    try:
        text = query.decode("utf-8", "replace")
        given = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise CredentialWrong(f"the query has more than {MOST_FIELDS} fields") from None
    members, tokens = given.get("MEMB_ID", ()), given.get("HASH", ())
    if len(members) != 1 or len(tokens) != 1:
        raise CredentialWrong("MEMB_ID and HASH must each be given once")
    return members[0], tokens[0]


def admitted(
    partners: Sequence[Partner], member: str, token: str, *, called: str = IN_QUERY
) -> list[Partner]:
    """Returns every partner whose pair this is, `called` so by who calls. Raises CredentialWrong for none."""
    pair = (member.encode("utf-8", "replace"), token.encode("utf-8", "replace"))
    found = [partner for partner in partners if partner.admits(*pair)]
    if not found:
        raise CredentialWrong(f"{called} is wrong")
    return found


def named(partners: Sequence[Partner], provider: str) -> Partner:
    """Returns the partner a body's providerId names. Raises CredentialWrong."""
    for partner in partners:
        if partner.id.casefold() == provider.casefold():
            return partner
    raise CredentialWrong(f"{IN_QUERY} is wrong")
