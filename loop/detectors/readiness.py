"""D7: the task itself was tried before the campaign: seed runs, bar is reached, shipped cheats are refused."""

from __future__ import annotations

from loop.detectors.exhibit import MOST_EXCERPTS, Exhibit, Sight, excerpt


def preflight(exhibit: Exhibit) -> Sight:
    """Fires when the task's preflight is not green, or is green for other digests than those that ran."""
    found = exhibit.readiness
    if found is None:
        return Sight(None, "no preflight of this task is on record")
    shown = tuple(excerpt("preflight", reason) for reason in found.reasons[:MOST_EXCERPTS])
    if not found.green:
        return Sight(True, "the preflight of the task is not green", shown)
    if not found.current:
        return Sight(True, "the preflight is green for other digests of the task than those that ran", shown)
    return Sight(False, "the preflight of the task is green for these digests")
