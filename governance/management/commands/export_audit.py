"""`manage.py export_audit`: the log as a bundle that anyone can check offline."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.cli import PawlCommand
from governance.assurance.export import ExportRequest, export_bundle
from governance.audit.queries import LogFilter
from governance.desk.signin import sign_in
from governance.errors import BadInput


class Command(PawlCommand):
    """Export the audit log."""

    help = "Export the audit log as a bundle that can be checked offline."
    example = (
        "python3 manage.py export_audit audit-2026-11 --as ada\n"
        "  python3 manage.py export_audit digits.zip --task digits --since 120 --as ada"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to, which entries, what else, and who asks."""
        parser.add_argument("dest", type=Path, help="a new folder, or a new file ending in .zip")
        parser.add_argument(
            "--since", type=int, metavar="SIZE", help="size of an earlier checkpoint that you kept"
        )
        parser.add_argument("--identities", action="store_true", help="add who the people are")
        parser.add_argument("--artifact", action="append", default=[], metavar="NAME=FILE", help="add a file")
        parser.add_argument(
            "--views",
            default="csv,ocsf",
            help="forms for other programs: csv, ocsf, or none (default csv,ocsf)",
        )
        parser.add_argument("--task", default="", help="only entries of this task")
        parser.add_argument("--actor", default="", metavar="REF", help="only entries of this actor")
        parser.add_argument("--action", default="", help="only this action, or a family (`proposal.`)")
        parser.add_argument(
            "--from", dest="start", type=_moment, metavar="TIME", help="only from this time on (ISO)"
        )
        parser.add_argument(
            "--to", dest="end", type=_moment, metavar="TIME", help="only before this time (ISO)"
        )
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="the auditor who asks (asks for the password)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Export."""
        filters = LogFilter(**{name: options[name] for name in ("task", "actor", "action", "start", "end")})
        request = ExportRequest(
            filters,
            options["since"],
            options["identities"],
            _artifacts(options["artifact"]),
            _views(options["views"]),
        )
        bundle = export_bundle(options["dest"], by=sign_in(options["username"]), request=request)
        data = {"path": str(options["dest"]), "size": bundle.size, "root": bundle.root, "entry": bundle.seq}
        self.emit(
            {**data, "files": bundle.files},
            f"Wrote {bundle.files} files to {options['dest']}: a log of {bundle.size} entries.\n"
            f"Root {bundle.root}\n"
            f"Check it: python3 verify.py in the bundle, or python3 manage.py verify_audit {options['dest']}",
        )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not a time; write 2026-11-21 or 2026-11-21T09:30:00+00:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _views(text: str) -> tuple[str, ...]:
    forms = {"csv": "views/events.csv", "ocsf": "views/ocsf.jsonl"}
    return tuple(forms.get(name, name) for name in text.split(",") if name and name != "none")


def _artifacts(pairs: list[str]) -> dict[str, bytes]:
    artifacts = {}
    for pair in pairs:
        name, separator, file = pair.partition("=")
        if not separator or not Path(file).is_file():
            raise BadInput(f"--artifact {pair!r}: write NAME=FILE with a file that exists.")
        artifacts[name] = Path(file).read_bytes()
    return artifacts
