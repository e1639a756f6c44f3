#!/usr/bin/env python3
"""Every command of the service: makes the environment it needs first, then runs the command in it."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (whoever has an older one should read this, not a syntax error)
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit("Pawl needs Python 3.11 or newer; this is " + found + ". Run manage.py with a newer python3.")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from deploy import bootstrap


def main(argv: list[str]) -> None:
    """Prepare the environment (re-executing inside it when needed), then hand over to Django."""
    bootstrap.ensure(argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deploy.settings")
    from deploy.cli import run

    run(argv)


if __name__ == "__main__":
    main(sys.argv)
