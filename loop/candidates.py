"""Turning a decision into a candidate release: a harness commit, or an adapter beside the parent's harness."""

from __future__ import annotations

from typing import Any

from governance import actions
from governance.actors import Actor
from governance.audit.log import Facts
from governance.digests import file_list
from governance.models import Release, Version
from loop.catalog import read_ids
from loop.errors import HarnessError
from loop.installation import repo_of
from loop.installed import tree_of
from loop.models import Campaign
from loop.repos import CommitNote, digest_of, edited
from loop.rollouts import PUBLIC_VAL
from loop.screen import screen
from loop.turn import Turn
from loop.types import Decision


def agent(campaign: Campaign) -> Actor:
    """The agent that acts in a campaign, under the name of its profile."""
    return Actor("agent", f"feedback:{campaign.profile}")


def from_harness(turn: Turn, parent: Release, decision: Decision) -> Release:
    """Commit the decided files on the parent's harness and register the release. Raises HarnessError if refused."""
    old = tree_of(parent.harness)
    new = edited(old, decision.files)
    digest = digest_of(new)
    if digest == parent.harness.digest:
        raise HarnessError("The decision changes no byte of the harness; there is nothing to try.")
    screen(old, new, frozenset(read_ids(turn.task.inputs(PUBLIC_VAL), turn.task.spec.inputs_file)))
    commit = repo_of(turn.task.row).commit(
        new, parent.harness.manifest["commit"], _note(turn, parent, decision), _branch(turn)
    )
    manifest = {
        "commit": commit,
        "files": file_list(new),
        "params": dict(decision.params),
        "campaign": turn.campaign.ref,
    }
    version = actions.register_version(
        kind=Version.Kind.HARNESS,
        digest=digest,
        task=turn.task.row,
        parent=parent.harness,
        manifest=manifest,
        by=agent(turn.campaign),
    )
    return _release(turn, parent, version, parent.adapter)


def from_adapter(turn: Turn, parent: Release, adapter: Version) -> Release:
    """The parent's harness with a new adapter."""
    return _release(turn, parent, parent.harness, adapter)


def note_evaluator_request(turn: Turn, decision: Decision) -> None:
    """Log that an agent asked for another evaluator. Nothing changes: people may open a proposal."""
    actions.note_event(
        by=agent(turn.campaign),
        action="evaluator.requested",
        subject=("campaign", turn.campaign.ref),
        facts=Facts(reason=decision.reason, task=turn.task.row.slug),
    )


def _release(turn: Turn, parent: Release, harness: Version, adapter: Version | None) -> Release:
    origin = f"campaign {turn.campaign.ref} generation {turn.generation.number}"
    draft = actions.ReleaseDraft(
        task=turn.task.row,
        harness=harness,
        adapter=adapter,
        parent=parent,
        binding=parent.binding,
        origin=origin,
    )
    return actions.register_release(draft=draft, by=agent(turn.campaign))


def _branch(turn: Turn) -> str:
    return f"campaign/{turn.campaign.ref}/g{turn.generation.number}"


def _note(turn: Turn, parent: Release, decision: Decision) -> CommitNote:
    trailers: dict[str, Any] = {
        "Campaign": turn.campaign.ref,
        "Generation": str(turn.generation.number),
        "Parent": parent.digest,
        "Decision": decision.reason,
    }
    subject = f"Generation {turn.generation.number}: {_summary(decision)}"
    return CommitNote(subject, agent(turn.campaign).ref, turn.generation.started_at, trailers)


def _summary(decision: Decision) -> str:
    if decision.params:
        return ", ".join(f"{name} = {value}" for name, value in sorted(decision.params.items()))[:100]
    return "edit " + ", ".join(sorted(decision.files))[:100]
