"""`coins` with a harness that asks a model which a scripted provider serves in the place of our model server."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deploy.home import REPO
from governance.models import Task
from loop.installation import ARTIFACTS, install, store
from loop.serving.manager import _state_path
from tests.loop.conftest import COINS, Service
from tests.loop.fake_providers import FakeProvider
from tests.loop.preflighted import hold_green
from tests.loop.tiny_task import write_tree

CALLS = 3
MODEL = '\n[model]\nbase = "tiny-base"\nmax_tokens = 8\n'
PREPARE = (COINS / "prepare.py").read_text().replace(
    "if __name__",
    f"""import sys
sys.path.insert(0, {str(REPO)!r})
from tests.loop.tiny_models import write_model
if "--out" in sys.argv:
    write_model(Path(sys.argv[sys.argv.index("--out") + 1]) / "models" / "tiny-base")

if __name__""",
)  # fmt: skip
ASK = f"""
import urllib.error
import urllib.request


def ask(item):
    message = {{"role": "user", "content": "which one?"}}
    body = {{"model": "task-model", "messages": [message], "metadata": {{"item_id": item}}}}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {{"Content-Type": "application/json"}})
    try:
        urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError:
        print("no answer")


for row in rows[:{CALLS}]:
    ask(row["id"])
"""


def install_served(service: Service, folder: Path, provider: FakeProvider) -> Service:
    """The service with the task installed from `folder`; a rollout asks the provider CALLS times, then weighs."""
    seed = (COINS / "seed" / "main.py").read_text()
    seed = seed.replace("rows = map(", "rows = list(map(").replace(".splitlines())", ".splitlines()))", 1)
    seed = seed.replace("with (Path(os", f"{ASK}\nwith (Path(os", 1)
    toml = (COINS / "task.toml").read_text().replace('id = "coins"', 'id = "served"')
    write_tree(folder, {
        "task.toml": toml + MODEL, "task.md": "Ask, then weigh.", "prepare.py": PREPARE, "seed/main.py": seed,
        "seed/settings.toml": (COINS / "seed" / "settings.toml").read_text(),
        "evaluator/evaluate.py": (COINS / "evaluator" / "evaluate.py").read_text(),
    })  # fmt: skip
    task = install(folder, service.operator)
    hold_green(task, service.operator)
    serve_by(provider, task)
    return Service(task, service.operator, service.reviewers)


def serve_by(provider: FakeProvider, task: Task) -> None:
    """Have the provider stand where the task's model server would: it is found, healthy, and asked."""
    run = Path(os.environ["PAWL_HOME"]) / "run"
    run.mkdir(parents=True, exist_ok=True)
    state = {"url": f"{provider.base_url}/v1", "pid": os.getpid()}
    model = store(ARTIFACTS).path(task.spec["binding"]["base_model"])
    _state_path(model, run, "auto").write_text(json.dumps(state))
