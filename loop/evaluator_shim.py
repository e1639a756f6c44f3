"""Runs inside the evaluator's sandbox: `python -I /pawl/evaluator_shim.py`.

Reads the outputs strictly first; only outputs that keep their contract reach the evaluator's own code. The
result goes to /out/result.json alone: what is printed counts for nothing. Standard library only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULT = Path("/out/result.json")


def main() -> None:
    """Writes {"rejected": sentence} or {"result": whatever evaluate returned}; any other end is a failure."""
    sys.path.insert(0, str(HERE))
    from outputs import OutputError, OutputSchema, read_outputs  # type: ignore[import-not-found]

    order = json.loads((HERE / "order.json").read_text(encoding="utf-8"))
    schema = OutputSchema.from_dict(order["schema"])
    try:
        read_outputs(Path("/outputs") / schema.file, schema, order["expected_ids"])
    except OutputError as error:
        RESULT.write_text(json.dumps({"rejected": str(error)}), encoding="utf-8")
        return
    sys.path[0] = "/evaluator"
    from evaluate import evaluate  # type: ignore[import-not-found]

    result = evaluate("/outputs", "/labels")
    RESULT.write_text(json.dumps({"result": result}), encoding="utf-8")


if __name__ == "__main__":
    main()
