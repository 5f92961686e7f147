"""Ports of the loopback that nobody else is given, while a server is down or before it is up."""

import socket
import sys


def held_port() -> socket.socket:
    """Returns a socket that holds a free port: others are given another until it is closed.

    It does not listen. A server that sets SO_REUSEADDR, as servers do, can, and again after it was down.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def free_port() -> int:
    """Returns a port on which nobody listens, held while this process lives."""
    with held_port() as held:
        port: int = held.getsockname()[1]
        if sys.platform == "linux":  # elsewhere nobody can listen on what another holds
            held.detach()
    return port
