"""An honest export verifies; any changed byte, missing piece or rewritten past is refused, and named."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.assurance.bundle import Pins, Report, check_bundle
from governance.assurance.bundle_files import main
from governance.assurance.bundle_parts import (
    INCOMPLETE,
    OK,
    TAMPERED,
    UNREADABLE,
    write_consistency,
    write_proof,
)
from governance.audit.notes import make_key
from governance.audit.tree import Tree, leaf_hash
from tests.governance.assurance.conftest import Honest
from tests.governance.assurance.forge import (
    KEY,
    Forged,
    entry,
    grant,
    signed,
    story,
    with_auditor,
    with_new_manifest,
)

pytestmark = pytest.mark.one_database

EXPECTED_FILES = {
    "MANIFEST.json", "VERIFY.md", "artifacts/adapters/one/manifest.json", "checkpoint", "checkpoint.prev",
    "consistency.txt", "entries.jsonl", "identities.jsonl", "leaf-hashes.txt", "verify.py", "views/events.csv",
    "views/ocsf.jsonl", "vkeys.txt",
}  # fmt: skip


def pinned(honest: Honest) -> Pins:
    return Pins([honest.key], honest.kept)


def flipped(data: bytes, place: int, bit: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def sampled(data: bytes, count: int) -> list[int]:
    """All positions of a small file, else that many spread over it, both ends among them."""
    if len(data) <= count:
        return list(range(len(data)))
    return sorted({round(step * (len(data) - 1) / (count - 1)) for step in range(count)})


def test_an_honest_export_verifies_in_every_step(honest: Honest) -> None:
    report = check_bundle(honest.files, pinned(honest))
    assert (report.status, report.problem, report.withheld) == (OK, "", [])
    assert len(report.steps) == 9
    assert "moves of 4 pointers followed the rules" in report.steps[8]
    assert "NOT PINNED" in check_bundle(honest.files, Pins()).steps[1]


def test_an_export_holds_what_it_should(honest: Honest) -> None:
    proofs = {name for name in honest.files if name.startswith("proofs/")}
    versions = {name for name in honest.files if name.startswith("versions/")}
    assert len(versions) == 2 and set(honest.files) - proofs - versions == EXPECTED_FILES
    entries = [json.loads(line) for line in honest.files["entries.jsonl"].splitlines()]
    assert [entry["seq"] for entry in entries] == list(range(honest.size))
    assert entries[-1]["action"] == "audit.export"
    moves = [entry for entry in entries if entry["action"] == "pointer.move"]
    assert [entry["detail"]["kind"] for entry in moves] == [
        "install",
        "install",
        "install",
        "install",
        "promote",
        "revert",
    ]
    assert {f"proofs/{entry['seq']}.tlog-proof" for entry in moves} <= proofs


def test_a_changed_byte_anywhere_is_refused(honest: Honest) -> None:
    files = honest.files
    for name, data in files.items():
        for place in sampled(data, 250 if name == "MANIFEST.json" else 60):
            for bit in (1, 0x80):
                report = check_bundle({**files, name: flipped(data, place, bit)}, pinned(honest))
                assert report.status in {TAMPERED, INCOMPLETE}, (name, place, bit)
                assert report.status == TAMPERED or name == "MANIFEST.json", (
                    name,
                    place,
                    bit,
                    report.problem,
                )


def test_a_changed_byte_is_refused_even_with_a_new_manifest(honest: Honest) -> None:
    files = honest.files
    proofs = sorted(name for name in files if name.startswith("proofs/"))[3:]
    for name, data in files.items():
        if name == "MANIFEST.json" or name in proofs:
            continue
        for place in sampled(data, 16):
            changed = with_new_manifest({**files, name: flipped(data, place)})
            report = check_bundle(changed, pinned(honest))
            assert report.status == TAMPERED, (name, place, report.problem)


def test_an_added_or_cut_file_is_refused_with_either_manifest(honest: Honest) -> None:
    files = honest.files
    for name in files:
        for data in (files[name] + b"\n", files[name][:-1], b""):
            for remade in (False, True):
                changed = {**files, name: data}
                if remade and name != "MANIFEST.json":
                    changed = with_new_manifest(changed)
                report = check_bundle(changed, pinned(honest))
                assert report.status in {TAMPERED, INCOMPLETE}, (name, data[:20], remade)


def test_a_missing_file_is_incomplete_with_either_manifest(honest: Honest) -> None:
    for name in honest.files:
        if name == "MANIFEST.json":
            continue
        left = {path: data for path, data in honest.files.items() if path != name}
        for files in (left, with_new_manifest(left)):
            assert check_bundle(files, pinned(honest)).status == INCOMPLETE, name


@pytest.mark.parametrize("name", ["extra.txt", "artifacts/more.txt", "proofs/0x.tlog-proof", "../outside"])
def test_a_file_too_many_is_refused_with_either_manifest(honest: Honest, name: str) -> None:
    files = {**honest.files, name: b"more"}
    for each in (files, with_new_manifest(files)):
        assert check_bundle(each, pinned(honest)).status == TAMPERED


def test_a_left_out_entry_is_incomplete(honest: Honest) -> None:
    lines = honest.files["entries.jsonl"].splitlines(keepends=True)
    for gone in (0, 5, len(lines) - 1):
        kept = b"".join(line for number, line in enumerate(lines) if number != gone)
        report = check_bundle(with_new_manifest({**honest.files, "entries.jsonl": kept}), pinned(honest))
        assert report.status == INCOMPLETE and "step 5" in report.problem


def test_entries_out_of_order_or_twice_are_refused(honest: Honest) -> None:
    lines = honest.files["entries.jsonl"].splitlines(keepends=True)
    for wrong in ([lines[1], lines[0], *lines[2:]], [lines[0], *lines], [*lines, lines[-1]]):
        files = with_new_manifest({**honest.files, "entries.jsonl": b"".join(wrong)})
        assert check_bundle(files, pinned(honest)).status == TAMPERED


def test_left_out_leaf_hashes_are_incomplete(honest: Honest) -> None:
    leaves = honest.files["leaf-hashes.txt"]
    files = with_new_manifest({**honest.files, "leaf-hashes.txt": leaves[:-65]})
    assert check_bundle(files, pinned(honest)).status == INCOMPLETE
    files = with_new_manifest({**honest.files, "leaf-hashes.txt": leaves.upper()})
    assert check_bundle(files, pinned(honest)).status == TAMPERED


def test_another_key_and_a_foreign_log_are_refused(honest: Honest) -> None:
    other = make_key("pawl/log-x", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert check_bundle(honest.files, Pins([str(other)])).status == TAMPERED
    assert check_bundle(honest.files, Pins(["not a key"])).status == TAMPERED
    assert check_bundle(Forged(list(story().values())).files(), pinned(honest)).status == TAMPERED


def test_a_past_rewritten_by_the_holder_of_the_key_is_exposed_by_a_kept_checkpoint_alone() -> None:
    entries = list(story().values())
    kept = signed(tree_of(Forged(entries[:6]).files()))
    honest = Forged(entries).files()
    kept_honest = signed(
        Tree([bytes.fromhex(line) for line in honest["leaf-hashes.txt"].decode().split()][:6])
    )
    rewritten = [*entries[:5], {**entries[5], "reason": "Another past."}, *entries[6:]]
    files = Forged(rewritten).files()
    assert check_bundle(honest, Pins([str(KEY)], kept_honest)).status == OK
    assert check_bundle(files, Pins([str(KEY)])).status == OK
    report = check_bundle(files, Pins([str(KEY)], kept_honest))
    assert report.status == TAMPERED and "the root at the pinned size 6" in report.problem
    assert check_bundle(files, Pins([str(KEY)], kept)).status == TAMPERED


def tree_of(files: Mapping[str, bytes]) -> Tree:
    return Tree(bytes.fromhex(line) for line in files["leaf-hashes.txt"].decode().split())


def test_a_log_that_ends_before_the_kept_checkpoint_is_incomplete() -> None:
    entries = list(story().values())
    kept = signed(tree_of(Forged(entries).files()))
    report = check_bundle(Forged(entries[:4]).files(), Pins([str(KEY)], kept))
    assert report.status == INCOMPLETE and "the log ends at 5" in report.problem


def test_a_kept_checkpoint_of_somebody_else_is_refused(honest: Honest) -> None:
    for note in (signed(Tree([leaf_hash(b"x")])), b"", b"no note"):
        assert check_bundle(honest.files, Pins([honest.key], note)).status == TAMPERED


def test_a_filtered_export_says_what_it_withholds_and_is_not_replayed() -> None:
    entries = list(story().values())
    files = Forged(entries, filters={"task": "digits"}, leave_out=frozenset({1, 2, 4})).files()
    report = check_bundle(files, Pins([str(KEY)]))
    assert report.status == OK and report.withheld == [1, 2, 4]
    assert "withholds 1-2, 4" in report.steps[4] and "not replayed" in report.steps[8]


def test_entries_written_while_the_export_was_made_are_named_and_the_rest_is_replayed() -> None:
    files = Forged(list(story().values()), later=[grant("p-x"), grant("p-y")]).files()
    report = check_bundle(files, Pins([str(KEY)]))
    first = len(story()) + 1
    assert report.status == OK and report.withheld == [first, first + 1]
    assert f"written after the export: {first}-{first + 1}" in report.steps[4]
    assert "5 moves" in report.steps[8]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("proofs/1.tlog-proof", b"c2sp.org/tlog-proof@v1\nindex 01\n\n"),
        ("proofs/1.tlog-proof", b"c2sp.org/tlog-proof@v1\nindex 2\n\n"),
        ("proofs/1.tlog-proof", b"c2sp.org/tlog-proof@v1\nindex 1\nno base64\n\n"),
        ("proofs/1.tlog-proof", b"c2sp.org/tlog-proof@v2\nindex 1\n\n"),
        ("proofs/1.tlog-proof", b"c2sp.org/tlog-proof@v1\nindex 1\n\n"),
        ("entries.jsonl", b"\xff\n"),
        ("entries.jsonl", b"{}\n"),
        ("leaf-hashes.txt", b"zz\n" * 12),
        ("vkeys.txt", b"no key\n"),
    ],
)
def test_malformed_files_with_a_new_manifest_are_refused(name: str, data: bytes) -> None:
    files = Forged(list(story().values())).files()
    assert check_bundle(with_new_manifest({**files, name: data}), Pins([str(KEY)])).status == TAMPERED


def test_a_rewritten_entry_with_its_own_leaf_is_refused_where_no_proof_stands_in_the_way() -> None:
    plain = with_auditor(*(entry("campaign.started", ("campaign", str(number)), {}) for number in range(3)))
    files = Forged(plain).files()
    other = Forged([*plain[:-1], entry("campaign.started", ("campaign", "rewritten"), {})]).files()
    mixed = with_new_manifest({**other, "checkpoint": files["checkpoint"]})
    told = json.loads(files["MANIFEST.json"])
    assert json.loads(mixed["MANIFEST.json"])["root"] != told["root"]
    report = check_bundle(mixed, Pins([str(KEY)]))
    assert report.status == TAMPERED and "the root over the leaf hashes" in report.problem


def test_a_bundle_that_ships_other_keys_than_the_pinned_one_is_refused() -> None:
    other = make_key("pawl/log-x", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    files = Forged(list(story().values()), extra={"vkeys.txt": f"{other}\n".encode()}).files()
    report = check_bundle(files, Pins([str(KEY)]))
    assert report.status == TAMPERED and "none of the pinned keys" in report.problem


def test_a_proof_of_another_tree_is_refused() -> None:
    files = Forged(list(story().values())).files()
    other = Tree([leaf_hash(bytes([n])) for n in range(len(story()) + 1)])
    proof = write_proof(other, 1, files["checkpoint"])
    report = check_bundle(with_new_manifest({**files, "proofs/1.tlog-proof": proof}), Pins([str(KEY)]))
    assert report.status == TAMPERED and "does not prove entry 1" in report.problem


def test_a_consistency_file_of_another_tree_is_refused(honest: Honest) -> None:
    other = Tree([leaf_hash(bytes([n])) for n in range(honest.size)])
    size = int(honest.files["checkpoint.prev"].split(b"\n")[1])
    files = with_new_manifest({**honest.files, "consistency.txt": write_consistency(other, size)})
    report = check_bundle(files, pinned(honest))
    assert report.status == TAMPERED and "does not tie" in report.problem


def test_an_unfiltered_export_that_withholds_is_incomplete() -> None:
    files = Forged(list(story().values()), leave_out=frozenset({2})).files()
    report = check_bundle(files, Pins([str(KEY)]))
    assert report.status == INCOMPLETE and "withholds entries, first 2" in report.problem


@pytest.mark.parametrize(
    "damage", [{"actor": 3}, {"time": "yesterday"}, {"outcome": []}, {"object": None}, {"reason": {"a": 1}}]
)
def test_entries_that_the_verifier_cannot_read_end_in_a_verdict_not_in_a_crash(
    damage: dict[str, object],
) -> None:
    forged = [{**each, **damage} for each in story().values()]
    report = check_bundle(Forged(forged).files(), Pins([str(KEY)]))
    assert report.status == TAMPERED


def run_verifier(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """verify.py of a folder far from the project, isolated from it."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(folder / "verify.py"), *arguments],
        cwd=folder.parent,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def unpack(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_the_bundles_own_verifier_says_the_same_with_nothing_but_python(
    honest: Honest, tmp_path: Path
) -> None:
    folder = unpack(honest.files, tmp_path / "bundle")
    (tmp_path / "kept").write_bytes(honest.kept)
    done = run_verifier(folder, "--key", honest.key, "--pin", str(tmp_path / "kept"))
    report = check_bundle(honest.files, pinned(honest))
    assert (done.returncode, done.stderr) == (OK, "")
    assert done.stdout.splitlines()[:9] == report.steps
    assert done.stdout.splitlines()[9] == f"OK: {report.size} entries, root {report.root}"


@pytest.mark.parametrize("name", sorted(EXPECTED_FILES - {"verify.py"}))
def test_the_bundles_own_verifier_refuses_changed_and_missing_files(
    honest: Honest, tmp_path: Path, name: str
) -> None:
    data = honest.files[name]
    folder = unpack({**honest.files, name: flipped(data, len(data) // 2)}, tmp_path / "bundle")
    assert run_verifier(folder, "--key", honest.key).returncode == TAMPERED
    (folder / name).unlink()
    expected = UNREADABLE if name == "MANIFEST.json" else INCOMPLETE
    assert run_verifier(folder, "--key", honest.key).returncode == expected


def test_the_bundles_own_verifier_names_a_broken_rule_and_wrong_usage(honest: Honest, tmp_path: Path) -> None:
    told = story()
    told["promote"]["detail"]["consumed"] = []
    folder = unpack(Forged(list(told.values())).files(), tmp_path / "bundle")
    done = run_verifier(folder, "--key", str(KEY))
    assert done.returncode == 4 and "RULE BROKEN" in done.stderr
    assert run_verifier(folder, "--nonsense").returncode == UNREADABLE
    assert run_verifier(folder, str(tmp_path / "nowhere")).returncode == UNREADABLE
    assert run_verifier(folder, "--pin", str(tmp_path / "nowhere")).returncode == UNREADABLE
    assert run_verifier(folder, "--help").returncode == OK


def test_the_verifier_imports_the_standard_library_only(honest: Honest) -> None:
    tree = ast.parse(honest.files["verify.py"])
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert len(names) == len(set(names))


def test_the_command_line_gives_the_same_verdicts_in_process(
    honest: Honest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = unpack(honest.files, tmp_path / "bundle")
    (tmp_path / "kept").write_bytes(honest.kept)
    assert main([str(folder), "--key", honest.key, "--pin", str(tmp_path / "kept")]) == OK
    assert "OK: " in capsys.readouterr().out
    (folder / "checkpoint").write_bytes(b"")
    assert main([str(folder)]) == TAMPERED
    assert "TAMPERED: step 1" in capsys.readouterr().err
    for usage in (["--nonsense"], [str(tmp_path / "nowhere")], [str(tmp_path / "kept")], ["--key"]):
        assert main(usage) == UNREADABLE
    assert main(["--help"]) == OK


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_name_or_too_much_is_not_read(
    honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("MANIFEST.json", b"{}")
        archive.writestr("MANIFEST.json", b"{}")
    assert main([str(tmp_path / "twice.zip")]) == UNREADABLE
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MANIFEST.json", b" " * 1000)
    monkeypatch.setattr("governance.assurance.bundle_files.MAX_BUNDLE_BYTES", 999)
    assert main([str(tmp_path / "large.zip")]) == UNREADABLE


def test_report_of_nothing_is_a_verdict() -> None:
    report: Report = check_bundle({}, Pins())
    assert report.status == TAMPERED
