"""Every post of the desk that decides something, or that changes how somebody proves who they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.urls import reverse

from governance.actions import hold, stop
from governance.audit.rows import digests, governed_models
from governance.models import Proposal
from tests.governance.cast import REASON, World, promoted


@dataclass(frozen=True)
class Post:
    """One form as somebody allowed to would send it, without a step-up."""

    name: str  # of the route
    who: str
    form: dict[str, str] = field(default_factory=dict)
    ref: str = ""
    slug: str = ""

    @property
    def address(self) -> str:
        """Where it goes."""
        return reverse(f"desk:{self.name}", kwargs={k: v for k in ("ref", "slug") if (v := getattr(self, k))})


def make_posts(world: World) -> list[Post]:
    """The posts, in a world where they would do something: a release is live, one is held, a task is stopped."""
    live = promoted(world)
    hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    stop(scope="digits", reason=REASON, by=world.cast.act("rita"))
    return [*_on_proposal(live), *_when_wrong(world, live), *_on_people()]


def _on_proposal(live: Proposal) -> list[Post]:
    acts = {"approve": "rita", "promote": "operator", "revert": "operator", "acknowledge": "rita"}
    form = {"reason": REASON, "subject_digest": live.subject_digest}
    return [Post("act", who, {**form, "act": act}, ref=live.ref) for act, who in acts.items()]


def _when_wrong(world: World, live: Proposal) -> list[Post]:
    back = {"live": live.target, "digest": world.seed.digest, "reason": REASON * 2}
    return [
        Post("revert", "operator", back, slug="digits"),
        Post("glass", "operator", back, slug="digits"),
        Post("hold", "operator", {"digest": live.target, "reason": REASON}, slug="digits"),
        Post("lift", "operator", {"digest": world.seed.digest, "reason": REASON}),
        Post("stops-act", "operator", {"act": "stop", "scope": "", "reason": REASON}),
        Post("stops-act", "operator", {"act": "resume", "scope": "digits", "reason": REASON}),
    ]


def _on_people() -> list[Post]:
    role = {"person": "outsider", "role": "reviewer", "act": "grant", "reason": REASON}
    return [
        Post("roles", "operator", role),
        Post("factor-reset", "olga", {"person": "rita", "act": "reset", "reason": REASON}),
        Post("authenticator-new", "rita", {"act": "add"}),
        Post("authenticator-remove", "rita", {"act": "remove"}),
        Post("recovery-codes", "rita", {"act": "renew"}),
        Post("passkey-new", "rita", {"act": "add-passkey"}),
        Post("passkey-remove", "rita", {"credential": "x"}),
    ]


def governed_state() -> dict[str, list[tuple[str, str]]]:
    """Every governed row, by its digest."""
    return {model._meta.db_table: list(digests(model)) for model in governed_models()}
