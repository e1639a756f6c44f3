"""Who may do what, and when. `check_x` raises NotAllowed with the rule's own sentence; `can_x` asks.

Rules about people and rules about states are apart. No rule has an exception for superusers or for a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from governance.actors import CLOCK, SETUP, VERIFIER, Actor
from governance.errors import NotAllowed
from governance.models import FactorReset, Halt, Hold, Person, Proposal, Review, RoleGrant
from governance.people import in_setup, person_of
from governance.policy import Lane, Policy, policy_now
from governance.roles import AUDITOR, OPERATOR, OWNER, REVIEWER, roles_of
from governance.transitions import DECIDABLE, Status, may_follow

STEPPED_UP = frozenset({"session", "command"})


@dataclass(frozen=True, slots=True)
class Standing:
    """What a decision about one proposal is judged by: the rules in force and the time."""

    policy: Policy
    lane: Lane
    now: datetime


def standing(proposal: Proposal) -> Standing:
    """The rules that decide about this proposal now. Raises BadInput when no policy is in force."""
    policy = policy_now()
    return Standing(policy, policy.lane(proposal.lane), timezone.now())


def check_signed_in(by: Actor) -> Person:
    """Raises NotAllowed unless a known person acts, signed in at the desk or at the command line."""
    person = person_of(by)
    if not person.user.is_active:
        raise NotAllowed(f"The account of {person} is not active.")
    if by.auth not in STEPPED_UP:
        raise NotAllowed("This needs a person who signed in; a token alone is not enough.")
    return person


def check_role(by: Actor, roles: Iterable[str]) -> Person:
    """Raises NotAllowed unless a signed-in person holds one of the roles, and holds it long enough to decide."""
    person = check_signed_in(by)
    wanted = sorted(roles)
    held = roles_of(person) & set(wanted)
    if not held:
        raise NotAllowed(f"This needs the role {' or '.join(wanted)}; {person} does not hold it.")
    if held.isdisjoint(counting_roles(person, timezone.now())):
        first = person.grants.filter(role__in=held).earliest("granted_at")
        counts = first.granted_at + policy_now().roles_count_after
        raise NotAllowed(
            f"{person} holds the role {first.role} for too short a time; it counts from {minute(counts)}."
        )
    return person


def counting_roles(person: Person, now: datetime) -> frozenset[str]:
    """The roles that let this person decide: given during the set-up, or old enough by the policy."""
    if not person.user.is_active:
        return frozenset()
    return frozenset(grant.role for grant in person.grants.all() if _counts(grant, now))


def _counts(grant: RoleGrant, now: datetime) -> bool:
    if grant.granted_by == SETUP.ref:
        return True
    return grant.granted_at + policy_now().roles_count_after <= now


def halt_over(scope: str) -> Halt | None:
    """The open stop over this task (its slug) or over everything, if there is one."""
    return Halt.objects.filter(resumed_at__isnull=True, scope__in={"", scope}).order_by("scope").first()


def check_not_stopped(scope: str) -> None:
    """Raises NotAllowed while the stop switch is thrown over this task (its slug) or over everything."""
    halt = halt_over(scope)
    if halt is not None:
        over = f"The task {halt.scope}" if halt.scope else "Everything"
        raise NotAllowed(
            f"{over} was stopped on {minute(halt.stopped_at)} ({halt.reason}); two people can resume it: "
            "manage.py resume."
        )


def check_inbox() -> None:
    """Raises NotAllowed while more proposals wait for people than the policy allows: the loop goes at their pace."""
    most = policy_now().most_waiting
    waiting = Proposal.objects.filter(status__in=DECIDABLE).count()
    if waiting > most:
        raise NotAllowed(
            f"{waiting} proposals wait for people and the policy allows {most}; decide about some of them first."
        )


def check_may_stop(by: Actor) -> Person:
    """Raises NotAllowed unless a reviewer, an operator or an owner acts: one person is enough to stop."""
    return check_role(by, {REVIEWER, OPERATOR, OWNER})


def check_may_resume(halt: Halt, by: Actor) -> Person:
    """Raises NotAllowed unless an operator or an owner acts, each once: it takes two different people."""
    person = check_role(by, {OPERATOR, OWNER})
    if halt.resumed_at is not None:
        raise NotAllowed("This stop is over already.")
    if person.ref in halt.resumed_by:
        raise NotAllowed(f"{person} has already asked to resume; it takes a second person.")
    return person


def check_may_install(by: Actor) -> None:
    """Raises NotAllowed unless an operator, or the set-up of the instance, acts."""
    if by != SETUP:
        check_role(by, {OPERATOR})


def check_may_start_by_token(person: Person) -> None:
    """Raises NotAllowed unless whoever a campaign token is of could start campaigns now: starting, never deciding."""
    if OPERATOR not in counting_roles(person, timezone.now()):
        raise NotAllowed(f"{person} cannot start campaigns now (no active account with the role {OPERATOR}).")


def check_may_propose_roles(by: Actor) -> Person:
    """Raises NotAllowed unless an owner or an operator acts."""
    return check_role(by, {OWNER, OPERATOR})


def check_may_propose(by: Actor) -> None:
    """Raises NotAllowed for a person without a working role; agents and the loop may propose (but no roles)."""
    if by.kind == "human":
        check_role(by, {REVIEWER, OPERATOR, OWNER})


def check_is_verifier(by: Actor) -> None:
    """Raises NotAllowed unless the verifier acts: results come from it alone."""
    if by != VERIFIER:
        raise NotAllowed(f"Only the verifier hands in results; {by.kind} {by.ref!r} cannot.")


def check_is_clock(by: Actor) -> None:
    """Raises NotAllowed unless the clock acts: what time brings about is nobody's wish, nor the loop's."""
    if by != CLOCK:
        raise NotAllowed(f"Upkeep is an act of the clock alone; {by.kind} {by.ref!r} cannot.")


def check_may_read_log(by: Actor) -> Person:
    """Raises NotAllowed unless an auditor, owner or operator acts; reading decides nothing, so a new role counts."""
    person = check_signed_in(by)
    if roles_of(person).isdisjoint({AUDITOR, OWNER, OPERATOR}):
        raise NotAllowed(f"This needs the role {AUDITOR}, {OPERATOR} or {OWNER}; {person} does not hold it.")
    return person


def check_may_move(old: str, new: Status) -> None:
    """Raises NotAllowed unless the table lets `new` follow `old`."""
    if not may_follow(Status(old), new):
        raise NotAllowed(f"A proposal that is {words(old)} cannot become {words(new)}.")


def check_may_review(proposal: Proposal, by: Actor) -> Person:
    """Raises NotAllowed unless this person may give a verdict on this proposal now."""
    check_decidable(proposal)
    rules = standing(proposal)
    person = check_role(by, {rules.lane.role})
    check_not_involved(proposal, person)
    given = proposal.reviews.filter(person=person, subject_digest=proposal.subject_digest)
    if given.filter(expires_at__gt=rules.now).exists():
        raise NotAllowed(f"{person} has already given a verdict on this proposal; one each is all there is.")
    return person


def check_decidable(proposal: Proposal) -> None:
    """Raises NotAllowed unless the proposal is verified, open and not past its date."""
    if proposal.status not in DECIDABLE:
        raise NotAllowed(
            f"This proposal is {words(proposal.status)}; a verdict needs one that is ready or in review."
        )
    if proposal.expires_at is not None and proposal.expires_at <= timezone.now():
        raise NotAllowed(f"This proposal expired on {day(proposal.expires_at)}; propose it again.")


def check_not_involved(proposal: Proposal, person: Person) -> None:
    """Raises NotAllowed for whoever started, proposed or last pushed the change."""
    if person.ref in proposal.excluded:
        raise NotAllowed(f"{person} started or proposed this change, so somebody else must decide.")


def counted_approvals(proposal: Proposal, rules: Standing) -> list[Review]:
    """The approvals that count now, oldest first: this subject, not used, not expired, role held today."""
    approvals = (
        proposal.reviews.select_related("person__user")
        .prefetch_related("person__grants")
        .filter(
            verdict=Review.Verdict.APPROVE,
            subject_digest=proposal.subject_digest,
            consumed_at__isnull=True,
            expires_at__gt=rules.now,
        )
    )
    return [
        review
        for review in approvals.order_by("created_at", "pk")
        if rules.lane.role in counting_roles(review.person, review.created_at)
        and review.person.ref not in proposal.excluded
    ]


def check_quorum(proposal: Proposal, rules: Standing) -> list[Review]:
    """The approvals that a promotion would use. Raises NotAllowed when too few count."""
    approvals = counted_approvals(proposal, rules)
    if len(approvals) < rules.lane.approvals:
        raise NotAllowed(
            f"{len(approvals)} of {rules.lane.approvals} approvals by {rules.lane.role}s count today; "
            "an approval counts until it expires, while its giver holds the role."
        )
    return approvals


def check_cooled_off(approvals: list[Review], rules: Standing) -> None:
    """Raises NotAllowed until the lane's cooling-off time has passed since the quorum was reached."""
    if not (rules.lane.cooling_off and rules.lane.approvals):
        return
    until = approvals[rules.lane.approvals - 1].created_at + rules.lane.cooling_off
    if rules.now < until:
        hours = rules.lane.cooling_off / timedelta(hours=1)
        raise NotAllowed(
            f"A change in lane {rules.lane.name} cools off for {hours:g} hours: until {minute(until)}."
        )


