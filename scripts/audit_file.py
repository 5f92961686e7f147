"""`roundbook audit-file`: a book and all that follows from it, verified, in one SQLite file to carry."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import msgspec
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from ledger.counted import many
from ledger.mapper import Mapper, Unreadable
from ledger.moments import text, utc_now
from ledger.projection import Row
from ledger.rebuild import without_collector
from ledger.seal import Seal, is_signed, retire, trusted
from ledger.store import EVENTS, StoreUnfit
from ledger.store.chain import Head, link
from ledger.verify import NOT_WRITTEN_BY_A_BOOK
from projections.audit_file import (
    AuditFile,
    AuditFileUnfit,
    Contradiction,
    Layout,
    Stored,
    Upto,
    continue_audit_file,
)
from projections.audit_tables import OPERATOR
from projections.forms import plain
from projections.provider.audit_tables import PROVIDER
from scripts import options
from scripts.progress import progress
from scripts.source import MAPPERS, Party, Source, open_source, party_of

LAYOUTS: dict[Party, Layout] = {"operator": OPERATOR, "provider": PROVIDER}

BATCH = 10_000
"""Events a transaction."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit file holds now. `added`: events that are new; `sealed`: the last seal's position, or 0."""

    party: Party
    position: int
    hash: str
    added: int
    seals: int
    sealed: int


@click.command("audit-file", short_help="Make or continue a SQLite file with all of a book.")
@click.argument("out", type=options.AuditFile(dir_okay=False, path_type=Path))
@click.option("--from", "where", required=True, metavar="STORE|URL", help="The book.")
@options.token
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="PUB",
    help="A public key you trust, in hex: every seal must go back to one.",
)
@options.as_json
def audit_file(
    *, out: Path, where: str, token: str | None, keys: tuple[str, ...], as_json: bool
) -> None:
    """Make or continue a SQLite file with a book's events, postings, wallets, rounds and references.

    Every hash and every balance is derived again while it is copied; a book that does not hold together,
    or whose past is not what the file holds, is refused, and the position named: exit 1. The file keeps
    that, and what came before it. Making it may be cut short at any time and continued.
    Datasette, sqlite-utils and anything that reads SQLite open it; amounts are in minor units.

    STORE is a path or sqlite:///PATH; a URL is a service's, http(s)://HOST, and
    http(s)://HOST/api/provider for the provider's book.

    \b
    Example: roundbook audit-file audit.db --from roundbook.db
    """
    keys = tuple(map(options.public_key, keys))
    try:
        made = watched(out, where, where, token=token, keys=keys)
    except click.ClickException as refused:
        kept = f"{out} keeps this, and what was verified"
        raise click.ClickException(f"{refused.message}; {kept}") from None
    click.echo(msgspec.json.encode(made) if as_json else _said(out, made))


def watched(
    out: Path,
    where: str,
    what: str,
    *,
    token: str | None,
    keys: Collection[str] = (),
    upto: int | None = None,
) -> Made:
    """Returns what `catch_up` does, for whoever watches a bar; a contradiction is one sentence, exit 1."""
    with (
        open_source(where, token=token) as source,
        progress(what) as on_position,
        without_collector(),
    ):
        try:
            return catch_up(out, source, keys=keys, upto=upto, on_position=on_position)
        except Contradiction as found:
            raise click.ClickException(plain(f"{where}: {found}")) from None


def _said(out: Path, made: Made) -> str:
    sealed = f"sealed up to {made.sealed}" if made.seals else "not sealed"
    return (
        f"{out} holds the {made.party}'s book up to position {made.position}, {many(made.added, 'event')} new;"
        f" it holds together, {sealed}; head {made.hash}"
    )


# copying


