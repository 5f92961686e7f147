"""The HTTP side: it translates and decides nothing. `create_app` is where all parts meet."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from apiflask import APIFlask
from eventsourcing.persistence import PersistenceError
from flask_swagger_ui import get_swaggerui_blueprint

from api import hidden, http, problems
from api.admin import admin, bearer
from api.audit.door import Door
from api.audit.pages import WRONG, pages
from api.audit.shelf import Shelf
from api.audit.views import Unasked
from api.credentials import Partner
from api.folders import make_folder
from api.loop import Turns
from api.operator import calls as wallet_calls
from api.operator.wallet import Path as WalletPath
from api.operator.wallet import paths, wallet
from api.ops import ops
from api.provider import calls as provider_calls
from api.provider.calls import Desk
from api.provider.games import games
from api.provider.operators import Relation, operators
from api.provider.waiting import Aside, Waiting, at_once
from api.settings import Seals, Settings, SettingsWrong
from ledger.moments import utc_now
from ledger.operator.book import Book, Reading
from ledger.periodic import Periodic
from ledger.provider.answers import Answer
from ledger.provider.book import Book as ProviderBook
from ledger.provider.delivery import Delivery
from ledger.provider.worker import Worker
from ledger.reader import NotJson
from ledger.refusals import Breakdown, Refusal
from ledger.seal import KeyWrong, signer
from ledger.sealing import LOOK_EVERY_S, SealContradicted, Sealer
from ledger.store import Store, open_store
from projections import IN_TRANSACTION
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES

WALLET = {
    "lucky-monaco-v4": ("/V4", wallet_calls.LUCKY_MONACO_V4),
    "kyren-v1": ("/v1", wallet_calls.KYREN_V1),
}
PROVIDER = {
    "lucky-monaco-v4": ("/V4", provider_calls.LUCKY_MONACO_V4),
    "kyren-v1": ("/v1", provider_calls.KYREN_V1),
}
"""Who answers what, by dialect: the operator's wallet, and the provider."""

DOCS = {"app_name": "Roundbook", "layout": "BaseLayout", "tryItOutEnabled": True}
PARTNER = {
    name: {"type": "apiKey", "in": "query", "name": name, "description": "The partner's"}
    for name in ("MEMB_ID", "HASH")
}


def create_app(
    settings: Settings, store: Store | None = None, *, now: Callable[[], datetime] = utc_now
) -> APIFlask:
    """Returns the service as a WSGI application; it opens the settings' store unless one is given.

    Its background work waits for `start`.
    Raises StoreUnfit, and SettingsWrong where a provider's id is spelt otherwise in the book.
    """
    store = store or open_store(settings.store, IN_TRANSACTION)
    _check_spelling(settings, store)
    app = _new_app(settings)
    latch = app.extensions["turns"].latch
    book = Book(store, settings.house(), latch=latch, on_defect=http.log_defect, now=now)
    app.extensions |= {"book": book, "copies": _copies(settings)}
    shelf = Shelf(settings.audit_files(), lambda party: books_of(app)[party].store.head().position)
    _add_operator(app, settings, book, shelf)
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", DOCS))
    if settings.provider_book:
        _add_provider(app, settings, now, shelf)
    if settings.seals:
        _add_sealing(app, settings.seals, now)
    audit = settings.audit
    door = Door(settings.tokens(), hours=audit.session_hours, https=audit.https)
    app.register_blueprint(pages(shelf, door))
    app.register_blueprint(ops(book, app.extensions.get("provider_book")))
    _handle_errors(app)
    app.wsgi_app = http.AnyCase(app.wsgi_app, _paths(settings))  # type: ignore[method-assign]
    return app


def _new_app(settings: Settings) -> APIFlask:
    """Returns an application without a path, and the places where its parts find one another."""
    app = http.App("api", title="Roundbook", version="0.1.0", docs_path=None)
    app.url_map.merge_slashes = False  # an id may hold them
    app.url_map.converters["id"] = http.IdInPath
    app.config.update(dict.fromkeys(http.UNTOLD, False))
    app.security_schemes = PARTNER
    app.extensions |= {"turns": Turns(), "background": [], "sealers": {}}
    app.after_request(http.close_unread)
    if settings.server.log_requests:
        http.log_requests(app, hidden.masking(_secrets(settings)))
    return app


