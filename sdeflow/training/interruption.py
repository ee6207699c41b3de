"""Let a step end before Ctrl-C or SIGTERM ends the program, so that its state can be kept."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which the first SIGINT or SIGTERM is only noted; the second acts at once.

        with Interruption() as asked:
            for _ in steps:
                if asked:
                    break

    At its end the signal is sent again, to the handler that was there before. Nothing is noted if
    `active` is false, or outside the main thread, where Python has no handlers.
    """

    def __init__(self, active: bool = True) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self._noted: int | None = None
        self._before: dict[int, object] = {}

    def __bool__(self) -> bool:
        return self._noted is not None

    def __enter__(self) -> Interruption:
        for each in SIGNALS if self.active else ():
            handler = signal.getsignal(each)
            if handler not in (None, signal.SIG_IGN):  # a handler in C; ignored, as under nohup
                self._before[each] = signal.signal(each, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self._noted = number

    def _restore(self) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __exit__(self, *error: object) -> None:
        self._restore()
        if self._noted is not None:
            signal.raise_signal(self._noted)
