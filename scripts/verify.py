"""`roundbook verify`: a whole book, walked and checked; one line where all holds, else what is wrong first."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FrameType

import click
import msgspec
from eventsourcing.persistence import PersistenceError

from ledger.counted import many
from ledger.operator.rules import OperatorRules
from ledger.projection import Row
from ledger.provider.rules import ProviderRules
from ledger.rebuild import differences
from ledger.store import EVENTS, SEALS, NoText, Store
from ledger.verify import Progress, Readable, Side, Verdict, Verification
from ledger.verify_breaks import Finding
from ledger.verify_seals import Lines, Seals
from projections.forms import plain
from scripts import options
from scripts.progress import progress
from scripts.source import MAPPERS, TABLES, Party, Source, open_source, party_of

SAVE_EVERY_S = 30.0

Tell = Callable[[Verification], None]


class Saved(msgspec.Struct, frozen=True):
    """What a file given with --resume holds, behind its SHA-256: what is damaged must accuse nobody."""

    format: str
    party: Party
    progress: Progress


FORMAT = "roundbook verify 5"
HASHED = 32


@click.command()
@click.argument("where", metavar="STORE|URL")
@options.token
@click.option("--key", "keys", multiple=True, metavar="PUB", help="A public key you trust, in hex.")
@click.option(
    "--seals",
    "kept",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Seals that you kept yourself, a line a seal: they are checked too.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=options.can_be_made,
    help="Go on from what this file says was verified before; it is kept up to date.",
)
@click.option("--pages", is_flag=True, help="Check every page and index of a SQLite file too.")
@click.option(
    "--bodies",
    is_flag=True,
    help="Check too that bodies say nothing twice, and ids and calls follow.",
)
@options.as_json
def verify(
    *,
    where: str,
    token: str | None,
    keys: tuple[str, ...],
    kept: Path | None,
    resume: Path | None,
    pages: bool,
    bodies: bool,
    as_json: bool,
) -> None:
    """Check a whole book: chain, versions, rules, tables, seals.

    Prints one line and exits 0 where all holds; otherwise what is wrong first, and exits 1. Without
    --key a seal counts whose key nobody vouches for. What --resume says was verified is not read again.

    \b
    Example: roundbook verify roundbook.db --key "$(cat seal.pub)"
    """
    trusted = [options.public_key(key) for key in keys]
    lines = [line for line in kept.read_bytes().splitlines() if line.strip()] if kept else []
    verdict = checked(
        where,
        token=token,
        keys=trusted,
        kept=lines,
        resume=resume,
        pages=pages,
        bodies=bodies,
    )
    _print(verdict, as_json=as_json)
    sys.exit(0 if verdict.holds else 1)


def checked(
    where: str,
    *,
    token: str | None = None,
    keys: Sequence[str] = (),
    kept: Sequence[bytes] = (),
    resume: Path | None = None,
    pages: bool = False,
    bodies: bool = False,
) -> Verdict:
    """Returns what was found in the book that a path or a URL names. Raises StoreUnfit."""
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open_source(where, token=token))
            party = party_of(source)
        except (msgspec.MsgspecError, PersistenceError, TypeError, UnicodeError) as error:
            return _unread(error, position=1)
        try:
            # the seals before the head: over HTTP, one that comes in between would be of more than there is
            seals = Seals(lines_of(source), kept, keys)
            book = readable(source, party, pages=pages)
            side = (THOROUGH if bodies else SIDES)[party]
            return _verified(source, party, side, book, seals, resume)
        except PersistenceError as error:
            return _unread(error, position=None)


def _verified(
    source: Source, party: Party, side: Side, book: Readable, seals: Seals, resume: Path | None
) -> Verdict:
    done = _resumed(resume, party, seals, bodies=side.bodies) if resume else None
    with _telling(source, done, resume, party) as tell:
        try:
            run = Verification(book, side, seals, progress=done, lasting=bool(resume), tell=tell)
        except (msgspec.MsgspecError, UnicodeError, AssertionError):
            raise _no_progress(resume) from None
        verdict = run.run()
    if resume and verdict.holds:
        _save(resume, party, run)
    return verdict


# the book


def _side(party: Party, *, bodies: bool) -> Side:
    mapper = MAPPERS[party].exact() if bodies else MAPPERS[party]
    if party == "operator":
        return Side(mapper, partial(OperatorRules, bodies=bodies), bodies)
    tables = TABLES["provider"]
    return Side(mapper, partial(ProviderRules, projections=tables, bodies=bodies), bodies)


SIDES = {party: _side(party, bodies=False) for party in MAPPERS}
"""How a party's events are read, and its rules: the same wherever it is read, so that one may go on from another."""

THOROUGH = {party: _side(party, bodies=True) for party in MAPPERS}
"""The same, with what takes longer: that a body says nothing that is not read, and ids and calls follow from it."""


def readable(source: Source, party: Party, *, pages: bool = False) -> Readable:
    """Returns a book as a verification reads it, and `pages` of its file; over HTTP as far as it goes now."""
    if source.store is None:
        head = source.head()
        return Readable(partial(_records, source, head.position), head=head)
    store = source.store
    return Readable(
        lambda after: store.scan(EVENTS, after=after),
        store.scan,
        lambda: differences(store, MAPPERS[party]),
        altered=lambda: str(store.altered() or (store.damaged() if pages else "")),
    )


def _records(source: Source, upto: int, after: int | None) -> Iterator[Row]:
    return (record.row for record in source.records(after=after or 0, upto=upto))