def catch_up(
    out: Path,
    source: Source,
    *,
    party: Party | None = None,
    keys: Collection[str] = (),
    upto: int | None = None,
    batch: int = BATCH,
    on_position: Callable[[int, int], None] = lambda _, __: None,
    now: Callable[[], datetime] = utc_now,
) -> Made:
    """Brings an audit file to where a book is, or to a position of it, and returns what it holds then.

    `party`: whose book it is, where that is known; `keys`: public keys, to one of which every seal must go back.
    Raises Contradiction, StoreUnfit.
    """
    layout = LAYOUTS[party or party_of(source)]
    with (
        _fit(out),
        closing(continue_audit_file(out, layout, source=source.name, at=text(now()))) as file,
    ):
        seals = source.seals()  # before the head: none may be of later than that
        head, begin = source.head(), file.upto
        last = head.position if upto is None else min(upto, head.position)
        try:
            _check_past(file, source, head)
            for stored in _batches(_verified(source, begin, last, MAPPERS[layout.party]), batch):
                file.append(stored, source=source.name, at=text(now()))
                on_position(stored[-1].position, last)
            _check_head(file.upto, head, last)
            _check_ahead(seals, head)
            _take_seals(file, seals, keys)
        except Contradiction as found:
            file.keep(found, at=text(now()))
            raise
        return _made(file, layout.party, begin)


@contextmanager
def _fit(out: Path) -> Iterator[None]:
    """What is wrong with the file is said as it is of a store."""
    try:
        yield
    except AuditFileUnfit as error:
        raise StoreUnfit(str(error)) from error
    except sqlite3.Error as error:
        raise StoreUnfit(f"{out}: {error}") from error


def _made(file: AuditFile, party: Party, begin: Upto) -> Made:
    upto, seals = file.upto, file.seals()
    return Made(
        party=party,
        position=upto.position,
        hash=upto.hash,
        added=upto.position - begin.position,
        seals=len(seals),
        sealed=_seal(seals[-1]).position if seals else 0,
    )


def _batches(stored: Iterator[Stored], size: int) -> Iterator[list[Stored]]:
    """Yields lists; before a contradiction is raised, what came before it."""
    batch: list[Stored] = []
    try:
        for each in stored:
            batch.append(each)
            if len(batch) == size:
                yield batch
                batch = []
    except Contradiction:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _verified(source: Source, begin: Upto, last: int, mapper: Mapper) -> Iterator[Stored]:
    """Yields a book's events from where a file ends, each in its place and linked to the one before."""
    previous, clock = begin.hash, begin.clock
    for expected, row in enumerate(_rows(source, begin.position, last), begin.position + 1):
        position, stream, version, topic, state, hashed = row
        if position != expected:
            raise Contradiction(expected, f"is missing, {position} follows on {expected - 1}")
        try:
            linked = link(bytes.fromhex(previous), stream, version, topic, state)
        except NOT_WRITTEN_BY_A_BOOK as error:
            raise Contradiction(position, f"cannot be read: {error}") from error
        if hashed != linked:
            raise Contradiction(
                position, "its hash is not what its bytes and the hash before it give"
            )
        try:
            event, body = mapper.decode(topic, state), state.decode()
            if mapper.encode(event) != state:
                json.loads(body, object_pairs_hook=_once)
        except (Unreadable, ValueError) as error:
            raise Contradiction(position, f"cannot be read: {error}") from error
        own, clock = hashed.hex(), max(clock, event.recorded_at)
        yield Stored(position, stream, version, topic, body, own, previous, clock, event)
        previous = own


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Whoever reads the stored JSON must find what the rows are made of. Raises ValueError."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a field comes twice")


def _rows(source: Source, after: int, last: int) -> Iterator[Row]:
    """Yields position, stream, version, topic, body and hash, in order."""
    if source.store:
        found = source.store.scan(EVENTS, after=after)
        return takewhile(lambda row: row[0] <= last, found)
    return (record.row for record in source.records(after=after, upto=last))


# what the file holds already


def _check_past(file: AuditFile, source: Source, head: Head) -> None:
    """The book must still hold, at the file's own position, what the file ends with."""
    held = file.upto
    if head.position < held.position:
        raise Contradiction(
            head.position + 1, f"is gone: the file holds the book up to {held.position}"
        )
    if held.position and not _is_same(file, source, held.position):
        first = _first_that_differs(file, source, held.position)
        raise Contradiction(first, "is not the event that the file holds: the past was rewritten")


