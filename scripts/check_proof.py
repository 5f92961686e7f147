"""`roundbook check-proof`: what a file of `roundbook prove` shows, to whoever trusts a public key alone."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from pymerkle import InvalidProof, MerkleProof, verify_inclusion  # type: ignore[import-untyped]

from ledger import merkle
from ledger.mapper import Unreadable
from ledger.money import to_text
from ledger.operator import events as ours
from ledger.provider import events as theirs
from ledger.seal import Seal, is_signed, retired, trusted
from ledger.store.chain import link
from projections.forms import plain
from scripts import options
from scripts.source import MAPPERS, Party

HASH_BYTES = 32


# the file


class Proven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as it is stored, and its way to the seal's root.

    `previous`: the hash of the event before it. `inclusion`: the proof as pymerkle writes it.
    """

    position: int
    stream: str
    version: int
    topic: str
    body: str
    previous: str
    inclusion: dict[str, Any]


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a proof file holds: enough to be checked with a public key alone.

    `handovers`: the seals in which one key hands over to the next, in the order they were made.
    """

    format: Literal["roundbook proof"]
    version: Literal[1]
    book: Party
    reference: str
    seal: Seal
    handovers: list[Seal]
    events: list[Proven]


class Unproved(Exception):
    """The file does not prove what it says; the text says why."""


# check


@click.command(short_help="Check a proof file with nothing but the public key.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", required=True, metavar="PUB", help="The public key you trust, in hex.")
@options.as_json
def check_proof(*, file: Path, key: str, as_json: bool) -> None:
    """Check a proof file with nothing but the public key, and say what it proves.

    The key may be an older one than the seal's: hand-overs are followed. Exits 1 where anything is
    wrong. It proves what is in the file, not that the book holds nothing else of it.

    \b
    Example: roundbook check-proof proof.json --key "$(cat seal.pub)"
    """
    try:
        proof = _read(file)
        lines = check(proof, options.public_key(key))
    except Unproved as wrong:
        answer = msgspec.json.encode({"proved": False, "wrong": f"{wrong}"})
        click.echo(answer if as_json else f"not proved: {plain(f'{wrong}')}")
        sys.exit(1)
    if as_json:
        click.echo(msgspec.json.encode(_answer(proof)))
        return
    seal = proof.seal
    for line in lines:
        click.echo(plain(line))
    click.echo(plain(f"proved by the seal of {seal.sealed_at} at position {seal.position}"))


def _answer(proof: Proof) -> dict[str, Any]:
    return {
        "proved": True,
        "reference": proof.reference,
        "seal": proof.seal,
        "events": [
            {
                "position": event.position,
                "stream": event.stream,
                "version": event.version,
                "topic": event.topic,
                "body": msgspec.Raw(event.body.encode()),
            }
            for event in proof.events
        ],
    }


def _read(file: Path) -> Proof:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Proof)
    except OSError as error:
        raise Unproved(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unproved(f"{file} is no whole proof of version 1: {error}") from error


def check(proof: Proof, key: str) -> list[str]:
    """Returns what a proof shows to whoever trusts the key, a line an event. Raises Unproved."""
    _check_seal(proof, key)
    positions = [event.position for event in proof.events]
    if not positions:
        raise Unproved("there is no event in it")
    if positions != sorted(set(positions)):
        raise Unproved("its events are not each there once, in their order")
    return [_checked(event, proof) for event in proof.events]


def _check_seal(proof: Proof, key: str) -> None:
    if not is_signed(proof.seal):
        raise Unproved("the seal is forged: the signature is not of this text by the key it names")
    for each in proof.handovers:
        if not is_signed(each):
            raise Unproved(f"the seal at {each.position} that hands over to another key is forged")
    if proof.seal.key not in trusted(proof.handovers, key):
        raise Unproved(
            f"the seal is by another key, {proof.seal.key}, and {key} did not hand over to it"
        )
    # it may be the last of them
    before = takewhile(lambda each: each != proof.seal, proof.handovers)
    if gone := retired(before).get(proof.seal.key):
        raise Unproved(f"the seal is by the key {proof.seal.key}, which had {gone.handover}")


def _checked(event: Proven, proof: Proof) -> str:
    """Returns what happened, once it is known to be in the sealed book."""
    body, at = event.body.encode(), f"the event at {event.position}"
    try:
        _check_inclusion(event, proof.seal, at)
        if not is_named(proof.reference, event.topic, body):
            raise Unproved(f"{at} does not name {proof.reference}")
        return _told(MAPPERS[proof.book].decode(event.topic, body))
    except (Unreadable, msgspec.MsgspecError, ValueError) as error:
        raise Unproved(f"{at} cannot be read: {error}") from error


def _check_inclusion(event: Proven, seal: Seal, at: str) -> None:
    base = merkle.leaf(_linked(event))
    try:
        path = MerkleProof.deserialize(event.inclusion)
        if (path.index, path.size) != (event.position, seal.position):
            raise Unproved(f"the path of {at} is of another event, or to another seal")
        if path.path[:1] != [base]:
            raise Unproved(f"{at} was changed: its hash is not the one its path begins with")
        root = bytes.fromhex(seal.root)
        verify_inclusion(
            base, root, path, index=event.position, size=seal.position, algorithm="sha256"
        )
    except (InvalidProof, AttributeError) as error:
        raise Unproved(f"the path of {at} does not lead to the seal's root: {error}") from error


def _linked(event: Proven) -> bytes:
    previous = bytes.fromhex(event.previous)
    if len(previous) != HASH_BYTES:
        raise ValueError("the hash before it is none")
    return link(previous, event.stream, event.version, event.topic, event.body.encode())


class _Names(msgspec.Struct):
    reference: str | None = None
    session: str | None = None


_names = msgspec.json.Decoder(_Names).decode


def is_named(reference: str, topic: str, body: bytes) -> bool:
    """Returns whether an event's body names the reference."""
    named = _names(body)
    return reference == (named.session if topic == "SessionExpired" else named.reference)


