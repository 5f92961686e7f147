"""What the service can be told: the blocks of `roundbook.toml`, and what follows from them."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from api.places import place
from ledger.money import MOST_SCALE
from ledger.operator.house import House
from ledger.provider.house import PROVIDER_ID, Dialect
from ledger.provider.house import House as ProviderHouse
from ledger.provider.house import Operator as OperatorTerms
from ledger.provider.wire import Remote

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Secret = Annotated[str, msgspec.Meta(min_length=1)]
Scale = Annotated[int, msgspec.Meta(ge=0, le=MOST_SCALE)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class SettingsWrong(Exception):
    """The configuration cannot be used; the text is one sentence that names the key."""


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Server(Block, frozen=True, kw_only=True):
    """Where the service listens, and whether it logs each request."""

    host: str = "127.0.0.1"
    port: Port = 8080
    log_requests: bool = True

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Bearer(Block, frozen=True, kw_only=True):
    """Who sends this bearer token."""

    token: Secret


class Wallet(Block, frozen=True, kw_only=True):
    """The house's own decisions."""

    allow_cancel_completed: bool = False


class Provider(Block, frozen=True, kw_only=True):
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


class Seals(Block, frozen=True, kw_only=True):
    """Who signs the heads of the books, how often, and the folder where each seal is a line of a file."""

    key: str
    every_events: Count = 1000
    every_s: Seconds = 60.0
    folder: str | None = None


class Audit(Block, frozen=True, kw_only=True):
    """The audit file that `serve` keeps beside each book, and the sessions of the pages that show it.

    `folder`: where the files are, when not beside the books. `https`: cookies go over TLS only.
    """

    keep: bool = True
    every_s: Seconds = 1.0
    folder: str | None = None
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 30)] = 8
    https: bool = False


class ProviderBook(Block, frozen=True, kw_only=True):
    """The provider's own book. `token`: the games' bearer token. `worker`: deliver and sweep in `serve`."""

    store: str = "sqlite:///provider.db"
    read_store: str | None = None
    token: Secret
    worker: bool = True
    sweep_every_s: Seconds = 60.0
    sweep_cap: Count = 100


class Operator(Block, frozen=True, kw_only=True):
    """One operator's relation to this provider.

    `token` and `secret` are what it shows us (HASH, and the key of the body's hash), `member` and
    `wallet_token` what we show its wallet (MEMB_ID and HASH).
    """

    secure_login: Name
    token: Secret | Annotated[list[Secret], msgspec.Meta(min_length=1)]
    hash: Literal["md5_sorted", "hmac_sha256", "off"] = "md5_sorted"
    secret: Secret | None = None
    wallet_url: str
    dialect: Dialect
    provider_id: Name | None = None
    member: Name
    wallet_token: Secret
    timeout_s: Seconds = 10.0
    retries: Retries = 3
    result_retries: Retries = 10
    backoff_s: Seconds = 1.0
    parked_retry_s: Seconds = 300.0
    concurrency: Count = 8
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = 90
    allow_private: bool = False

    @property
    def tokens(self) -> list[str]:
        """The tokens that are valid now."""
        return [self.token] if isinstance(self.token, str) else self.token

    def terms(self) -> OperatorTerms:
        """Returns what of it the rules depend on."""
        return OperatorTerms(
            id=self.secure_login,
            dialect=self.dialect,
            provider=self.provider_id or PROVIDER_ID[self.dialect],
            retries=self.retries,
            result_retries=self.result_retries,
            retention_days=self.retention_days,
        )

    def remote(self) -> Remote:
        """Returns where its wallet is, and how it is called."""
        return Remote(
            url=self.wallet_url,
            member=self.member,
            token=self.wallet_token,
            allow_private=self.allow_private,
            timeout_s=self.timeout_s,
            backoff_s=self.backoff_s,
            parked_retry_s=self.parked_retry_s,
            concurrency=self.concurrency,
        )


class Settings(Block, frozen=True, kw_only=True):
    """Everything the service can be told. `read_store`: a copy of the store, for whatever only reads."""

    store: str = "sqlite:///roundbook.db"
    read_store: str | None = None
    admin: Bearer
    auditor: Bearer | None = None
    server: Server = Server()
    wallet: Wallet = Wallet()
    provider: list[Provider] = []
    seals: Seals | None = None
    audit: Audit = Audit()
    provider_book: ProviderBook | None = None
    operator: list[Operator] = []
    currencies: dict[str, Scale] = {}

    def tokens(self) -> dict[str, str]:
        """Returns the bearer tokens of who may read a book, by role."""
        auditor = {"auditor": self.auditor.token} if self.auditor else {}
        return {"admin": self.admin.token, **auditor}

    def bearers(self) -> dict[str, str]:
        """Returns the tokens that come in a header, by key."""
        game = {"provider_book.token": self.provider_book.token} if self.provider_book else {}
        return {f"{role}.token": token for role, token in self.tokens().items()} | game

    def books(self) -> dict[str, str]:
        """Returns the books' stores, by party."""
        provider = {"provider": self.provider_book.store} if self.provider_book else {}
        return {"operator": self.store, **provider}

    def copies(self) -> dict[str, str]:
        """Returns the copies that are read for questions and audit files, by party; none where the book itself is."""
        provider = self.provider_book and self.provider_book.read_store
        known = {"operator": self.read_store, "provider": provider}
        return {
            party: copy
            for party, store in self.books().items()
            if (copy := known[party]) and copy != store
        }

    def stores(self) -> dict[str, str]:
        """Returns the books' stores and their copies, by key."""
        block = {"operator": "", "provider": "provider_book."}
        books = {f"{block[party]}store": store for party, store in self.books().items()}
        return books | {f"{block[party]}read_store": copy for party, copy in self.copies().items()}

    def audit_files(self) -> dict[str, Path]:
        """Returns where the audit file of each book is, by party: roundbook.audit.db of roundbook.db."""
        stores = {party: place(store, party) for party, store in self.books().items()}
        return {
            party: Path(self.audit.folder or book.parent, f"{book.stem}.audit.db")
            for party, book in stores.items()
        }

    def house(self) -> House:
        """Returns what of it the rules depend on."""
        return House(
            allow_cancel_completed=self.wallet.allow_cancel_completed,
            bets_stopped=frozenset(p.id for p in self.provider if not p.bets),
            games={p.id: frozenset(p.games) for p in self.provider if p.games is not None},
            games_off={p.id: frozenset(p.games_off) for p in self.provider},
            scales=self.currencies,
        )

    def provider_house(self) -> ProviderHouse:
        """Returns what of it the rules of the provider's book depend on."""
        terms = [operator.terms() for operator in self.operator]
        return ProviderHouse(operators={t.id: t for t in terms}, scales=self.currencies)
