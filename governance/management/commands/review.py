"""`manage.py review`: what waits for a verdict, or one verdict."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import acknowledge, review
from governance.desk.finding import proposal_by_ref
from governance.desk.signin import sign_in
from governance.errors import BadInput
from governance.models import Proposal, Review
from governance.policy import policy_now
from governance.transitions import DECIDABLE


class Command(PawlCommand):
    """List proposals that wait for people, or give one verdict."""

    help = "List proposals that wait for people, or give a verdict on one."
    example = 'python3 manage.py review 3f2a --approve --reason "The hidden gain is real." --as rita'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """REF, a verdict, a reason and who acts."""
        parser.add_argument(
            "ref", nargs="?", help="first characters of the proposal's reference; none lists all"
        )
        verdict = parser.add_mutually_exclusive_group()
        verdict.add_argument("--approve", dest="verdict", action="store_const", const=Review.Verdict.APPROVE)
        verdict.add_argument("--reject", dest="verdict", action="store_const", const=Review.Verdict.REJECT)
        verdict.add_argument(
            "--request-changes", dest="verdict", action="store_const", const=Review.Verdict.REQUEST_CHANGES
        )
        verdict.add_argument(
            "--acknowledge", dest="verdict", action="store_const", const="acknowledge", help="review a revert"
        )
        parser.add_argument("--subject", help="the digest that you read; another one is refused")
        parser.add_argument("--reason", default="", help="why; kept with the verdict")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """List, show, or act."""
        if not options["ref"]:
            self._list()
            return
        proposal = proposal_by_ref(options["ref"])
        if not options["verdict"]:
            self._show(proposal)
        elif options["verdict"] == "acknowledge":
            proposal = acknowledge(
                proposal=proposal, reason=options["reason"], by=sign_in(options["username"])
            )
            self.emit({"ref": proposal.ref, "review_due": False}, f"Reviewed afterwards: {proposal.title}.")
        else:
            self._review(proposal, options)

    def _review(self, proposal: Proposal, options: dict[str, Any]) -> None:
        subject = options["subject"] or proposal.subject_digest
        if len(subject) < 8 or not proposal.subject_digest.startswith(subject):
            raise BadInput(
                f"The subject is {proposal.subject_digest[:12] or 'not fixed yet'}, not {subject[:12]!r}; "
                "read the proposal again."
            )
        given = review(
            proposal=proposal,
            verdict=str(options["verdict"]),
            reason=options["reason"],
            subject_digest=proposal.subject_digest,
            by=sign_in(options["username"]),
        )
        proposal.refresh_from_db()
        self.emit(
            {"ref": proposal.ref, "verdict": given.verdict, "status": proposal.status},
            f"{given.verdict} on subject {given.subject_digest[:12]}; the proposal is {proposal.status} now.",
        )

    def _list(self) -> None:
        waiting = Proposal.objects.filter(status__in=DECIDABLE) | Proposal.objects.filter(review_due=True)
        rows = [_row(proposal) for proposal in waiting.order_by("created_at")]
        lines = [f"{row['ref'][:8]}  {row['status']:<12} {row['lane']:<16} {row['title']}" for row in rows]
        self.emit(rows, "\n".join(lines) or "Nothing waits for a review.")

    def _show(self, proposal: Proposal) -> None:
        policy = policy_now()
        lane = policy.lane(proposal.lane)
        data = _row(proposal) | {
            "lane_reason": proposal.lane_reason,
            "approvals_needed": lane.approvals,
            "role": lane.role,
            "subject": proposal.subject,
            "evidence": [
                {"name": item.name, "sha256": item.sha256} for item in proposal.evidence.order_by("name")
            ],
            "reviews": [
                {"by": str(given.person), "verdict": given.verdict, "reason": given.reason}
                for given in proposal.reviews.select_related("person__user").order_by("created_at")
            ],
        }
        lines = [
            f"{proposal.title} ({proposal.status})",
            proposal.summary,
            f"lane      {proposal.lane}: {proposal.lane_reason} {lane.approvals} by {lane.role}s.",
            f"subject   {proposal.subject_digest or 'not fixed yet'}",
            f"replaces  {proposal.base}",
            f"evidence  {', '.join(item['name'] for item in data['evidence']) or 'none'}",
            *(f"{given['verdict']:<9} {given['by']}: {given['reason']}" for given in data["reviews"]),
        ]
        self.emit(data, "\n".join(line for line in lines if line))


def _row(proposal: Proposal) -> dict[str, Any]:
    return {
        "ref": proposal.ref,
        "kind": proposal.kind,
        "status": proposal.status,
        "lane": proposal.lane,
        "title": proposal.title,
        "task": proposal.task.slug if proposal.task else None,
        "subject_digest": proposal.subject_digest,
        "review_due": proposal.review_due,
    }
