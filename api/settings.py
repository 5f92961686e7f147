"""The configuration: `roundbook.toml`, every value of which the environment can override.

A variable is named by the way to its key: ROUNDBOOK_STORE, ROUNDBOOK_ADMIN_TOKEN,
ROUNDBOOK_PROVIDER_LUCKYMONACO_TOKEN, ROUNDBOOK_CURRENCIES_USD.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from ledger.money import MOST_SCALE
from ledger.operator.house import House

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Secret = Annotated[str, msgspec.Meta(min_length=1)]
Scale = Annotated[int, msgspec.Meta(ge=0, le=MOST_SCALE)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class SettingsWrong(Exception):
    """The configuration cannot be used; the text is one sentence that names the key."""


class _Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Server(_Block, frozen=True, kw_only=True):
    """Where the service listens, and whether it logs each request."""

    host: str = "127.0.0.1"
    port: Port = 8080
    log_requests: bool = True


class Bearer(_Block, frozen=True, kw_only=True):
    """Who sends this bearer token."""

    token: Secret


class Wallet(_Block, frozen=True, kw_only=True):
    """The house's own decisions."""

    allow_cancel_completed: bool = False


class Provider(_Block, frozen=True, kw_only=True):
    """One provider's relation to this operator. Two tokens at a time allow rotation."""

    id: Name
    dialect: Literal["lucky-monaco-v4", "kyren-v1"]
    member: Name
    token: Secret | Annotated[list[Secret], msgspec.Meta(min_length=1)]
    bets: bool = True
    games: list[Name] | None = None
    games_off: list[Name] = []

    @property
    def tokens(self) -> list[str]:
        """The tokens that are valid now."""
        return [self.token] if isinstance(self.token, str) else self.token


class Settings(_Block, frozen=True, kw_only=True):
    """Everything the service can be told."""

    store: str = "sqlite:///roundbook.db"
    admin: Bearer
    auditor: Bearer | None = None
    server: Server = Server()
    wallet: Wallet = Wallet()
    provider: list[Provider] = []
    currencies: dict[str, Scale] = {}

    def house(self) -> House:
        """Returns what of it the rules depend on."""
        return House(
            allow_cancel_completed=self.wallet.allow_cancel_completed,
            bets_stopped=frozenset(p.id for p in self.provider if not p.bets),
            games={p.id: frozenset(p.games) for p in self.provider if p.games is not None},
            games_off={p.id: frozenset(p.games_off) for p in self.provider},
            scales=self.currencies,
        )


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Returns the settings of a file under its environment. Raises SettingsWrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsWrong(f"{path}: {error}") from error
    try:
        return settle(document, environ)
    except SettingsWrong as wrong:
        raise SettingsWrong(f"{path}: {wrong}") from wrong


def settle(document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    """Returns the settings of a parsed document under its environment. Raises SettingsWrong."""
    _override(document, Settings, "ROUNDBOOK", environ)
    resolved = _resolve(document, "", environ)
    for currency, scale in resolved.get("currencies", {}).items():
        _check(scale, Scale, f"currencies.{currency}")
    try:
        settings = msgspec.convert(resolved, Settings)
    except msgspec.ValidationError as error:
        raise SettingsWrong(_readable(str(error))) from error
    _check_unique(settings)
    return settings


def _override(block: dict[str, Any], shape: Any, prefix: str, environ: Mapping[str, str]) -> None:
    for field in msgspec.structs.fields(shape):
        variable, kind = f"{prefix}_{field.name.upper()}", field.type
        if field.name == "provider":
            for provider in _tables(block, "provider"):
                _override(provider, Provider, f"{variable}_{_variable(provider)}", environ)
        elif field.name == "currencies":
            _override_currencies(block, f"{variable}_", environ)
        elif nested := _struct(kind):
            inner = dict(_table(block.get(field.name, {}), field.name))
            _override(inner, nested, variable, environ)
            if inner:
                block[field.name] = inner
        elif variable in environ:
            block[field.name] = _parsed(environ[variable], kind, variable)


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsWrong(f"{key}: expected a table, got {type(value).__name__}")
    return value


def _tables(block: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = block.get(key, [])
    if not isinstance(found, list):
        raise SettingsWrong(f"{key}: expected a list of tables, written [[{key}]]")
    return [_table(table, f"{key}[{index}]") for index, table in enumerate(found)]


def _variable(provider: Any) -> str:
    return "".join(c if c.isalnum() else "_" for c in str(provider.get("id", ""))).upper()


def _override_currencies(block: dict[str, Any], prefix: str, environ: Mapping[str, str]) -> None:
    currencies = _table(block.setdefault("currencies", {}), "currencies")
    for variable in environ:
        if variable.startswith(prefix):
            scale = _parsed(environ[variable], Scale, variable)
            currencies[variable.removeprefix(prefix)] = scale


def _struct(kind: Any) -> Any:
    options = getattr(kind, "__args__", (kind,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, _Block)), None)


def _parsed(text: str, kind: Any, variable: str) -> Any:
    try:
        if list in _origins(kind) and str not in _origins(kind):
            return [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsWrong(f"{variable}: {error}") from error


def _origins(kind: Any) -> set[Any]:
    """Returns the plain types an annotation admits."""
    if get_origin(kind) in (Annotated, Union, UnionType):
        parts = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
        return set().union(*(_origins(part) for part in parts))
    return {get_origin(kind) or kind}


def _resolve(value: Any, path: str, environ: Mapping[str, str]) -> Any:
    """Replaces `env:NAME` by what the environment holds under NAME."""
    if isinstance(value, dict):
        return {k: _resolve(v, f"{path}.{k}".lstrip("."), environ) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, f"{path}[{i}]", environ) for i, v in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if not environ.get(name):
            raise SettingsWrong(f"{path}: the environment has no {name}")
        return environ[name]
    return value


def _check(value: Any, kind: Any, key: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsWrong(f"{key}: {_readable(str(error)).partition(': ')[2]}") from error


def _readable(message: str) -> str:
    """Turns `Expected ... - at `$.provider[0].id`` into `provider[0].id: expected ...`."""
    what, _, where = message.partition(" - at `$")
    key = where.rstrip("`").lstrip(".") or "the top level"
    return f"{key}: {what[0].lower()}{what[1:]}"


def _check_unique(settings: Settings) -> None:
    seen: set[str] = set()
    for index, provider in enumerate(settings.provider):
        if provider.id.casefold() in seen:
            raise SettingsWrong(f"provider[{index}].id: {provider.id!r} is given twice")
        seen.add(provider.id.casefold())
    if settings.auditor and settings.auditor.token == settings.admin.token:
        raise SettingsWrong("auditor.token: is the admin's token too")
