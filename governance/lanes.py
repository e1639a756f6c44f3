"""Which lane a proposal takes: decided from what really changes, never from what the proposer says. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from governance.policy import Envelope

Files = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Change:
    """What a release changes against the live one. `files` are None where a version's file list is not known."""

    adapter_changed: bool
    harness_changed: bool
    old_files: Files | None
    new_files: Files | None
    changed_lines: int | None = None


def changed_paths(old: Files, new: Files) -> list[str]:
    """The paths whose mode or bytes differ, sorted."""
    return sorted(path for path in {*old, *new} if list(old.get(path, ())) != list(new.get(path, ())))


def classify(change: Change, envelope: Envelope) -> tuple[str, str]:
    """(lane, the reason in one sentence) of a release that replaces the live one."""
    if change.adapter_changed:
        also = " and changes the harness" if change.harness_changed else ""
        return "adapter", f"It brings another adapter{also}."
    if not change.harness_changed:
        return (
            "harness_outside",
            "Neither harness nor adapter differ from the live release; only what they run with does.",
        )
    if change.old_files is None or change.new_files is None:
        return "harness_outside", "The list of files of one of the two harnesses is not known."
    return _classify_harness(changed_paths(change.old_files, change.new_files), change, envelope)


def _classify_harness(paths: list[str], change: Change, envelope: Envelope) -> tuple[str, str]:
    outside = [path for path in paths if not any(fnmatch.fnmatchcase(path, rule) for rule in envelope.paths)]
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        return (
            "harness_outside",
            f"It changes {outside[0]}{more}, outside the envelope ({', '.join(envelope.paths)}).",
        )
    old, new = change.old_files or {}, change.new_files or {}
    odd = [path for path in paths if {old.get(path, ("file",))[0], new.get(path, ("file",))[0]} != {"file"}]
    if odd:
        return (
            "harness_outside",
            f"{odd[0]} is, or was, a link or a program; the envelope takes plain files only.",
        )
    if change.changed_lines is None:
        return "harness_outside", "How many lines change is not known."
    if change.changed_lines > envelope.max_changed_lines:
        return (
            "harness_outside",
            f"It changes {change.changed_lines} lines; the envelope ends at {envelope.max_changed_lines}.",
        )
    return "harness", f"It changes {change.changed_lines} lines, all of them inside the envelope."
