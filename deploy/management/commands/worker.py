"""`worker`: work on queues until told to stop."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.services import queue_answers
from deploy.worker import make_worker


class Command(PawlCommand):
    """Run one worker process."""

    help = "Work on one or more queues (loop, verify, train) until stopped."
    example = "python3 manage.py worker loop"
    has_json = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Queue names and options."""
        parser.add_argument(
            "queues", nargs="+", choices=sorted(settings.RQ_QUEUES), help="Queues, most urgent first."
        )
        parser.add_argument("--burst", action="store_true", help="End when the queues are empty.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work; SIGTERM ends after the job at hand, a second one at once."""
        if not queue_answers():
            raise CommandError(
                "The queue does not answer; start `python3 manage.py serve`, or set REDIS_URL."
            )
        make_worker(options["queues"]).work(burst=options["burst"])
