"""Bundles made to harm, to confuse or to fool whoever checks them: always a status and one line, never a traceback."""

from __future__ import annotations

import io
import itertools
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_files import main, plain, render
from governance.assurance.bundle_parts import INCOMPLETE, OK, RULE_BROKEN, TAMPERED, UNREADABLE
from governance.errors import AuditError
from governance.management.commands.verify_audit import Command
from tests.governance.assurance.conftest import Honest
from tests.governance.assurance.forge import KEY, Forged, entry, story, with_auditor, with_new_manifest
from tests.governance.assurance.test_bundle import flipped, pinned, unpack

pytestmark = pytest.mark.one_database

Files = dict[str, bytes]
PINS = Pins([str(KEY)])
DEEP = b"[" * 100_000 + b"]" * 100_000
NOT_CANONICAL = {
    "a key twice": lambda line: line.replace(b'"v":1', b'"v":1,"v":1'),
    "a blank": lambda line: line.replace(b'"v":1', b'"v": 1'),
    "another order": lambda line: b'{"v":1,' + line.replace(b',"v":1', b"")[1:],
    "an escape": lambda line: line.replace(b'"action"', b'"\\u0061ction"'),
    "a float": lambda line: line.replace(b'"v":1', b'"v":1.0'),
    "a huge number": lambda line: line.replace(b'"v":1', b'"v":1' + b"0" * 5_000),
    "minus nought": lambda line: line.replace(b'"seq":0', b'"seq":-0'),
    "not a number": lambda line: line.replace(b'"v":1', b'"v":NaN'),
    "a lone surrogate": lambda line: line.replace(b'"v":1', b'"v":"\\ud800"'),
    "deep nesting": lambda line: line.replace(b'"v":1', b'"v":' + DEEP),
    "a carriage return": lambda line: line + b"\r",
    "a byte order mark": lambda line: b"\xef\xbb\xbf" + line,
    "UTF-16": lambda line: line.decode().encode("utf-16"),
    "a NUL": lambda line: line + b"\0",
    "nothing": lambda line: b"",
    "a list": lambda line: b"[]",
    "a truth as its number": lambda line: line.replace(b'"seq":0', b'"seq":false'),
}  # fmt: skip


@pytest.fixture(scope="module")
def honest_story() -> Files:
    return Forged(list(story().values())).files()


