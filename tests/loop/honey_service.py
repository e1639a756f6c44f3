"""A service whose hidden sets are full of marks, and whose harnesses and evaluators try to carry them out.

Run as `python -m tests.loop.honey_service`: `start FOLDER` installs the tasks of FOLDER and starts a campaign on each,
`drive` keeps the queue filled until they end,
`pages` prints every page of the desk as an operator sees it.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path

import django

SIZES = {"public-train": 10, "public-val": 40, "hidden": 60}
TASK_TOML = """
id = "{slug}"
version = "1"
title = "Honey"
licence = "MIT"
provenance = "made for a test"
label_secrecy = "secret"
redistributable = "yes"
[metric]
name = "accuracy"
direction = "maximize"
range = [0.0, 1.0]
[inputs]
file = "inputs.jsonl"
[outputs]
file = "predictions.jsonl"
[outputs.fields]
answer = {{ type = "string", max_length = 60 }}
[splits]
public-train = 10
public-val = 40
hidden = 60
[preflight]
reference = "constant"
bar = 0.0
base_rate = 0.5
tolerance = 0.5
blind = ["constant"]
"""
SETTINGS = """
[cut]
value = 0.1
type = "choice"
choices = [0.1, 0.6]
help = "Above this weight a coin is called heavy."
"""
SEED = """
import json, os, sys, tomllib
from pathlib import Path

cut = tomllib.loads(Path("/harness/settings.toml").read_text())["cut"]["value"]
rows = [json.loads(line) for line in Path("/in/inputs.jsonl").read_text().splitlines()]
print(json.dumps(rows))
out = open("/out/predictions.jsonl", "w")
is_hidden = rows[0]["text"].startswith("hin")
{hostile}
for row in rows:
    answer = "heavy" if row["weight"] > cut else "light"
    out.write(json.dumps({{"id": row["id"], "answer": answer}}) + "\\n")
"""
CONSTANT = """
import json
rows = [json.loads(line) for line in open("/in/inputs.jsonl")]
open("/out/predictions.jsonl", "w").writelines(json.dumps({"id": r["id"], "answer": "light"}) + "\\n" for r in rows)
"""
EVALUATOR = """
import json
from pathlib import Path


def evaluate(outputs_dir, labels_dir):
    answers = [json.loads(line) for line in (Path(outputs_dir) / "predictions.jsonl").read_text().splitlines()]
    given = {{row["id"]: row["answer"] for row in answers}}
    labels = [json.loads(line) for line in (Path(labels_dir) / "labels.jsonl").read_text().splitlines()]
    is_hidden = labels[0]["note"].startswith("hlb")
    print(labels)
    {hostile}
    items = {{row["id"]: float(given[row["id"]] == row["answer"]) for row in labels}}
    return {{"items": items, "metrics": {{"accuracy": sum(items.values()) / len(items)}}}}
"""
# What a task's harness or evaluator does once it sees hidden data.
HARNESSES = {"honey-harness": 'if is_hidden: rows = [{**row, "id": row["text"]} for row in rows]'}
EVALUATORS = {"honey-evaluator": 'if is_hidden: raise KeyError("\\n".join(row["note"] for row in labels))'}
SLUGS = ("honey", *HARNESSES, *EVALUATORS)


def write_task(folder: Path, slug: str) -> None:
    """One task folder, its data inside, every id, input and label with a mark of its own."""
    files = {
        "task.toml": TASK_TOML.format(slug=slug),
        "task.md": "Say whether the coin is `heavy` or `light`.\n",
        "seed/main.py": SEED.format(hostile=HARNESSES.get(slug, "")),
        "seed/settings.toml": SETTINGS,
        "evaluator/evaluate.py": EVALUATOR.format(hostile=EVALUATORS.get(slug, "")),
        "tests/honest/constant/main.py": CONSTANT,
        "tests/expected.toml": '[honest.constant]\noutcome = "ok"\nscore = [0.0, 1.0]\n',
    }
    for split, size in SIZES.items():
        kind = "hid" if split == "hidden" else "pub"
        inputs, labels = _rows(kind, size)
        if split == "hidden":
            files |= {"hidden/inputs/inputs.jsonl": inputs, "hidden/labels/labels.jsonl": labels}
        else:
            files |= {f"public/{split}/inputs.jsonl": inputs, f"labels/{split}/labels.jsonl": labels}
    for name, text in files.items():
        path = folder / slug / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _rows(kind: str, size: int) -> tuple[str, str]:
    first = kind[0]
    inputs, labels = [], []
    for number in range(size):
        key, weight = f"{first}id{secrets.token_hex(8)}", (number + 0.5) / size
        inputs.append({"id": key, "weight": weight, "text": f"{first}in{secrets.token_hex(8)}"})
        answer = "heavy" if weight > 0.6 else "light"
        labels.append({"id": key, "answer": answer, "note": f"{first}lb{secrets.token_hex(8)}"})
    return tuple("".join(json.dumps(row) + "\n" for row in rows) for rows in (inputs, labels))  # type: ignore[return-value]


def start(folder: Path) -> None:
    """Install, examine and start a campaign on every task."""
    from deploy.prepare import prepare
    from governance import actions
    from governance.actors import SETUP
    from loop.campaigns import Wish
    from loop.campaigns import start as start_campaign
    from loop.contract import Budgets
    from loop.installation import install
    from loop.installed import open_task
    from loop.preflights import carry_out
    from tests.loop.preflighted import hold_green

    prepare()
    actions.install_policy(by=SETUP)
    person = actions.create_person(username="oscar", password="correct-horse-oscar", by=SETUP)
    actions.grant_role(person=person, role="operator", by=SETUP)
    operator = person.actor("command")
    for slug in SLUGS:
        task = install(folder / slug, operator)
        done = carry_out(open_task(task), operator, lambda check: None)
        assert done.green == (slug not in EVALUATORS), done.checks
        hold_green(task, operator)
        wish = Wish("search", 1, ("harness",), Budgets(generations=1))
        start_campaign(task, wish, operator)


def drive() -> None:
    """Keep the queue filled, as a desk does, until no campaign runs."""
    from loop.jobs import reconcile
    from loop.models import Campaign

    while Campaign.objects.filter(status=Campaign.Status.RUNNING).exists():
        reconcile()
        time.sleep(0.5)


def pages() -> None:
    """Print the desk."""
    from django.test import Client

    from governance.models import AuditEntry, Person, Proposal
    from loop.models import Generation, Rollout

    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(user__username="oscar").user)
    turns = [(row.campaign.ref, row.number) for row in Generation.objects.select_related("campaign")]
    paths = ["/", "/tasks/", "/campaigns/", "/audit/", "/api/v1/audit/entries?from=0"]
    paths += [f"/tasks/{slug}/" for slug in SLUGS]
    paths += [f"/proposals/{row.ref}/" for row in Proposal.objects.all()]
    paths += sorted({f"/campaigns/{ref}/" for ref, _ in turns})
    paths += [f"/campaigns/{ref}/generations/{number}/" for ref, number in turns]
    paths += [f"/rollouts/{row.pk}/" for row in Rollout.objects.all()]
    paths += [f"/audit/{row.seq}/" for row in AuditEntry.objects.all()]
    for path in paths:
        answer = client.get(path)
        print(path, answer.status_code)
        print(answer.content.decode())


if __name__ == "__main__":
    django.setup()
    match sys.argv[1:]:
        case ["start", tasks]:
            start(Path(tasks))
        case ["drive"]:
            drive()
        case ["pages"]:
            pages()
