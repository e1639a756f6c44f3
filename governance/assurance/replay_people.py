"""Replay of people: who is known, who holds which role since when, and whether whoever acted might. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from governance.assurance.replay_rulebook import (
    AUDITOR_ROLE,
    OPERATOR_ROLE,
    OWNER_ROLE,
    REVIEWER_ROLE,
)
from governance.assurance.replay_terms import (
    ROSTER_POINTER,
    SETUP_ACTOR,
    SLACK,
    Entry,
    RuleBroken,
    Scene,
    expect,
    expect_actor,
    moment,
)
from governance.audit.canonical import canonical_digest

SIGNED_IN = ("session", "command")
FEWEST_OWNERS_LEFT = 2
PEOPLE_TO_RESET = 2
RESET_WITHIN = timedelta(hours=24)  # from the first owner who asks to the second
# Acts of one person that need a role and nothing else that the log could show.
ROLES_OF_ACTS = {
    "audit.export": (AUDITOR_ROLE,),
    "audit.rotate_key": (OWNER_ROLE,),
    "token.create": (AUDITOR_ROLE, OWNER_ROLE),
    "token.revoke": (AUDITOR_ROLE, OWNER_ROLE),
    "task.install": (OPERATOR_ROLE,),
    "factor.reset": (OWNER_ROLE,),
    "stop": (REVIEWER_ROLE, OPERATOR_ROLE, OWNER_ROLE),
    "resume": (OPERATOR_ROLE, OWNER_ROLE),
    "hold": (OPERATOR_ROLE,),
    "hold.lift": (OPERATOR_ROLE,),
}
SETUP_ACTS = frozenset({"task.install", "person.add"})  # the set-up may do these too


class People:
    """Everybody known, and every role held: since when, or None for one from the set-up."""

    def __init__(self, scene: Scene) -> None:
        """Nobody is known yet."""
        self._scene = scene
        self._known: set[str] = set()
        self.roles: dict[tuple[str, str], datetime | None] = {}
        self._resets: dict[str, tuple[datetime, set[str]]] = {}  # whose factors: since when, who asked
        self._vouched: dict[str, Entry] = {}  # id of a reset that was carried out: its entry

    def note_added(self, entry: Entry) -> None:
        """A person is added: by the set-up while it lasts, then by an owner or an operator."""
        ref = entry["object"]["id"]
        known = ref in self._known
        self._known.add(ref)
        if known:
            raise RuleBroken(f"{ref} was added before")
        if not (entry["actor"] == SETUP_ACTOR and self._in_setup()):
            self.check(entry, {OWNER_ROLE, OPERATOR_ROLE})

    def note_grant(self, entry: Entry) -> None:
        """A single role is given, by the set-up."""
        ref, role = entry["object"]["id"], entry["detail"]["role"]
        try:
            self._check_in_setup(entry)
            self._check_known([ref])
        finally:  # what happened, happened, whatever the rules say of it
            self.roles.setdefault((ref, role), None)

    def note_revoke(self, entry: Entry) -> None:
        """A single role is taken back, by the set-up."""
        try:
            self._check_in_setup(entry)
        finally:
            self.roles.pop((entry["object"]["id"], entry["detail"]["role"]), None)

    def note_reset(self, entry: Entry) -> None:
        """Two owners take somebody else's second factors off, within a day."""
        ref, owner, over = entry["object"]["id"], entry["actor"]["ref"], entry["detail"]["over"]
        now = moment(entry["time"])
        began, asked = self._resets.get(ref, (now, set()))
        if not over and now > began + RESET_WITHIN - SLACK:
            began, asked = now, set()
        if owner == ref or owner in asked:
            raise RuleBroken(f"{owner} reset their own second factors, or asked twice; it takes two others")
        asked.add(owner)
        self._resets[ref] = began, asked
        if over:
            del self._resets[ref]
            self._vouched[entry["id"]] = entry
            if len(asked) < PEOPLE_TO_RESET or now > began + RESET_WITHIN + SLACK:
                raise RuleBroken(
                    f"the second factors of {ref} were reset by one person, or a day later; it takes two"
                )

    def note_account(self, entry: Entry) -> None:
        """An account changes by its own person alone, or is vouched for by the reset that two owners made."""
        reset = self._vouched.get(entry["cause"])
        if reset is not None and (reset["object"], reset["actor"]) == (entry["object"], entry["actor"]):
            return
        if entry["actor"]["ref"] != entry["object"]["id"]:
            raise RuleBroken(f"{entry['actor']['ref']} changed the account of {entry['object']['id']}")

    def _in_setup(self) -> bool:
        return ROSTER_POINTER not in self._scene.pointers

    def _check_in_setup(self, entry: Entry) -> None:
        """Single roles are given by the set-up alone, which the first roster ends."""
        if not self._in_setup():
            raise RuleBroken("a role changed without a roster that owners approved")
        expect_actor("who gives a role", entry, SETUP_ACTOR)

    def _check_known(self, refs: Iterable[str]) -> None:
        if unknown := sorted(set(refs) - self._known):
            raise RuleBroken(f"{unknown[0]} was never added as a person")

    def check_roster(self, entry: Entry) -> None:
        """Raises RuleBroken for a roster that is not what its digest says, names strangers or leaves too few owners."""
        grants = entry["detail"]["grants"]
        expect("the roster's digest", canonical_digest({"grants": grants}), entry["after"])
        self._check_known(grants)
        owners = sum(OWNER_ROLE in roles for roles in grants.values())
        if owners < FEWEST_OWNERS_LEFT:
            raise RuleBroken(f"the roster leaves {owners} owners, {FEWEST_OWNERS_LEFT} are the fewest")

    def check_first_roster(self, entry: Entry) -> None:
        """Raises RuleBroken unless the first roster repeats what the set-up gave."""
        expect("the first roster", held_by(entry), set(self.roles))

    def concerned(self, entry: Entry) -> list[str]:
        """Whose roles differ between the roster in force and the one of this move."""
        return sorted({ref for ref, _ in held_by(entry) ^ set(self.roles)})

    def apply_roster(self, entry: Entry) -> None:
        """The first roster repeats what the set-up gave; in a later one, what is new counts from its own time on."""
        since = None if self._in_setup() else moment(entry["time"])
        self.roles = {held: self.roles.get(held, since) for held in sorted(held_by(entry))}

    def check_act(self, entry: Entry) -> None:
        """Raises RuleBroken when an act that needs nothing but a role was done by somebody without it."""
        roles = ROLES_OF_ACTS.get(entry["action"])
        if roles and not (entry["actor"] == SETUP_ACTOR and entry["action"] in SETUP_ACTS):
            self.check(entry, roles)

    def check(self, entry: Entry, roles: Iterable[str]) -> None:
        """Raises RuleBroken unless a person who signed in acts and holds one of the roles, long enough to count."""
        actor, wanted = entry["actor"], sorted(roles)
        expect("the kind of actor", actor["kind"], "human")
        if actor["auth"] not in SIGNED_IN:
            raise RuleBroken(f"{actor['ref']} acted without signing in ({actor['auth']!r})")
        if self.counting(actor["ref"], moment(entry["time"])).isdisjoint(wanted):
            raise RuleBroken(
                f"{actor['ref']} did not hold the role {' or '.join(wanted)!r}, or not for long enough"
            )

    def counting(self, ref: str, now: datetime) -> frozenset[str]:
        """The roles by which a person may decide: from the set-up, or held for as long as the policy asks."""
        rules = self._scene.policy
        waits = (rules.roles_wait if rules else timedelta(0)) - SLACK
        return frozenset(
            role
            for (who, role), since in self.roles.items()
            if who == ref and (since is None or since + waits <= now)
        )


def held_by(roster_move: Entry) -> set[tuple[str, str]]:
    """Who holds which role by a roster."""
    return {(ref, role) for ref, roles in roster_move["detail"]["grants"].items() for role in roles}
