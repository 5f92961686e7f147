"""`roundbook keys`: the keys that seals are signed with."""

import os
from pathlib import Path

import click
import msgspec

from ledger.seal import Signer, new_key, retired
from ledger.sealing import Sealer, seals_of
from scripts import options
from scripts.seal import key_file, knows, read_key, sealing, seals_file


@click.group()
def keys() -> None:
    """Make, show and rotate the keys that seals are signed with.

    The private key is a file that only its owner can read. The public key is what auditors get.

    \b
    Example: roundbook keys new seal.pem > seal.pub
    """


@keys.command()
@click.argument("file", type=key_file)
@options.as_json
def new(*, file: Path, as_json: bool) -> None:
    """Make a private key in a new FILE and print its public key.

    \b
    Example: roundbook keys new seal.pem > seal.pub
    """
    _write_new(file, "FILE")
    _show(file, as_json=as_json)


@keys.command()
@click.argument("file", type=key_file)
@options.as_json
def show(*, file: Path, as_json: bool) -> None:
    """Print the public key of the private key in FILE.

    \b
    Example: roundbook keys show seal.pem
    """
    _show(file, as_json=as_json)


def _show(file: Path, *, as_json: bool) -> None:
    key = read_key(file, "FILE").key
    click.echo(msgspec.json.encode({"key": key}) if as_json else key)


@keys.command(short_help="Seal with the old key, which hands over to the new one.")
@click.argument("store")
@click.option("--key", "old_file", required=True, type=key_file, help="The key up to now.")
@click.option("--to", "new_file", required=True, type=key_file, help="The next; made if absent.")
@seals_file
@options.as_json
def rotate(*, store: str, old_file: Path, new_file: Path, file: Path | None, as_json: bool) -> None:
    """Seal a book with the old key, which hands over, and then with the new one.

    Whoever trusts the old key can trust the new one from there on. A service that is running seals no
    more until it is started with the new one: what the old key signs from then on counts as forged.

    \b
    Example: roundbook keys rotate roundbook.db --key seal.pem --to seal-2.pem
    """
    old = read_key(old_file, "--key")
    with sealing(store, file) as book:
        seals = seals_of(book)
        if not book.head().position:
            raise click.ClickException(f"{store}: the book is empty: begin with the new key")
        if seals and not knows(seals, old.key):
            raise click.BadParameter(
                f"{old_file}: no seal of this book is by this key, or hands over to it",
                param_hint="--key",
            )
        if gone := retired(seals).get(old.key):
            raise click.BadParameter(
                f"{old_file}: this key handed over to {gone.next_key} already", param_hint="--key"
            )
        new = _successor(old, new_file)
        handed_over = Sealer(book, old, file=file).seal(next_key=new.key)
        Sealer(book, new, file=file).seal()
    assert handed_over is not None
    position = handed_over.position
    if as_json:
        rotated = {"old_key": old.key, "position": position, "new_key": new.key}
        click.echo(msgspec.json.encode(rotated))
    else:
        click.echo(f"old key {old.key}, handed over at position {position}")
        click.echo(f"new key {new.key}")


def _successor(old: Signer, file: Path) -> Signer:
    if not file.exists():
        _write_new(file, "--to")
    new = read_key(file, "--to")
    if new.key == old.key:
        raise click.BadParameter(f"{file}: is the same key as the old one", param_hint="--to")
    return new


def _write_new(file: Path, named: str) -> None:
    """Writes a new key where nothing is yet; nobody but its owner can ever read the file."""
    try:
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.BadParameter(
            f"{file} is there already, and a key is never overwritten", param_hint=named
        ) from None
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint=named) from None
    try:
        with open(made, "wb") as out:
            out.write(new_key())
            out.flush()
            os.fsync(made)
    except OSError as error:
        file.unlink()  # half a key would keep the whole one from being made
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint=named) from None
