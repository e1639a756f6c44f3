"""What every move of a pointer shares: compare and swap, a row of its history, one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.actors import Actor
from governance.audit import checkpoints
from governance.audit.log import Facts, record
from governance.errors import AuditError, NotAllowed, Stale
from governance.models import AuditEntry, Pointer, PointerMove, Version
from governance.pointers import POLICY_KEY, ROSTER_KEY, task_of
from governance.policy import parse_policy, policy_facts, policy_text


@dataclass(frozen=True, slots=True)
class Move:
    """One move of one pointer. `base` is empty for the first install; `proposal` is a ref or empty."""

    key: str
    kind: PointerMove.Kind
    base: str
    target: str
    reason: str
    proposal: str = ""
    subject_digest: str = ""


def check_signer() -> None:
    """Raises NotAllowed while the log cannot be signed: no signer, no promotion."""
    try:
        checkpoints.check_ready()
    except AuditError as error:
        raise NotAllowed(f"Nothing goes live while the log cannot be signed: {error}") from error


def carry_out(move: Move, by: Actor, detail: Mapping[str, Any]) -> tuple[PointerMove, AuditEntry]:
    """Move the pointer, keep the move, write its entry (under the policy in force before the move).

    Raises Stale when the pointer is not at `move.base` any more.
    """
    policy = policy_facts()
    pointer = swap_pointer(move.key, move.base, move.target) if move.base else _first(move)
    moved = PointerMove.objects.create(
        key=move.key,
        generation=pointer.generation,
        kind=move.kind,
        digest=move.target,
        previous=move.base,
        proposal_ref=move.proposal,
        moved_by=by.ref,
        reason=move.reason,
    )
    task = task_of(move.key)
    facts = Facts(
        subject_digest=move.subject_digest,
        before=move.base,
        after=move.target,
        reason=move.reason,
        policy=policy,
        task=task.slug if task else "",
        detail={
            "kind": str(move.kind),
            "generation": pointer.generation,
            "proposal": move.proposal,
            **detail,
            **_rules(move),
        },
    )
    return moved, record(by=by, action="pointer.move", subject=("pointer", move.key), facts=facts)


def swap_pointer(key: str, base: str, target: str) -> Pointer:
    """Move a pointer from `base` to `target` by compare and swap. Raises Stale when it is elsewhere by now."""
    pointer = Pointer.objects.filter(key=key).first()
    if pointer is None:
        raise Stale(f"Nothing was ever installed under {key}, so nothing can be replaced.")
    moved = Pointer.objects.filter(key=key, generation=pointer.generation, digest=base).update(
        digest=target, generation=pointer.generation + 1
    )
    if moved != 1:
        raise Stale(f"{key} is no longer at {base[:12]}; somebody moved it. Look again.")
    pointer.refresh_from_db()
    return pointer


def _first(move: Move) -> Pointer:
    return Pointer.objects.create(key=move.key, digest=move.target, generation=0)


def _rules(move: Move) -> dict[str, Any]:
    """For a policy or a roster: who decides what from now on, so that the log can be replayed without it."""
    if move.key == ROSTER_KEY:
        roster = Version.objects.get(kind=Version.Kind.ROSTER, digest=move.target)
        return {"grants": roster.manifest["grants"]}
    if move.key != POLICY_KEY:
        return {}
    policy = parse_policy(policy_text(Version.objects.get(kind=Version.Kind.POLICY, digest=move.target)))
    lanes = {
        name: {
            "quorum": lane.approvals,
            "role": lane.role,
            "cooling_off_s": int(lane.cooling_off.total_seconds()),
        }
        for name, lane in policy.lanes.items()
    }
    return {
        "lanes": lanes,
        "roles_count_after_s": int(policy.roles_count_after.total_seconds()),
        "promoters": sorted(policy.promoter_roles),
        "min_reason": policy.min_reason,
        "approvals_expire_s": int(policy.approvals_expire.total_seconds()),
    }
