#!/usr/bin/env python3
"""Every command of the service: makes the environment it needs first, then runs the command in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from deploy import bootstrap


def main(argv: list[str]) -> None:
    """Prepare the environment (re-executing inside it when needed), then hand over to Django."""
    bootstrap.ensure(argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deploy.settings")
    from deploy.cli import run

    run(argv)


if __name__ == "__main__":
    main(sys.argv)
