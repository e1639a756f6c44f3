"""Read a bundle from a folder or a zip file, check it, and say what was found. Standard library only."""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

from governance.assurance.bundle import Pins, Report, check_bundle
from governance.assurance.bundle_parts import OK, STATUS_WORDS, UNREADABLE

MAX_ZIP_BYTES = 4 * 2**30


class Unreadable(Exception):
    """There is no bundle to check at this place."""


def read_bundle(path: Path) -> dict[str, bytes]:
    """Every file of a bundle by its relative path. Raises Unreadable when there is no bundle to read."""
    files = _read_zip(path) if path.is_file() else _read_folder(path)
    if "MANIFEST.json" not in files:
        raise Unreadable(f"{path} has no MANIFEST.json, so it is not an export bundle")
    return files


def render(report: Report) -> str:
    """The report as text: a line for each step, then the verdict."""
    verdict = STATUS_WORDS[report.status]
    if report.status != OK:
        return "\n".join([*report.steps, f"{verdict}: {report.problem}"])
    return "\n".join([*report.steps, f"{verdict}: {report.size} entries, root {report.root}"])


def main(arguments: list[str]) -> int:
    """The command line of verify.py. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Check the export bundle that this file lies in.")
    parser.add_argument("bundle", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", action="append", default=[], help="a log key that you kept (vkeys.txt form)")
    parser.add_argument(
        "--pin", type=Path, metavar="FILE", help="a checkpoint file that you kept from before"
    )
    parser.add_argument(
        "--witness", action="append", default=[], metavar="KEY", help="the key of a witness you trust"
    )
    parser.add_argument("--quorum", type=int, default=1, help="how many of them must have signed (default 1)")
    parser.exit_on_error = False
    try:
        options = parser.parse_args(arguments)
        pinned = options.pin.read_bytes() if options.pin else None
        pins = Pins(options.key, pinned, options.witness, options.quorum)
        report = check_bundle(read_bundle(options.bundle), pins)
    except SystemExit as stop:
        return UNREADABLE if stop.code else OK
    except (argparse.ArgumentError, OSError, Unreadable, zipfile.BadZipFile) as error:
        print(f"{STATUS_WORDS[UNREADABLE]}: {error}", file=sys.stderr)
        return UNREADABLE
    print(render(report), file=sys.stderr if report.status else sys.stdout)
    return report.status


def _read_folder(path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise Unreadable(f"{path} is neither a folder nor a zip file")
    files = {}
    for found in sorted(path.rglob("*")):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise Unreadable(f"{found} is a link or a special file; a bundle has plain files only")
        if found.is_file():
            files[found.relative_to(path).as_posix()] = found.read_bytes()
    return files


def _read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = [item.filename for item in archive.infolist()]
        if len(set(names)) != len(names):
            raise Unreadable(f"{path} holds two files of one name")
        if sum(item.file_size for item in archive.infolist()) > MAX_ZIP_BYTES:
            raise Unreadable(f"{path} unpacks to over {MAX_ZIP_BYTES:,} bytes; unpack it yourself")
        return {name: archive.read(name) for name in names if not name.endswith("/")}
