"""`manage.py sandbox_image`: makes the image that the container sandbox runs in, from this machine's own files."""

from __future__ import annotations

import os
import shutil
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from loop.sandbox.container.engine import ENGINE, IMAGE, INSTALL, KNOWN
from loop.sandbox.container.image import NAME, build


class Command(PawlCommand):
    """Needs no registry; a pulled image with the same Python will do as well."""

    help = "Make the image that the container sandbox runs in, from this machine's Python and libraries."
    example = (
        "python3 manage.py sandbox_image --engine podman\n\n"
        f"Prints the image's id; set {IMAGE} to it, and PAWL_SANDBOX=container, to run sandboxes there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which engine is to hold the image."""
        parser.add_argument("--engine", help="podman, docker or a path (default: the one that is found)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the files and say which image they became."""
        wanted = options["engine"] or os.environ.get(ENGINE, "").strip()
        found = [shutil.which(name) for name in ([wanted] if wanted else KNOWN)]
        engine = next((path for path in found if path), None)
        if engine is None:
            raise CommandError(
                f"No container engine ({wanted or 'podman or docker'}) is installed; {INSTALL}."
            )
        image = build(engine)
        self.emit({"image": image, "name": NAME}, f"{image}\nSet {IMAGE}={image} and PAWL_SANDBOX=container.")
