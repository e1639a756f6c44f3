"""Acts at the same moment, for tests of races."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connection

from governance.errors import GovernanceError


def together(*acts: Callable[[], object]) -> list[GovernanceError]:
    """Run the acts at the same time, each in a thread and connection of its own; the refusals they got."""
    refused: list[GovernanceError] = []
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        try:
            start.wait(10)
            act()
        except GovernanceError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return refused
