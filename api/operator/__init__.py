"""The operator's side of the wire: the remote wallet that providers call."""