# in people's words


_WORDS = {
    "BetPlaced": "player {user} bet {money}",
    "BetRefused": "player {user} had too little cash for a bet of {money}",
    "LateBetRefused": "player {user} had a bet refused, as it came after its own reversal",
    "ResultRecorded": "player {user} won {money}",
    "BetCancelled": "player {user} got the cancelled bet's {money} back",
    "BetRefunded": "player {user} got the refunded bet's {money} back",
    "TombstoneRecorded": "player {user} had a bet reversed that was not known: no money moved",
    "PromoPaid": "player {user} was paid {money} by the campaign {campaign}",
    "SessionExpired": "player {user} had the session {session} expire",
    "DepositMade": "player {user} paid in {money}",
    "WithdrawalMade": "player {user} was paid out {money}",
    "BetRequested": "player {user} bet {money}, the wallet is to be asked for it",
    "BetAccepted": "the wallet took the stake of {money}",
    "BetDeclined": "the wallet refused the bet with code {code}",
    "BetGivenUp": "the wallet gave no valid answer to the bet",
    "ResultRequested": "player {user} won {money}, the wallet is to pay it",
    "ResultConfirmed": "the wallet paid the win of {money}",
    "EndRequested": "the wallet is to close the round",
    "EndConfirmed": "the wallet closed the round",
    "CancelRequested": "the wallet is to cancel the bet of player {user}",
    "CancelConfirmed": "the wallet holds nothing of the bet",
    "RefundRequested": "player {user} is to get {money} back",
    "RefundConfirmed": "the wallet gave {money} back",
    "DeliveryParked": "no valid answer to the {kind}, it is tried slowly",
    "DeliveryRefused": "the wallet refused the {kind} with code {code}",
    "DeliveryRetried": "a person has the {kind} sent again",
    "SendStarted": "send {attempt} of the {kind} began",
    "SendEnded": "send {attempt} of the {kind} ended: {outcome}",
}
"""By topic, for every event that names a reference."""


def _told(event: Any) -> str:
    """Returns who did what, when, with how much, and the cash before and after where there is any."""
    facts = msgspec.structs.asdict(event)
    if isinstance(event, theirs.Requested):
        call = msgspec.json.decode(event.call.body, type=_Call)
        facts |= {"user": call.user, "currency": call.currency}
        facts["money"] = call.amount and f"{call.amount} {call.currency}"
    facts["money"] = facts.get("money") or _money(facts)
    words = _WORDS[type(event).__name__].format_map(facts)
    return f"{event.recorded_at} {words}{_place(facts)}{_cash(event)}"


class _Call(msgspec.Struct):
    """What the wallet was asked, as far as people want to know."""

    user: str = msgspec.field(name="userId")
    currency: str
    amount: str = ""


def _money(facts: dict[str, Any]) -> str:
    """Returns the amount; an event that names no scale has it in minor units."""
    amount, currency = facts.get("amount", 0), facts.get("currency")
    if "scale" in facts:
        return f"{to_text(amount, facts['scale'])} {currency}"
    return f"{amount} minor units{f' of {currency}' if currency else ''}"


def _place(facts: dict[str, Any]) -> str:
    named = [facts.get("operator") or facts.get("provider")]
    if facts.get("round"):
        named.append(f"round {facts['round']}")
    return f" ({', '.join(filter(None, named))})" if any(named) else ""


def _cash(event: Any) -> str:
    if not isinstance(event, ours.MoneyMoved):
        return ""
    before, after = (to_text(cash, event.scale) for cash in (event.cash_before, event.cash_after))
    win = getattr(event, "win", 0)
    taken = f", and a win of {to_text(win, event.scale)} was taken back" if win else ""
    return f"{taken}; cash {before} before, {after} after"
