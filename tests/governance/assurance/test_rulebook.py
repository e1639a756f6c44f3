"""The auditor's own reading of a policy says what the service's reading says, floors among it."""

from __future__ import annotations

import pytest

from governance.assurance.replay_rulebook import LANE_FLOORS, below_the_floor, read_rulebook
from governance.errors import BadInput
from governance.policy import LANES, LATER, LATER_LANES, bundled_text, parse_policy

STRICT = bundled_text()
TEXTS = {
    "strict": STRICT,
    "other numbers": STRICT.replace("expire_hours = 72", "expire_hours = 30.5").replace(
        "hours = 4 ", "hours = 2.5 "
    ),
    "owners promote too": STRICT.replace('roles = ["operator"]', 'roles = ["operator", "evaluator owner"]'),
}


def without_later(text: str) -> str:
    """The policy as it was written before the tables and lanes that came later."""
    kept, skip = [], False
    for line in text.splitlines():
        if line.startswith("["):
            name = line.partition("]")[0].removeprefix("[")
            skip = name in LATER or name.removeprefix("lanes.") in LATER_LANES
        if not skip:
            kept.append(line)
    return "\n".join(kept)


@pytest.mark.parametrize(
    "text", [*TEXTS.values(), without_later(STRICT)], ids=[*TEXTS, "without later tables"]
)
def test_both_readings_of_a_policy_agree(text: str) -> None:
    policy, rules = parse_policy(text), read_rulebook(text.encode())
    assert rules.lanes.keys() == policy.lanes.keys() == LANE_FLOORS.keys() == set(LANES)
    for name, lane in policy.lanes.items():
        mine = rules.lane(name)
        assert (mine.quorum, mine.role, mine.cooling_off) == (lane.approvals, lane.role, lane.cooling_off)
        assert mine.evidence == set(lane.evidence)
    assert rules.promoters == policy.promoter_roles
    assert (rules.min_reason, rules.most_waiting) == (policy.min_reason, policy.most_waiting)
    assert (rules.approvals_last, rules.proposals_last) == (policy.approvals_expire, policy.proposals_expire)
    assert rules.roles_wait == policy.roles_count_after
    assert rules.emergency_lasts == policy.break_glass.lasts
    assert rules.emergency_reason == policy.break_glass.min_reason
    assert below_the_floor(rules) == ""


EVALUATOR_LANE = '[lanes.evaluator]\napprovals = 2\nrole = "evaluator owner"\ncooling_off_hours = 24'
LOW = {
    "one owner": (EVALUATOR_LANE, EVALUATOR_LANE.replace("2", "1", 1)),
    "reviewers decide about evaluators": (
        EVALUATOR_LANE,
        EVALUATOR_LANE.replace("evaluator owner", "reviewer"),
    ),
    "half an hour of cooling off": (EVALUATOR_LANE, EVALUATOR_LANE.replace("= 24", "= 0.5")),
    "an emergency of two days": ("hours = 4  ", "hours = 48  "),
    "a short emergency's reason": ("min_reason = 40", "min_reason = 39"),
    "new roles at once": ("count_after_hours = 24", "count_after_hours = 0"),
    "no reasons": ("min_reason = 10", "min_reason = 0"),
    "nobody for outside changes": (
        "[lanes.harness_outside]\napprovals = 2",
        "[lanes.harness_outside]\napprovals = 0",
    ),
}


@pytest.mark.parametrize("change", LOW.values(), ids=LOW)
def test_what_the_service_refuses_as_too_low_is_below_the_auditors_floor(change: tuple[str, str]) -> None:
    text = STRICT.replace(*change)
    assert text != STRICT
    with pytest.raises(BadInput):
        parse_policy(text)
    assert below_the_floor(read_rulebook(text.encode()))


def test_a_text_that_is_no_policy_cannot_be_read() -> None:
    for text in (b"\xff", b"name =", b"lanes = 3"):
        with pytest.raises((ValueError, KeyError, TypeError)):
            read_rulebook(text)
