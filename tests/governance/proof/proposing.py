"""Random proposals: releases, evaluators, policies, rosters, broken glass."""

from __future__ import annotations

from governance import actions
from governance.actors import LOOP, Actor
from governance.digests import json_digest, sha256_hex
from governance.models import Proposal, Release
from governance.roster import RoleChange, manifest_of
from governance.submitting import submit_policy, submit_roles
from tests.governance.cast import evaluator_manifest, submit_evaluator
from tests.governance.proof.acts import Acts, Do, Try, who
from tests.governance.proof.oracle import OPERATOR, OWNER, REVIEWER, Ask
from tests.governance.proof.stage import POLICIES, STRICT, build_release, evaluator_code, policy_text

WHY = "Every answer since midnight is wrong and no former release reads the new scans."
ROLES = (REVIEWER, OWNER, OPERATOR, "auditor", "viewer")


class Proposing(Acts):
    """Acts that open a proposal."""

    def known_release(self, slug: str) -> Release:
        """Any release of this task."""
        digests = [digest for digest, build in self.oracle.builds.items() if build.task == slug]
        held = [
            digest for digest in digests if self.oracle.builds[digest].ancestry & self.oracle.holds.keys()
        ]
        if held and self.dice.random() < 0.5:
            digests = held
        return Release.objects.get(digest=self.dice.choice(digests))

    def propose(self) -> Try:
        """A release, new or known, made from the live one or from any other."""
        oracle, slug = self.oracle, self.slug()
        key = f"release:{slug}"
        live = oracle.builds[oracle.live[key][0]]
        parts = self.dice.choice(
            [
                (live.main, live.settings % 4 + 1, live.adapter),
                (live.main % 3 + 1, live.settings, live.adapter),
                (live.main, live.settings, self.dice.choice(("", "first", "second"))),
            ]
        )
        parent = self.known_release(slug) if self.dice.random() < 0.5 else None
        release = build_release(self.stage, slug, parts, parent)
        by = LOOP if self.dice.random() < 0.7 else self.anybody()
        starter = self.stage.people["starter"].ref
        draft = actions.ProposalDraft(
            "promote", self.stage.tasks[slug], release, None, "Better", "It is better.", (starter,)
        )
        ask = Ask(
            "",
            "promote",
            key,
            slug,
            release.digest,
            oracle.live[key][0],
            by.ref,
            frozenset({by.ref, starter}),
        )
        return self._opening(ask, by, "proposal.open", lambda: actions.open_proposal(draft=draft, by=by))

    def _opening(self, ask: Ask, by: Actor, action: str, do: Do, *, ready: bool = False) -> Try:
        known = self.oracle.same_open(ask.key, ask.target)

        def then() -> None:
            assert isinstance(self.done, Proposal)
            if known is not None:
                return
            ask.ref = self.done.ref
            self.oracle.asks[ask.ref] = self.focus = ask
            if ready:
                self.oracle.becomes_ready(ask)

        return Try(action, by, self.oracle.may_propose(who(by), ask.key, ask.task, ask.target), do, then)

    def change_policy(self) -> Try:
        """Another policy, from whoever."""
        rules = self.dice.choice((STRICT, *POLICIES, POLICIES[0]))
        text = policy_text(rules)
        by = self.somebody(lambda actor: self.oracle.may(actor, REVIEWER, OPERATOR))
        target = sha256_hex(text.encode())
        self.oracle.policies[target] = rules
        ask = Ask(
            "", "policy", "policy", "", target, self.oracle.live["policy"][0], by.ref, frozenset({by.ref})
        )
        return self._opening(
            ask, by, "proposal.open", lambda: submit_policy(text=text, summary="", by=by), ready=True
        )

    def change_evaluator(self) -> Try:
        """Another evaluator of a task, from whoever."""
        slug = self.slug()
        key, code = f"evaluator:{slug}", evaluator_code(self.dice.randint(0, 3))
        manifest = evaluator_manifest(code)
        by = self.somebody(lambda actor: self.oracle.may(actor, REVIEWER, OPERATOR))
        base = self.oracle.live[key][0]
        ask = Ask("", "evaluator", key, slug, json_digest(manifest), base, by.ref, frozenset({by.ref}))
        return self._opening(
            ask,
            by,
            "proposal.open",
            lambda: submit_evaluator(self.stage.tasks[slug], code, by),
            ready=True,
        )

    def change_roles(self) -> Try:
        """A role given or taken."""
        refs = [person.ref for person in self.stage.people.values()]
        ref, role = self.dice.choice(refs), self.dice.choice(ROLES)
        held = set(self.oracle.roles)
        after = held ^ {(ref, role)}
        change = RoleChange(ref, role, "revoke" if (ref, role) in held else "grant")
        by = self.somebody(lambda actor: self.oracle.may(actor, OWNER, OPERATOR), OWNER, OPERATOR)
        grants: dict[str, list[str]] = {}
        for person, each in sorted(after):
            grants.setdefault(person, []).append(each)
        target, base = json_digest(manifest_of(grants)), self.oracle.live["roster"][0]
        ask = Ask("", "roles", "roster", "", target, base, by.ref, frozenset({by.ref, ref}), frozenset(after))
        entitled = self.oracle.may(who(by), OWNER, OPERATOR)
        enough = sum(each == OWNER for _, each in after) >= 2
        opening = self._opening(
            ask,
            by,
            "proposal.open",
            lambda: submit_roles(changes=[change], summary="", by=by),
            ready=True,
        )
        return Try("proposal.open", by, opening.allowed and entitled and enough, opening.do, opening.then)

    def break_glass(self) -> Try:
        """Any release that is known, at once."""
        slug = self.slug()
        key = f"release:{slug}"
        release = self.known_release(slug)
        by = self.somebody(lambda actor: self.oracle.may(actor, OPERATOR), OPERATOR)
        base = self.oracle.live[key][0]
        stopped = self.oracle.halted(slug) or self.oracle.is_held(release.digest)
        allowed = self.oracle.may(who(by), OPERATOR) and not stopped and release.digest != base

        def then() -> None:
            assert isinstance(self.done, Proposal)
            ask = Ask(
                self.done.ref, "break_glass", key, slug, release.digest, base, by.ref, frozenset({by.ref})
            )
            self.oracle.asks[ask.ref] = self.focus = ask
            self.oracle.becomes_ready(ask)

        return Try(
            "proposal.break_glass",
            by,
            allowed,
            lambda: actions.break_glass(release=release, reason=WHY, by=by),
            then,
        )
