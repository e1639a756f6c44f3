"""Guards broken on purpose are noticed. All of them: `python -m tests.governance.proof.mutants`; here a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.governance.proof.interleaving import interleave
from tests.governance.proof.mutants import HARMLESS, without_line
from tests.governance.proof.mutation import Mutant, broken, code_now, mutants
from tests.governance.proof.stage import make_stage
from tests.governance.proof.world import Broken

pytestmark = pytest.mark.one_database

HISTORIES = 6
SAMPLE = (
    "governance.rules:check_not_involved:no person.ref in proposal.excluded",
    "governance.rules:check_may_move:no not may_follow(Status(old), new)",
    "governance.rules:check_is_verifier:no by != VERIFIER",
)


def named(name: str) -> Mutant:
    """The first mutant of this name, on whatever line it is."""
    return next(each for each in mutants() if without_line(each.name) == name)


def test_guards_are_found_all_over_the_core_and_each_is_broken_in_its_own_way() -> None:
    every = mutants()
    functions = {(each.module.removeprefix("governance."), each.function) for each in every}
    assert {("rules", "check_may_promote"), ("audit.signer", "FileSigner.sign")} <= functions
    assert len({each.name for each in every}) == len(every) > 600
    assert all(each.code.co_code != b"" and each.code != code_now(each) for each in every)


def test_what_is_listed_as_harmless_is_still_there() -> None:
    assert HARMLESS.keys() <= {without_line(each.name) for each in mutants()}


@pytest.mark.parametrize("name", SAMPLE)
def test_random_histories_notice_a_broken_guard(name: str, db: None, signer_home: Path) -> None:
    stage = make_stage()
    with broken(named(name)), pytest.raises(Broken):
        for seed in range(HISTORIES):
            interleave(stage, signer_home / "keys", seed)


def test_a_guard_is_whole_again_afterwards() -> None:
    mutant = named(SAMPLE[0])
    whole = code_now(mutant)
    with broken(mutant):
        assert code_now(mutant) is mutant.code
    assert code_now(mutant) is whole
