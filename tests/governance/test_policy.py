"""The policy: what it says, and a sentence for everything that is wrong with one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from governance.actions import policy_manifest
from governance.errors import BadInput
from governance.models import Pointer, Version
from governance.policy import bundled_text, parse_policy, policy_in_force, policy_now
from tests.governance.cast import World

STRICT = bundled_text()


def test_the_bundled_policy_says_what_the_design_asks_for() -> None:
    policy = parse_policy(STRICT)
    quorum = {name: (lane.approvals, lane.role) for name, lane in policy.lanes.items()}
    assert quorum == {
        "harness": (1, "reviewer"),
        "harness_outside": (2, "reviewer"),
        "adapter": (2, "reviewer"),
        "evaluator": (2, "evaluator owner"),
        "policy": (2, "evaluator owner"),
        "roles": (2, "evaluator owner"),
        "revert": (1, "reviewer"),
        "break_glass": (2, "operator"),
    }
    assert policy.lane("evaluator").cooling_off == policy.lane("policy").cooling_off == timedelta(hours=24)
    assert policy.lane("harness").cooling_off == timedelta(0)
    assert (policy.roles_count_after, policy.break_glass.lasts) == (timedelta(hours=24), timedelta(hours=4))
    assert policy.approvals_expire == timedelta(hours=72)
    assert policy.gate.alpha == 0.05


WRONG = [
    ('name = "strict"', 'name = ""', "name must be a text that is not empty"),
    ('name = "strict"', "name = 3", "name must be a text"),
    ('name = "strict"', "nmae = 3", "unknown keys: nmae"),
    ("[gate]", "[gates]", "unknown keys: gates"),
    ("[envelope]", "[gate2]\n[envelopes]", "unknown keys"),
    ("expire_hours = 72", "expire_hours = 0", "approvals.expire_hours must be a number from 1"),
    ("expire_hours = 72", "expire_hours = true", "approvals.expire_hours must be a number"),
    ("min_reason = 10", "min_reason = 0", "min_reason must be a whole number of at least 10"),
    ("min_reason = 10", "min_reason = 10.5", "min_reason must be a whole number"),
    ('roles = ["operator"]', "roles = []", "must name roles among"),
    ('roles = ["operator"]', 'roles = ["king"]', "it has king"),
    ('roles = ["operator"]', 'roles = "operator"', "must be a list of texts"),
    ("alpha = 0.05", "alpha = 0.6", "gate.alpha must be a number"),
    ("alpha = 0.05", "alpha = nan", "gate.alpha must be a number"),
    ("[lanes.revert]", "[lanes.other]", "exactly these lanes"),
    ("cooling_off_hours = 24\n", "cooling_off_hours = 0\n", "cooling_off_hours must be a number from 1"),
    ("cooling_off_hours = 24\n", "", "cooling_off_hours must be a number from 1"),
    ('role = "evaluator owner"', 'role = "reviewer"', "must be decided by role 'evaluator owner'"),
    ("max_changed_lines = 200", "max_changed_lines = -1", "max_changed_lines must be a whole number"),
    ("alpha = 0.05", "alpha = ", "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), WRONG)
def test_a_policy_that_is_wrong_is_refused_with_a_sentence(old: str, new: str, sentence: str) -> None:
    assert old in STRICT
    with pytest.raises(BadInput) as refusal:
        parse_policy(STRICT.replace(old, new, 1))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("lane", ["evaluator", "policy"])
def test_no_policy_lets_one_person_change_the_goalposts(lane: str) -> None:
    head, _, tail = STRICT.partition(f"[lanes.{lane}]")
    with pytest.raises(BadInput, match=f"lanes.{lane}.approvals must be a whole number of at least 2"):
        parse_policy(f"{head}[lanes.{lane}]{tail.replace('approvals = 2', 'approvals = 1', 1)}")


@pytest.mark.parametrize(
    ("lane", "least"), [("harness_outside", 1), ("adapter", 1), ("revert", 1), ("break_glass", 2)]
)
def test_a_policy_lets_nothing_but_the_envelope_go_live_without_a_person(lane: str, least: int) -> None:
    head, _, tail = STRICT.partition(f"[lanes.{lane}]")
    free = re.sub(r"approvals = \d", "approvals = 0", tail, count=1)
    with pytest.raises(
        BadInput, match=rf"lanes\.{lane}\.approvals must be a whole number of at least {least}"
    ):
        parse_policy(f"{head}[lanes.{lane}]{free}")


def test_a_table_that_is_missing_is_named() -> None:
    with pytest.raises(BadInput, match=r"lacks the table \[gate\]"):
        parse_policy(STRICT.partition("[gate]")[0])
    with pytest.raises(BadInput, match=r"lacks the table \[envelope\]"):
        parse_policy(re.sub(r"\[envelope\].*?(?=\n\[)", "", STRICT, flags=re.DOTALL))


def test_an_unknown_lane_is_named() -> None:
    with pytest.raises(BadInput, match="no lane 'fast'"):
        parse_policy(STRICT).lane("fast")


def test_without_a_policy_nothing_is_decided(db: None) -> None:
    with pytest.raises(BadInput, match="No policy is in force"):
        policy_in_force()


def test_a_policy_row_without_its_text_decides_nothing(world: World) -> None:
    Version.objects.create(kind="policy", digest="0" * 64, manifest={}, created_by="x")
    Pointer.objects.filter(key="policy").update(digest="0" * 64)
    with pytest.raises(BadInput, match="carries no TOML text"):
        policy_in_force()


def test_a_policy_whose_text_was_changed_under_its_digest_decides_nothing(world: World) -> None:
    changed = STRICT.replace("expire_hours = 72", "expire_hours = 7200")
    digest = "1" * 64
    Version.objects.create(kind="policy", digest=digest, manifest={"toml": changed}, created_by="x")
    Pointer.objects.filter(key="policy").update(digest=digest)
    with pytest.raises(BadInput, match="is not the one that was approved"):
        policy_now()


def test_a_policy_is_read_once(world: World, django_assert_num_queries: Any) -> None:
    first = policy_now()
    with django_assert_num_queries(1):
        assert policy_now() is first


def test_a_policy_from_before_the_later_lanes_is_read_with_their_floors() -> None:
    old = re.sub(
        r"\[(lanes\.roles|lanes\.break_glass|roles|break_glass|inbox)\].*?(?=\n\[)",
        "",
        STRICT,
        flags=re.DOTALL,
    )
    policy = parse_policy(old)
    assert "[roles]" not in old
    assert (policy.lane("roles").approvals, policy.lane("roles").role) == (2, "evaluator owner")
    assert policy.lane("break_glass").approvals == 2
    assert policy == parse_policy(STRICT)


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        ("expire_hours = 72", "expire_hours = 24", "nothing in it could ever be decided"),
        ("proposal_expire_hours = 336", "proposal_expire_hours = 20", "nothing in it could ever be decided"),
        ("[lanes.harness]\n", "[lanes.harness]\ncooling_off_hours = 1\n", ""),
    ],
)
def test_a_policy_that_locks_people_in_is_not_registered(was: str, becomes: str, sentence: str) -> None:
    text = re.sub(r" +#.*", "", STRICT).replace(was, becomes, 1)
    assert parse_policy(text).name == "strict"  # one that is in force stays readable
    if sentence:
        with pytest.raises(BadInput, match=sentence):
            policy_manifest(text)
    else:
        assert policy_manifest(text)["name"] == "strict"
        automatic = text.replace("approvals = 1", "approvals = 0", 1)
        with pytest.raises(BadInput, match="there is nothing after which it cools off"):
            policy_manifest(automatic)
