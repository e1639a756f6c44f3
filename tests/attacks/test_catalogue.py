"""What the attacks say of themselves, what they cover, and the page that lists them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.attacks.catalogue import GROUPS, CatalogueError, attacks, chosen, read
from tests.attacks.report import BEGIN, DOCS, END, docs_table
from tests.attacks.workers import REPO

GOOD = {
    "group": '"labels"', "tries": '"Looks."', "sandbox": "[1]", "peer": "[]", "outcomes": '["ok"]',
    "control": '"works"', "information": '""',
}  # fmt: skip
PEER_ITEMS = range(1, 11)
# Failures of other loops that no harness brings about alone.
PEER_TESTS = {
    7: "tests/loop/test_honeytokens.py::test_no_mark_of_a_hidden_set_is_where_the_loop_can_look",
    9: "tests/loop/test_sandbox_survivors.py::test_kill_9_of_the_caller_leaves_no_survivor",
    10: "tests/loop/test_scoring.py::test_a_failing_evaluator_gives_no_score",
}


def described(folder: Path, **changes: str) -> Path:
    """An attack's folder whose description is good but for the changes; an empty one leaves the key out."""
    target = folder / "sample"
    target.mkdir()
    (target / "main.py").touch()
    lines = [f"{key} = {value}" for key, value in {**GOOD, **changes}.items() if value]
    (target / "attack.toml").write_text("\n".join(lines))
    return target


def test_a_good_description_is_read(tmp_path: Path) -> None:
    attack = read(described(tmp_path))
    assert (attack.name, attack.group, attack.sandbox, attack.works) == ("sample", "labels", (1,), True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"group": '"lables"'}, "the group 'lables' is none of labels,"),
        ({"group": '"gateway"'}, "attacks of the group gateway, and no others, are named gateway_..."),
        ({"tries": ""}, "lacks key tries"),
        ({"tries": '" "'}, "tries must say something"),
        ({"control": '"a | b"'}, "control must be one line of text without a bar"),
        ({"peer": "[0]"}, "peer must be a list of numbers from 1"),
        ({"sandbox": "[true]"}, "sandbox must be a list of numbers from 1"),
        ({"outcomes": "[]"}, "outcomes must be a list with at least one of ok,"),
        ({"outcomes": '["sandbox_error"]'}, "the outcome 'sandbox_error' is none of ok,"),
        ({"tires": '"x"'}, "has an unknown key tires"),
        ({"peer": "["}, "is not TOML"),
    ],
)
def test_a_description_with_a_mistake_is_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(CatalogueError) as refused:
        read(described(tmp_path, **changes))
    assert sentence in str(refused.value) and "attack.toml" in str(refused.value)


def test_an_attack_without_description_or_program_is_refused(tmp_path: Path) -> None:
    folder = described(tmp_path)
    (folder / "attack.toml").unlink()
    with pytest.raises(CatalogueError, match=r"attack\.toml is missing"):
        read(folder)
    (folder / "main.py").unlink()
    with pytest.raises(CatalogueError, match=r"holds no main\.py"):
        read(folder)


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(CatalogueError, match="There is no attack named fork_bom"):
        chosen(["hang", "fork_bom"])


def test_every_group_is_covered() -> None:
    assert {attack.group for attack in attacks().values()} == set(GROUPS)


@pytest.mark.parametrize("item", PEER_ITEMS)
def test_every_failure_seen_elsewhere_is_covered(item: int) -> None:
    if item not in PEER_TESTS:
        assert [name for name, attack in attacks().items() if item in attack.peer]
        return
    path, _, name = PEER_TESTS[item].partition("::")
    tree = ast.parse((REPO / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_page_lists_the_attacks_as_they_are() -> None:
    page = DOCS.read_text(encoding="utf-8")
    written = page[page.index(BEGIN) : page.index(END) + len(END)]
    assert written == docs_table(), "run: python3 manage.py attack --write"
