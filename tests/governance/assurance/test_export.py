"""Exports through the service: who may, what is recorded, files, zip, filters, commands and the JSON addresses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from governance.actors import LOOP, Actor
from governance.assurance.bundle import Pins
from governance.assurance.bundle_files import read_bundle
from governance.assurance.bundle_parts import INCOMPLETE, OK, TAMPERED
from governance.assurance.export import ExportRequest, export_bundle
from governance.assurance.verify import live_differences, verify_bundle
from governance.assurance.views import events_csv, safe_cell
from governance.audit.checkpoints import get_signer, key_files, make_checkpoint
from governance.audit.notes import open_checkpoint, parse_key
from governance.audit.queries import LogFilter, recent_entries
from governance.errors import AuditError, BadInput, NotAllowed
from governance.models import AuditEntry, Checkpoint, Pointer, PointerMove
from tests.governance.assurance.conftest import Honest
from tests.governance.assurance.forge import KEY, Forged, entry, story
from tests.governance.cast import PASSWORD, World


def test_an_export_is_an_entry_before_it_begins_and_verifies(
    auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    bundle = export_bundle(tmp_path / "out", by=auditor)
    last = AuditEntry.objects.latest("seq")
    assert (last.seq, last.action, last.actor, last.outcome) == (
        bundle.seq,
        "audit.export",
        auditor.ref,
        "allowed",
    )
    assert bundle.size == last.seq + 1
    report = verify_bundle(tmp_path / "out", Pins([str(get_signer().key())], history.note.encode()))
    assert (report.status, report.problem) == (OK, "")
    assert not (tmp_path / "out" / "identities.jsonl").exists()
    assert live_differences() == []


def test_only_an_auditor_exports_and_a_refusal_is_an_entry(
    world: World, history: Checkpoint, tmp_path: Path
) -> None:
    for name in ("operator", "olga", "outsider"):
        with pytest.raises(NotAllowed, match="auditor"):
            export_bundle(tmp_path / "out", by=world.cast.act(name))
        denied = AuditEntry.objects.latest("seq")
        assert (denied.action, denied.outcome, denied.actor) == (
            "audit.export",
            "denied",
            world.cast.act(name).ref,
        )
    with pytest.raises(NotAllowed, match="person"):
        export_bundle(tmp_path / "out", by=LOOP)
    assert not (tmp_path / "out").exists()


def test_an_export_that_could_not_be_signed_is_not_announced(
    auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    before = AuditEntry.objects.count()
    (key_files().folder / "audit-signer.json").unlink()
    with pytest.raises(AuditError, match="memory"):
        export_bundle(tmp_path / "out", by=auditor)
    assert AuditEntry.objects.count() == before


def test_a_zip_holds_the_same_files_and_the_same_content_gives_the_same_bytes(
    auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    export_bundle(tmp_path / "out", by=auditor)
    export_bundle(tmp_path / "out.zip", by=auditor)
    folder = set(read_bundle(tmp_path / "out"))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert set(archive.namelist()) == folder
        assert archive.namelist() == sorted(folder)
        assert {item.date_time[0] for item in archive.infolist()} == {1980}
    assert verify_bundle(tmp_path / "out.zip").status == OK


def test_a_taken_place_an_unknown_checkpoint_and_a_leaving_name_are_refused(
    auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    before = AuditEntry.objects.count()
    with pytest.raises(BadInput, match="exists"):
        export_bundle(tmp_path, by=auditor)
    with pytest.raises(BadInput, match="no checkpoint at 99999"):
        export_bundle(tmp_path / "new", by=auditor, request=ExportRequest(since=99999))
    for name in ("../x", "/x", "a/../b", "", ".", "a//b"):
        with pytest.raises(BadInput, match="plain relative path"):
            export_bundle(tmp_path / "new", by=auditor, request=ExportRequest(artifacts={name: b""}))
    assert AuditEntry.objects.count() == before


def test_a_filtered_export_carries_the_matching_entries_and_names_the_rest(
    auditor: Actor, history: Checkpoint, tmp_path: Path
) -> None:
    wanted = LogFilter(task="digits", action="proposal.")
    bundle = export_bundle(tmp_path / "out", by=auditor, request=ExportRequest(wanted))
    entries = [json.loads(line) for line in (tmp_path / "out" / "entries.jsonl").read_bytes().splitlines()]
    assert {each["action"].split(".")[0] for each in entries[:-1]} == {"proposal"}
    report = verify_bundle(tmp_path / "out")
    assert report.status == OK
    assert len(report.withheld) == bundle.size - len(entries)
    assert set(report.withheld).isdisjoint(each["seq"] for each in entries)


def test_a_changed_verifier_is_seen_by_the_service(
    honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    for name, data in honest.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert verify_bundle(folder).status == OK
    (folder / "verify.py").write_bytes(honest.files["verify.py"].replace(b"TAMPERED, INCOMPLETE", b"OK, OK"))
    assert verify_bundle(folder).status == TAMPERED
    (folder / "verify.py").unlink()
    assert verify_bundle(folder).status == INCOMPLETE
    for path in (folder / "nowhere", folder / "checkpoint", folder / "views"):
        with pytest.raises(AuditError, match="cannot be read"):
            verify_bundle(path)
    (folder / "link").symlink_to(folder / "checkpoint")
    with pytest.raises(AuditError, match="link"):
        verify_bundle(folder)


def test_a_bundle_with_another_verifier_is_refused_by_the_service_alone(tmp_path: Path) -> None:
    other = Forged(list(story().values()), extra={"verify.py": b"print('OK')\n"}).files()
    for name, data in other.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    report = verify_bundle(tmp_path, Pins([str(KEY)]))
    assert report.status == TAMPERED and report.problem.startswith("verify.py of the bundle differ")
    assert len(report.steps) == 9


def test_a_pointer_moved_behind_the_log_is_seen(world: World, history: Checkpoint) -> None:
    Pointer.objects.filter(key="release:digits").update(digest="f" * 64)
    PointerMove.objects.create(
        key="release:digits", generation=3, kind="promote", digest="f" * 64, moved_by="x", reason="x"
    )
    found = " ".join(live_differences())
    assert "Pointer release:digits is ffffffffffff (generation 2), the log says" in found
    assert "has 7 moves, the log says 6" in found


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\0", "\r", "\n"])
def test_no_cell_is_a_formula(start: str) -> None:
    told = {**entry("a.b", ("campaign", start + "cmd|' /C calc'!A0"), {}), "seq": 0, "reason": start + "1+1"}
    rows = list(csv.DictReader(io.StringIO(events_csv([("00", told)]).decode(), newline="")))
    assert rows[0]["reason"] == "'" + start + "1+1"
    assert rows[0]["object_id"].startswith("'")
    assert safe_cell("plain - text") == "plain - text"


def test_views_name_number_and_leaf_of_every_entry(honest: Honest) -> None:
    leaves = honest.files["leaf-hashes.txt"].decode().split()
    rows = list(csv.DictReader(io.StringIO(honest.files["views/events.csv"].decode(), newline="")))
    assert [(int(row["seq"]), row["leaf"]) for row in rows] == list(enumerate(leaves))
    events = [json.loads(line) for line in honest.files["views/ocsf.jsonl"].splitlines()]
    assert [event["unmapped"]["leaf"] for event in events] == leaves
    assert {event["class_uid"] for event in events} == {3004}


def test_recent_entries_are_paged_and_filtered(world: World, history: Checkpoint) -> None:
    newest = recent_entries(limit=3)
    total = AuditEntry.objects.count()
    assert [row.seq for row in newest] == [total - 1, total - 2, total - 3]
    assert [row.seq for row in recent_entries(before_seq=2)] == [1, 0]
    reviews = recent_entries(LogFilter(actor=world.cast.rita.ref, outcome="allowed"))
    assert {row.action for row in reviews} == {"proposal.review"}
    first = AuditEntry.objects.get(seq=0)
    assert recent_entries(LogFilter(end=first.time)) == []
    assert len(recent_entries(LogFilter(start=first.time))) == total
    assert recent_entries(limit=0) == []


def test_the_commands_export_and_verify(
    auditor: Actor,
    history: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "prev").write_text(history.note)
    out = str(tmp_path / "out")
    call_command(
        "export_audit", out, "--as", "ada", "--since", str(history.size), "--artifact", f"a/b={tmp_path / 'file'}",
        "--identities", "--json",
    )  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["size"] == told["entry"] + 1
    key = str(get_signer().key())
    call_command("verify_audit", out, "--key", key, "--pin", str(tmp_path / "prev"))
    assert f"OK: {told['size']} entries" in capsys.readouterr().out
    (tmp_path / "out" / "artifacts" / "a" / "b").write_text("changed")
    with pytest.raises(SystemExit) as stop:
        call_command("verify_audit", out, "--json")
    assert stop.value.code == TAMPERED
    assert json.loads(capsys.readouterr().out)["verdict"] == "tampered"
    call_command("verify_audit", "--live")
    assert "as the log says" in capsys.readouterr().out
    Pointer.objects.filter(key="release:digits").update(digest="f" * 64)
    with pytest.raises(SystemExit) as stop:
        call_command("verify_audit", "--live")
    assert stop.value.code == TAMPERED
    for wrong in (
        [],
        [out, "--live"],
        [str(tmp_path / "nowhere")],
        [out, "--pin", str(tmp_path / "no")],
    ):
        with pytest.raises(CommandError):
            call_command("verify_audit", *wrong)
    for wrong in (["--artifact", "x"], ["--from", "never"]):
        with pytest.raises(CommandError):
            call_command("export_audit", str(tmp_path / "more"), "--as", "ada", *wrong)


def test_the_forms_for_other_programs_and_the_span_of_time_are_chosen_at_the_command(
    auditor: Actor, history: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    with pytest.raises(CommandError, match="'pdf' is no form of the log; there are views/"):
        call_command("export_audit", str(tmp_path / "out"), "--as", "ada", "--views", "pdf")
    assert not (tmp_path / "out").exists()
    call_command(
        "export_audit", str(tmp_path / "out"), "--as", "ada", "--views", "none",
        "--from", "2020-01-01", "--to", "2020-01-02T00:00:00+02:00",
    )  # fmt: skip
    files = read_bundle(tmp_path / "out")
    assert not any(name.startswith("views/") for name in files)
    assert verify_bundle(tmp_path / "out").status == OK
    chosen = AuditEntry.objects.latest("seq").entry()["detail"]["filter"]
    assert chosen == {"start": "2020-01-01T00:00:00+00:00", "end": "2020-01-02T00:00:00+02:00"}


def test_the_json_addresses_give_checkpoint_and_entries_to_readers_alone(
    world: World, auditor: Actor, client: Client
) -> None:
    assert client.get("/api/v1/audit/checkpoint").status_code == 401
    client.force_login(world.cast.outsider.user)
    refused = client.get("/api/v1/audit/entries")
    assert refused.status_code == 403 and "auditor" in refused.json()["error"]
    assert client.login(username="ada", password=PASSWORD)
    assert client.get("/api/v1/audit/checkpoint").status_code == 404
    made = make_checkpoint()
    told = client.get("/api/v1/audit/checkpoint").json()
    head = open_checkpoint(told["note"].encode(), [parse_key(told["key"])])
    assert (head.size, head.root.hex()) == (told["size"], told["root"]) == (made.size, made.root)
    page = client.get("/api/v1/audit/entries?from=2&limit=3").json()
    assert [row["entry"]["seq"] for row in page["entries"]] == [2, 3, 4] and (page["next"], page["more"]) == (
        5,
        True,
    )
    rest = client.get(f"/api/v1/audit/entries?from={made.size - 1}").json()
    assert len(rest["entries"]) == 1 and (rest["next"], rest["more"]) == (made.size, False)
    for query in ("from=-1", "from=x", "limit=0", "limit=501", "from=" + "9" * 30):
        assert client.get(f"/api/v1/audit/entries?{query}").status_code == 400
    assert client.post("/api/v1/audit/entries").status_code == 405
    (key_files().folder / "audit-signer.key").unlink()
    assert client.get("/api/v1/audit/checkpoint").status_code == 503