def check_may_promote(proposal: Proposal, by: Actor) -> list[Review]:
    """The approvals that would be used. Raises NotAllowed unless this person may promote this proposal now.

    The clock may where the policy that people approved asks for no approval at all.
    """
    if proposal.status != Status.APPROVED:
        raise NotAllowed(f"This proposal is {words(proposal.status)}; only an approved one can be promoted.")
    check_decidable(proposal)
    check_not_stopped(proposal.task.slug if proposal.task else "")
    rules = standing(proposal)
    if by != CLOCK or rules.lane.approvals > 0:
        check_role(by, rules.policy.promoter_roles)
    approvals = check_quorum(proposal, rules)
    check_cooled_off(approvals, rules)
    return approvals


def check_may_revert(by: Actor) -> Person:
    """Raises NotAllowed unless an operator acts."""
    return check_role(by, {OPERATOR})


def check_may_lift(held: Hold, by: Actor) -> Person:
    """Raises NotAllowed unless an operator acts, each once: it takes two different people."""
    person = check_may_revert(by)
    if person.ref in held.lifted_by:
        raise NotAllowed(f"{person} has already asked to lift this; it takes a second person.")
    return person


def check_may_break_glass(by: Actor) -> Person:
    """Raises NotAllowed unless an operator acts."""
    return check_role(by, {OPERATOR})


