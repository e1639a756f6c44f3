"""Replay of what keeps things from going live: stops, holds, and the lineage that a hold follows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from governance.assurance.replay_terms import Entry, RuleBroken, expect, expect_actor
from governance.audit.canonical import canonical_digest

PEOPLE_TO_LET_GO = 2
WITHIN_A_REVERT = frozenset({"hold", "proposal.quarantined", "pointer.move"})


@dataclass
class Brake:
    """One stop or one hold that lasts: since which entry, and who asked to end it."""

    since: int
    automatic: bool = False
    asked: set[str] = field(default_factory=set)


class Brakes:
    """Every stop and hold in force, and what was made from what."""

    def __init__(self) -> None:
        """Nothing is stopped or held."""
        self.releases: dict[str, Entry] = {}  # the registration of each release
        self._parents: dict[tuple[str, str, str], str] = {}  # (kind, task, digest) of a version: its parent
        self._stops: dict[str, Brake] = {}
        self._holds: dict[str, Brake] = {}
        self._lifted_for_revert: dict[str, Entry] = {}

    def note_version(self, entry: Entry) -> None:
        """A version is registered; an unknown parent stays unknown."""
        self._parents.setdefault((entry["detail"]["kind"], entry["task"], entry["after"]), entry["before"])

    def note_release(self, entry: Entry) -> None:
        """A release is registered: its digest is that of its parts."""
        detail = entry["detail"]
        parts = {
            "task": entry["task"],
            "harness": detail["harness"],
            "adapter": detail["adapter"],
            "binding": detail["binding"],
        }
        self.releases.setdefault(entry["after"], entry)
        expect("the release's digest", canonical_digest(parts), entry["after"])

    def release(self, digest: str, task: str) -> Entry:
        """The registration of a task's release. Raises RuleBroken for one that was never registered there."""
        entry = self.releases.get(digest)
        if entry is None or entry["task"] != task:
            raise RuleBroken(f"{digest[:12]} was never registered as a release of {task!r}")
        return entry

    def check_version(self, kind: str, task: str, digest: str) -> None:
        """Raises RuleBroken for a version that was never registered."""
        if (kind, task, digest) not in self._parents:
            raise RuleBroken(f"{digest[:12]} was never registered as a version of kind {kind!r}")

    def ancestry(self, digest: str) -> set[str]:
        """A release, its parts and everything that they were made from; a digest that is no release is alone."""
        found = {digest}
        line = self.releases.get(digest)
        while line is not None:
            for kind in ("harness", "adapter"):
                version = line["detail"][kind]
                while version and version not in found:
                    found.add(version)
                    version = self._parents.get((kind, line["task"], version), "")
            found.add(line["after"])
            parent = line["before"]
            line = self.releases.get(parent) if parent not in found else None
        return found

    def note_stop(self, entry: Entry) -> None:
        """Somebody stops a task or everything."""
        scope = entry["detail"]["scope"]
        if scope in self._stops:
            raise RuleBroken(f"{scope or 'everything'} was stopped before and not resumed")
        self._stops[scope] = Brake(entry["seq"])

    def note_resume(self, entry: Entry) -> None:
        """Somebody asks to resume; the second person ends the stop."""
        self._ask(self._stops, entry["detail"]["scope"], entry, "resumed")

    def note_hold(self, entry: Entry) -> None:
        """A release or version is held."""
        digest = entry["object"]["id"]
        if digest in self._holds:
            raise RuleBroken(f"{digest[:12]} was held before and not let go")
        self._holds[digest] = Brake(entry["seq"], entry["detail"]["automatic"])

    def note_lift(self, entry: Entry) -> None:
        """Somebody asks to lift a hold; the second person lifts it, or a revert that brings the release back."""
        digest, detail = entry["object"]["id"], entry["detail"]
        held = self._holds.get(digest)
        if held is not None and held.automatic and detail["over"] and len(detail["asked"]) == 1:
            self._lifted_for_revert[digest] = entry
            return
        self._ask(self._holds, digest, entry, "let go")

    def _ask(self, brakes: dict[str, Brake], place: str, entry: Entry, done: str) -> None:
        brake, person = brakes.get(place), entry["actor"]["ref"]
        shown = place[:12] or "everything"
        if brake is None:
            raise RuleBroken(f"{shown} was {done} where nothing was in force")
        if person in brake.asked:
            raise RuleBroken(f"{person} asked twice for {shown} to be {done}; it takes two people")
        brake.asked.add(person)
        if entry["detail"]["over"] and len(brake.asked) < PEOPLE_TO_LET_GO:
            raise RuleBroken(f"{shown} was {done} by one person; it takes two")
        if len(brake.asked) >= PEOPLE_TO_LET_GO:
            del brakes[place]

    def check_running(self, task: str) -> None:
        """Raises RuleBroken while this task, or everything, is stopped."""
        for scope in ("", task):
            if scope in self._stops:
                over = f"the task {scope}" if scope else "everything"
                raise RuleBroken(
                    f"{over} was stopped at entry {self._stops[scope].since} and not resumed by two"
                )

    def check_not_held(self, digest: str, *, but_for_reverts: bool = False) -> None:
        """Raises RuleBroken while this, or what it was made from, is held (but for what a revert held)."""
        for held in sorted(self.ancestry(digest) & set(self._holds)):
            brake = self._holds[held]
            if not (brake.automatic and but_for_reverts):
                whose = "it" if held == digest else f"{held[:12]}, which it was made from,"
                raise RuleBroken(f"{whose} was held at entry {brake.since} and not let go by two")

    def check_taken_back(self, replaced: str) -> None:
        """Raises RuleBroken unless what a revert replaces, or what that was made from, is held from then on."""
        if not self.ancestry(replaced) & set(self._holds):
            raise RuleBroken(f"{replaced[:12]} was taken back and not held")

    def end_revert(self, entry: Entry) -> None:
        """A revert brings its target back: what an earlier revert held there is let go."""
        digest = entry["after"]
        lifted = self._lifted_for_revert.pop(digest, None)
        if lifted is not None:
            expect_actor("who let it go for the revert", lifted, entry["actor"])
            self._holds.pop(digest, None)

    def check_pending(self, entry: Entry) -> None:
        """Raises RuleBroken when a hold was let go by one person and no revert to it follows at once."""
        if self._lifted_for_revert and entry["action"] not in WITHIN_A_REVERT:
            digest, lifted = self._lifted_for_revert.popitem()
            raise RuleBroken(
                f"entry {lifted['seq']} let go of {digest[:12]} by one person, and no revert to it followed"
            )
