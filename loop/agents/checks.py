"""What a decision must be before it is carried out; the same for every backend. Pure."""

from __future__ import annotations

from loop.agents.evidence import Evidence
from loop.agents.facts import facts_of
from loop.agents.levers import check_decision
from loop.agents.tree import check_texts
from loop.errors import HarnessError, Refused
from loop.harness_tree import with_edits
from loop.types import Decision, Lever


def check_first(decision: Decision, evidence: Evidence) -> None:
    """Raise Refused or HarnessError unless this is a first harness; no files means the seed as it is."""
    if decision.lever is not Lever.HARNESS:
        raise Refused(f"The Meta-Agent chose {decision.lever.value}, but its one job is to write a harness.")
    check_texts(with_edits(evidence.harness_files, decision.files))


def check_next(decision: Decision, evidence: Evidence) -> None:
    """Raise Refused (a rule) or HarnessError (an unusable or unchanged tree) for a decision."""
    check_decision(decision, facts_of(evidence))
    if decision.lever is Lever.HARNESS:
        edited = with_edits(evidence.harness_files, decision.files)
        if edited == dict(evidence.harness_files):
            raise HarnessError("The lever is harness, but the edit changes nothing; there is nothing to try.")
        check_texts(edited)
