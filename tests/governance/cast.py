"""A small instance with its people. Every state is reached by the acts themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from governance import diffs
from governance.actions import (
    EvidenceItem,
    ProposalDraft,
    ReleaseDraft,
    begin_verification,
    create_person,
    finish_verification,
    grant_role,
    install_pointer,
    install_policy,
    install_task,
    open_proposal,
    promote,
    register_release,
    register_version,
    review,
)
from governance.actors import LOOP, SETUP, VERIFIER, Actor
from governance.digests import entries_digest, file_list, json_digest, sha256_hex
from governance.models import Person, Proposal, Release, Review, Task, Version
from governance.pointers import evaluator_key, release_key
from governance.roles import AUDITOR, OPERATOR, OWNER, REVIEWER, VIEWER
from governance.roster import RoleChange
from governance.submitting import (
    EvaluatorChange,
    begin_evaluator,
    finish_evaluator,
    submit_policy,
    submit_roles,
)

PASSWORD = "a long pass phrase for tests"
REASON = "Because the evidence shows it."
SEED = {"main.py": ("file", b"print(1)\n"), "settings.toml": ("file", b"votes = 1\n")}
BETTER = {**SEED, "settings.toml": ("file", b"votes = 3\n")}
BOLDER = {**SEED, "main.py": ("file", b"print(2)\n")}

EVALUATOR = {"evaluate.py": ("file", b"def evaluate(o, l): ...\n")}
FAIRER = {"evaluate.py": ("file", b"def evaluate(o, l): return {}\n")}

RESCORED: dict[str, Any] = {
    "release": "a" * 64,
    "split": "public-val",
    "metric": "accuracy",
    "n": 250,
    "items_changed": 12,
    "old": {"evaluator": "b" * 64, "score": 0.75, "reason": ""},
    "new": {"evaluator": "c" * 64, "score": 0.5, "reason": ""},
}

RESCORED_HIDDEN: dict[str, Any] = {**RESCORED, "split": "hidden", "same_items": True}

Tree = dict[str, tuple[str, bytes]]


@dataclass
class Cast:
    """A starter (reviewer, operator), two reviewers, two owners, an operator, an auditor and an outsider."""

    starter: Person
    rita: Person
    ravi: Person
    olga: Person
    otto: Person
    operator: Person
    ada: Person
    outsider: Person

    def act(self, name: str) -> Actor:
        """This person as a signed-in actor."""
        person: Person = getattr(self, name)
        return person.actor("session")


@dataclass
class World:
    """An instance with one task whose seed release is live."""

    cast: Cast
    task: Task
    seed: Release
    evaluator: Version


def make_person(name: str, *roles: str) -> Person:
    """A person with roles, added during set-up."""
    person = create_person(username=name, password=PASSWORD, by=SETUP)
    for role in roles:
        grant_role(person=person, role=role, by=SETUP)
    return person


ROLES: dict[str, tuple[str, ...]] = {
    "starter": (REVIEWER, OPERATOR),
    "rita": (REVIEWER,),
    "ravi": (REVIEWER,),
    "operator": (OPERATOR,),
    "ada": (AUDITOR,),
    "outsider": (VIEWER,),
    "otto": (OWNER,),
    "olga": (OWNER,),
}


def make_world(more: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> World:
    """Set up the instance; the owners come last, because the second one ends the set-up. `more` adds roles."""
    install_policy(by=SETUP)
    cast = Cast(**{name: make_person(name, *more.get(name, ()), *roles) for name, roles in ROLES.items()})
    task = install_task(spec={"id": "digits", "title": "Digits"}, spec_digest=sha256_hex(b"spec"), by=SETUP)
    manifest = evaluator_manifest(EVALUATOR)
    evaluator = register_version(
        kind="evaluator", digest=json_digest(manifest), task=task, manifest=manifest, by=SETUP
    )
    install_pointer(key=evaluator_key(task), digest=evaluator.digest, reason="First.", by=SETUP)
    seed = make_release(task, SEED)
    install_pointer(key=release_key(task), digest=seed.digest, reason="Seed.", by=SETUP)
    return World(cast, task, seed, evaluator)


def evaluator_manifest(code: Tree) -> dict[str, str]:
    """What an evaluator version of this code is known by; labels and hidden set stay as they are."""
    return {"code": entries_digest(code), "runtime": "", "labels": "l" * 8, "hidden_commitment": "h" * 8}


def make_harness(task: Task, tree: Tree) -> Version:
    """A registered harness version with its list of files."""
    return register_version(
        kind="harness", digest=entries_digest(tree), task=task, manifest={"files": file_list(tree)}, by=LOOP
    )


def make_adapter(task: Task, text: bytes = b"weights") -> Version:
    """A registered adapter version."""
    return register_version(kind="adapter", digest=sha256_hex(text), task=task, manifest={"rank": 4}, by=LOOP)


def make_release(task: Task, tree: Tree, adapter: Version | None = None) -> Release:
    """A registered release of this harness tree."""
    binding = {"base_model": "b" * 64, "tokenizer": "t" * 64, "runtime": "r" * 64}
    draft = ReleaseDraft(task, make_harness(task, tree), adapter, None, binding, "test")
    return register_release(draft=draft, by=LOOP)


def evidence(old: Tree, new: Tree) -> list[EvidenceItem]:
    """The least that a release proposal needs."""
    return [
        EvidenceItem("comparison", "application/json", b'{"passed": true}'),
        EvidenceItem("diff", "application/json", json.dumps(diffs.pack(old, new)).encode()),
    ]


def draft_of(world: World, tree: Tree = BETTER, adapter: Version | None = None) -> ProposalDraft:
    """A proposal to promote a release of this tree; the campaign was started by `starter`."""
    release = make_release(world.task, tree, adapter)
    return ProposalDraft(
        "promote", world.task, release, None, "Three votes", "It votes.", (world.cast.starter.ref,)
    )


def drafted(world: World, tree: Tree = BETTER, adapter: Version | None = None) -> Proposal:
    """A proposal just opened by the loop."""
    return open_proposal(draft=draft_of(world, tree, adapter), by=LOOP)


def verifying(world: World, tree: Tree = BETTER, adapter: Version | None = None) -> Proposal:
    """A proposal under verification."""
    return begin_verification(proposal=drafted(world, tree, adapter), by=VERIFIER)


def ready(world: World, tree: Tree = BETTER, adapter: Version | None = None, old: Tree = SEED) -> Proposal:
    """A verified proposal."""
    proposal = verifying(world, tree, adapter)
    return finish_verification(
        proposal=proposal, passed=True, reason="It is better.", evidence=evidence(old, tree), by=VERIFIER
    )


def submit_evaluator(
    task: Task, code: Tree, by: Actor, manifest: Mapping[str, Any] | None = None
) -> Proposal:
    """A proposal for this evaluator in place of EVALUATOR, with the live release scored by both."""
    given = evaluator_manifest(code) if manifest is None else manifest
    proposal = begin_evaluator(task=task, manifest=given, code=code, summary="Fairer.", by=by)
    change = EvaluatorChange(EVALUATOR, code, RESCORED, RESCORED_HIDDEN)
    return finish_evaluator(proposal=proposal, change=change)


def unreadable(world: World, code: Tree, body: bytes) -> Proposal:
    """A proposal for another evaluator whose evidence `diff` is this."""
    manifest = evaluator_manifest(code)
    version = register_version(
        kind="evaluator", digest=json_digest(manifest), task=world.task, manifest=manifest, by=LOOP
    )
    draft = ProposalDraft("evaluator", world.task, None, version, "Stricter", "")
    proposal = begin_verification(proposal=open_proposal(draft=draft, by=LOOP), by=VERIFIER)
    items = [
        EvidenceItem("diff", "application/json", body),
        EvidenceItem("rescored", "application/json", json.dumps(RESCORED).encode()),
        EvidenceItem("rescored_hidden", "application/json", json.dumps(RESCORED_HIDDEN).encode()),
    ]
    return finish_verification(proposal=proposal, passed=True, reason="", evidence=items, by=VERIFIER)


def say(world: World, name: str, proposal: Proposal, verdict: str = "approve") -> Review:
    """One verdict by one of the cast, on the subject as it is now."""
    proposal.refresh_from_db()
    given = review(
        proposal=proposal,
        verdict=verdict,
        reason=REASON,
        subject_digest=proposal.subject_digest,
        by=world.cast.act(name),
    )
    proposal.refresh_from_db()
    return given


def approved(world: World, tree: Tree = BETTER, adapter: Version | None = None, old: Tree = SEED) -> Proposal:
    """A proposal with its quorum."""
    proposal = ready(world, tree, adapter, old)
    say(world, "rita", proposal)
    if proposal.status != "approved":
        say(world, "ravi", proposal)
    return proposal


def promoted(world: World, tree: Tree = BETTER, adapter: Version | None = None, old: Tree = SEED) -> Proposal:
    """A proposal that went live."""
    proposal = approved(world, tree, adapter, old)
    promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    return proposal


def change_role(world: World, name: str, role: str, act: Literal["grant", "revoke"]) -> Proposal:
    """Proposed by the operator, approved by both owners, cooled off and put in force."""
    person: Person = getattr(world.cast, name)
    proposal = submit_roles(
        changes=[RoleChange(person.ref, role, act)], summary="They asked.", by=world.cast.act("operator")
    )
    return put_in_force(world, proposal)


def change_policy(world: World, text: str) -> Proposal:
    """Proposed by the operator, approved by both owners, cooled off and put in force."""
    return put_in_force(world, submit_policy(text=text, summary="", by=world.cast.act("operator")))


def put_in_force(world: World, proposal: Proposal) -> Proposal:
    """What owners decide: approved by both, cooled off and promoted by the operator."""
    for owner in ("olga", "otto"):
        say(world, owner, proposal)
    age(proposal, hours=25)
    promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    return proposal


def age(proposal: Proposal, **passed: float) -> None:
    """Let time pass for one proposal and its reviews: move what they say back by a timedelta's arguments."""
    shift = timedelta(**passed)
    proposal.refresh_from_db()
    Proposal.objects.filter(pk=proposal.pk).update(
        created_at=proposal.created_at - shift,
        ready_at=proposal.ready_at - shift if proposal.ready_at else None,
        expires_at=proposal.expires_at - shift if proposal.expires_at else None,
    )
    for given in Review.objects.filter(proposal=proposal):
        Review.objects.filter(pk=given.pk).update(
            created_at=given.created_at - shift, expires_at=given.expires_at - shift
        )
    proposal.refresh_from_db()
