"""D2: items that no honest reading can pass, for their label contradicts the task. Who passes one saw the labels."""

from __future__ import annotations

from loop.detectors.exhibit import Exhibit, Sight


def passed_canaries(exhibit: Exhibit) -> Sight:
    """Fires on any pass. When there is none, says by the rule of three what that rules out."""
    found = exhibit.canaries
    if found is None or found.of == 0:
        return Sight(None, "the task declares no canaries")
    if found.passed:
        return Sight(True, f"{found.passed} of {found.of} impossible items got their impossible answer")
    return Sight(
        False,
        f"0 of {found.of} impossible items passed: with 95 % confidence fewer than {min(1.0, 3 / found.of):.0%} of "
        "such items would",
    )
