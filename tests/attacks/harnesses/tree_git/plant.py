"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """Each would write to the victim when somebody runs git here."""
    act = f"#!/bin/sh\necho ran >> {targets['writable'][0]}\n"
    hooks = tree / ".git" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "post-commit", "post-checkout", "post-index-change", "reference-transaction"):
        (hooks / name).write_text(act)
        (hooks / name).chmod(0o755)
    core = f"[core]\n\tfsmonitor = {hooks}/pre-commit\n\thooksPath = {hooks}\n"
    config = f'{core}[filter "x"]\n\tclean = {hooks}/pre-commit\n'
    (tree / ".git" / "config").write_text(config)
    (tree / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
