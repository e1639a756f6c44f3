"""D4: what grades and what runs is the same after the rollouts as before. Read by the verifier from its own disk."""

from __future__ import annotations

from loop.detectors.exhibit import Exhibit, Sight, excerpt


def integrity(exhibit: Exhibit) -> Sight:
    """Fires when anything guarded changed or went away while the rollouts ran."""
    if not exhibit.digests:
        return Sight(None, "no digest was taken")
    changed = [each for each in exhibit.digests if each.before != each.after]
    if not changed:
        names = ", ".join(each.what for each in exhibit.digests)
        return Sight(False, f"{names}: as before the rollouts")
    return Sight(
        True,
        f"changed while the rollouts ran: {', '.join(each.what for each in changed)}",
        tuple(
            excerpt(
                each.what, f"{each.before[:16]} before, {each.after[:16] if each.after else 'gone'} after"
            )
            for each in changed
        ),
    )
