"""Points its output at devices and at itself."""

from __future__ import annotations

from pathlib import Path

for target in ("predictions.jsonl", "/dev/stdin", "/proc/self/environ", "/dev/zero"):
    Path("/out/predictions.jsonl").unlink(missing_ok=True)
    Path("/out/predictions.jsonl").symlink_to(target)
    Path(f"/out/{target.replace('/', '_')}_{len(target)}").symlink_to(target)