def check_may_acknowledge(proposal: Proposal, by: Actor) -> Person:
    """Raises NotAllowed unless the proposal waits for its review afterwards and this person may give it."""
    if not proposal.review_due:
        raise NotAllowed("This proposal does not wait for a review afterwards.")
    person = check_role(by, {policy_now().lane("revert").role})
    check_not_involved(proposal, person)
    if proposal.reviews.filter(person=person).exists():
        raise NotAllowed(f"{person} approved this in the emergency, so somebody else looks at it afterwards.")
    return person


def check_may_withdraw(proposal: Proposal, by: Actor) -> None:
    """Raises NotAllowed unless its proposer, its campaign's starter or an operator acts.

    Those whom a change of roles concerns are excluded from deciding about it, and cannot undo it either.
    """
    check_may_move(proposal.status, Status.WITHDRAWN)
    if by.kind != "human" and by.ref == proposal.proposed_by:
        return
    person = check_signed_in(by)
    roles = proposal.kind == Proposal.Kind.ROLES
    own = person.ref == proposal.proposed_by if roles else person.ref in proposal.excluded
    if not own and OPERATOR not in roles_of(person):
        raise NotAllowed("Only whoever proposed this, or an operator, may withdraw it.")


def check_may_reset_factors(person: Person, open_reset: FactorReset | None, by: Actor) -> Person:
    """Raises NotAllowed unless an owner acts, each once, for somebody else: it takes two different people."""
    owner = check_role(by, {OWNER})
    if owner == person:
        raise NotAllowed("Nobody resets their own second factors; two other evaluator owners do.")
    if open_reset is not None and owner.ref in open_reset.asked_by:
        raise NotAllowed(f"{owner} has already asked to reset this; it takes a second owner.")
    return owner


def check_may_add_people(by: Actor) -> None:
    """Raises NotAllowed unless an owner or operator acts, or the set-up while it lasts."""
    if by == SETUP and in_setup():
        return
    check_role(by, {OWNER, OPERATOR})


def check_in_setup(by: Actor) -> None:
    """Raises NotAllowed unless the set-up acts while it lasts: later, roles change by a proposal only."""
    if by != SETUP or not in_setup():
        raise NotAllowed(
            "Roles change by a proposal that two evaluator owners approve: "
            "manage.py people grant NAME --role ROLE --as YOU."
        )


def can(check: Callable[[], object]) -> tuple[bool, str]:
    """Whether a check passes, and if not the rule's own sentence."""
    try:
        check()
    except NotAllowed as refusal:
        return False, str(refusal)
    return True, ""


def can_review(proposal: Proposal, by: Actor) -> tuple[bool, str]:
    """Whether this actor may give a verdict now, and if not why."""
    return can(lambda: check_may_review(proposal, by))


def can_promote(proposal: Proposal, by: Actor) -> tuple[bool, str]:
    """Whether this actor may promote now, and if not why."""
    return can(lambda: check_may_promote(proposal, by))


def can_revert(by: Actor) -> tuple[bool, str]:
    """Whether this actor may revert, and if not why."""
    return can(lambda: check_may_revert(by))


def can_acknowledge(proposal: Proposal, by: Actor) -> tuple[bool, str]:
    """Whether this actor may give the review afterwards, and if not why."""
    return can(lambda: check_may_acknowledge(proposal, by))


def can_withdraw(proposal: Proposal, by: Actor) -> tuple[bool, str]:
    """Whether this actor may withdraw the proposal, and if not why."""
    return can(lambda: check_may_withdraw(proposal, by))


def words(status: str) -> str:
    """A status as it is read aloud."""
    return str(status).replace("_", " ")


def day(moment: datetime) -> str:
    """A moment as a date, UTC."""
    return f"{moment:%Y-%m-%d}"


def minute(moment: datetime) -> str:
    """A moment to the minute, UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
