"""`manage.py verify_audit`: check an export bundle, or the live tables, against the log."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.cli import PawlCommand
from governance.assurance.bundle_files import Unreadable, make_pins, render
from governance.assurance.bundle_parts import STATUS_WORDS, TAMPERED
from governance.assurance.verify import live_differences, verify_bundle
from governance.errors import AuditError, BadInput


class Command(PawlCommand):
    """Verify a bundle or the live tables. Exit status: 0 ok, 1 unreadable, 2 tampered, 3 incomplete, 4 rule broken."""

    help = "Check an export bundle, or with --live this service's own tables, against the log."
    example = (
        "python3 manage.py verify_audit audit-2026-11 --key 'pawl/log-...' --pin kept/checkpoint\n"
        "  python3 manage.py verify_audit --live"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to check and what to hold it against."""
        parser.add_argument("path", nargs="?", type=Path, help="a bundle: folder or .zip file")
        parser.add_argument(
            "--key", action="append", default=[], metavar="KEY", help="a log key that you kept"
        )
        parser.add_argument("--pin", type=Path, metavar="FILE", help="a checkpoint that you kept")
        parser.add_argument(
            "--witness", action="append", default=[], metavar="KEY", help="the key of a witness you trust"
        )
        parser.add_argument("--quorum", type=int, default=1, help="how many of them must have signed")
        parser.add_argument("--live", action="store_true", help="check this service's tables instead")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify; the process ends with the status that says how it went."""
        if options["live"] == (options["path"] is not None):
            raise BadInput("Name one bundle, or say --live.")
        status = self._live() if options["live"] else self._bundle(options)
        if status:
            sys.exit(status)

    def _bundle(self, options: dict[str, Any]) -> int:
        try:
            pins = make_pins(options["key"], options["pin"], options["witness"], options["quorum"])
        except (OSError, Unreadable) as error:
            raise AuditError(f"The keys or the checkpoint that you gave cannot be used: {error}.") from error
        report = verify_bundle(options["path"], pins)
        self.emit({**asdict(report), "verdict": STATUS_WORDS[report.status].lower()}, render(report))
        return report.status

    def _live(self) -> int:
        found = live_differences()
        text = "\n".join(found) or "Entries, checkpoint, signer, pointers and triggers are as the log says."
        self.emit({"differences": found}, text)
        return TAMPERED if found else 0