def lines_of(source: Source) -> Lines:
    """Returns how its seals are read; over HTTP before the head is: none may be of later than that."""
    if source.store:
        return partial(_sealed, source.store)
    found = [(seal.position, msgspec.json.encode(seal)) for seal in source.seals()]
    return lambda: found


def _sealed(store: Store) -> Iterator[tuple[int, bytes]]:
    for _, position, seal in store.scan(SEALS):
        yield position if isinstance(position, int) else 0, seal or b""


def _unread(error: Exception, *, position: int | None) -> Verdict:
    """Returns the verdict of a book that does not even say whose it is, or what its seals are."""
    unreadable = isinstance(error, PersistenceError) and not isinstance(error, NoText)
    finding = Finding(
        kind="unreadable" if unreadable else "changed",
        position=position,
        upto=position,
        detail=f"it cannot be read: {error}",
    )
    return Verdict(holds=False, finding=finding)


# progress


def _resumed(file: Path, party: Party, seals: Seals, *, bodies: bool) -> Progress | None:
    """Returns what was verified before; nothing where that was less, or by other seals or keys."""
    if not file.exists():
        return None
    whole = file.read_bytes()
    hashed, packed = whole[:HASHED], whole[HASHED:]
    if sha256(packed).digest() != hashed:
        raise _no_progress(file)
    try:
        saved = msgspec.msgpack.decode(packed, type=Saved)
    except msgspec.MsgspecError:  # an older version's has other fields
        raise _no_progress(file) from None
    if saved.format != FORMAT or saved.party != party:
        raise _no_progress(file)
    upto = saved.progress.position
    if bodies and not saved.progress.bodies:
        return None
    return saved.progress if seals.fingerprint(upto=upto) == saved.progress.sealed else None


def _no_progress(file: Path | None) -> click.BadParameter:
    said = f"{file}: no progress of verifying this book that this version made; remove it to begin anew"
    return click.BadParameter(said, param_hint="--resume")


def _save(file: Path, party: Party, run: Verification) -> None:
    made = file.with_name(f"{file.name}.new")
    packed = msgspec.msgpack.encode(Saved(FORMAT, party, run.progress()))
    try:
        made.write_bytes(sha256(packed).digest() + packed)
        os.replace(made, file)
    except OSError as error:
        with suppress(OSError):
            made.unlink()
        said = f"{file} cannot be written: {error.strerror}; name one where there is room"
        raise click.BadParameter(said, param_hint="--resume") from None


@contextmanager
def _telling(
    source: Source, done: Progress | None, resume: Path | None, party: Party
) -> Iterator[Tell]:
    """Yields what is called between two events: it moves the bar, and saves."""
    with _bar(source, done) as moved:
        if resume is None:
            yield moved
            return
        with Saving(resume, party, moved) as saving:
            yield saving


@contextmanager
def _bar(source: Source, done: Progress | None) -> Iterator[Tell]:
    if not sys.stderr.isatty():  # a damaged book may not even say where its head is
        yield lambda _: None
        return
    head = source.head().position
    with progress("") as on_position:
        on_position(done.position if done else 0, head)
        yield lambda run: on_position(run.position, head)


class Saving:
    """Saves every so often, and before the process is interrupted."""

    def __init__(self, file: Path, party: Party, moved: Tell) -> None:
        self._file, self._party, self._moved = file, party, moved
        self._last, self._stopped = time.monotonic(), False

    def __enter__(self) -> "Saving":
        self._were = {each: signal.signal(each, self._stop) for each in STOPS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, was in self._were.items():
            signal.signal(each, was)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopped = True
        signal.signal(number, self._were[signal.Signals(number)])

    def __call__(self, run: Verification) -> None:
        self._moved(run)
        if self._stopped or time.monotonic() - self._last > SAVE_EVERY_S:
            _save(self._file, self._party, run)
            self._last = time.monotonic()
        if self._stopped:
            click.echo(
                f"stopped at {run.position}; --resume {self._file} goes on from there", err=True
            )
            sys.exit(128 + signal.SIGINT)


STOPS = (signal.SIGINT, signal.SIGTERM)


# what was found


def _print(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(verdict))
    elif verdict.finding:
        click.echo(plain(_wrong(verdict.finding)))
        click.echo(_last_good(verdict))
    else:
        click.echo(_right(verdict))


def _right(verdict: Verdict) -> str:
    counted = f"{many(verdict.events, 'event')}, {many(verdict.seals, 'seal')}"
    said = [f"{counted}: all hold", f"head {verdict.head}"]
    if verdict.seals and not verdict.keys_checked:
        said.append("keys not checked")
    if verdict.keys_checked and not verdict.seals:
        said.append("no seal is by the key")
    if not verdict.tables_checked:
        said.append("tables not at hand")
    if verdict.bodies_checked:
        said.append("bodies checked")
    if verdict.before:
        first = f"{verdict.before} were" if verdict.before > 1 else "was"
        said.append(f"the first {first} verified before")
    return "; ".join(said)


def _wrong(finding: Finding) -> str:
    if finding.position is None:
        return f"{finding.kind}: {finding.detail}"
    where = f"position {finding.position}"
    if finding.upto and finding.upto != finding.position:
        where = f"positions {finding.position} to {finding.upto}"
    return f"{where}: {finding.kind}: {finding.detail}"


def _last_good(verdict: Verdict) -> str:
    seal = verdict.last_good_seal
    if seal is None:
        return "no good seal before it"
    return f"last good seal: position {seal.position}, {seal.sealed_at}, hash {seal.hash}"
