"""`roundbook prove`, `roundbook check-proof`: one transaction is in a sealed book, shown without the rest."""

import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import msgspec
from pymerkle import (  # type: ignore[import-untyped]
    InclusionProof,
    InvalidProof,
    MerkleProof,
    verify_inclusion,
)
from rich.console import Console
from rich.progress import track

from ledger import merkle
from ledger.mapper import Unreadable
from ledger.merkle import Step
from ledger.money import to_text
from ledger.operator import events as ours
from ledger.projection import key_of
from ledger.provider import events as theirs
from ledger.seal import Seal, is_signed, retired, trusted
from ledger.sealing import SealContradicted
from ledger.store import Record, StoreUnfit
from ledger.store.chain import GENESIS, link
from projections import references
from projections.forms import plain
from scripts import options
from scripts.source import MAPPERS, Party, Source, open_source, party_of

HASH_BYTES = 32
KINDS = ("bet", "result", "bonus", "jackpot", "promo", "session", "deposit", "withdrawal", "end")


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


# prove


@click.command(short_help="Write a small file that shows one transaction.")
@click.argument("reference")
@click.option("--from", "where", required=True, metavar="STORE|URL", help="The book.")
@click.option("--provider", metavar="ID", help="Whose reference; in a provider's book an operator.")
@click.option("--kind", type=click.Choice(KINDS), help="What it is the reference of.")
@options.token
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="The file to write [default: standard output].",
)
def prove(
    *,
    reference: str,
    where: str,
    provider: str | None,
    kind: str | None,
    token: str | None,
    out: Path | None,
) -> None:
    """Write a small file that shows a transaction to be in a sealed book, without the rest of it.

    It holds every event up to the last seal that names the REFERENCE: a bet with what reversed it, a
    result, a deposit. STORE is a path or sqlite:///PATH; a URL is a service's, http(s)://HOST, and
    http(s)://HOST/api/provider for the provider's book. Check it with: roundbook check-proof

    \b
    Example: roundbook prove b-1 --from roundbook.db --out proof.json
    """
    _check_may_go(out)
    with open_source(where, token=token) as source:
        try:
            found = _proof(source, _Wanted(reference, provider, kind, party_of(source)))
            check(found, found.seal.key)
        except (SealContradicted, Unproved) as error:
            raise click.ClickException(plain(f"{where} is not as it was sealed: {error}")) from None
    _write(msgspec.json.format(msgspec.json.encode(found)) + b"\n", out)


def _check_may_go(out: Path | None) -> None:
    """A book, or a key, that is named by mistake must not be written over."""
    if out is None or not out.is_file():
        return
    try:
        with out.open("rb") as there:
            begins = there.read(len(_BEGINS))
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}", param_hint="--out") from None
    if begins not in (b"", _BEGINS):
        raise click.BadParameter(f"{out} is there, and is no proof", param_hint="--out")


_BEGINS = b'{\n  "format": "roundbook proof"'


def _write(text: bytes, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_bytes(text)
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}", param_hint="--out") from None


class _Names(msgspec.Struct):
    reference: str | None = None
    session: str | None = None


_names = msgspec.json.Decoder(_Names).decode


class _Wanted(NamedTuple):
    """Which events are to be proved."""

    reference: str
    partner: str | None
    kind: str | None
    party: Party

    def about(self, record: Record) -> tuple[str, str] | None:
        """Returns the partner and the kind of a wanted event, None for any other. Raises StoreUnfit."""
        try:
            if not _is_named(self.reference, record.topic, record.state):
                return None
            partner, kind = _about(MAPPERS[self.party].decode(record.topic, record.state))
        except (Unreadable, msgspec.MsgspecError) as error:
            raise StoreUnfit(f"store: the event at {record.id} cannot be read: {error}") from error
        if self.partner and self.partner.casefold() != partner.casefold():
            return None
        return None if self.kind and self.kind != kind else (partner, kind)


def _is_named(reference: str, topic: str, body: bytes) -> bool:
    named = _names(body)
    return reference == (named.session if topic == "SessionExpired" else named.reference)


