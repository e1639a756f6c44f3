"""Whether the weights lever can be used here. Looks for packages without importing them."""

from __future__ import annotations

import importlib.util

PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "safetensors")
REMEDY = "python3 manage.py setup --extra train"


def training_available() -> tuple[bool, str]:
    """(True, "") when every package of the `train` extra is installed, else (False, one sentence with the remedy)."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return True, ""
    return False, (
        f"The weights lever needs {', '.join(missing)}, which this environment lacks; run `{REMEDY}` to install it."
    )
