"""`manage.py revert`: make a former live release live again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import revert
from governance.desk.finding import release_by_digest, task_by_slug
from governance.desk.signin import sign_in
from governance.models import PointerMove, Task
from governance.pointers import current_digest, release_key


class Command(PawlCommand):
    """Revert a task's live release, or list what was live."""

    help = "Make a former live release of a task live again; without --to, list what was live."
    example = 'python3 manage.py revert digits --to 9c1f --reason "Wrong answers in production." --as oscar'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """TASK, the release to go back to, a reason and who acts."""
        parser.add_argument("task", help="name of the task")
        parser.add_argument("--to", metavar="DIGEST", help="first characters of the former live release")
        parser.add_argument("--reason", default="", help="why; kept with the revert")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """List the history, or revert."""
        task = task_by_slug(options["task"])
        if not options["to"]:
            self._list(task)
            return
        release = release_by_digest(task, options["to"])
        proposal = revert(
            key=release_key(task),
            to_digest=release.digest,
            reason=options["reason"],
            by=sign_in(options["username"]),
        )
        self.emit(
            {"ref": proposal.ref, "digest": release.digest, "previous": proposal.base},
            f"{task.slug} is back at {release.digest[:12]}; the revert waits for a review ({proposal.ref[:8]}).",
        )

    def _list(self, task: Task) -> None:
        live = current_digest(release_key(task))
        moves = PointerMove.objects.filter(key=release_key(task)).order_by("generation")
        rows: list[dict[str, Any]] = [
            {"generation": move.generation, "kind": move.kind, "digest": move.digest, "reason": move.reason}
            for move in moves
        ]
        lines = [
            f"{row['generation']:>4}  {row['kind']:<8} {row['digest'][:12]}"
            f"{' (live)' if row['digest'] == live else ''}  {row['reason']}"
            for row in rows
        ]
        self.emit(rows, "\n".join(lines) or f"{task.slug} has no live release yet.")