def _about(event: Any) -> tuple[str, str]:
    """Returns whose an event's reference is, and of which kind; a reversal's is its bet's."""
    match event:
        case theirs.ResultRequested() | theirs.ResultConfirmed():
            return event.operator, "result"
        case theirs.EndRequested() | theirs.EndConfirmed():
            return event.operator, "end"
        case theirs.DeliveryEvent() | theirs.SendEvent():
            return event.operator, event.kind if event.kind in ("result", "end") else "bet"
        case theirs.RoundEvent():
            return event.operator, "bet"
    partner, kind, _ = key_of(references, event) or (event.provider, "bet", "")
    return partner, kind


class _Hit(NamedTuple):
    """An event that is wanted, the hash of the one before it, and what its reference names."""

    record: Record
    previous: bytes
    about: tuple[str, str]


def _proof(source: Source, wanted: _Wanted) -> Proof:
    """Returns the proof, in one pass over the book."""
    seals = source.seals()
    if not seals:
        raise click.ClickException(f"{source.name} has no seal yet: see roundbook seal --help")
    seal = max(reversed(seals), key=lambda each: each.position)
    upto = source.head().position
    if upto < seal.position:
        raise SealContradicted(f"it ends at {upto}, before its last seal, at {seal.position}")
    records = _watched(source, upto)
    hits: list[_Hit] = []
    ways = merkle.prove(_leaves(records, wanted, seal.position, hits))
    later = [record.id for record in records if wanted.about(record)]
    _check_hits(source, wanted, hits, later, seal)
    return Proof(
        format="roundbook proof",
        version=1,
        book=wanted.party,
        reference=wanted.reference,
        seal=seal,
        handovers=[each for each in seals if each.next_key],
        events=[_proven(hit, ways[hit.record.id - 1], seal.position) for hit in hits],
    )


def _watched(source: Source, upto: int) -> Iterator[Record]:
    """Returns a book's records up to a position, with a progress bar where somebody watches."""
    quiet = not sys.stderr.isatty()
    console = Console(stderr=True)
    records = source.records(after=0, upto=upto)
    return iter(
        track(records, source.name, total=upto, transient=True, disable=quiet, console=console)
    )


def _leaves(
    records: Iterator[Record], wanted: _Wanted, upto: int, hits: list[_Hit]
) -> Iterator[tuple[bytes, bool]]:
    """Yields the leaves up to a position, and whether each is wanted; puts what is into `hits`."""
    previous = GENESIS
    for position, record in enumerate(records, 1):
        if record.id != position:
            raise SealContradicted(f"the event at {position} is missing")
        about = wanted.about(record)
        if about:
            hits.append(_Hit(record, previous, about))
        yield record.hash, about is not None
        previous = record.hash
        if record.id >= upto:
            return


def _check_hits(
    source: Source, wanted: _Wanted, hits: list[_Hit], later: list[int], seal: Seal
) -> None:
    if later:
        raise click.ClickException(
            f"the event at {later[0]} is newer than the last seal of {source.name}, at"
            f" {seal.position}: have it sealed first"
        )
    if not hits:
        raise click.ClickException(f"no such event in {source.name} names {wanted.reference}")
    choices = sorted({hit.about for hit in hits})
    if len(choices) > 1:
        named = " or ".join(f"--provider {partner} --kind {kind}" for partner, kind in choices)
        raise click.UsageError(f"{wanted.reference} names several transactions; say {named}")


def _proven(hit: _Hit, way: list[Step], size: int) -> Proven:
    record = hit.record
    proof = InclusionProof(
        algorithm="sha256",
        security=True,
        size=size,
        index=record.id,
        rule=[int(step.left) for step in way] + [0],
        path=[merkle.leaf(record.hash), *(step.hash for step in way)],
    )
    return Proven(
        position=record.id,
        stream=str(record.originator_id),
        version=record.originator_version,
        topic=record.topic,
        body=record.state.decode(),
        previous=hit.previous.hex(),
        inclusion=proof.serialize(),
    )


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
        if not _is_named(proof.reference, event.topic, body):
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