def _add_operator(app: APIFlask, settings: Settings, book: Book, shelf: Shelf) -> None:
    """Adds the wallet that providers call, and the back office."""
    read = hidden.without(token for each in settings.provider for token in each.tokens)
    served: dict[str, WalletPath] = {}
    for name, (prefix, calls) in WALLET.items():
        own = paths(prefix, calls, _partners(settings, name), book, read)
        app.register_blueprint(wallet(name, own))
        served |= own
    app.extensions["direct"] = _direct(settings, served)
    providers = {p.id.casefold(): p.id for p in settings.provider}
    copy = app.extensions["copies"].get("operator")
    reading = Reading(copy) if copy else book
    app.register_blueprint(admin(book, bearer(settings.tokens()), providers, shelf, read, reading))


def _copies(settings: Settings) -> dict[str, Store]:
    """Returns the copies that questions are asked of, by party; bets are taken though one is away."""
    tables = {"operator": IN_TRANSACTION, "provider": PROVIDER_TABLES}
    return {
        party: open_store(url, tables[party], read_only=True, at_once=False)
        for party, url in settings.copies().items()
    }


def books_of(app: APIFlask) -> dict[str, Book | ProviderBook]:
    """Returns the books of an application, by party."""
    names = {"operator": "book", "provider": "provider_book"}
    return {party: app.extensions[name] for party, name in names.items() if name in app.extensions}


def close(app: APIFlask) -> None:
    """Stops the background work and closes the books of an application."""
    for each in app.extensions["background"]:
        each.stop()
    for book in books_of(app).values():
        book.close()
    for copy in app.extensions["copies"].values():
        copy.close()


def start(app: APIFlask) -> None:
    """Starts the background work of an application: the worker, where it is not elsewhere, and the seals."""
    for book in books_of(app).values():
        risk = book.store.risk()
        if risk:
            http.warn("answered bets can be lost", told=risk)
    if "provider_book" in app.extensions:
        tell_of_forsaken(app.extensions["provider_book"])
    for party, sealer in app.extensions["sealers"].items():
        _tell_of_new_key(sealer, party)
    for each in app.extensions["background"]:
        each.start()


def tell_of_forsaken(book: ProviderBook) -> None:
    """Logs which operators nobody serves any more, though something is left to do."""
    with suppress(PersistenceError):  # whoever is asked next tells of that
        for login in book.forsaken():
            http.warn(
                "an operator is not configured",
                told=f"{login} is owed calls or has open rounds: nothing is sent, no bet goes back",
            )


def worker(settings: Settings, book: ProviderBook, waiting: Waiting | None = None) -> Worker:
    """Returns what delivers and sweeps for a provider's book; not started."""
    assert settings.provider_book is not None
    return Worker(
        book,
        {operator.secure_login: operator.remote() for operator in settings.operator},
        sweep_every_s=settings.provider_book.sweep_every_s,
        sweep_cap=settings.provider_book.sweep_cap,
        on_settled=waiting.wake if waiting else lambda _: None,
        on_stuck=_tell_of_stuck,
        on_defect=http.log_defect,
    )


def _tell_of_stuck(delivery: Delivery, answer: Answer) -> None:
    """Says nothing in the wallet's own words: they may quote the call, and its query."""
    code = {} if answer.code is None else {"code": answer.code}
    http.warn(
        f"a delivery is {delivery.state}",
        delivery=delivery.id,
        outcome=answer.outcome,
        **code,
        told="roundbook deliveries lists what wallets still owe an answer to",
    )


def _add_sealing(app: APIFlask, seals: Seals, now: Callable[[], datetime]) -> None:
    try:
        signed = signer(Path(seals.key).read_bytes())
    except OSError as error:
        raise SettingsWrong(f"seals.key: {seals.key}: {error.strerror}") from error
    except KeyWrong as error:
        raise SettingsWrong(f"seals.key: {seals.key}: {error}") from error
    if seals.folder:
        make_folder(Path(seals.folder), "seals.folder")
    for party, book in books_of(app).items():
        sealer = Sealer(
            book.store,
            signed,
            every_events=seals.every_events,
            every_s=seals.every_s,
            file=Path(seals.folder, f"{party}.seals.jsonl") if seals.folder else None,
            now=now,
        )
        app.extensions["sealers"][party] = sealer
        app.extensions["background"].append(
            Periodic(
                sealer.seal_if_due,
                every_s=LOOK_EVERY_S,
                name=f"{party}'s seals",
                on_defect=http.log_defect,
            )
        )


