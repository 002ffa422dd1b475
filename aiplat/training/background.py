"""One task at a time beside the training, whose fault is never lost."""

import threading
from collections.abc import Callable


class Background:
    """A thread for a task, of which there is one at most; all methods are its owner's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread: threading.Thread | None = None
        self.fault: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a task is under way."""
        return self.thread is not None and self.thread.is_alive()

    def start(self, task: Callable[[], None]) -> None:
        """Begin a task as soon as the one before is done; raises what that one raised."""
        self.wait()
        # A storage that hangs must not keep a process from ending.
        self.thread = threading.Thread(target=self._run, args=(task,), name=self.name, daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Return when nothing is under way; raises what the last task raised, once."""
        if self.thread is not None:
            self.thread.join()
        self.thread = None
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            self.fault = error
