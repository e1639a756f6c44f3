"""The RQ worker of this service: one forked process a job, gone with its worker."""

from __future__ import annotations

import os
from typing import Any

from django.db import connections
from rq import Queue, Worker
from rq.job import Job

from deploy.child import die_with_parent


class PawlWorker(Worker):
    """RQ's forking worker, but a job never outlives its worker and a lost queue is looked for often."""

    max_connection_wait_time = 2.0  # seconds between attempts to reach the queue again

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork with no open database connection: parent and child must not share one."""
        connections.close_all()
        self._worker_pid = os.getpid()
        super().fork_work_horse(job, queue)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """In the fork: a killed worker takes the job with it, so that the same job cannot run twice."""
        die_with_parent(self._worker_pid)
        super().main_work_horse(job, queue)


def make_worker(names: list[str]) -> PawlWorker:
    """A worker on the named queues of settings.RQ_QUEUES, with their serializer.

    What jobs need is imported before the first: every job is a fork, and would otherwise import it anew.
    """
    import django_rq

    import loop.jobs  # noqa: F401

    queues: list[Any] = [django_rq.get_queue(name) for name in names]
    return PawlWorker(
        queues,
        connection=queues[0].connection,
        queue_class=type(queues[0]),
        serializer=queues[0].serializer,
        job_monitoring_interval=10,
    )
