"""`roundbook seal`: a book's head, signed, now."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import msgspec

from ledger.counted import many
from ledger.seal import KeyWrong, Seal, Signer, signer
from ledger.sealing import NoSealsFile, SealContradicted, Sealer, seals_of
from ledger.store import Store, open_store, told
from scripts import options
from scripts.source import naming, url_of

key_file = click.Path(dir_okay=False, path_type=Path)
seals_file = click.option(
    "--file",
    "file",
    metavar="SEALS",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep every seal in this file too, which the auditor may keep elsewhere: a line a seal.",
)


@click.command(short_help="Seal the head of a book with a key.")
@click.argument("store")
@click.option("--key", required=True, type=key_file, help="The private key: see roundbook keys.")
@seals_file
@options.as_json
def seal(*, store: str, key: Path, file: Path | None, as_json: bool) -> None:
    """Seal the head of a book: its last event's position and hash, signed.

    STORE is a path or sqlite:///PATH; it may be in use. Exits 1 where the book is not the one that was
    sealed before.

    \b
    Example: roundbook seal roundbook.db --key seal.pem --file seals.jsonl
    """
    signed_by = read_key(key, "--key")
    with sealing(store, file) as book:
        before = seals_of(book)
        made = Sealer(book, signed_by, file=file).seal()
        position = book.head().position
    if before and not knows(before, signed_by.key):
        click.echo(
            "beware: no earlier seal of this book is by this key, or hands over to it", err=True
        )
    if as_json:
        click.echo(msgspec.json.encode({"position": position, "sealed": made}))
    else:
        click.echo(_said(made, position))


def _said(made: Seal | None, position: int) -> str:
    if made:
        return f"sealed {many(position, 'event')} at {made.sealed_at}, hash {made.hash}"
    if position:
        return f"nothing is new since the last seal, at position {position}"
    return "the book is empty: there is nothing to seal"


def knows(seals: list[Seal], key: str) -> bool:
    """Returns whether a book has a seal that is by a key, or hands over to it."""
    return any(key in (seal.key, seal.next_key) for seal in seals)


def read_key(file: Path, named: str) -> Signer:
    """Returns who signs with a key file's key; `named`: the parameter it was given in."""
    try:
        return signer(file.read_bytes())
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint=named) from None
    except KeyWrong as error:
        raise click.BadParameter(f"{file}: {error}", param_hint=named) from None


@contextmanager
def sealing(where: str, file: Path | None) -> Iterator[Store]:
    """Yields the store of a path or a URL to be sealed; a book that was changed is one sentence, exit 1.

    Raises StoreUnfit.
    """
    url = url_of(where, in_memory="cannot be sealed from outside")
    _check_appendable(file)
    with closing(open_store(url, create=False)) as store, naming(told(where)):
        try:
            yield store
        except SealContradicted as error:
            raise click.ClickException(f"{where}: {error}") from None
        except NoSealsFile as error:
            raise click.BadParameter(str(error), param_hint="--file") from None
        except OSError as error:
            if not file:
                raise
            detail = f"{file} lacks the newest seals: {error.strerror}; the next call adds them"
            raise click.BadParameter(detail, param_hint="--file") from None


def _check_appendable(file: Path | None) -> None:
    """Says before anything is sealed that a seal could not be written."""
    try:
        if file:
            file.open("ab").close()
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--file") from None
