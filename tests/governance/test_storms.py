"""Random people at the same moment, each on a connection of their own: log, rows, pointers and rules agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.governance.proof.clock import Clock
from tests.governance.proof.stage import make_stage
from tests.governance.proof.storms import storm

STORMS = 4


def test_people_who_act_at_once_leave_a_log_that_explains_everything(
    transactional_db: None, signer_home: Path
) -> None:
    stage, tally = make_stage(), Counter[str]()
    with Clock().rules():
        for seed in range(STORMS):
            tally += storm(stage, seed)
    print(sorted(tally.items()))
    assert tally["promote done"] >= 1
    assert tally["review done"] >= 3
    assert sum(count for what, count in tally.items() if what.endswith("refused")) >= 10
