"""`python -m tests.governance.proof FIRST COUNT`: see interleaving.main."""

from __future__ import annotations

import sys

import django

if __name__ == "__main__":
    django.setup()
    from tests.governance.proof.interleaving import main

    main(int(sys.argv[1]), int(sys.argv[2]))
