"""The replay of docs/audit-format.md, written from its table of rules alone; each check carries its rule's number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tests.governance.assurance.independent_state import (
    CLOCK,
    OWNER,
    SETUP,
    SLACK,
    VERIFIER,
    Broken,
    Entry,
    Policy,
    State,
    digest,
    must,
    when,
    who,
)


class World(State):
    """The rules about proposals and pointers: R9 to R25."""

    def on_proposal_open(self, e: Entry, d: Entry, ref: str) -> None:
        must(9, ref not in self.open and ref not in self.over)
        self.open[ref] = e
        if d["kind"] == "roles":
            self.may(9, e, [OWNER, "operator"])
        elif e["actor"]["kind"] == "human":
            self.may(9, e, ["reviewer", "operator", OWNER])
        self.running(9, e["task"])
        must(9, not self.made_from(e["after"]) & set(self.holds))
        must(9, e["before"] == self.live.get(d["key"], "") and e["actor"]["ref"] in d["excluded"])

    def on_proposal_ready(self, e: Entry, d: Entry, ref: str) -> None:
        self.ready.setdefault(ref, {})[e["subject_digest"]] = e
        must(13, ref not in self.over)
        if d["lane"] == "break_glass":
            self.may(10, e, ["operator"])
            self.running(10, e["task"])
            must(10, not self.made_from(e["after"]) & set(self.holds))
            must(10, e["actor"]["ref"] in d["excluded"] and len(e["reason"].strip()) >= self.law.glass_reason)
        else:
            must(10, who(e) == VERIFIER and ref in self.open)
            first = self.open[ref]
            must(
                10, all(first["detail"][n] == d[n] for n in ("kind", "key")) and first["after"] == e["after"]
            )
            involved = set(first["detail"]["excluded"])
            origin = self.releases.get(e["after"], {"detail": {"origin": ""}})["detail"]["origin"]
            campaign = origin.partition("campaign ")[2].partition(" ")[0]
            if campaign in self.starters:
                involved.add(self.starters[campaign])
            must(10, involved <= set(d["excluded"]))
        self.subject(e, d)
        self.lane(d["subject"], d["lane"])
        listed = sorted([item["name"], item["digest"]] for item in e["evidence"])
        must(13, listed and digest(listed) == d["subject"]["evidence"])
        must(13, set(self.law.lanes[d["lane"]].get("evidence", [])) <= {name for name, _ in listed})
        must(
            13, when(d["expires_at"]) - when(e["time"]) <= timedelta(hours=self.law.hours["proposal"]) + SLACK
        )

    def subject(self, e: Entry, d: Entry) -> None:
        """R11."""
        s = d["subject"]
        must(11, digest(s) == e["subject_digest"])
        told = (d["kind"], e["before"], e["after"], d["key"], e["task"])
        must(11, (s["kind"], s["base"], s["target"], s["key"], s["task"]) == told)
        self.in_force(11, s)
        if s["task"]:
            evaluator = json.loads(self.texts[s["evaluator"]])
            must(11, s["hidden_commitment"] == str(evaluator.get("hidden_commitment", "")))
        if s["key"].startswith("release:"):
            release = self.releases.get(s["target"])
            must(11, release and release["task"] == s["task"])
            assert release is not None
            parts = {**release["detail"], **release["detail"]["binding"]}
            must(
                11,
                all(s[n] == parts[n] for n in ("harness", "adapter", "base_model", "tokenizer", "runtime")),
            )
        else:
            must(11, (s["key"].partition(":")[0], s["task"], s["target"]) in self.versions)

    def lane(self, s: Mapping[str, str], lane: str) -> None:
        """R12."""
        kind, task = s["kind"], s["task"]
        keys = {"promote": f"release:{task}", "break_glass": f"release:{task}", "evaluator": f"evaluator:{task}",
                "policy": "policy", "roles": "roster"}  # fmt: skip
        must(12, keys.get(kind) == s["key"])
        if kind != "promote":
            must(12, lane == kind)
            return
        old, new = (self.releases[s[side]]["detail"] for side in ("base", "target"))
        if old["adapter"] != new["adapter"]:
            must(12, lane == "adapter")
        else:
            same = old["harness"] == new["harness"]
            must(12, lane == "harness_outside" or (lane == "harness" and not same))

    def on_proposal_approved_by_policy(self, e: Entry, d: Entry, ref: str) -> None:
        ready = self.ready.get(ref, {}).get(e["subject_digest"])
        must(14, ready and who(e) == CLOCK)
        assert ready is not None
        must(14, self.law.lanes[ready["detail"]["lane"]]["approvals"] == 0)

    def on_proposal_review(self, e: Entry, d: Entry, ref: str) -> None:
        ready, person, now = (
            self.ready.get(ref, {}).get(e["subject_digest"]),
            e["actor"]["ref"],
            when(e["time"]),
        )
        must(15, ready and d["nonce"] not in self.given)
        assert ready is not None
        role = self.law.lanes[ready["detail"]["lane"]]["role"]
        for earlier, _ in self.given.values():
            same = (earlier["object"]["id"], earlier["actor"]["ref"], earlier["subject_digest"])
            alive = when(earlier["detail"]["expires_at"]) > now
            must(15, same != (ref, person, e["subject_digest"]) or not alive)
        self.given[d["nonce"]] = e, self.holding(person, [role], now)
        if d["verdict"] != "approve":
            self.end(ref)
        self.may(15, e, [role])
        self.reason(15, e)
        must(15, person not in ready["detail"]["excluded"] and now < when(ready["detail"]["expires_at"]))
        self.in_force(15, ready["detail"]["subject"])
        must(15, when(d["expires_at"]) - now <= timedelta(hours=self.law.hours["approval"]) + SLACK)

    def on_proposal_acknowledge(self, e: Entry, d: Entry, ref: str) -> None:
        self.glass = {key: move for key, move in self.glass.items() if move["detail"]["proposal"] != ref}
        must(16, ref in self.due)
        excluded, person = self.due.pop(ref), e["actor"]["ref"]
        self.may(16, e, [self.law.lanes["revert"]["role"]])
        self.reason(16, e)
        voted = {(each["object"]["id"], each["actor"]["ref"]) for each, _ in self.given.values()}
        must(16, person not in excluded and (ref, person) not in voted)

    def on_pointer_move(self, e: Entry, d: Entry, key: str) -> None:
        kind, _, task = key.partition(":")
        must(
            18, e["before"] == self.live.get(key, "") and d["generation"] == self.generation.get(key, -1) + 1
        )
        must(18, e["policy"]["digest"] == self.live.get("policy", ""))
        if kind == "release":
            must(18, e["after"] in self.releases and self.releases[e["after"]]["task"] == task)
        else:
            must(
                18,
                (kind == "evaluator" or key in {"policy", "roster"})
                and (kind, task, e["after"]) in self.versions,
            )
        held = {(ref, role) for ref, roles in d.get("grants", {}).items() for role in roles}
        if key == "roster":
            must(23, digest({"grants": d["grants"]}) == e["after"] and set(d["grants"]) <= self.people)
            must(23, sum(OWNER in roles for roles in d["grants"].values()) >= 2)
        new = Policy(self.texts[e["after"]]) if key == "policy" else None
        if new is not None:
            new.check_floors()
            must(24, all(d[name] == value for name, value in new.repeated().items()))
        {"install": self.install, "promote": self.promote, "revert": self.revert}[d["kind"]](e, d, key, held)
        if key == "roster":
            since = when(e["time"]) if "roster" in self.live else None
            self.roles = {grant: self.roles.get(grant, since) for grant in held}
        self.glass.pop(key, None)
        self.past.pop(key, None)
        if "reverts_at" in d:
            self.glass[key] = e
        if key in self.live:
            self.former.setdefault(key, set()).add(self.live[key])
        self.live[key], self.generation[key], self.policy = e["after"], d["generation"], new or self.policy

    def install(self, e: Entry, d: Entry, key: str, held: set[tuple[str, str]]) -> None:
        must(19, key not in self.live and (key != "roster" or held == set(self.roles)))
        if who(e) != SETUP:
            self.may(19, e, ["operator"])

    def revert(self, e: Entry, d: Entry, key: str, held: set[tuple[str, str]]) -> None:
        must(25, key.startswith("release:") and e["after"] in self.former.get(key, set()))
        must(25, digest(d["subject"]) == e["subject_digest"])
        self.due[d["proposal"]] = {e["actor"]["ref"]}
        if e["actor"]["kind"] != "human":
            move = self.glass.get(key)
            must(25, who(e) == CLOCK and move and e["after"] == move["before"])
            assert move is not None
            must(25, when(e["time"]) >= when(move["detail"]["reverts_at"]))
            return
        self.may(25, e, ["operator"])
        self.reason(25, e)
        must(25, all(self.holds[name][0] for name in self.made_from(e["after"]) & set(self.holds)))
        must(25, self.made_from(e["before"]) & set(self.holds))
        if e["after"] in self.lifted:
            must(7, self.lifted.pop(e["after"]) == who(e))
            del self.holds[e["after"]]

    def promote(self, e: Entry, d: Entry, key: str, held: set[tuple[str, str]]) -> None:
        ready = self.ready.get(d["proposal"], {}).get(e["subject_digest"])
        must(20, ready)
        assert ready is not None
        self.end(d["proposal"])
        r = ready["detail"]
        must(
            20,
            (key, e["before"], e["after"], d["lane"])
            == (r["key"], ready["before"], ready["after"], r["lane"]),
        )
        must(20, sorted(d["excluded"]) == sorted(r["excluded"]))
        self.in_force(20, r["subject"])
        self.running(20, ready["task"])
        must(20, not self.made_from(e["after"]) & set(self.holds))
        lane = self.law.lanes[d["lane"]]
        if not (who(e) == CLOCK and lane["approvals"] == 0):
            self.may(20, e, self.law.promoters)
        self.reason(20, e)
        must(20, when(e["time"]) < when(r["expires_at"]))
        if key == "roster":
            must(23, {ref for ref, _ in held ^ set(self.roles)} <= set(d["excluded"]))
        if d["lane"] == "break_glass":
            lasts = when(d["reverts_at"]) - when(e["time"])
            must(22, lasts <= timedelta(hours=self.law.hours["glass"]) + SLACK)
            self.due[d["proposal"]] = set(d["excluded"])
        self.approvals(e, ready, lane)

    def approvals(self, e: Entry, ready: Entry, lane: Mapping[str, Any]) -> None:
        """R21."""
        people, times = [], []
        for used in e["detail"]["consumed"]:
            must(21, used["nonce"] in self.given and used["nonce"] not in self.used)
            self.used.add(used["nonce"])
            review, could = self.given[used["nonce"]]
            ref = review["actor"]["ref"]
            must(21, could and (ref, lane["role"]) in self.roles and ref == used["ref"])
            must(21, review["detail"]["verdict"] == "approve" and review["actor"]["kind"] == "human")
            bound = (review["subject_digest"], review["object"]["id"])
            must(21, bound == (e["subject_digest"], ready["object"]["id"]) and review["seq"] > ready["seq"])
            must(
                21,
                when(review["detail"]["expires_at"]) > when(e["time"]) and ref not in e["detail"]["excluded"],
            )
            people.append(ref)
            times.append(when(review["time"]))
        must(21, len(set(people)) == len(people) >= lane["approvals"])
        if lane["approvals"]:
            waited = when(e["time"]) - sorted(times)[lane["approvals"] - 1]
            must(21, waited >= self.law.cools(e["detail"]["lane"]) - SLACK)


def first_breach(log: Iterable[Entry], texts: Mapping[str, bytes]) -> str:
    """The first rule that an entry breaks, as `entry N: R`; the empty string when none does."""
    world = World(texts)
    for entry in log:
        try:
            world.feed(entry)
        except Broken as broken:
            return f"entry {entry['seq']}: {broken}"
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return f"entry {entry['seq']}: {error!r}"
    return ""
