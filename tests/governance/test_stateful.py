"""Hundreds of random histories, each act foretold by an oracle that knows the pages and not the code."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.governance.proof.deciding import Deciding
from tests.governance.proof.interleaving import interleave
from tests.governance.proof.stage import QUORUM, make_stage

FIRST = int(os.environ.get("PAWL_FIRST_SEED", "1"))
COUNT = int(os.environ.get("PAWL_INTERLEAVINGS", "200"))


def test_no_guard_breaks_in_hundreds_of_random_histories(db: None, signer_home: Path) -> None:
    stage = make_stage()
    tally: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + COUNT):
        tally += interleave(stage, signer_home / "keys", seed)
    print(tally)
