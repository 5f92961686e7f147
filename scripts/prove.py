"""`roundbook prove`: a small file that shows one transaction to be in a sealed book, without the rest."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from pymerkle import InclusionProof  # type: ignore[import-untyped]
from rich.console import Console
from rich.progress import track

from ledger import merkle
from ledger.mapper import Unreadable
from ledger.merkle import Step
from ledger.projection import key_of
from ledger.provider import events as theirs
from ledger.seal import Seal
from ledger.sealing import SealContradicted
from ledger.store import Record, StoreUnfit
from ledger.store.chain import GENESIS
from projections import references
from projections.forms import plain
from scripts import options
from scripts.check_proof import Proof, Proven, Unproved, check, is_named
from scripts.source import MAPPERS, Party, Source, open_source, party_of

KINDS = ("bet", "result", "bonus", "jackpot", "promo", "session", "deposit", "withdrawal", "end")


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


class _Wanted(NamedTuple):
    """Which events are to be proved."""

    reference: str
    partner: str | None
    kind: str | None
    party: Party

    def about(self, record: Record) -> tuple[str, str] | None:
        """Returns the partner and the kind of a wanted event, None for any other. Raises StoreUnfit."""
        try:
            if not is_named(self.reference, record.topic, record.state):
                return None
            partner, kind = _about(MAPPERS[self.party].decode(record.topic, record.state))
        except (Unreadable, msgspec.MsgspecError) as error:
            raise StoreUnfit(f"store: the event at {record.id} cannot be read: {error}") from error
        if self.partner and self.partner.casefold() != partner.casefold():
            return None
        return None if self.kind and self.kind != kind else (partner, kind)


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
