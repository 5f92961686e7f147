"""Who may call: the pair of MEMB_ID and HASH that each provider shares with the operator."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import NamedTuple

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


def admitted(partners: Sequence[Partner], member: str, token: str) -> list[Partner]:
    """Returns every partner whose pair this is. Raises CredentialWrong for none."""
    pair = (member.encode("utf-8", "replace"), token.encode("utf-8", "replace"))
    found = [partner for partner in partners if partner.admits(*pair)]
    if not found:
        raise CredentialWrong("MEMB_ID or HASH is wrong")
    return found


def named(partners: Sequence[Partner], provider: str) -> Partner:
    """Returns the partner a body's providerId names. Raises CredentialWrong."""
    for partner in partners:
        if partner.id.casefold() == provider.casefold():
            return partner
    raise CredentialWrong("MEMB_ID or HASH is wrong")
