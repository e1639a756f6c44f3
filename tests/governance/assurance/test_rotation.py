"""A new key for the log: an entry signed by both keys; exports verify for those who pinned either."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command
from django.db import connection

from governance.actors import Actor
from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_files import read_bundle
from governance.assurance.bundle_parts import INCOMPLETE, OK, TAMPERED
from governance.assurance.export import ExportRequest, export_bundle
from governance.assurance.rotation import announce_rotation, log_keys, rotate_key, rotations
from governance.assurance.verify import live_differences
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.notes import NoteError, format_note, open_rotation, rotation_text, signature_line
from governance.audit.queries import LogFilter
from governance.errors import NotAllowed
from governance.models import AuditEntry, Checkpoint
from tests.governance.assurance.forge import KEY, SECRET, with_new_manifest
from tests.governance.assurance.test_bundle import flipped
from tests.governance.cast import PASSWORD, World

append_only = import_module("governance.migrations.0002_append_only")
pytestmark = pytest.mark.one_database


def test_the_log_changes_its_key_twice_and_old_and_new_pins_verify(
    world: World, auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    first = get_signer().key()
    second = rotate_key(by=world.cast.act("olga"))
    third = rotate_key(by=world.cast.act("olga"))
    assert [first, second, third] == log_keys() and get_signer().key() == third
    assert {key.name for key in log_keys()} == {first.name}
    wanted = ExportRequest(since=history.size)
    export_bundle(tmp_path / "out", by=auditor, request=wanted)
    files = read_bundle(tmp_path / "out")
    for pins in ([first], [second], [third], []):
        report = check_bundle(files, Pins([str(key) for key in pins], history.note.encode()))
        assert (report.status, report.problem) == (OK, "")
        assert "after 2 changes of the key" in report.steps[1]
    assert live_differences() == []
    for place in range(0, len(files["rotations.jsonl"]), 13):
        changed = {**files, "rotations.jsonl": flipped(files["rotations.jsonl"], place)}
        assert check_bundle(with_new_manifest(changed), Pins([str(first)])).status == TAMPERED
    without = {name: data for name, data in files.items() if name != "rotations.jsonl"}
    assert check_bundle(with_new_manifest(without), Pins([str(first)])).status == TAMPERED
    lines = files["vkeys.txt"].splitlines(keepends=True)
    for keys in (lines[1:], lines[:2], lines[::-1], lines[2:]):
        changed = with_new_manifest({**files, "vkeys.txt": b"".join(keys)})
        assert check_bundle(changed, Pins([str(first)])).status in {TAMPERED, INCOMPLETE}


def test_a_filtered_export_carries_every_change_of_the_key(
    world: World, auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    first = get_signer().key()
    rotate_key(by=world.cast.act("olga"))
    export_bundle(tmp_path / "out", by=auditor, request=ExportRequest(LogFilter(action="person.")))
    report = check_bundle(read_bundle(tmp_path / "out"), Pins([str(first)]))
    assert (report.status, report.problem) == (OK, "")


def test_a_rotation_that_was_cut_off_is_finished_by_asking_again(
    world: World, auditor: Actor, tmp_path: Path
) -> None:
    olga, old = world.cast.act("olga"), get_signer().key()
    announce_rotation(by=olga)
    assert get_signer().key() == old and log_keys()[0] == old
    checkpoint = make_checkpoint()
    assert checkpoint.note.count("\u2014 ") == 2
    assert live_differences() == []
    new = rotate_key(by=olga)
    assert (len(rotations()), get_signer().key(), log_keys()) == (1, new, [old, new])
    assert live_differences() == []


def test_a_newest_checkpoint_from_before_the_keys_last_change_is_named(
    world: World, history: Checkpoint
) -> None:
    rotate_key(by=world.cast.act("olga"))
    with connection.cursor() as cursor:
        for statement in append_only.drop_statements(connection.vendor):
            cursor.execute(statement)
    Checkpoint.objects.filter(size__gt=history.size).delete()
    assert "The newest checkpoint is not signed by the signer's own key." in live_differences()


def test_only_an_owner_changes_the_key_and_a_refusal_is_an_entry(world: World) -> None:
    with pytest.raises(NotAllowed):
        rotate_key(by=world.cast.act("operator"))
    denied = AuditEntry.objects.latest("seq")
    assert (denied.action, denied.outcome) == ("audit.rotate_key", "denied")
    assert rotations() == []


def test_a_rotation_by_one_key_alone_is_none() -> None:
    from governance.audit.notes import make_key

    heir = Ed25519PrivateKey.generate()
    new = make_key(KEY.name, heir.public_key().public_bytes_raw())
    text = rotation_text(KEY, new)
    by_old = format_note(text, KEY, SECRET.sign(text.encode()))
    by_new = format_note(text, new, heir.sign(text.encode()))
    both = by_old + signature_line(new, heir.sign(text.encode())).encode()
    assert open_rotation(both, KEY) == new
    for wrong in (by_old, by_new, b"", both.replace(b"rotation/v1", b"rotation/v2")):
        with pytest.raises(NoteError):
            open_rotation(wrong, KEY)
    with pytest.raises(NoteError):
        open_rotation(both, new)


def test_the_command_rotates(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    call_command("rotate_key", "--as", "olga")
    assert str(get_signer().key()) in capsys.readouterr().out