def _is_same(file: AuditFile, source: Source, position: int) -> bool:
    record = next(source.records(after=position - 1, upto=position), None)
    return record is not None and record.hash.hex() == file.hash_at(position)


def _first_that_differs(file: AuditFile, source: Source, last: int) -> int:
    """Returns where two chains part: every hash behind that place differs."""
    same, differs = 0, last
    while differs - same > 1:
        middle = (same + differs) // 2
        if _is_same(file, source, middle):
            same = middle
        else:
            differs = middle
    return differs


def _check_head(upto: Upto, head: Head, last: int) -> None:
    if upto.position < last:
        raise Contradiction(upto.position + 1, f"is missing: the book's head is at {head.position}")
    if upto.position == head.position and upto.hash != head.hash.hex():
        raise Contradiction(upto.position, "is not the event that the book's head is of")


# seals


def _check_ahead(seals: list[Seal], head: Head) -> None:
    """No seal may be of more events than there are."""
    for seal in seals:
        if seal.position > head.position:
            if not is_signed(seal):
                raise Contradiction(seal.position, f"the seal of {seal.sealed_at} is forged")
            raise Contradiction(
                head.position + 1,
                f"is gone: the seal of {seal.sealed_at} was made of {many(seal.position, 'event')}",
            )


def _take_seals(file: AuditFile, seals: list[Seal], keys: Collection[str]) -> None:
    """Adds the seals that are new, of positions the file holds; those it has must still be there."""
    held, upto = file.seals(), file.upto.position
    for number, ours in enumerate(held):
        if number >= len(seals) or _encoded(seals[number]) != ours:
            raise Contradiction(_seal(ours).position, "its seal is gone, or another one")
    since = _since(seals, keys) if keys else None
    known = [seal for seal in seals if seal.position <= upto]
    retired: Mapping[str, Seal] = {}
    for number, seal in enumerate(known):
        if keys or number >= len(held):
            _check_seal(file, seal, since, retired.get(seal.key))
        retired = retire(retired, seal)
    file.add_seals([_row(number, seal) for number, seal in enumerate(known, 1)][len(held) :])


def _since(seals: list[Seal], keys: Collection[str]) -> dict[str, str]:
    """Returns the time from which each key counts that one of the trusted keys led to."""
    found: dict[str, str] = {}
    for key in keys:
        for known, since in trusted(seals, key).items():
            found[known] = min(since, found.get(known, since))
    return found


def _check_seal(
    file: AuditFile, seal: Seal, since: Mapping[str, str] | None, handover: Seal | None
) -> None:
    if not is_signed(seal):
        raise Contradiction(seal.position, f"the seal of {seal.sealed_at} is forged")
    if handover:
        raise Contradiction(
            seal.position,
            f"the seal of {seal.sealed_at} is by a key that had {handover.handover}",
        )
    if seal.position < 1 or file.hash_at(seal.position) != seal.hash:
        raise Contradiction(
            seal.position,
            f"is not the event that was sealed at {seal.sealed_at}: it has another hash",
        )
    if since is not None and (seal.key not in since or seal.sealed_at < since[seal.key]):
        raise Contradiction(
            seal.position,
            f"the seal of {seal.sealed_at} is by a key that yours did not hand over to",
        )


def _row(number: int, seal: Seal) -> dict[str, Any]:
    said = {name: getattr(seal, name) for name in seal.__struct_fields__ if name != "peaks"}
    return {"number": number, **said, "seal": _encoded(seal)}


def _encoded(seal: Seal) -> str:
    return msgspec.json.encode(seal).decode()


def _seal(encoded: str) -> Seal:
    """Returns a seal that the file holds. Raises AuditFileUnfit."""
    try:
        return msgspec.json.decode(encoded, type=Seal)
    except (msgspec.DecodeError, TypeError) as error:
        raise AuditFileUnfit(f"a seal in the audit file cannot be read: {error}") from error
