"""What comes first: standard streams that are there, and a Ctrl-C that is quiet while Python still imports."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def open_closed_streams() -> None:
    """Has each standard stream that was closed lead nowhere: a book's file, or a socket, must not take its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                # the lowest number that is free: this one
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


@contextmanager
def importing() -> Iterator[None]:
    """Has Ctrl-C end the process at once and quietly while the block runs: there is nothing to clean up."""
    python_s = signal.default_int_handler
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not python_s:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, python_s)