def _tell_of_new_key(sealer: Sealer, party: str) -> None:
    with suppress(SealContradicted, PersistenceError):  # sealing tells of that
        if last := sealer.by_another():
            http.warn(
                "another key seals",
                told=f"the last seal of the {party}'s book is by {last.key}, which did not hand over"
                f" to {sealer.key}: who trusts that one only will call what is sealed now forged",
            )


def _add_provider(
    app: APIFlask, settings: Settings, now: Callable[[], datetime], shelf: Shelf
) -> None:
    assert settings.provider_book is not None
    turns = app.extensions["turns"]
    book = ProviderBook(
        open_store(settings.provider_book.store, PROVIDER_TABLES),
        settings.provider_house(),
        now=now,
        latch=turns.latch,
        on_defect=http.log_defect,
    )
    aside = Aside(turns.latch, book.store.deadline_s) if book.store.remote else at_once
    waiting = Waiting(turns.latch, aside)
    courier = worker(settings, book, waiting)
    desk = Desk(book, waiting, courier.wake)
    app.extensions["provider_book"], app.extensions["worker"] = book, courier
    if settings.provider_book.worker:
        app.extensions["background"].append(courier)
    tokens = {**settings.tokens(), "game": settings.provider_book.token}
    copy = app.extensions["copies"].get("provider")
    app.register_blueprint(games(desk, bearer(tokens), shelf, copy))
    for name, (prefix, calls) in PROVIDER.items():
        relations = _relations(settings, name)
        app.register_blueprint(operators(name, prefix, calls, relations, desk))
    app.wsgi_app = http.ToldByBody(  # type: ignore[method-assign]
        app.wsgi_app, path="/V4/CancelRound", key="secureLogin", instead="/V4/cancelround"
    )


def _check_spelling(settings: Settings, store: Store) -> None:
    """An id is part of the names in the book: another letter case would begin another provider."""
    known = {part.casefold(): part for part in store.first_parts("reference_index")}
    for index, provider in enumerate(settings.provider):
        spelt = known.get(provider.id.casefold(), provider.id)
        if spelt != provider.id:
            raise SettingsWrong(f"provider[{index}].id: the book spells it {spelt!r}, keep that")


def _partners(settings: Settings, dialect: str) -> list[Partner]:
    return [
        Partner(p.id, p.member.encode(), [token.encode() for token in p.tokens])
        for p in settings.provider
        if p.dialect == dialect
    ]


def _relations(settings: Settings, dialect: str) -> list[Relation]:
    return [
        Relation(
            Partner(o.secure_login, o.secure_login.encode(), [t.encode() for t in o.tokens]),
            o.hash,
            o.secret,
            o.wallet_token,
        )
        for o in settings.operator
        if o.dialect == dialect
    ]


def _secrets(settings: Settings) -> list[str]:
    """Returns every token and secret there is."""
    book = settings.provider_book
    return [
        *settings.tokens().values(),
        *(token for provider in settings.provider for token in provider.tokens),
        *([book.token] if book else []),
        *(token for operator in settings.operator for token in operator.tokens),
        *(each for o in settings.operator for each in (o.wallet_token, o.secret) if each),
    ]


def _paths(settings: Settings) -> list[str]:
    """Returns every path that answers in any letter case; the wallet's spelling is the last word."""
    return _provider_paths(settings) + [
        f"{prefix}/{call.path}" for prefix, calls in WALLET.values() for call in calls
    ]


def _provider_paths(settings: Settings) -> list[str]:
    served = PROVIDER.values() if settings.provider_book else ()
    return [f"{prefix}/{call.path}" for prefix, calls in served for call in calls]


def _direct(settings: Settings, served: Mapping[str, WalletPath]) -> dict[str, http.Direct]:
    """Returns what answers the wallet's paths without Flask, by lower case; not where a body tells whose it is."""
    shared = {path.lower() for path in _provider_paths(settings)}
    return {
        text.lower(): http.logged(text, path) if settings.server.log_requests else path
        for text, path in served.items()
        if text.lower() not in shared
    }


def _handle_errors(app: APIFlask) -> None:
    app.error_processor(problems.http_error)
    app.register_error_handler(Refusal, problems.refused)
    app.register_error_handler(Breakdown, problems.broken)
    app.register_error_handler(NotJson, problems.not_json)
    for wrong, (status, word) in WRONG.items():
        app.register_error_handler(wrong, problems.answered(status, word))
    app.register_error_handler(Unasked, problems.unasked)
    app.register_error_handler(PersistenceError, problems.unread)
    app.register_error_handler(Exception, problems.defect)
