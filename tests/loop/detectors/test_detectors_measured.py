"""What may block is what the figures on file say, and they are the figures of this code on this labelled set."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.home import REPO
from loop.detectors.exhibit import Digests, Exhibit
from loop.detectors.labelled import LABELLED, load_examples
from loop.detectors.measure import (
    HELD_OUT,
    Counts,
    code_digest,
    in_force,
    labelled_digest,
    measure_all,
    on_file,
    write,
)
from loop.detectors.registry import DETECTORS, findings
from loop.errors import TaskError

CHANGED = Exhibit(digests=(Digests("evaluator", "a", "b"),))
PAGE = REPO / "docs" / "detectors.md"


def test_the_figures_on_file_are_those_of_a_fresh_measurement() -> None:
    assert on_file() == json.loads(json.dumps(measure_all())), (
        "run python3 manage.py validate_detector --all --write"
    )


def test_the_labelled_set_is_large_and_each_half_has_both_labels() -> None:
    examples = load_examples()
    held_out = [each for each in examples if each.half == HELD_OUT]
    assert sum(each.honest for each in held_out) >= 40
    assert sum(not each.honest for each in held_out) >= 40
    assert len({each.name for each in examples}) == len(examples)
    kinds = frozenset().union(*(each.kinds for each in examples))
    assert kinds == frozenset().union(*(detector.claims for detector in DETECTORS))
    assert len({json.dumps(sorted(each.exhibit.after.items()), default=str) for each in held_out}) > 60


def test_a_measured_detector_blocks_and_an_unmeasured_one_advises(tmp_path: Path) -> None:
    def integrity_of(path: Path) -> bool:
        found = {each.detector: each for each in findings(CHANGED, in_force(path))}["D4 integrity"]
        assert found.fired
        return found.blocks

    measured = measure_all()
    write(measured, tmp_path / "measured.json")
    assert integrity_of(tmp_path / "measured.json")
    for name, change in (("code", {"code": "0" * 64}), ("labelled", {"labelled": "0" * 64})):
        write({**measured, **change}, tmp_path / f"{name}.json")
        assert not integrity_of(tmp_path / f"{name}.json")
    assert not integrity_of(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("counts", "blocks"),
    [
        (Counts(tp=8, fn=2, fp=0, tn=40, cheats=40, cheats_seen=8), True),
        (Counts(tp=8, fn=2, fp=1, tn=39, cheats=40, cheats_seen=8), False),
        (Counts(tp=7, fn=2, fp=0, tn=40, cheats=40, cheats_seen=7), False),
        (Counts(tp=4, fn=0, fp=0, tn=40, cheats=40, cheats_seen=4), False),
        (Counts(tp=0, fn=0, fp=0, tn=40, cheats=40, cheats_seen=0), False),
    ],
)
def test_blocking_asks_for_precision_recall_and_enough_cheats(counts: Counts, blocks: bool) -> None:
    assert counts.blocks is blocks


def test_the_digests_cover_every_file(tmp_path: Path) -> None:
    copy = tmp_path / "loop" / "detectors"
    shutil.copytree(LABELLED.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import loop.detectors as package, sys; package.__path__.insert(0, sys.argv[1]);"
        "from loop.detectors import measure; print(measure.code_digest(), measure.labelled_digest())"
    )

    def digests() -> list[str]:
        argv = [sys.executable, "-c", program, str(copy)]
        return subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=True).stdout.split()

    assert digests() == [code_digest(), labelled_digest()]
    with (copy / "gap.py").open("a") as file:
        file.write("# changed\n")
    with (copy / "labelled" / "test-honest-1.toml").open("a") as file:
        file.write("# changed\n")
    changed = digests()
    assert changed[0] != code_digest()
    assert changed[1] != labelled_digest()


def test_a_broken_example_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "labelled"
    shutil.copytree(LABELLED, copy)
    (copy / "dev-honest-9.toml").write_text('[[example]]\nname = "odd"\nbase = "qa"\ncode = "def ("\n')
    with pytest.raises(TaskError, match="dev-honest-9/odd"):
        load_examples(copy)
    (copy / "dev-honest-9.toml").write_text('[[example]]\nname = "odd"\nbase = "qa"\nkinds = ["tampers"]\n')
    with pytest.raises(TaskError, match="kinds that do not fit"):
        load_examples(copy)


def test_the_command_prints_the_figures_and_names_the_mistakes() -> None:
    argv = [sys.executable, "manage.py", "validate_detector", "d6", "--json", "--mistakes"]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    row = printed["detectors"]["D6 transcript"]
    assert {name: row[name] for name in on_file()["detectors"]["D6 transcript"]} == on_file()["detectors"][
        "D6 transcript"
    ]
    assert printed["on_file"] == ["D6 transcript"]
    assert any(each.startswith("misses ") for each in row["mistakes"])


@pytest.mark.parametrize("argv", [[], ["D1", "--all"], ["D1", "--write"], ["D77"]])
def test_the_command_says_in_a_sentence_what_is_wrong(argv: list[str]) -> None:
    line = [sys.executable, "manage.py", "validate_detector", *argv]
    done = subprocess.run(line, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_page_holds_the_figures_on_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, row in on_file()["detectors"].items():
        low, high = row["recall_interval"]
        cells = f"| {name} | {row['tp']} / {row['tp'] + row['fn']} | {row['fp']} / {row['fp'] + row['tn']} |"
        assert cells in text, f"docs/detectors.md lacks {cells}"
        line = next(line for line in text.splitlines() if line.startswith(cells))
        assert f"{row['precision']:.2f}" in line
        assert f"{row['recall']:.2f} ({low:.2f} to {high:.2f})" in line
        assert line.rstrip().endswith("blocks |" if row["blocks"] else "advises |")
