"""The bundle's verify.py: the checking modules joined into one file that needs only the standard library."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PARTS = (
    "audit/tree",
    "audit/canonical",
    "audit/ed25519",
    "audit/notes",
    "audit/entries",
    "assurance/views",
    "assurance/bundle_parts",
    "assurance/replay_rulebook",
    "assurance/replay_terms",
    "assurance/replay_people",
    "assurance/replay_brakes",
    "assurance/replay_proposals",
    "assurance/replay",
    "assurance/bundle",
    "assurance/bundle_files",
)
HEADER = '''\
#!/usr/bin/env python3
"""Check this export of a Pawl audit log: python3 verify.py [--key KEY] [--pin FILE] [--witness KEY]

Needs Python 3.11 or newer and nothing else. VERIFY.md says what is checked and what the exit status means:
0 ok, 1 cannot read, 2 tampered, 3 incomplete, 4 rule broken. The parts below are in reading order.
"""

from __future__ import annotations

'''
FOOTER = """

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@cache
def verifier_script() -> bytes:
    """The text of verify.py: the same on every call and every machine of one version of Pawl."""
    folder = Path(__file__).parents[1]
    imports: dict[str, set[str]] = {}
    bodies = []
    for name in PARTS:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        body, outside = _split_imports(text)
        for module, names in outside.items():
            imports.setdefault(module, set()).update(names)
        bodies.append(f"\n\n# {'-' * 20} {Path(name).name} {'-' * 20}\n\n{body.strip()}\n")
    return (HEADER + "".join(_import_lines(imports)) + "".join(bodies) + FOOTER).encode()


@cache
def verifier_guide() -> bytes:
    """The text of VERIFY.md."""
    return (Path(__file__).parent / "VERIFY.md").read_bytes()


def _split_imports(text: str) -> tuple[str, dict[str, set[str]]]:
    """A module's text without its docstring and imports, and the names it takes from each outside module."""
    outside: dict[str, set[str]] = {}
    drop: set[int] = set()
    for position, node in enumerate(ast.parse(text).body):
        if isinstance(node, ast.Import):
            outside.update({alias.name: set() for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module != "__future__" and not module.startswith("governance"):
                outside[module] = {alias.name for alias in node.names}
        elif position != 0:
            continue
        drop.update(range(node.lineno - 1, node.end_lineno or node.lineno))
    kept = [line for number, line in enumerate(text.splitlines()) if number not in drop]
    return "\n".join(kept), outside


def _import_lines(imports: dict[str, set[str]]) -> list[str]:
    plain = [f"import {module}\n" for module in sorted(imports) if not imports[module]]
    named = [
        f"from {module} import {', '.join(sorted(imports[module]))}\n"
        for module in sorted(imports)
        if imports[module]
    ]
    return plain + named
