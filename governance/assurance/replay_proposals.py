"""Replay of proposals: opened, ready with evidence, reviewed, ended; which approvals a promotion may use. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from governance.assurance.replay_brakes import Brakes
from governance.assurance.replay_people import People
from governance.assurance.replay_rulebook import OPERATOR_ROLE, OWNER_ROLE, REVIEWER_ROLE
from governance.assurance.replay_terms import (
    CLOCK_ACTOR,
    POLICY_POINTER,
    ROSTER_POINTER,
    SLACK,
    VERIFIER_ACTOR,
    Entry,
    RuleBroken,
    Scene,
    check_before,
    check_lasts,
    expect,
    expect_actor,
    moment,
)
from governance.audit.canonical import canonical_digest, parse_canonical

EMERGENCY_LANE = "break_glass"
HARNESS_LANES = ("harness", "harness_outside")
BINDING_PARTS = ("base_model", "tokenizer", "runtime")
PROPOSERS = (REVIEWER_ROLE, OPERATOR_ROLE, OWNER_ROLE)


class Proposals:
    """Every proposal that can still be decided, and every approval that can still be used."""

    def __init__(self, scene: Scene, people: People, brakes: Brakes) -> None:
        """Nothing was proposed yet."""
        self._scene, self._people, self._brakes = scene, people, brakes
        self._opened: dict[str, Entry] = {}
        self._ready: dict[str, dict[str, Entry]] = {}  # proposal: {subject digest: how it became ready}
        self._ended: set[str] = set()
        self._reviews: dict[str, tuple[Entry, frozenset[str]]] = {}  # nonce: review, its giver's roles then
        self._verdicts: dict[tuple[str, str], list[Entry]] = {}  # (proposal, person)
        self._used: set[str] = set()
        self._starters: dict[str, str] = {}  # campaign: who started it
        self._due: dict[str, set[str]] = {}  # what waits for its review afterwards: who may not give it

    def note_campaign(self, entry: Entry) -> None:
        """A campaign starts: not during a stop, and not while more waits for people than the policy allows."""
        self._starters[entry["object"]["id"]] = entry["on_behalf_of"] or entry["actor"]["ref"]
        self._brakes.check_running(entry["task"])
        waiting = len(self._ready)
        if waiting > self._scene.rules.most_waiting:
            raise RuleBroken(
                f"{waiting} proposals waited, the policy allows {self._scene.rules.most_waiting}"
            )

    def note_open(self, entry: Entry) -> None:
        """A proposal is opened over what is live, by the service or by a person who may."""
        ref, detail = entry["object"]["id"], entry["detail"]
        twice = ref in self._opened or ref in self._ended
        self._opened[ref] = entry
        if twice:
            raise RuleBroken("the proposal was opened before")
        if detail["kind"] == "roles":
            self._people.check(entry, {OWNER_ROLE, OPERATOR_ROLE})
        elif entry["actor"]["kind"] == "human":
            self._people.check(entry, PROPOSERS)
        self._brakes.check_running(entry["task"])
        self._brakes.check_not_held(entry["after"])
        expect("what it would replace", entry["before"], self._scene.live(detail["key"]))
        if entry["actor"]["ref"] not in detail["excluded"]:
            raise RuleBroken(
                f"{entry['actor']['ref']} proposed it and is not excluded from deciding about it"
            )

    def note_ready(self, entry: Entry) -> None:
        """A proposal becomes ready: measured by the verifier, on evidence, in the lane that it belongs in."""
        proposal = entry["object"]["id"]
        self._ready.setdefault(proposal, {})[entry["subject_digest"]] = entry
        if proposal in self._ended:
            raise RuleBroken("the proposal had ended")
        if entry["detail"]["lane"] == EMERGENCY_LANE:
            self._check_emergency(entry)
        else:
            expect_actor("who verified it", entry, VERIFIER_ACTOR)
            self._check_opened(entry)
        self._check_subject(entry)
        self._check_lane(entry)
        self._check_evidence(entry)
        check_lasts(
            "the proposal stays open", entry["detail"]["expires_at"], entry, self._scene.rules.proposals_last
        )

    def _check_emergency(self, entry: Entry) -> None:
        self._people.check(entry, {OPERATOR_ROLE})
        self._brakes.check_running(entry["task"])
        self._brakes.check_not_held(entry["after"])
        least, ref = self._scene.rules.emergency_reason, entry["actor"]["ref"]
        if len(entry["reason"].strip()) < least:
            raise RuleBroken(f"the glass was broken with a reason of fewer than {least} characters")
        if ref not in entry["detail"]["excluded"]:
            raise RuleBroken(f"{ref} broke the glass and is not excluded from deciding about it")

    def _check_opened(self, entry: Entry) -> None:
        """What became ready was opened, and whoever was excluded then still is, with the campaign's starter."""
        opened, detail = self._opened.get(entry["object"]["id"]), entry["detail"]
        if opened is None:
            raise RuleBroken("the proposal was never opened")
        told = opened["detail"]
        for what in ("kind", "key"):
            expect(f"the proposal's {what}", detail[what], told[what])
        expect("the target", entry["after"], opened["after"])
        involved = set(told["excluded"])
        origin = self._brakes.releases.get(entry["after"], {"detail": {"origin": ""}})["detail"]["origin"]
        campaign = origin.partition("campaign ")[2].partition(" ")[0]
        if campaign in self._starters:
            involved.add(self._starters[campaign])
        if missing := sorted(involved - set(detail["excluded"])):
            raise RuleBroken(
                f"{missing[0]} started or proposed it and is not excluded from deciding about it"
            )

    def _check_subject(self, entry: Entry) -> None:
        """The subject is what its digest says, and all of it is in force, registered or handed in now."""
        subject, scene = entry["detail"]["subject"], self._scene
        expect("the subject's digest", canonical_digest(subject), entry["subject_digest"])
        expect("the subject's kind", subject["kind"], entry["detail"]["kind"])
        expect("the subject's base", subject["base"], entry["before"])
        expect("the subject's target", subject["target"], entry["after"])
        expect("the subject's key", subject["key"], entry["detail"]["key"])
        expect("the subject's task", subject["task"], entry["task"])
        self.check_current(subject)
        if subject["task"]:
            evaluator = parse_canonical(scene.content(subject["evaluator"]))
            hidden = str(evaluator.get("hidden_commitment", ""))
            expect("the subject's hidden set", subject["hidden_commitment"], hidden)
        if subject["key"].startswith("release:"):
            parts = self._brakes.release(subject["target"], subject["task"])["detail"]
            for name in ("harness", "adapter"):
                expect(f"the subject's {name}", subject[name], parts[name])
            for name in BINDING_PARTS:
                expect(f"the subject's {name}", subject[name], parts["binding"][name])
        else:
            kind = subject["key"].partition(":")[0]
            self._brakes.check_version(kind, subject["task"], subject["target"])

    def check_current(self, subject: Mapping[str, str]) -> None:
        """Raises RuleBroken when what the subject rests on is not what is in force."""
        expect("the base that was decided on", subject["base"], self._scene.live(subject["key"]))
        expect("the policy that was decided under", subject["policy"], self._scene.live(POLICY_POINTER))
        if subject["task"]:
            evaluator = self._scene.live(f"evaluator:{subject['task']}")
            expect("the evaluator that was decided under", subject["evaluator"], evaluator)

    def _check_evidence(self, entry: Entry) -> None:
        listed = sorted([item["name"], item["digest"]] for item in entry["evidence"])
        expect("the evidence's digest", entry["detail"]["subject"]["evidence"], canonical_digest(listed))
        if not listed:
            raise RuleBroken("the proposal became ready without evidence")
        lane = self._scene.rules.lane(entry["detail"]["lane"])
        if missing := sorted(lane.evidence - {name for name, _ in listed}):
            raise RuleBroken(f"the lane {entry['detail']['lane']} asks for the evidence {missing[0]!r}")

    def _check_lane(self, entry: Entry) -> None:
        """The lane follows from what is moved and what differs, never from what the entry claims."""
        subject, lane = entry["detail"]["subject"], entry["detail"]["lane"]
        kind, key, task = subject["kind"], subject["key"], subject["task"]
        keys = {
            "promote": f"release:{task}",
            EMERGENCY_LANE: f"release:{task}",
            "evaluator": f"evaluator:{task}",
            "policy": POLICY_POINTER,
            "roles": ROSTER_POINTER,
        }
        expect("the pointer of this kind of proposal", key, keys[kind])
        if kind != "promote":
            expect("the lane", lane, kind)
            return
        old, new = (self._brakes.release(subject[side], task)["detail"] for side in ("base", "target"))
        if old["adapter"] != new["adapter"]:
            expect("the lane of another adapter", lane, "adapter")
        elif old["harness"] == new["harness"]:
            expect("the lane of another runtime", lane, "harness_outside")
        elif lane not in HARNESS_LANES:
            raise RuleBroken(f"a change of the harness took the lane {lane!r}")

    def note_approved_by_policy(self, entry: Entry) -> None:
        """The clock approves, where the policy asks for no approval."""
        expect_actor("who says that the policy approves", entry, CLOCK_ACTOR)
        ready = self.ready(entry["object"]["id"], entry["subject_digest"])
        lane = ready["detail"]["lane"]
        if self._scene.rules.lane(lane).quorum:
            raise RuleBroken(
                f"the policy asks for approvals in the lane {lane}; nothing is approved by itself"
            )

    def ready(self, proposal: str, subject_digest: str) -> Entry:
        """The entry by which a subject became ready. Raises RuleBroken where none did, or it ended since."""
        found = self._ready.get(proposal, {}).get(subject_digest)
        if found is None:
            raise RuleBroken("the subject was never ready under this proposal, or it ended")
        return found

    def note_review(self, entry: Entry) -> None:
        """One verdict of one person with the lane's role, who had no part in the change."""
        detail, person, proposal = entry["detail"], entry["actor"]["ref"], entry["object"]["id"]
        if detail["nonce"] in self._reviews:
            raise RuleBroken(f"the nonce {detail['nonce']} was given before")
        ready = self._ready.get(proposal, {}).get(entry["subject_digest"])
        if ready is None:
            raise RuleBroken("the review is of a subject that was not ready")
        self._reviews[detail["nonce"]] = entry, self._people.counting(person, moment(entry["time"]))
        if detail["verdict"] != "approve":
            self.close(proposal)
        self._people.check(entry, {self._scene.rules.lane(ready["detail"]["lane"]).role})
        self._scene.check_reason(entry)
        if person in ready["detail"]["excluded"]:
            raise RuleBroken(f"{person} took part in the change and gave a verdict")
        self.check_current(ready["detail"]["subject"])
        check_before("the proposal", ready["detail"]["expires_at"], entry)
        check_lasts("the approval counts", detail["expires_at"], entry, self._scene.rules.approvals_last)
        self._check_one_verdict(entry)

    def _check_one_verdict(self, entry: Entry) -> None:
        given = self._verdicts.setdefault((entry["object"]["id"], entry["actor"]["ref"]), [])
        for earlier in given:
            same = earlier["subject_digest"] == entry["subject_digest"]
            if same and moment(earlier["detail"]["expires_at"]) > moment(entry["time"]):
                raise RuleBroken(f"{entry['actor']['ref']} gave a verdict before, at entry {earlier['seq']}")
        given.append(entry)

    def note_ending(self, entry: Entry) -> None:
        """A proposal ends without going live."""
        self.close(entry["object"]["id"])

    def close(self, proposal: str) -> None:
        """After this nothing under this proposal can become ready, be approved or be promoted."""
        self._ready.pop(proposal, None)
        self._opened.pop(proposal, None)
        self._ended.add(proposal)

    def close_all(self, lost: Callable[[Entry], bool]) -> None:
        """Close every open proposal that `lost`, asked about its first entry, says so of."""
        emergencies = {ref: next(iter(ready.values())) for ref, ready in self._ready.items()}
        for proposal, entry in {**emergencies, **self._opened}.items():
            if lost(entry):
                self.close(proposal)

    def wait_for_review(self, proposal: str, excluded: set[str]) -> None:
        """What went live at once waits for the review of somebody else."""
        self._due[proposal] = excluded

    def note_acknowledged(self, entry: Entry) -> None:
        """The review afterwards: by a reviewer who had no part and did not approve it in the emergency."""
        proposal, person = entry["object"]["id"], entry["actor"]["ref"]
        excluded = self._due.pop(proposal, None)
        if excluded is None:
            raise RuleBroken("it did not wait for a review afterwards")
        self._people.check(entry, {self._scene.rules.lane("revert").role})
        self._scene.check_reason(entry)
        if person in excluded or (proposal, person) in self._verdicts:
            raise RuleBroken(f"{person} took part in it and reviewed it afterwards")

    def check_approvals(self, entry: Entry, ready: Entry) -> None:
        """Enough distinct people who had no part in it approved, long enough ago."""
        detail, lane = entry["detail"], self._scene.rules.lane(ready["detail"]["lane"])
        excluded = set(ready["detail"]["excluded"]) | set(detail["excluded"])
        people = [self._check_approval(approval, entry, ready, lane.role) for approval in detail["consumed"]]
        if len(set(people)) != len(people):
            raise RuleBroken("one person's approval is counted twice")
        for person in people:
            if person in excluded:
                raise RuleBroken(f"{person} took part in the change and approved it")
        if len(people) < lane.quorum:
            raise RuleBroken(f"{len(people)} approvals, the lane {detail['lane']} asks for {lane.quorum}")
        if lane.quorum:
            given = sorted(moment(self._reviews[each["nonce"]][0]["time"]) for each in detail["consumed"])
            self._check_cooled_off(detail["lane"], moment(entry["time"]) - given[lane.quorum - 1])

    def _check_cooled_off(self, name: str, cooled: timedelta) -> None:
        wanted = self._scene.rules.lane(name).cooling_off
        if cooled < wanted - SLACK:
            asked, had = wanted.total_seconds(), cooled.total_seconds()
            raise RuleBroken(f"the lane {name} cools off for {asked:.0f} s, it had {had:.0f}")

    def _check_approval(self, approval: Mapping[str, Any], move: Entry, ready: Entry, role: str) -> str:
        """The person whose approval this is, once everything about it holds."""
        nonce = approval["nonce"]
        if nonce not in self._reviews:
            raise RuleBroken(f"the approval {nonce} is not in the log before it is used")
        if nonce in self._used:
            raise RuleBroken(f"the approval {nonce} was used before")
        self._used.add(nonce)
        review, roles = self._reviews[nonce]
        person: str = review["actor"]["ref"]
        expect("the approval's verdict", review["detail"]["verdict"], "approve")
        expect("the approval's subject", review["subject_digest"], move["subject_digest"])
        expect("the approval's proposal", review["object"]["id"], ready["object"]["id"])
        expect("the approver", person, approval["ref"])
        expect("the kind of approver", review["actor"]["kind"], "human")
        if review["seq"] < ready["seq"]:
            raise RuleBroken(f"{person} approved before the proposal was ready")
        if moment(review["detail"]["expires_at"]) <= moment(move["time"]):
            raise RuleBroken(f"{person}'s approval had expired at {review['detail']['expires_at']}")
        if role not in roles or (person, role) not in self._people.roles:
            raise RuleBroken(f"{person} did not hold the role {role!r}")
        return person
