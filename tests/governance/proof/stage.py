"""Where the random acts happen: people of every role, two tasks, releases with a lineage, several policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from django.contrib.auth import get_user_model

from governance.actions import (
    ReleaseDraft,
    create_person,
    install_pointer,
    install_policy,
    install_task,
    keep_account,
    promote,
    register_release,
    register_version,
    review,
)
from governance.actors import LOOP, SETUP
from governance.digests import entries_digest, file_list, json_digest, sha256_hex
from governance.models import Person, Release, Task, Version
from governance.pointers import evaluator_key, release_key
from governance.roster import RoleChange
from governance.submitting import submit_roles
from tests.governance.cast import PASSWORD, REASON, Tree, evaluator_manifest, make_person
from tests.governance.proof.clock import START, Clock
from tests.governance.proof.oracle import OPERATOR, OWNER, REVIEWER, Build, Rules

BINDING = {"base_model": "b" * 64, "tokenizer": "t" * 64, "runtime": "r" * 64}
PEOPLE: dict[str, tuple[str, ...]] = {
    "starter": (REVIEWER, OPERATOR),
    "rita": (REVIEWER,),
    "ravi": (REVIEWER,),
    "rosa": (REVIEWER, OPERATOR),
    "orla": (OPERATOR,),
    "omar": (OPERATOR,),
    "ada": ("auditor",),
    "newcomer": (),
    "oona": (),
    "olga": (OWNER,),
    "otto": (OPERATOR, OWNER),
}
_ONE, _TWO = {"harness": 1, "adapter": 2, "revert": 1}, {"evaluator": 2, "policy": 2, "roles": 2}
QUORUM = {**_ONE, **_TWO, "harness_outside": 2, "break_glass": 2}
STRICT = Rules("strict", QUORUM)
POLICIES = (
    Rules("automatic", {**QUORUM, "harness": 0}),
    Rules("careful", {**QUORUM, "harness": 3, "policy": 3}, role_counts_after=48, emergency_lasts=2),
    Rules("hasty", {**QUORUM, "adapter": 1}, frozenset({OPERATOR, OWNER}), 26, 40, 1, 1),
)


def policy_text(rules: Rules) -> str:
    """The TOML of a policy with these rules."""
    lanes = "".join(
        f'[lanes.{lane}]\napprovals = {quorum}\nrole = "{rules.role(lane)}"\n'
        f"cooling_off_hours = {rules.cooling_off(lane).total_seconds() / 3600:g}\n"
        f"evidence = {_evidence(lane)}\n"
        for lane, quorum in rules.quorum.items()
    )
    promoters = ", ".join(f'"{role}"' for role in sorted(rules.promoters))
    return (
        f'name = "{rules.name}"\nversion = "1"\n[approvals]\nexpire_hours = {rules.approval_lasts:g}\n'
        f"proposal_expire_hours = {rules.proposal_lasts:g}\nmin_reason = 10\n"
        f"[promotion]\nroles = [{promoters}]\n{lanes}"
        f"[roles]\ncount_after_hours = {rules.role_counts_after:g}\n"
        f"[break_glass]\nhours = {rules.emergency_lasts:g}\nmin_reason = 40\n[inbox]\nmost_waiting = 20\n"
        '[envelope]\npaths = ["settings.toml", "prompts/*"]\nmax_changed_lines = 200\n'
        "[gate]\nalpha = 0.05\nhidden_queries = 10\nhidden_queries_per_epoch = 40\npromotions = 1\n"
        "smallest_gain = 0.02\n"
    )


def _evidence(lane: str) -> str:
    if lane in {"revert", "break_glass"}:
        return "[]"
    return '["diff"]' if lane in {"evaluator", "policy", "roles"} else '["comparison"]'


def harness_tree(main: int, settings: int) -> Tree:
    """The files of one harness."""
    return {
        "main.py": ("file", f"print({main})\n".encode()),
        "settings.toml": ("file", f"votes = {settings}\n".encode()),
    }


def evaluator_code(number: int) -> Tree:
    """The files of one evaluator."""
    return {"evaluate.py": ("file", f"def evaluate(o, l): return {{'n': {number}}}\n".encode())}


@dataclass
class Stage:
    """The instance as the set-up left it."""

    people: dict[str, Person] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    adapters: dict[tuple[str, str], Version] = field(default_factory=dict)
    builds: dict[str, Build] = field(default_factory=dict)
    seeds: dict[str, Release] = field(default_factory=dict)
    evaluators: dict[str, Version] = field(default_factory=dict)


def make_stage() -> Stage:
    """Set up an empty instance, ten days before the clock's start; later two more owners and two fresh roles."""
    clock = Clock()
    clock.forward(days=-10)
    with clock.rules():
        stage = _set_up()
        _give(stage, clock, {"oona": OWNER, "omar": OWNER})
        clock.now = START - timedelta(hours=26)
        _give(stage, clock, {"newcomer": OPERATOR, "ada": REVIEWER})
    return stage


