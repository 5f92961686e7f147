"""What PostgreSQL refuses, in the library's words and in a person's: a role's rights with what mends them."""

from typing import Any

import psycopg
from eventsourcing import persistence
from psycopg import errors

from ledger.store import NoText, Presumed
from ledger.store.sql_postgres import NOT_AS_PRESUMED

ONLY_READS = "; this server is a copy, or may only be read: name the one that is written"

BARRED = (errors.InsufficientPrivilege, errors.InvalidSchemaName)
"""The second where there is a schema, and the role may not use it."""

RIGHTS = (
    "; who reads a book needs usage of its schema and select on its tables, who writes it owns them"
)
SEES = "has_schema_privilege(%s, 'usage')"

_WHOSE = """
select quote_ident(current_user), quote_ident(named),
    has_schema_privilege(there, 'usage') and has_schema_privilege(there, 'create'),
    (select quote_ident(rolname) from pg_class join pg_roles on relowner = pg_roles.oid
        where relnamespace = there and relname = 'stored_events'
        and not pg_has_role(relowner, 'usage'))
from cast(%s as text) named, to_regnamespace(quote_ident(named)) there
"""


def barred(connection: psycopg.Connection[Any], schema: str, *, reads: bool) -> str:
    """Returns what its role may not do with a schema, which it only reads or has to write, and what helps.

    Empty where it may.
    """
    (found,) = connection.execute(_WHOSE, (schema,)).fetchall()
    role, named, may_make, owner = found
    if may_make is None:
        return f"the role {role} may not make the schema {named}: create schema {named} authorization {role}"
    if reads:
        grants = f"grant usage on schema {named} to {role}; grant select on all tables in schema {named} to {role}"
        return f"the role {role} may not use the schema {named}: {grants}"
    if owner:
        return f"the book is {owner}'s, and {role} may not write it: connect as {owner}, or grant {owner} to {role}"
    if may_make:
        return ""
    return f"the role {role} may make nothing in the schema {named}: grant usage, create on schema {named} to {role}"


def text_of(error: psycopg.Error) -> str:
    """Returns what the server said, in a line; where it is known what mends it, that and no more."""
    mends = _MENDS.get(type(error))
    if mends:
        return f"{error.diag.message_primary}{mends}"
    return " ".join(str(error).split()) or type(error).__name__


_MENDS: dict[type[psycopg.Error], str] = {
    errors.InsufficientPrivilege: RIGHTS,
    errors.ReadOnlySqlTransaction: ONLY_READS,
}


class Translated:
    """Gives the driver's errors the library's names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case psycopg.Error(sqlstate=state) if state == NOT_AS_PRESUMED:
                raise Presumed from error
            case errors.CharacterNotInRepertoire() | UnicodeDecodeError():
                raise NoText("a text is not UTF-8") from error
            case psycopg.IntegrityError():
                raise persistence.IntegrityError(text_of(error)) from error
            case psycopg.OperationalError():
                raise persistence.OperationalError(text_of(error)) from error
            case psycopg.Error():
                raise persistence.PersistenceError(text_of(error)) from error
