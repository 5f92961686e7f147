"""The configuration: `roundbook.toml`, every value of which the environment can override.

A variable is named by the way to its key: ROUNDBOOK_STORE, ROUNDBOOK_ADMIN_TOKEN,
ROUNDBOOK_PROVIDER_LUCKYMONACO_TOKEN, ROUNDBOOK_CURRENCIES_USD.

A file may hold several books: each `[[book]]` is a configuration of its own, with an id. What stands
outside of the blocks is what a book has where it says nothing itself, but for what makes a book its own.
ROUNDBOOK_BOOK_ACME_STORE is the store of the book `acme`.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from api.settings import Block, Operator, Provider, Scale, Settings, SettingsWrong
from api.sound import check, check_apart, check_shared
from ledger.store import StoreUnfit

ALONE = ""
"""The id of the only book of a file that has no [[book]]."""


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Returns the settings of a file of one book under its environment. Raises SettingsWrong."""
    with naming(str(path)):
        return settle(_parsed_file(path), environ)


def load_books(path: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Settings]:
    """Returns the settings of each book of a file by its id, in order; without [[book]] by ALONE.

    Raises SettingsWrong.
    """
    with naming(str(path)):
        document = _parsed_file(path)
        if "book" in document:
            return settle_books(document, environ)
        return {ALONE: settle(document, environ)}


def _parsed_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsWrong(getattr(error, "strerror", None) or str(error)) from error


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Says where it is that settings are wrong, or a store cannot be used."""
    try:
        yield
    except (SettingsWrong, StoreUnfit) as wrong:
        raise type(wrong)(f"{where}: {wrong}") from wrong


def settle(document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    """Returns the settings of a parsed document under its environment. Raises SettingsWrong."""
    _override(document, Settings, "ROUNDBOOK", environ)
    return _settled(document, environ)


def settle_books(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Settings]:
    """Returns the settings of each [[book]] of a parsed document by its id. Raises SettingsWrong."""
    shared = {key: value for key, value in document.items() if key != "book"}
    _override(shared, Settings, "ROUNDBOOK", environ)
    check_shared(shared)
    found = {}
    for id_, block in _by_id(_tables(document, "book")).items():
        with naming(f"book {id_}"):
            whole = _beside(shared, block)
            _override(whole, Settings, f"ROUNDBOOK_BOOK_{_variable(id_)}", environ)
            if "store" not in whole:
                raise SettingsWrong("store: each book needs a store of its own")
            found[id_] = _settled(whole, environ)
    check_apart(found)
    return found


def _by_id(blocks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns what stands in each block beside its id, by that."""
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}
    for index, block in enumerate(blocks):
        id_, key = block.get("id"), f"book[{index}].id"
        if not (isinstance(id_, str) and _BOOK_ID.fullmatch(id_)):
            raise SettingsWrong(f"{key}: must be letters, digits, - and _, at most 64")
        other = known.setdefault(_variable(id_), id_)
        if id_ in found:
            raise SettingsWrong(f"{key}: {id_!r} is given twice")
        if other != id_:
            raise SettingsWrong(f"{key}: {id_!r} and {other!r} are one name in the environment")
        found[id_] = {name: value for name, value in block.items() if name != "id"}
    if not found:
        raise SettingsWrong("book: expected one [[book]] or more")
    return found


