"""A program that runs the embedded services until its stdin ends: one JSON line, then one a command.

Commands on stdin: `enqueue QUEUE FUNCTION ARG...` or `describe`. Appends a line to $RECONCILED at every
reconcile.
"""

from __future__ import annotations

import json
import os
import sys

import django


def main() -> None:
    """Run until stdin ends."""
    django.setup()
    import django_rq

    from deploy.services import Plan, Supervisor

    def reconcile() -> None:
        with open(os.environ["RECONCILED"], "a") as handle:
            handle.write("reconciled\n")

    workers = tuple(sys.argv[1:])
    with Supervisor(Plan(workers=workers, reconcile=reconcile, interval_s=0.2, grace_s=1.0)) as supervisor:
        print(json.dumps(supervisor.describe()), flush=True)
        for line in sys.stdin:
            verb, *rest = line.split()
            if verb == "enqueue":
                job = django_rq.get_queue(rest[0]).enqueue(f"tests.deploy.jobs.{rest[1]}", *rest[2:])
                print(json.dumps({"job": job.id}), flush=True)
            else:
                print(json.dumps(supervisor.describe()), flush=True)


if __name__ == "__main__":
    main()
