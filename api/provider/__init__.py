"""The provider's side: what operators and games call, over one book and its worker."""
