"""Runs inside the evaluator's sandbox and answers from the evaluator's own `reward`. Standard library only.

Line in: {"rows": [{"id", "completion"}]}. Line out: {"rewards": [float|null]} or {"error": sentence}. Ends when the
other side closes the socket.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from typing import Any

SOCKET, EVALUATOR, LABELS = "/run/llm.sock", "/evaluator/evaluate.py", "/labels"


def load_reward(path: str) -> Any:
    """The evaluator's reward function, or None when it offers none."""
    sys.path.insert(0, path.rsplit("/", 1)[0])
    spec = importlib.util.spec_from_file_location("evaluate", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "reward", None)


def answer(reward: Any, line: bytes, labels: str) -> dict[str, Any]:
    """One reply. What the evaluator raises is told, never turned into a reward."""
    if reward is None:
        return {"error": "the evaluator defines no reward(rows, labels_dir)"}
    try:
        values = list(reward(json.loads(line)["rows"], labels))
        return {"rewards": [value.item() if hasattr(value, "item") else value for value in values]}
    except Exception as error:  # the process boundary: the other side raises it as TrainingError
        return {"error": f"{type(error).__name__}: {error}"}


def main(path: str, evaluator: str, labels: str) -> None:
    """Connect and answer until the end of the stream."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    reward = load_reward(evaluator)
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(json.dumps(answer(reward, line, labels)).encode() + b"\n")
            stream.flush()


if __name__ == "__main__":
    main(SOCKET, EVALUATOR, LABELS)
