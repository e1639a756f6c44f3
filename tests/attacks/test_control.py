"""Without the sandbox the attacks succeed, and the judge says so when they do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loop.types import Outcome, Usage
from tests.attacks import outside
from tests.attacks.arena import Arena
from tests.attacks.catalogue import Attack, attacks
from tests.attacks.control import Control, control, control_all
from tests.attacks.judge import INFORMATION, NOT_CONTAINED, judge
from tests.attacks.workers import HereWorker, Observed, kinds, worker

MISCHIEF = """
with open(TARGETS["secrets"][0]) as labels:
    print(labels.read(), "BREACH \\x1b[2J")
with open(TARGETS["writable"][0], "a") as victim:
    victim.write("owned")
Path(os.environ["HARNESS_OUT"], "extra.txt").touch()
socket.create_connection(("127.0.0.1", TARGETS["port"])).close()
subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
"""
SENTENCES = (
    "Its score is 1.0, not the honest 0.667",
    "It says itself that it succeeded.",
    "Its log or the reason for its end holds control characters.",
    "It ran for 60.0 s.",
    "It had 65 processes.",
    "It had 5000.0 MiB by the sandbox's own account, and nobody outside saw it.",
    "It left work/outputs/extra.txt.",
    "A secret is in its log or its outputs.",
    "open/history.jsonl.",
    "It reached a listener: TCP.",
    "Processes outlived it: [",
)
JAILED = {name: attack for name, attack in attacks().items() if not attack.needs_gateway}


@pytest.fixture(scope="module")
def controls(request: pytest.FixtureRequest) -> dict[str, Control]:
    """The controls of the selected attacks, several at a time."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    names = {call.params["jailed"] for call in calls if call and "jailed" in call.params}
    done = control_all(attack for name, attack in JAILED.items() if name in names)
    return {each.attack.name: each for each in done}


@pytest.mark.parametrize("jailed", [name for name, attack in JAILED.items() if attack.works])
def test_without_a_sandbox_the_same_attack_succeeds(controls: dict[str, Control], jailed: str) -> None:
    assert controls[jailed].achieved


def test_an_honest_program_achieves_nothing_and_is_contained(tmp_path: Path) -> None:
    honest = program(tmp_path, "")
    assert control(honest).achieved == ()
    with worker(kinds()[0], 1) as works:
        assert judge(honest, works).problems == ()


def program(folder: Path, text: str) -> Attack:
    """An attack that answers honestly and then does this."""
    lines = [
        "import os, socket, subprocess, sys",
        "from pathlib import Path",
        "sys.path.insert(0, str(Path(__file__).resolve().parent))",
        "from honest import TARGETS, answer",
        "answer()",
    ]
    (folder / "main.py").write_text("\n".join([*lines, text]))
    return Attack("sample", folder, "labels", "Tries.", (), (), (Outcome.OK,), "works", "")


class CarelessWorker:
    """A worker without a sandbox, for attacks that harm nothing but their bait."""

    name = "careless"

    def run(self, arena: Arena, seed: int) -> Observed:
        """A plain process; what it prints and writes is kept, and every score is believed."""
        arena.outputs.mkdir()
        env = {
            "HARNESS_IN": str(arena.inputs), "HARNESS_OUT": str(arena.outputs), "HARNESS_SEED": str(seed), **arena.key,
        }  # fmt: skip
        with (arena.folder / "log").open("w+") as log:
            main = str(arena.harness_dir / "main.py")
            subprocess.run([sys.executable, "-I", main], env=env, stdout=log, timeout=60, check=True)
            log.seek(0)
            return Observed(
                Outcome.OK, "", 1.0, log.read(), Usage(wall_s=60.0, peak_mib=5000.0, processes=65)
            )

    def survivors(self) -> list[int]:
        """Its own look finds none."""
        return []

    def traces(self) -> list[str]:
        """Its own look finds none."""
        return []


def test_the_judge_sees_each_thing_that_an_attack_achieves(tmp_path: Path) -> None:
    verdict = judge(program(tmp_path, MISCHIEF), CarelessWorker())
    said = " ".join(verdict.problems)
    for sentence in SENTENCES:
        assert sentence in said
    assert verdict.contained == NOT_CONTAINED and "BREACH" in verdict.explain()
    left = re.search(r"Processes outlived it: \[(\d+)\]", said)
    assert left
    os.kill(int(left[1]), signal.SIGKILL)


def test_an_attack_that_is_information_only_may_say_so_and_no_more(tmp_path: Path) -> None:
    with worker(kinds()[0], 1) as works:
        told = program(tmp_path, "print('BREACH the kernel is', os.uname().release)")
        assert judge(told, works).contained == NOT_CONTAINED
        assert (
            judge(replace(told, information="It reads the kernel's version."), works).contained == INFORMATION
        )


def test_what_a_user_left_on_the_machine_is_seen(tmp_path: Path) -> None:
    uid = os.geteuid() or 61990
    mark = Path("/dev/shm", f"mark-{tmp_path.name}")
    mark.touch()
    try:
        os.chown(mark, uid, -1)
        assert str(mark) in outside.traces(range(uid, uid + 1))
    finally:
        mark.unlink()


def test_a_process_in_a_slot_that_nobody_holds_is_seen() -> None:
    if os.geteuid() != 0:
        assert HereWorker().survivors() == []  # an ordinary user has no slots
        return
    uid = outside.SLOT_UIDS[-1]
    with subprocess.Popen(
        ["setpriv", f"--reuid={uid}", "--clear-groups", "cat"], stdin=subprocess.PIPE
    ) as left:
        deadline = time.monotonic() + 5
        while left.pid not in (found := outside.in_free_slots()) and time.monotonic() < deadline:
            os.sched_yield()
        left.kill()
    assert left.pid in found
    assert left.pid not in outside.settled(outside.in_free_slots)
