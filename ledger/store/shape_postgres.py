"""What keeps a book's rows in PostgreSQL, as its catalog describes it: to be compared with what a book makes.

What a book makes is made as temporary tables, described, and rolled back: the server itself says how it
keeps our words, whichever version it is of.
"""

from collections.abc import Collection, Iterable
from typing import Any

import psycopg
from psycopg import errors

from ledger.store.sql import Shape

CANNOT_MAKE = (
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
    errors.FeatureNotSupported,
)
"""Of a copy, and of who may make no temporary tables: what is there cannot be compared."""

_TEMPORARY = ("set transaction read write", "set local search_path = pg_temp")
_OWN_FUNCTION = ("execute function ", "execute function pg_temp.")
"""A temporary function is found only where its schema is named."""

_DESCRIBED = """
with ours as (select * from pg_class where relnamespace = {at} and relname = any(%s)),
described(kind, name, said) as (
    select 'table', relname, concat_ws(' ', relkind, relpersistence = 'u', relrowsecurity,
        exists (select from pg_inherits where ours.oid in (inhparent, inhrelid)))
    from ours
    union all
    select 'column', relname || '.' || attname, concat_ws(' ',
        row_number() over (partition by attrelid order by attnum), format_type(atttypid, atttypmod),
        attnotnull, attcollation::regcollation, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
    from ours join pg_attribute on attrelid = ours.oid
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attnum > 0 and not attisdropped
    union all
    select 'constraint', relname || '.' || conname,
        concat_ws(' ', pg_get_constraintdef(pg_constraint.oid, true), convalidated)
    from ours join pg_constraint on conrelid = ours.oid where contype in ('c', 'f', 'p', 'u', 'x')
    union all
    select 'index', relname || '.' || indexrelid::regclass, concat_ws(' ', indisvalid,
        regexp_replace(pg_get_indexdef(indexrelid, 0, true), ' WITH \\(.*\\)$', ''))
    from ours join pg_index on indrelid = ours.oid
    union all
    select 'trigger', relname || '.' || tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(pg_trigger.oid, true))
    from ours join pg_trigger on tgrelid = ours.oid where not tgisinternal
    union all
    select 'rule', relname || '.' || rulename, pg_get_ruledef(pg_rewrite.oid)
    from ours join pg_rewrite on ev_class = ours.oid
    union all
    select 'function', proname || '(' || oidvectortypes(proargtypes) || ')',
        concat_ws(' ', lanname, proconfig, prosrc)
    from pg_proc join pg_language on prolang = pg_language.oid
    where pronamespace = {at} and proname = any(%s)
)
select kind, name, regexp_replace(said, 'pg_temp(_[0-9]+)?[.]', '', 'g') from described
"""
_HERE = _DESCRIBED.format(at="current_schema()::regnamespace")
_MADE = _DESCRIBED.format(at="pg_my_temp_schema()")


def shape(connection: psycopg.Connection[Any], names: Collection[str]) -> Shape:
    """Returns how tables and functions of a book's schema are made, as far as they are there."""
    return _shape(connection, _HERE, names)


def made(
    connection: psycopg.Connection[Any], names: Collection[str], scripts: Iterable[str]
) -> Shape:
    """Returns how scripts make tables and functions; nothing of them is left. Raises one of CANNOT_MAKE."""
    with connection.transaction(force_rollback=True):
        for statement in (*_TEMPORARY, *scripts):
            connection.execute(statement.replace(*_OWN_FUNCTION))
        return _shape(connection, _MADE, names)


def _shape(connection: psycopg.Connection[Any], query: str, names: Collection[str]) -> Shape:
    rows = connection.execute(query, ([*names], [*names])).fetchall()
    return {(kind, name): said for kind, name, said in rows}
