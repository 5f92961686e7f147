"""The provider's three tables that are kept in the write transaction: deliveries, rounds, sweep."""

from projections.provider import deliveries, rounds, sweep

IN_TRANSACTION = (deliveries, rounds, sweep)
