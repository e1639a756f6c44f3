"""`manage.py hold`: keep a bad version, and everything made from it, from going live."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import hold, lift_hold, revert_lineage
from governance.desk.finding import digest_by_prefix
from governance.desk.signin import sign_in
from governance.lineage import live_descendants, newest_without
from governance.models import Hold


class Command(PawlCommand):
    """Hold a digest, revert what was made from it, lift a hold, or list what is held."""

    help = (
        "Hold a release or version and whatever was made from it; --preview shows what is live of it, --revert also "
        "takes that back, --lift ends a hold (two people). Without DIGEST: what is held."
    )
    example = 'python3 manage.py hold 9c1f --revert --reason "It learned from a broken reward." --as oscar'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, why and who."""
        parser.add_argument("digest", nargs="?", help="first characters of a release's or a version's digest")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--preview", action="store_true", help="only show what is live of it")
        what.add_argument("--revert", action="store_true", help="also take back what is live of it")
        what.add_argument("--lift", action="store_true", help="ask to end the hold")
        parser.add_argument("--reason", default="", help="why; kept with the log")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        if not options["digest"]:
            self._list()
            return
        digest = digest_by_prefix(options["digest"])
        if options["preview"]:
            self._preview(digest)
            return
        given = {"digest": digest, "reason": options["reason"], "by": sign_in(options["username"])}
        short = digest[:12]
        if options["lift"]:
            held = lift_hold(**given)
            over = held.lifted_at is not None
            text = (
                f"{short} is no longer held." if over else f"Noted: a second person must ask to lift {short}."
            )
            self.emit({"digest": digest, "over": over}, text)
        elif options["revert"]:
            back = [
                {
                    "task": proposal.task.slug if proposal.task else "",
                    "to": proposal.target,
                    "ref": proposal.ref,
                }
                for proposal in revert_lineage(**given)
            ]
            lines = [
                f"{row['task']} is back at {row['to'][:12]} (reviewed afterwards: {row['ref'][:8]})."
                for row in back
            ]
            self.emit(back, "\n".join([f"{short} is held.", *lines]))
        else:
            hold(**given)
            self.emit({"digest": digest}, f"{short}, and whatever was made from it, is held.")

    def _preview(self, digest: str) -> None:
        rows: list[dict[str, str]] = []
        for task, live in live_descendants(digest):
            way_back = newest_without(task, digest)
            rows.append(
                {"task": task.slug, "live": live.digest, "back_to": way_back.digest if way_back else ""}
            )
        lines = [
            f"{row['task']}: {row['live'][:12]} is live and would go back to {row['back_to'][:12] or 'nothing known'}"
            for row in rows
        ]
        self.emit(rows, "\n".join(lines) or f"Nothing that is live was made from {digest[:12]}.")

    def _list(self) -> None:
        rows = [
            {"digest": row.digest, "since": row.held_at.isoformat(), "reason": row.reason}
            for row in Hold.objects.filter(lifted_at__isnull=True).order_by("held_at")
        ]
        lines = [f"{row['digest'][:12]}  {row['since'][:10]}  {row['reason']}" for row in rows]
        self.emit(rows, "\n".join(lines) or "Nothing is held.")
