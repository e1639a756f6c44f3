"""Runs inside the evaluator's sandbox: `python -I /pawl/evaluator_shim.py`.

Reads the outputs strictly first; only outputs that keep their contract reach the evaluator's own code. The
result goes to /out/result.json alone: what is printed counts for nothing. Standard library only.
"""

from __future__ import annotations

import builtins
import json
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULT = Path("/out/result.json")


def main() -> None:
    """Writes {"rejected": sentence}, {"raised": class} or {"result": whatever evaluate returned}.

    Any other end is a failure. What an exception says is printed, for operators, and not part of the result.
    """
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
    try:
        from evaluate import evaluate  # type: ignore[import-not-found]

        text = json.dumps({"result": evaluate("/outputs", "/labels")})
    except Exception as error:
        traceback.print_exc()
        text = json.dumps({"raised": _class_of(error)})
    RESULT.write_text(text, encoding="utf-8")


def _class_of(error: Exception) -> str:
    """The built-in class that an exception is or comes from: the name of any other could say anything."""
    names = (kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
    return next(names)


if __name__ == "__main__":
    main()
