"""Which lane a proposal takes: decided from what really changes, never from what the proposer says. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from governance.capabilities import Measures, forbidden
from governance.policy import Envelope

Files = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Change:
    """What a release changes against the live one. `files` are None where a version's file list is not known, and
    `measures` where the blobs are not.
    """

    adapter_changed: bool
    harness_changed: bool
    old_files: Files | None
    new_files: Files | None
    measures: Measures | None = None


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
    for rule, why in _broken(paths, change, envelope):
        return "harness_outside", f"{why} (envelope: {rule})"
    assert change.measures is not None
    return "harness", f"It changes {change.measures.lines} lines, all of them inside the envelope."


def _broken(paths: list[str], change: Change, envelope: Envelope) -> Iterator[tuple[str, str]]:
    """The rules of the envelope that the change breaks, each with a sentence that says how."""
    outside = [path for path in paths if not _matches(path, envelope.paths)]
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        yield (
            "paths",
            f"It changes {outside[0]}{more}, outside the envelope ({', '.join(envelope.paths)}).",
        )
    old, new = change.old_files or {}, change.new_files or {}
    for path in paths:
        if _matches(path, envelope.dependency_files):
            yield "dependency_files", f"It changes {path}, which names what the harness depends on."
        if {old.get(path, ("file",))[0], new.get(path, ("file",))[0]} != {"file"}:
            yield (
                "plain files",
                f"{path} is, or was, a link or a program; the envelope takes plain files only.",
            )
    yield from _size(change.measures, envelope)
    for path, names in (change.measures.names if change.measures else {}).items():
        if names is None:
            yield "forbidden_names", f"{path} cannot be read as Python, so what it uses is not known."
        elif bad := forbidden(names, envelope.forbidden_names):
            yield "forbidden_names", f"{path} newly uses {bad[0]}, which the envelope forbids."


def _size(measures: Measures | None, envelope: Envelope) -> Iterator[tuple[str, str]]:
    if measures is None or measures.lines is None or measures.size is None:
        yield "max_changed_lines", "How many lines change is not known."
    elif measures.lines > envelope.max_changed_lines:
        yield (
            "max_changed_lines",
            f"It changes {measures.lines} lines; the envelope ends at {envelope.max_changed_lines}.",
        )
    elif measures.size > envelope.max_changed_bytes:
        yield (
            "max_changed_bytes",
            f"Its changed lines have {measures.size:,} bytes; the envelope ends at {envelope.max_changed_bytes:,}.",
        )


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
