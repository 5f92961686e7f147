"""Projections derive: they read events only.

The three tables here are kept in the write transaction, so that an answer is never stale; each is a
module with the table's name, key, columns and schema, and one `evolve`.
"""

from projections import references, rounds, wallets

IN_TRANSACTION = (references, wallets, rounds)
