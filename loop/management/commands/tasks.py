"""`tasks`: what is installed and what is live."""

from __future__ import annotations

from typing import Any

from deploy.cli import PawlCommand
from governance.models import Task
from governance.pointers import evaluator_in_force, live_release
from loop.models import Campaign


class Command(PawlCommand):
    """List the installed tasks."""

    help = "List the installed tasks with their live release, evaluator and campaigns."
    example = "python3 manage.py tasks --json"

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line a task."""
        rows: list[dict[str, Any]] = [
            {
                "task": task.slug,
                "title": task.title,
                "live": live_release(task).digest,
                "evaluator": evaluator_in_force(task).digest,
                "campaigns": Campaign.objects.filter(task=task).count(),
            }
            for task in Task.objects.order_by("slug")
        ]
        lines = [
            f"{row['task']:<20} live {row['live'][:12]}  evaluator {row['evaluator'][:12]}  "
            f"{row['campaigns']} campaigns  {row['title']}"
            for row in rows
        ]
        none = "No task is installed; `manage.py install_task tasks/digits --as OPERATOR` brings the bundled one in."
        self.emit({"tasks": rows}, "\n".join(lines) or none)
