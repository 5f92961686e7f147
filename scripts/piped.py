"""Standard output as a command writes it: who stops reading, as `head` does, ends it and hears nothing more."""

import signal
from io import BufferedWriter, FileIO, TextIOWrapper, UnsupportedOperation
from typing import Any


class _Output(FileIO):
    """Ends the command, in order, once nobody reads it; what it still says on its way is dropped."""

    _gone = False

    def write(self, said: Any, /) -> Any:
        if self._gone:
            return memoryview(said).nbytes
        try:
            return super().write(said)
        except BrokenPipeError:
            self._gone = True
            # no OSError: those who print would make exit status 1 of it
            raise SystemExit(128 + signal.SIGPIPE) from None
        except OSError:
            self._gone = True
            raise


def output(was: TextIOWrapper) -> TextIOWrapper:
    """Returns what writes in its place; what the encoding has no sign for, in an id say, is escaped."""
    try:
        number = was.fileno()
    except UnsupportedOperation:  # it is in memory
        was.reconfigure(errors="backslashreplace")
        return was
    return TextIOWrapper(
        BufferedWriter(_Output(number, "wb", closefd=False)),
        encoding=was.encoding,
        errors="backslashreplace",
        line_buffering=was.line_buffering,
        write_through=was.write_through,
    )
