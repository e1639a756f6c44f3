"""What an edit may not contain, read from the source and never run. Pure.

The rules are those of the detector D5 (loop/detectors/edit.py); here they refuse an edit before it costs a rollout.
This is a tripwire for people's attention, not the boundary: the sandbox holds whatever the screen lets through. Only
public facts go in, so that a refusal tells an agent nothing about labels or hidden items.
"""

from __future__ import annotations

from loop.detectors.edit import hits
from loop.detectors.exhibit import Exhibit
from loop.errors import HarnessError
from loop.repos import Tree


def screen(old: Tree, new: Tree, public_ids: frozenset[str] = frozenset()) -> None:
    """Raise HarnessError with the first rule that a changed file of `new` newly breaks."""
    exhibit = Exhibit(before=_files(old), after=_files(new), ids=public_ids)
    for hit in hits(exhibit):
        place = f"{hit.path}, line {hit.line}" if hit.line else hit.path
        raise HarnessError(f"{place}: {hit.what}; the edit is refused.")


def _files(tree: Tree) -> dict[str, bytes]:
    return {path: data for path, (_, data) in tree.items()}
