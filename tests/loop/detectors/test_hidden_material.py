"""Canaries, rewording and honeytokens in the hidden set and the stores, as an installation makes them."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

from governance.actors import VERIFIER
from governance.audit.log import Facts
from loop import honeytokens
from loop.hidden import Reading, open_hidden
from loop.installation import LABELS, install, store
from loop.installed import open_task
from tests.loop.conftest import COINS, Service


def reading(purpose: str) -> Reading:
    """One opening of the hidden set."""
    return Reading(purpose, VERIFIER, ("task", "coins"), Facts(task="coins"))


def test_canaries_sit_among_the_hidden_items_and_only_the_labels_name_them(service: Service) -> None:
    task = open_task(service.task)
    with open_hidden(task.evaluator, "inputs.jsonl", reading("a")) as hidden:
        rows = [json.loads(line) for line in (hidden.inputs / "inputs.jsonl").read_text().splitlines()]
        labels = {
            row["id"]: row
            for row in map(json.loads, (hidden.labels / "labels.jsonl").read_text().splitlines())
        }
        names = sorted(path.name for path in hidden.inputs.iterdir())
    assert len(hidden.canaries) == 10
    assert hidden.canaries < set(hidden.ids) == {row["id"] for row in rows} == set(labels)
    assert len(rows) == 170
    assert names == ["inputs.jsonl"]
    assert {frozenset(row) for row in rows} == {frozenset({"id", "weight"})}
    assert not {labels[key]["answer"] for key in hidden.canaries} & {"heavy", "light"}
    places = [at for at, row in enumerate(rows) if row["id"] in hidden.canaries]
    assert places[-1] - places[0] > 20, "the canaries stand in a row, where they can be told from the others"


def test_a_second_opening_has_other_ids_for_the_same_items(service: Service) -> None:
    task = open_task(service.task)
    with (
        open_hidden(task.evaluator, "inputs.jsonl", reading("a")) as one,
        open_hidden(task.evaluator, "inputs.jsonl", reading("b")) as two,
    ):
        assert not set(one.ids) & set(two.ids)
        assert set(one.originals.values()) == set(two.originals.values())
        assert [one.originals[key] for key in one.ids] != [two.originals[key] for key in two.ids]


def test_a_task_may_say_how_its_items_are_reworded(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "coins"
    shutil.copytree(COINS, folder)
    text = (folder / "prepare.py").read_text()
    more = '    write(out / "hidden" / "reworded" / "inputs.jsonl", [{"id": i, "weight": w} for i, w in again])\n'
    text = text.replace("    write_canaries(out /", f"{more}    write_canaries(out /")
    text = text.replace(
        "        split = place",
        "        again = [(key, weight + 1e-9) for key, weight, _ in rows]\n        split = place",
    )
    (folder / "prepare.py").write_text(text)
    (folder / "task.toml").write_text((folder / "task.toml").read_text().replace('"coins"', '"coins-again"'))
    task = open_task(install(folder, service.operator))

    def weights(reworded: bool) -> dict[str, float]:
        with open_hidden(task.evaluator, "inputs.jsonl", reading("a"), reworded=reworded) as hidden:
            rows = map(json.loads, (hidden.inputs / "inputs.jsonl").read_text().splitlines())
            return {hidden.originals[row["id"]]: row["weight"] for row in rows}

    plain, other = weights(False), weights(True)
    assert plain.keys() == other.keys()
    assert sum(plain[key] != other[key] for key in plain) == 160


def test_honeytokens_lie_where_nothing_honest_looks_and_differ_from_home_to_home(service: Service) -> None:
    home = store(LABELS).root.parent
    tokens = {each.place: each.token for each in honeytokens.all_tokens()}
    assert len(set(tokens.values())) == 4
    kept = {path: path.read_text().strip() for path in home.rglob(honeytokens.FILE)}
    assert set(kept.values()) == set(tokens.values())
    assert kept[home / "keys" / honeytokens.FILE] == tokens[honeytokens.KEYS]
    beside = {path.parent.name for path in kept if kept[path] == tokens[honeytokens.PUBLIC_LABELS]}
    assert {"public-train", "public-val"} < beside
    key = home / "hidden" / honeytokens.KEY
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    task = open_task(service.task)
    with open_hidden(task.evaluator, "inputs.jsonl", reading("a")) as hidden:
        assert (hidden.labels / honeytokens.FILE).read_text().strip() == tokens[honeytokens.HIDDEN_LABELS]


def test_installing_a_task_again_changes_no_digest(service: Service) -> None:
    before = open_task(service.task).evaluator.digest
    assert open_task(install(COINS, service.operator)).evaluator.digest == before