def _give(stage: Stage, clock: Clock, roles: dict[str, str]) -> None:
    """Roles given as they are later: by a roster that two owners approve, 25 hours after it was proposed."""
    by = stage.people["orla"].actor("session")
    changes = [RoleChange(stage.people[name].ref, role, "grant") for name, role in roles.items()]
    roster = submit_roles(changes=changes, summary="More.", by=by)
    for name in ("olga", "otto"):
        digest, owner = roster.subject_digest, stage.people[name].actor("session")
        review(proposal=roster, verdict="approve", reason=REASON, subject_digest=digest, by=owner)
    clock.forward(hours=25)
    promote(proposal=roster, reason=REASON, by=by)


def _set_up() -> Stage:
    """The second owner, who comes last, ends the set-up."""
    install_policy(by=SETUP)
    stage = Stage()
    for name, roles in PEOPLE.items():
        stage.people[name] = make_person(name, *roles)
    root = create_person(username="root", password=PASSWORD, by=stage.people["olga"].actor("command"))
    get_user_model().objects.filter(pk=root.user_id).update(is_superuser=True)
    keep_account(person=root, password="", by=root.actor("command"))
    stage.people["root"] = root
    for slug in ("digits", "letters"):
        _add_task(stage, slug)
    return stage


def _add_task(stage: Stage, slug: str) -> None:
    task = install_task(spec={"id": slug, "title": slug}, spec_digest=sha256_hex(slug.encode()), by=SETUP)
    stage.tasks[slug] = task
    manifest = evaluator_manifest(evaluator_code(0))
    stage.evaluators[slug] = register_version(
        kind="evaluator", digest=json_digest(manifest), task=task, manifest=manifest, by=SETUP
    )
    install_pointer(key=evaluator_key(task), digest=json_digest(manifest), reason="First.", by=SETUP)
    parent = None
    for name in ("first", "second"):
        parent = register_version(
            kind="adapter",
            digest=sha256_hex(f"{slug} {name}".encode()),
            task=task,
            parent=parent,
            manifest={"rank": 4},
            by=LOOP,
        )
        stage.adapters[slug, name] = parent
    stage.seeds[slug] = seed = build_release(stage, slug, (1, 1, ""), None)
    install_pointer(key=release_key(task), digest=seed.digest, reason="Seed.", by=SETUP)


def build_release(stage: Stage, slug: str, parts: tuple[int, int, str], parent: Release | None) -> Release:
    """Register a release of (main, settings, adapter's name) and note what it was made from."""
    main, settings, name = parts
    task, tree = stage.tasks[slug], harness_tree(main, settings)
    harness = register_version(
        kind="harness", digest=entries_digest(tree), task=task, manifest={"files": file_list(tree)}, by=LOOP
    )
    adapter = stage.adapters.get((slug, name))
    draft = ReleaseDraft(task, harness, adapter, parent, BINDING, "test")
    release = register_release(draft=draft, by=LOOP)
    if release.digest not in stage.builds:
        line = {release.digest, harness.digest}
        if adapter is not None:
            line |= {adapter.digest, *([adapter.parent.digest] if adapter.parent else [])}
        if parent is not None:
            line |= stage.builds[parent.digest].ancestry
        stage.builds[release.digest] = Build(slug, main, settings, name, frozenset(line))
    return release
