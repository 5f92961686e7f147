"""The ledger: decides and records. Knows nothing of the web and nothing of read models."""
