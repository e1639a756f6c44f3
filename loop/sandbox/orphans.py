"""Looks after the children of the process that forks supervisors: reaps the dead, kills what a killed one left."""

from __future__ import annotations

import os
import signal

from loop.sandbox import watch
from loop.sandbox.namespaces import PR_SET_CHILD_SUBREAPER, prctl


class Brood:
    """The supervisors that this process has forked. Whatever else becomes its child is an orphan of theirs.

    `wake` becomes readable when a child has ended: then call `look_after`. One call is enough for each wake: an
    orphan is here before its parent's end is told.
    """

    def __init__(self) -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.wake = watch.wake_on_children()
        self._own: set[int] = set()

    def fork(self) -> int:
        """As os.fork; the child has nothing of this object's left but memory."""
        pid = os.fork()
        if pid == 0:
            os.close(signal.set_wakeup_fd(-1))
            os.close(self.wake)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        else:
            self._own.add(pid)
        return pid

    def look_after(self) -> None:
        """Reaps every child that has ended and kills those that are nobody's."""
        while os.read(self.wake, 1 << 12) == bytes(1 << 12):
            continue
        self._reap()
        for child in watch.children(os.getpid()):
            if child not in self._own:
                os.kill(child, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._own.discard(pid)