_BOOK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _beside(shared: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a book's block, and where that says nothing, in a table too, what stands outside."""
    whole = {**shared, **block}
    for key, value in shared.items():
        own = block.get(key, {})
        if isinstance(value, dict) and isinstance(own, dict):
            whole[key] = {**value, **own}
    return whole


def _settled(document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    resolved = _resolve(document, "", environ)
    for currency, scale in resolved.get("currencies", {}).items():
        _check_one(scale, Scale, f"currencies.{currency}")
    try:
        settings = msgspec.convert(resolved, Settings)
    except msgspec.ValidationError as error:
        raise SettingsWrong(_readable(str(error))) from error
    check(settings)
    return settings


def _override(block: dict[str, Any], shape: Any, prefix: str, environ: Mapping[str, str]) -> None:
    for field in msgspec.structs.fields(shape):
        variable, kind = f"{prefix}_{field.name.upper()}", field.type
        if field.name in _LISTS:
            inner_shape, named = _LISTS[field.name]
            seen: dict[str, str] = {}
            for table in _tables(block, field.name):
                id_ = str(table.get(named, ""))
                inner_prefix = f"{variable}_{_variable(id_)}"
                if (other := seen.setdefault(inner_prefix, id_)) != id_:
                    _check_unset(inner_shape, inner_prefix, environ, f"{other!r} and {id_!r}")
                _override(table, inner_shape, inner_prefix, environ)
        elif field.name == "currencies":
            _override_currencies(block, f"{variable}_", environ)
        elif nested := _struct(kind):
            inner = dict(_table(block.get(field.name, {}), field.name))
            _override(inner, nested, variable, environ)
            if inner:
                block[field.name] = inner
        elif variable in environ:
            block[field.name] = _parsed(environ[variable], kind, variable)


def _check_unset(shape: Any, prefix: str, environ: Mapping[str, str], both: str) -> None:
    """What one variable says of two partners would be one secret for both. Raises SettingsWrong."""
    for field in msgspec.structs.fields(shape):
        if (variable := f"{prefix}_{field.name.upper()}") in environ:
            raise SettingsWrong(f"{variable}: is of {both} alike: say it in the file")


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsWrong(f"{key}: expected a table, got {type(value).__name__}")
    return value


def _tables(block: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = block.get(key, [])
    if not isinstance(found, list):
        raise SettingsWrong(f"{key}: expected a list of tables, written [[{key}]]")
    return [_table(table, f"{key}[{index}]") for index, table in enumerate(found)]


_LISTS: dict[str, tuple[Any, str]] = {
    "provider": (Provider, "id"),
    "operator": (Operator, "secure_login"),
}


def _variable(named: Any) -> str:
    return "".join(c if c.isalnum() else "_" for c in str(named)).upper()


def _override_currencies(block: dict[str, Any], prefix: str, environ: Mapping[str, str]) -> None:
    currencies = _table(block.setdefault("currencies", {}), "currencies")
    for variable in environ:
        if variable.startswith(prefix):
            scale = _parsed(environ[variable], Scale, variable)
            currencies[variable.removeprefix(prefix)] = scale


def _struct(kind: Any) -> Any:
    options = getattr(kind, "__args__", (kind,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, Block)), None)


def _parsed(text: str, kind: Any, variable: str) -> Any:
    try:
        if list in _origins(kind) and str not in _origins(kind):
            return [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        words = _words(kind)
        raise SettingsWrong(f"{variable}: {f'must be {words}' if words else error}") from error


def _origins(kind: Any) -> set[Any]:
    """Returns the plain types an annotation admits."""
    if get_origin(kind) in (Annotated, Union, UnionType):
        parts = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
        return set().union(*(_origins(part) for part in parts))
    return {get_origin(kind) or kind}


def _resolve(value: Any, path: str, environ: Mapping[str, str]) -> Any:
    """Replaces `env:NAME` by what the environment holds under NAME. Raises SettingsWrong."""
    if isinstance(value, dict):
        return {k: _resolve(v, f"{path}.{k}".lstrip("."), environ) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, f"{path}[{i}]", environ) for i, v in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if not environ.get(name):
            raise SettingsWrong(f"{path}: the environment has no {name}")
        return _resolve_text(environ[name], path)
    return _resolve_text(value, path) if isinstance(value, str) else value


def _resolve_text(text: str, path: str) -> str:
    """What came with an end of line, from a file say, or in no UTF-8, opens nothing and is hard to see."""
    if _CONTROL.search(text):
        raise SettingsWrong(f"{path}: holds an end of line, or another character that is no text")
    return text


_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _check_one(value: Any, kind: Any, key: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsWrong(f"{key}: {_readable(str(error)).partition(': ')[2]}") from error


def _readable(message: str) -> str:
    """Turns `Expected ... - at `$.provider[0].id`` into `provider[0].id: expected ...`."""
    what, _, where = message.partition(" - at `$")
    key = where.rstrip("`").lstrip(".") or "the top level"
    words = _WORDS.get(key.rpartition(".")[2])
    return f"{key}: {f'must be {words}' if words else what[0].lower() + what[1:]}"


def _words(kind: Any) -> str:
    """Returns what a value of a few words may be, as `a, b or c`; nothing for other types."""
    if kind is bool:
        return "true or false"
    if get_origin(kind) is not Literal:
        return ""
    *first, last = get_args(kind)
    return f"{', '.join(first)} or {last}"


_WORDS = {
    field.name: words
    for block in Block.__subclasses__()
    for field in msgspec.structs.fields(block)
    if (words := _words(field.type))
}
"""By key: in whatever block it stands, the words are the same."""
