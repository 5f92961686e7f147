"""The provider's book: it runs rounds, and owes the operator a refund for every bet it cancels."""
