"""Read a bundle from a folder or a zip file, check it, and say what was found. Standard library only."""

from __future__ import annotations

import argparse
import lzma
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from governance.assurance.bundle import Pins, Report, check_bundle
from governance.assurance.bundle_parts import OK, STATUS_WORDS, UNREADABLE
from governance.audit.notes import ALGORITHM_COSIGNATURE, NoteError, parse_key

MAX_BUNDLE_BYTES = 4 * 2**30  # a bundle is held in memory while it is checked
MAX_SHOWN = 2_000  # characters of one line that is printed
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


class Unreadable(Exception):
    """There is no bundle to check at this place."""


def read_bundle(path: Path) -> dict[str, bytes]:
    """Every file of a bundle by its relative path. Raises Unreadable when there is no bundle to read, OSError too."""
    try:
        files = _read_zip(path) if path.is_file() else _read_folder(path)
    except (RecursionError, MemoryError) as error:
        raise Unreadable(f"{path} is nested too deeply, or too large for this machine") from error
    except UNREADABLE_ZIP as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    if "MANIFEST.json" not in files:
        raise Unreadable(f"{path} has no MANIFEST.json, so it is not an export bundle")
    return files


def make_pins(keys: Sequence[str], pin: Path | None, witnesses: Sequence[str], quorum: int) -> Pins:
    """What the auditor brought along. Raises Unreadable for a key that is none or a quorum below one, OSError too."""
    try:
        for text in keys:
            parse_key(text)
        for text in witnesses:
            parse_key(text, ALGORITHM_COSIGNATURE)
    except NoteError as error:
        raise Unreadable(f"a key that you gave is none: {error}") from error
    if quorum < 1:
        raise Unreadable(f"a quorum of {quorum} asks for nobody; give at least 1")
    return Pins(keys, pin.read_bytes() if pin else None, witnesses, quorum)


def render(report: Report) -> str:
    """The report as text: a line for each step, then the verdict."""
    verdict = STATUS_WORDS[report.status]
    last = report.problem if report.status != OK else f"{report.size} entries, root {report.root}"
    return "\n".join(plain(line) for line in [*report.steps, f"{verdict}: {last}"])


def plain(text: str) -> str:
    """One line of ASCII without control characters: what a log says must not write on an auditor's terminal."""
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"
    return "".join(
        letter if " " <= letter <= "~" else letter.encode("unicode_escape").decode() for letter in shown
    )


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
        pins = make_pins(options.key, options.pin, options.witness, options.quorum)
        report = check_bundle(read_bundle(options.bundle), pins)
    except SystemExit as stop:
        return UNREADABLE if stop.code else OK
    except (argparse.ArgumentError, OSError, Unreadable) as error:
        print(plain(f"{STATUS_WORDS[UNREADABLE]}: {error}"), file=sys.stderr)
        return UNREADABLE
    print(render(report), file=sys.stderr if report.status else sys.stdout)
    return report.status


def _read_folder(path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise Unreadable(f"{path} is neither a folder nor a zip file")
    found, total = [], 0
    for each in path.rglob("*"):
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            raise Unreadable(f"{each} is a link or a special file; a bundle has plain files only")
        if each.is_file():
            total += each.stat().st_size
            found.append(each)
    _check_size(path, total)
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(found)}


def _read_zip(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = [item.filename for item in archive.infolist()]
        if len(set(names)) != len(names):
            raise Unreadable(f"{path} holds two files of one name")
        _check_size(path, sum(item.file_size for item in archive.infolist()))
        return {name: archive.read(name) for name in names if not name.endswith("/")}


def _check_size(path: Path, total: int) -> None:
    if total > MAX_BUNDLE_BYTES:
        raise Unreadable(
            f"{path} holds {total:,} bytes; this verifier takes {MAX_BUNDLE_BYTES:,} into memory"
        )