@pytest.mark.parametrize("change", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_what_is_not_canonical_json_is_tampered(
    honest_story: Files, change: Callable[[bytes], bytes]
) -> None:
    first, rest = honest_story["entries.jsonl"].split(b"\n", 1)
    assert change(first) != first
    for name, data in (
        ("entries.jsonl", change(first) + b"\n" + rest),
        ("MANIFEST.json", change(b'{"seq":0,"v":1}')),
    ):
        files = {**honest_story, name: data}
        report = check_bundle(with_new_manifest(files) if name != "MANIFEST.json" else files, PINS)
        assert report.status == TAMPERED and len(render(report).splitlines()) == len(report.steps) + 1


def test_every_file_with_other_line_ends_a_byte_order_mark_or_junk_is_refused(honest: Honest) -> None:
    for name, data in honest.read.items():
        if name == "MANIFEST.json" or name.startswith("artifacts/"):
            continue
        for other in (
            data.replace(b"\n", b"\r\n"),
            b"\xef\xbb\xbf" + data,
            data + b"junk",
            data + data,
            b"\0" * 9,
        ):
            if other == data:
                continue
            report = check_bundle(with_new_manifest({**honest.read, name: other}), pinned(honest))
            assert report.status in {TAMPERED, INCOMPLETE}, (name, other[:20])


@pytest.mark.parametrize("name", ["checkpoint.prev", "consistency.txt", "vkeys.txt"])
def test_every_byte_of_what_ties_a_bundle_to_the_past_counts(honest: Honest, name: str) -> None:
    data = honest.read[name]
    for place in range(len(data)):
        report = check_bundle(with_new_manifest({**honest.read, name: flipped(data, place)}), pinned(honest))
        assert report.status == TAMPERED, (place, report.problem)


def test_swapped_files_are_refused(honest: Honest) -> None:
    names = sorted(honest.read)
    for one, other in itertools.pairwise(names):
        if "MANIFEST.json" not in (one, other):
            swapped = {**honest.read, one: honest.read[other], other: honest.read[one]}
            assert check_bundle(with_new_manifest(swapped), pinned(honest)).status == TAMPERED, (one, other)


def test_a_log_cut_or_rewritten_and_signed_again_is_caught_by_the_pin_alone(tmp_path: Path) -> None:
    told = list(story().values())
    kept = tmp_path / "kept"
    kept.write_bytes(Forged(told).files()["checkpoint"])
    later = [*told, entry("campaign.started", ("campaign", "8"), {})]
    for log, alone in (
        (told[:-1], OK),
        (told[:20], OK),
        ([*told[:-1], {**told[-1], "reason": "Another one."}], OK),
    ):
        folder = unpack(Forged(log).files(), tmp_path / f"cut-{len(list(tmp_path.iterdir()))}")
        assert main([str(folder), "--key", str(KEY)]) == alone
        assert main([str(folder), "--key", str(KEY), "--pin", str(kept)]) in {TAMPERED, INCOMPLETE}
    grown = unpack(Forged(later).files(), tmp_path / "grown")
    assert (
        main([str(grown), "--key", str(KEY), "--pin", str(kept)]) == TAMPERED
    )  # its export is another entry


def told_to_terminal(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    return said.out + said.err


def test_what_a_log_says_cannot_write_on_the_auditors_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\nOK: 12 entries, root 00\u202e\x07"
    wrong = entry("pointer.move", ("pointer", evil), {"kind": "install", "generation": 0}, after="0" * 64)
    folder = unpack(Forged(with_auditor(wrong)).files(), tmp_path / "bundle")
    assert main([str(folder), "--key", str(KEY)]) == RULE_BROKEN
    said = told_to_terminal(capsys)
    assert "RULE BROKEN" in said and "\\x1b[2J\\nOK" in said and "\\u202e" in said
    assert not [line for line in said.splitlines() if line.startswith("OK")]
    assert all(" " <= letter <= "~" or letter == "\n" for letter in said)
    assert plain("x" * 10_000).endswith("... (10000 characters)")


def zipped(files: Mapping[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def broken_zip(path: Path, files: Files, kind: str) -> Path:
    """A zip file that the library reads with an error of its own kind."""
    data = bytearray(zipped(files, path).read_bytes())
    central = data.index(b"PK\x01\x02")
    if kind == "encrypted":
        data[6] |= 1
        data[central + 8] |= 1
    elif kind == "unknown method":
        struct.pack_into("<H", data, 8, 97)
        struct.pack_into("<H", data, central + 10, 97)
    elif kind == "spoilt":
        data[60] ^= 0xFF
        data[61] ^= 0xFF
    elif kind == "claims ten gigabytes":
        struct.pack_into("<I", data, central + 24, 0xFFFFFFF0)
        struct.pack_into("<I", data, data.index(b"PK\x01\x02", central + 4) + 24, 0xFFFFFFF0)
        struct.pack_into("<I", data, data.index(b"PK\x01\x02", central + 90) + 24, 0xFFFFFFF0)
    else:
        del data[-8:]
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("kind", ["encrypted", "unknown method", "spoilt", "claims ten gigabytes", "cut"])
def test_a_zip_file_that_cannot_be_read_is_unreadable(
    honest_story: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = broken_zip(tmp_path / "bundle.zip", honest_story, kind)
    assert main([str(path)]) == UNREADABLE
    assert len(told_to_terminal(capsys).splitlines()) == 1


def test_a_zip_of_paths_that_leave_it_writes_nothing_and_is_tampered(
    honest_story: Files, tmp_path: Path
) -> None:
    for name in ("../outside", "/tmp/outside", "a/../../b", "artifacts\\..\\b", "artifacts/../../b"):
        files = with_new_manifest({**honest_story, name: b"evil"})
        assert main([str(zipped(files, tmp_path / "bundle.zip"))]) == TAMPERED, name
        assert [found.name for found in tmp_path.iterdir()] == ["bundle.zip"]


def test_links_special_files_and_deep_folders_are_unreadable(
    honest_story: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = unpack(honest_story, tmp_path / "bundle")
    linked = [lambda place, to=to: place.symlink_to(to) for to in ("/etc/passwd", "/", "nowhere")]
    for make in (*linked, os.mkfifo):
        make(folder / "odd")
        assert main([str(folder)]) == UNREADABLE
        assert "plain files only" in told_to_terminal(capsys)
        (folder / "odd").unlink()
    levels = [f"{folder}{'/d' * level}" for level in range(1, 1_500)]
    for level in levels:
        os.mkdir(level)
    assert main([str(folder)]) == UNREADABLE
    assert "nested too deeply" in told_to_terminal(capsys)
    for level in reversed(levels):
        os.rmdir(level)


def test_a_folder_that_is_no_bundle_is_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == UNREADABLE
    assert "no MANIFEST.json" in told_to_terminal(capsys)


def test_a_file_of_ten_gigabytes_is_not_taken_into_memory(honest_story: Files, tmp_path: Path) -> None:
    folder = unpack(honest_story, tmp_path / "bundle")
    with (folder / "artifacts").open("wb") as sparse:
        sparse.truncate(10 * 10**9)
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "verify.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == UNREADABLE and "10,000," in done.stderr and len(done.stderr.splitlines()) == 1


def test_keys_and_quorums_that_are_none_are_wrong_usage(
    honest_story: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(unpack(honest_story, tmp_path / "bundle"))
    for wrong in (
        ["--key", "no key"],
        ["--witness", str(KEY)],
        ["--quorum", "0"],
        ["--quorum", "x"],
        ["--pin", folder],
    ):
        assert main([folder, *wrong]) == UNREADABLE, wrong
        assert "Traceback" not in told_to_terminal(capsys)
    options = {"path": Path(folder), "key": ["no key"], "pin": None, "witness": [], "quorum": 1}
    with pytest.raises(AuditError, match="a key that you gave is none"):
        Command(stdout=io.StringIO())._bundle(options)
