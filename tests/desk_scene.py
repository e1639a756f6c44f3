"""A lively instance for the tests and pictures of the desk: proposals with full evidence and a running campaign.

Governance states are reached by the acts themselves; the loop's rows are written as its steps write them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from governance import actions, diffs
from governance.actions import EvidenceItem, ProposalDraft, ReleaseDraft
from governance.actors import LOOP, VERIFIER
from governance.audit.checkpoints import make_checkpoint
from governance.models import Proposal, Release, Version
from loop.models import Campaign, Generation, HiddenQuery, Rollout, Step, TrainingJob, Verification
from tests.desk_harness import COOLER, SEED, VOTER
from tests.governance.cast import SEED as BARE
from tests.governance.cast import Tree, World, make_adapter, make_harness, say

METRIC = "accuracy"


@dataclass
class Scene:
    """The instance, its proposals by what they are, and the campaign that runs."""

    world: World
    seed: Release
    promoted: Proposal
    waiting: Proposal
    failed: Proposal
    campaign: Campaign
    rollout: Rollout


def make_scene(world: World) -> Scene:
    """Fill a fresh instance (tests.governance.cast.make_world) with a realistic week of work."""
    task = world.task
    seed = descend(world, SEED, world.seed)
    first = submit(world, "Start from the honest seed harness", seed, (BARE, SEED), delta=0.31)
    accept(world, first)
    cooler = descend(world, COOLER, seed)
    promoted = submit(world, "Lower the sampling temperature to 0.4", cooler, (SEED, COOLER), delta=0.052)
    accept(world, promoted)
    adapter = make_adapter(task, b"weights of generation 4")
    candidate = descend(world, VOTER, cooler, adapter)
    twice = descend(world, {**COOLER, "x.py": ("file", b"")}, cooler)
    failed = submit(world, "Render scans twice", twice, None, delta=None)
    waiting = submit(
        world, "Vote over seven samples, with new weights", candidate, (COOLER, VOTER), delta=0.0925
    )
    say(world, "ravi", waiting)
    campaign = running_campaign(world, cooler, candidate, waiting, adapter)
    rollout = Rollout.objects.filter(steps__isnull=False).distinct().get()
    make_checkpoint()
    return Scene(world, seed, promoted, waiting, failed, campaign, rollout)


def descend(world: World, tree: Tree, parent: Release, adapter: Version | None = None) -> Release:
    """A registered release made from `parent`."""
    draft = ReleaseDraft(
        world.task, make_harness(world.task, tree), adapter, parent, dict(parent.binding), "campaign 5f0c6f5e"
    )
    return actions.register_release(draft=draft, by=LOOP)


def submit(
    world: World, title: str, release: Release, trees: tuple[Tree, Tree] | None, *, delta: float | None
) -> Proposal:
    """Open and verify a proposal for `release`; without trees its verification fails."""
    draft = ProposalDraft("promote", world.task, release, None, title, SUMMARY, (world.cast.starter.ref,))
    proposal = actions.open_proposal(draft=draft, by=LOOP)
    proposal = actions.begin_verification(proposal=proposal, by=VERIFIER)
    items = full_evidence(delta, trees) if trees and delta is not None else []
    reason = "The hidden test is passed." if items else "The gain on the hidden test is not certain enough."
    return actions.finish_verification(
        proposal=proposal, passed=bool(items), reason=reason, evidence=items, by=VERIFIER
    )


def accept(world: World, proposal: Proposal) -> None:
    """Approve by both reviewers as far as needed, then promote."""
    for name in ("rita", "ravi"):
        if proposal.status != "approved":
            say(world, name, proposal)
    reason = "Approved by the quorum; the gain is well above what we asked for."
    actions.promote(proposal=proposal, reason=reason, by=world.cast.act("operator"))
    proposal.refresh_from_db()


SUMMARY = "The best accepted release of the campaign, submitted once after its last generation."


SLICES = [
    {
        "name": f"ink={ink}",
        "n": 133,
        "gain": gain,
        "low": gain - 0.08,
        "high": gain + 0.08,
        "margin": 0.1,
        "held": True,
    }
    for ink, gain in (("bold", 0.11), ("faint", 0.05))
]
LEDGER: dict[str, Any] = {
    "used": 3,
    "allowed": 20,
    "promotions_allowed": 1,
    "alpha": 0.05,
    "alpha_query": 0.0025,
}
LEDGER |= {"epoch_used": 11, "epoch_allowed": 40, "epoch_alpha": 0.0275}
FIXED_EVIDENCE: dict[str, Any] = {
    "attribution": {
        "split": "public-val",
        "metric": METRIC,
        "cells": [
            {"harness": "old", "adapter": "old", "score": 0.636},
            {"harness": "old", "adapter": "new", "score": 0.684},
            {"harness": "new", "adapter": "old", "score": 0.696},
            {"harness": "new", "adapter": "new", "score": 0.744},
        ],
    },
    "ledger": LEDGER,
    "cost": {"cost_usd": 0.0, "tokens": 1_284_310, "model_calls": 52_450, "wall_s": 212.4},
    "decision": {
        "decisions": [
            {
                "generation": 2,
                "lever": "harness",
                "backend": "search",
                "reason": "Answers vary between samples of the same scan; a vote uses that.",
                "params": {"votes": 7, "temperature": 0.4},
            },
            {
                "generation": 4,
                "lever": "weights",
                "backend": "search",
                "algorithm": "grpo",
                "reason": "The harness lever has stalled for two generations, and p = 0.62 with z = 0.31 "
                "says that the weights can learn.",
                "hyper": {"rank": 16, "learning_rate": 4e-4, "group": 8},
            },
        ]
    },
    "detectors": [
        {
            "detector": "D1 public-hidden gap",
            "fired": False,
            "blocks": False,
            "detail": "public minus hidden went from +0.006 to +0.022",
        },
        {
            "detector": "D5 edit",
            "fired": True,
            "blocks": False,
            "detail": "main.py: it holds a table of 300 constants, as a list of answers would",
            "excerpts": [{"place": "main.py:12", "text": "KNOWN = {'3f0c': 'seven', '91ab': 'two'}"}],
        },
        {"detector": "D2 canaries", "fired": None, "detail": "the task declares no canaries"},
    ],
    "sample": {"random": [{"rollout": 1, "item": "3f0c12ab4d5e", "why": "scored 1"}]},
    "not_tested": [
        "Scans of another size or from another scanner.",
        "More than one seed of the hidden run.",
    ],
}


def full_evidence(delta: float, trees: tuple[Tree, Tree]) -> list[EvidenceItem]:
    """Every piece of evidence that a release proposal carries."""
    before = 0.63
    old, new = trees
    bodies: dict[str, Any] = {
        "comparison": {
            "metric": METRIC,
            "direction": "maximize",
            "n": 400,
            "score_before": before,
            "score_after": before + delta,
            "difference": delta,
            "interval": [delta - 0.044, delta + 0.044],
            "level": 0.95,
            "b": 61,
            "c": 24,
            "p": 3.9e-5,
            "alpha": 0.0025,
            "smallest_gain": 0.02,
            "passed": True,
            "reason": "Every condition of the gate holds.",
            "method": "exact McNemar",
            "unit": "item",
            "trials": 1,
            "slices": SLICES,
        },
        "public": {
            "metric": METRIC,
            "split": "public-val",
            "n": 250,
            "score_before": 0.636,
            "score_after": 0.744,
            "hidden_after": before + delta,
            "gap_before": 0.006,
            "gap_after": 0.0215,
        },
        **FIXED_EVIDENCE,
        "adapter": {"algorithm": "grpo", "rank": 16, "base": "digits-base", "seed": 7, "steps": 60},
        "diff": diffs.pack(old, new),
    }
    return [
        EvidenceItem(name, "application/json", json.dumps(body).encode()) for name, body in bodies.items()
    ]


CONTRACT: dict[str, Any] = {
    "task": "digits",
    "metric": METRIC,
    "higher_is_better": True,
    "levers": ["harness", "weights"],
    "budgets": {
        "generations": 8,
        "wall_s": 900.0,
        "tokens": 4_000_000,
        "cost_usd": 1.0,
        "hidden_queries": 20,
    },
    "alpha": 0.05,
    "alpha_query": 0.0025,
    "promotions": 1,
    "smallest_gain": 0.02,
    "plateau": 2,
    "submit": "the best accepted release, once, after the last generation",
}
TURNS = [
    ("", "baseline", 0.604, "accuracy of the first harness on public-val"),
    ("harness", "discarded", 0.592, "Not better than its parent: gain -0.012, 9 wins and 12 losses."),
    ("harness", "kept", 0.664, "Gain +0.06 over its parent: 27 wins and 12 losses, p = 0.012."),
    ("harness", "failed", None, "HarnessError: main.py ended with exit status 1: ZeroDivisionError."),
    ("weights", "kept", 0.724, "Gain +0.06 over its parent: 31 wins and 16 losses, p = 0.02."),
    ("harness", "kept", 0.744, "Gain +0.02 over its parent: 18 wins and 13 losses."),
]


def asked_and_answered(campaign: Campaign, base: Release, candidate: Release, proposal: Proposal) -> None:
    """One hidden query of the campaign, with the bit that came back."""
    query = HiddenQuery.objects.create(
        campaign=campaign,
        number=1,
        release=candidate,
        against=base,
        proposal=proposal,
        alpha=0.0025,
        hidden_set="e" * 64,
        place=1,
    )
    Verification.objects.create(query=query, status="finished", bit=True)


def running_campaign(
    world: World, base: Release, candidate: Release, proposal: Proposal, adapter: Version
) -> Campaign:
    """A campaign in its seventh generation, one hidden query asked."""
    campaign = Campaign.objects.create(
        ref="5f0c6f5e-8d9b-4a0e-9f43-b7a2f0c3d111",
        task=world.task,
        profile="search",
        seed=7,
        contract=CONTRACT,
        contract_digest="c" * 64,
        spent={"cost_usd": 0.0, "tokens": 1_284_310, "wall_s": 212.4},
        base_release=base,
        started_by=world.cast.starter.ref,
    )
    best = 0.604
    start = timezone.now() - timedelta(seconds=232)
    for number, (lever, verdict, score, reason) in enumerate(TURNS):
        turn = Generation.objects.create(
            campaign=campaign,
            number=number,
            step="done",
            verdict=verdict,
            lever=lever,
            parent=base,
            candidate=candidate,
            score_before=best,
            score_after=score,
            reason=reason,
            decision={"lever": lever, "reason": "See the evidence."},
            started_at=start + timedelta(seconds=34 * number),
            finished_at=start + timedelta(seconds=34 * number + 31.5),
        )
        best = score if verdict == "kept" and score else best
        if lever == "weights":
            training_job(turn, adapter)
        make_rollout(turn, candidate, score, steps=230 if number == 5 else 0)
    Generation.objects.create(
        campaign=campaign,
        number=6,
        step="roll_out",
        lever="",
        parent=candidate,
        progress={"text": "rolling out on public-val: 148 of 250 items", "done": 148, "total": 250},
        started_at=timezone.now() - timedelta(seconds=12),
    )
    asked_and_answered(campaign, base, candidate, proposal)
    return campaign


def training_job(turn: Generation, adapter: Version) -> TrainingJob:
    """A finished GRPO run with live metrics."""
    metrics = [
        {
            "step": step,
            "reward": 0.6 + 0.15 * (1 - math.exp(-step / 12)) + 0.02 * math.sin(step * 2.1),
            "loss": 0.4 * math.exp(-step / 20) + 0.03 * math.cos(step),
            "kl": 0.001 * step,
        }
        for step in range(0, 60, 2)
    ]
    return TrainingJob.objects.create(
        generation=turn,
        status="finished",
        algorithm="grpo",
        metrics=metrics,
        adapter=adapter,
        reason="p = 0.62, z = 0.31, 250 prompts",
    )


def make_rollout(turn: Generation, release: Release, score: float | None, steps: int) -> Rollout:
    """One rollout on public-val, with `steps` recorded model calls; a hostile one among them."""
    rollout = Rollout.objects.create(
        key=f"{turn.campaign.pk:032d}{turn.number:032d}",
        campaign=turn.campaign,
        generation=turn,
        release=release,
        split="public-val",
        seed=7,
        evaluator_digest="e" * 64,
        outcome="ok" if score is not None else "harness_failed",
        reason="" if score is not None else "main.py ended with exit status 1.",
        score=score,
        metrics={METRIC: score} if score is not None else {},
        items={f"val-{at:04d}": float(at % 4 != 0) for at in range(steps)},
        usage={
            "wall_s": 18.42,
            "cpu_s": 3.9,
            "peak_mib": 61.5,
            "processes": 3,
            "model_calls": steps,
            "tokens": steps * 25,
            "cost_usd": 0.0,
        },
        outputs=[{"name": "predictions.jsonl", "size": 10_482, "sha256": "a" * 64}],
        log_tail="read 250 scans\nanswered 250 scans in 17.9 s\n",
    )
    Step.objects.bulk_create(_step(rollout, at) for at in range(steps))
    return rollout


HOSTILE = "<script>alert(1)</script> \u202eeno\u202c nine\u200b \x1b[2J"


def _step(rollout: Rollout, at: int) -> Step:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    text = HOSTILE if at == 3 else words[at % 10]
    return Step(
        rollout=rollout,
        index=at,
        item_id=f"val-{at:04d}",
        prompt_tokens=18,
        completion_tokens=7,
        latency_ms=2.4 + at % 5,
        body={
            "api": "openai",
            "model": "task-model",
            "served_model": "digits-base",
            "status": 200,
            "error": "",
            "request": {
                "model": "task-model",
                "temperature": 0.4,
                "max_tokens": 8,
                "messages": [{"role": "user", "content": "aakhabqqaaqkadpbaaphafqaakqpaqdbaabdkqaaabqqda="}],
            },
            "reply": {"choices": [{"message": {"role": "assistant", "content": text}}]},
        },
    )
