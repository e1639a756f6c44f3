"""Dozens of random histories, each act foretold by an oracle that knows the pages and not the code.

A failure names the history's number: `manage.py bench core --interleavings 1 --start NUMBER` repeats it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.governance.proof.deciding import Deciding
from tests.governance.proof.interleaving import interleave
from tests.governance.proof.oracle import Actor
from tests.governance.proof.stage import QUORUM, Stage, make_stage
from tests.governance.proof.world import Broken

HISTORIES = range(189, 249)  # between them every act is done and refused, and every lane goes live
AGAIN = range(8)  # on every database
SELDOM = {"pass_time", "signer", "account"}  # no acts of anybody


@pytest.fixture
def stage(db: None, signer_home: Path) -> Stage:
    """The instance from which every history starts."""
    return make_stage()


@pytest.mark.one_database
def test_no_guard_breaks_in_random_histories(stage: Stage, signer_home: Path) -> None:
    tally = told(HISTORIES, stage, signer_home)
    acts = Deciding.chances.keys() - SELDOM
    assert [act for act in sorted(acts) if not tally[f"{act} done"]] == []
    assert [act for act in sorted(acts) if not tally[f"{act} refused"]] == []
    assert [lane for lane in sorted(QUORUM) if lane != "revert" and not tally[f"live in lane {lane}"]] == []


def test_no_guard_breaks_on_this_database(stage: Stage, signer_home: Path) -> None:
    assert told(AGAIN, stage, signer_home)["propose done"] > len(AGAIN)


def told(numbers: range, stage: Stage, signer_home: Path) -> Counter[str]:
    """What happened in the histories with these numbers."""
    tally: Counter[str] = Counter()
    for number in numbers:
        tally += interleave(stage, signer_home / "keys", number)
    print(sorted(tally.items()))
    return tally


@pytest.mark.one_database
def test_the_same_number_is_the_same_history(stage: Stage, signer_home: Path) -> None:
    first, again, other = (interleave(stage, signer_home / "keys", seed) for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.one_database
def test_an_oracle_that_is_wrong_is_noticed_and_the_history_is_told(
    stage: Stage, signer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(self: object, by: Actor, *roles: str) -> bool:
        return False

    monkeypatch.setattr("tests.governance.proof.oracle.Oracle.may", nobody)
    with pytest.raises(Broken, match=r"(?s)interleaving 3, after these acts:.*was let through"):
        for _ in range(5):
            interleave(stage, signer_home / "keys", 3)
