"""The HTTP side: it translates and decides nothing. `create_app` is where all parts meet."""

from apiflask import APIFlask
from flask_swagger_ui import get_swaggerui_blueprint

from api import http, problems
from api import loop as event_loop
from api.admin import admin, bearer
from api.operator.calls import KYREN_V1, LUCKY_MONACO_V4
from api.operator.credentials import Partner
from api.operator.wallet import wallet
from api.ops import ops
from api.settings import Settings, SettingsWrong
from ledger.operator.book import Book
from ledger.reader import NotJson
from ledger.refusals import Breakdown, Refusal
from ledger.store import Store, open_store
from projections import IN_TRANSACTION

DIALECTS = {"lucky-monaco-v4": ("/V4", LUCKY_MONACO_V4), "kyren-v1": ("/v1", KYREN_V1)}


DOCS = {"app_name": "Roundbook", "layout": "BaseLayout", "tryItOutEnabled": True}
PARTNER = {
    name: {"type": "apiKey", "in": "query", "name": name, "description": "The partner's"}
    for name in ("MEMB_ID", "HASH")
}


def create_app(settings: Settings, store: Store | None = None) -> APIFlask:
    """Returns the service as a WSGI application; it opens the settings' store unless one is given.

    Raises StoreUnfit, and SettingsWrong where a provider's id is spelt otherwise in the book.
    """
    store = store or open_store(settings.store, IN_TRANSACTION)
    _check_spelling(settings, store)
    book = Book(store, settings.house(), latch=event_loop.latch, on_defect=http.log_defect)
    app = APIFlask("api", title="Roundbook", version="0.1.0", docs_path=None)
    app.request_class = http.StrictRequest
    app.security_schemes = PARTNER
    app.extensions["book"] = book
    app.after_request(http.close_unread)
    if settings.server.log_requests:
        http.log_requests(app)
    for name, (prefix, calls) in DIALECTS.items():
        app.register_blueprint(wallet(name, prefix, calls, _partners(settings, name), book))
    auth = bearer(settings.admin.token, settings.auditor.token if settings.auditor else None)
    providers = {p.id.casefold(): p.id for p in settings.provider}
    app.register_blueprint(admin(book, auth, providers))
    app.register_blueprint(ops(book))
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", DOCS))
    _handle_errors(app)
    app.wsgi_app = http.AnyCase(app.wsgi_app, _wallet_paths())  # type: ignore[method-assign]
    return app


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


def _wallet_paths() -> list[str]:
    return [f"{prefix}/{call.path}" for prefix, calls in DIALECTS.values() for call in calls]


def _handle_errors(app: APIFlask) -> None:
    app.error_processor(problems.http_error)
    app.register_error_handler(Refusal, problems.refused)
    app.register_error_handler(Breakdown, problems.broken)
    app.register_error_handler(NotJson, problems.not_json)
    app.register_error_handler(Exception, problems.defect)
