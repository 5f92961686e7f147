"""Something that is done every so many seconds, in a thread of its own."""

import threading
from collections.abc import Callable


class Periodic:
    """Does it at once, and then again and again; what goes wrong is told, and tried again next time.

    The same defect over and over is told once, until it is another one or all went well.
    """

    def __init__(
        self,
        do: Callable[[], object],
        *,
        every_s: float,
        name: str,
        on_defect: Callable[[Exception], None],
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`wait`: for so many seconds at most, where something tells that it is time; `stop` waits for that."""
        self._do, self._every_s, self._on_defect = do, every_s, on_defect
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends once what is under way is done."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        told = None
        while not self._stopping.is_set():
            try:
                self._do()
                told = None
            except Exception as defect:  # noqa: BLE001  (the next time may do better)
                if told != (said := (type(defect), str(defect))):
                    self._on_defect(defect)
                told = said
            self._wait(self._every_s)
