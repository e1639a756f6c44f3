"""Witnesses: the C2SP witness keeps its word, cosignatures reach the export, failures are seen and stop nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core import mail
from django.db import transaction

from governance.actors import LOOP, Actor
from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_files import read_bundle
from governance.assurance.bundle_parts import INCOMPLETE, OK, TAMPERED
from governance.assurance.export import export_bundle
from governance.assurance.witness_server import Witness, WitnessConfig, load_config, make_server
from governance.assurance.witnesses import load_witnesses, witness_latest, witnessed_note
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.log import record
from governance.audit.notes import ALGORITHM_COSIGNATURE, encode64, parse_key, signers_of
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError
from governance.models import AuditEntry, Checkpoint, Witnessing
from tests.governance.assurance.forge import KEY, signed, with_new_manifest
from tests.governance.assurance.test_bundle import flipped

LEAVES = [leaf_hash(bytes([number])) for number in range(30)]
# The example of C2SP tlog-cosignature (github.com/C2SP/C2SP, tlog-cosignature.md).
C2SP_EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo"
    "+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ"
    "qhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(WitnessConfig("witness.example/w1", tmp_path / "witness", "127.0.0.1", 0, (KEY,)))


def request(
    tree: Tree, old: int, size: int, proof: list[bytes] | None = None, note: bytes | None = None
) -> bytes:
    part = Tree([tree.leaf(number) for number in range(size)])
    lines = "".join(
        encode64(value) + "\n" for value in (part.consistency_proof(old) if proof is None else proof)
    )
    return f"old {old}\n{lines}\n".encode() + (note or signed(part))


def test_the_published_example_of_a_cosignature_reads() -> None:
    text, signers = signers_of(C2SP_EXAMPLE.encode(), [])
    assert text.endswith("jxq2I=\n") and signers == {}
    line = C2SP_EXAMPLE.splitlines()[-1].split(" ")[2]
    import base64

    assert int.from_bytes(base64.b64decode(line)[4:12], "big") == 1679315147  # the time that the page names


def test_it_cosigns_what_grows_and_its_signature_opens(witness: Witness) -> None:
    tree = Tree(LEAVES)
    for old, size in ((0, 7), (7, 7), (7, 20)):
        body = request(tree, old, size)
        answer = witness.add_checkpoint(body, 1_700_000_000)
        assert answer.status == 200, answer.body
        note = body.partition(b"\n\n")[2] + answer.body.encode()
        assert signers_of(note, [witness.key, KEY])[1] == {witness.key: 1_700_000_000, KEY: 0}
        assert str(parse_key(str(witness.key), ALGORITHM_COSIGNATURE)) == str(witness.key)


def test_it_answers_every_refusal_as_the_protocol_says(witness: Witness, tmp_path: Path) -> None:
    tree, fork = Tree(LEAVES), Tree([*LEAVES[:3], leaf_hash(b"fork"), *LEAVES[4:]])
    assert witness.add_checkpoint(request(tree, 0, 12), 1).status == 200
    again = Witness(WitnessConfig("witness.example/w1", tmp_path / "witness", "", 0, (KEY,)))
    assert again.key == witness.key
    conflict = again.add_checkpoint(request(tree, 5, 20), 2)
    assert (conflict.status, conflict.body, conflict.kind) == (409, "12\n", "text/x.tlog.size")
    assert again.add_checkpoint(request(fork, 12, 12), 2).status == 409
    assert again.add_checkpoint(request(fork, 12, 20), 2).status == 422
    assert again.add_checkpoint(request(tree, 12, 20, proof=[]), 2).status == 422
    unsigned = signed(tree).replace(encode64(tree.root()).encode(), encode64(fork.root()).encode())
    assert again.add_checkpoint(request(tree, 12, 30, note=unsigned), 2).status == 403
    stranger = signed(tree).replace(b"pawl/log-test", b"pawl/log-other")
    assert again.add_checkpoint(request(tree, 12, 30, note=stranger), 2).status == 404
    nobody = signed(tree).replace(b"\xe2\x80\x94 pawl/log-test", b"\xe2\x80\x94 pawl/log-nobody")
    assert again.add_checkpoint(request(tree, 12, 30, note=nobody), 2).status == 403
    small = signed(Tree(LEAVES[:3]))
    assert again.add_checkpoint(b"old 12\n\n" + small, 2).status == 400
    for broken in (
        b"",
        b"old 012\n\nx",
        b"new 1\n\nx",
        b"old 1\nzz\n\nx",
        b"old 1\n" + b"QQ==\n" * 64 + b"\nx\n\n",
    ):
        assert again.add_checkpoint(broken, 2).status == 400
    assert again.add_checkpoint(request(tree, 12, 20), 2).status == 200
    (state,) = (tmp_path / "witness").glob("*.json")
    state.write_text("{}")
    with pytest.raises(AuditError, match="damaged"):
        again.add_checkpoint(request(tree, 20, 30), 2)
    (tmp_path / "witness" / "witness.key").chmod(0o644)
    with pytest.raises(AuditError, match="chmod 600"):
        Witness(WitnessConfig("w", tmp_path / "witness", "", 0, ()))


def test_its_file_of_settings_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text(f'name = "w"\nstate = "{tmp_path}"\nlisten = "0.0.0.0:81"\nlogs = ["{KEY}"]\n')
    config = load_config(path)
    assert (config.host, config.port, config.logs) == ("0.0.0.0", 81, (KEY,))
    for text, sentence in (
        ('name = "w"\n', "lacks 'state'"),
        ("=", "cannot be used"),
        ('name="w"\nstate="x"\nlogs=["k"]', "cannot"),
    ):
        path.write_text(text)
        with pytest.raises(AuditError, match=sentence):
            load_config(path)


class Hook(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent."""

    seen: list[tuple[str, bytes]] = []  # noqa: RUF012
    status = 200
    answer = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers.get("Pawl-Signature", ""), body))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer.encode())

    def log_message(self, form: str, *args: object) -> None:
        """Nothing."""


def serving(server: ThreadingHTTPServer) -> str:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def hook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    Hook.seen, Hook.status, Hook.answer = [], 200, ""
    yield serving(server)
    server.shutdown()
    server.server_close()


def append() -> None:
    with transaction.atomic():
        record(by=LOOP, action="campaign.started", subject=("campaign", "7"))


def configure(home: Path, *tables: str) -> None:
    (home / "witnesses.toml").write_text("".join(f"[[witness]]\n{table}\n" for table in tables))


def test_a_cosignature_reaches_the_export_and_the_verifier_asks_for_it(
    auditor: Actor, history: Checkpoint, signer_home: Path, tmp_path: Path
) -> None:
    mine = Witness(WitnessConfig("w.example/1", tmp_path / "w", "127.0.0.1", 0, (get_signer().key(),)))
    server = make_server(mine, "127.0.0.1", 0)
    configure(signer_home, f'name = "mine"\nkind = "c2sp"\nurl = "{serving(server)}"\nkey = "{mine.key}"')
    try:
        for _ in range(2):
            append()
            checkpoint = make_checkpoint()
            (row,) = witness_latest()
            assert row.ok, row.answer
        assert witness_latest() == []
        Witnessing.objects.all().delete()  # the log forgot, the witness did not: it says where it is
        append()
        checkpoint = make_checkpoint()
        (row,) = witness_latest()
        assert row.ok and row.size == checkpoint.size
    finally:
        server.shutdown()
        server.server_close()
    found = witnessed_note()
    assert found is not None and found[0] == checkpoint.size
    export_bundle(tmp_path / "out", by=auditor)
    files, key = read_bundle(tmp_path / "out"), str(get_signer().key())
    report = check_bundle(files, Pins([key], None, [str(mine.key)]))
    assert (report.status, report.problem) == (OK, "") and "witnessed by w.example/1" in report.steps[6]
    assert check_bundle(files, Pins([key], None, [str(mine.key)], quorum=2)).status == INCOMPLETE
    other = Witness(WitnessConfig("w.example/2", tmp_path / "w2", "", 0, ()))
    assert check_bundle(files, Pins([key], None, [str(other.key)])).status == INCOMPLETE
    note = files["checkpoint.witnessed"]
    for place in range(0, len(note), 7):
        changed = with_new_manifest({**files, "checkpoint.witnessed": flipped(note, place)})
        assert check_bundle(changed, Pins([key], None, [str(mine.key)])).status in {TAMPERED, INCOMPLETE}
    without = with_new_manifest(
        {name: data for name, data in files.items() if name != "checkpoint.witnessed"}
    )
    assert check_bundle(without, Pins([key])).status == INCOMPLETE


def test_git_webhook_and_mail_get_every_checkpoint(
    db: None, signer_home: Path, tmp_path: Path, hook: str
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote")], check=True)
    for args in (
        ["remote", "add", "origin", str(tmp_path / "remote")],
        ["config", "push.autoSetupRemote", "true"],
    ):
        subprocess.run(["git", "-C", str(tmp_path / "repo"), *args], check=True)
    (tmp_path / "secret").write_text("shared\n")
    configure(
        signer_home,
        f'name = "repo"\nkind = "git"\nfolder = "{tmp_path / "repo"}"\npush = true',
        f'name = "hook"\nkind = "webhook"\nurl = "{hook}"\nsecret_file = "{tmp_path / "secret"}"',
        'name = "post"\nkind = "mail"\nto = "auditor@example.org"',
    )
    for _ in range(2):
        append()
        checkpoint = make_checkpoint()
        rows = witness_latest()
        assert [row.ok for row in rows] == [True, True, True], [row.answer for row in rows]
    log = subprocess.run(
        ["git", "-C", str(tmp_path / "remote"), "log", "--all", "--format=%s"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        log.stdout.splitlines()[0] == f"Checkpoint at {checkpoint.size} entries"
        and len(log.stdout.splitlines()) == 2
    )
    assert checkpoint.note in (tmp_path / "repo" / "checkpoints").read_text()
    signature, body = Hook.seen[-1]
    assert json.loads(body)["note"] == checkpoint.note
    assert signature == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert checkpoint.note in mail.outbox[-1].body and mail.outbox[-1].to == ["auditor@example.org"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((403, "who are you"), "The witness answered 403: who are you"),
        ((409, "99999"), "The witness answered 409: 99999"),
        ((409, "0"), "The witness answered 409: 0"),
        ((200, ""), "The witness answered without its signature."),
    ],
)
def test_a_witness_that_did_not_sign_is_not_counted(
    signer_home: Path, witness: Witness, hook: str, answer: tuple[int, str], sentence: str
) -> None:
    Hook.status, Hook.answer = answer
    configure(signer_home, f'name = "w"\nkind = "c2sp"\nurl = "{hook}"\nkey = "{witness.key}"')
    append()
    make_checkpoint()
    (row,) = witness_latest()
    assert (row.ok, row.answer) == (False, sentence)
    assert witnessed_note() is None


def test_before_the_first_checkpoint_nobody_is_asked(db: None, signer_home: Path, hook: str) -> None:
    configure(signer_home, f'name = "hook"\nkind = "webhook"\nurl = "{hook}"')
    append()
    assert witness_latest() == [] and Hook.seen == []


def test_a_repository_gets_each_checkpoint_once_and_says_why_it_could_not_be_pushed(
    db: None, signer_home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    append()
    checkpoint = make_checkpoint()
    told = []
    for more in ("push = true", "", ""):
        configure(signer_home, f'name = "repo"\nkind = "git"\nfolder = "{folder}"\n{more}')
        (row,) = witness_latest()
        told.append((row.ok, row.answer))
        Witnessing.objects.filter(ok=True).delete()
    assert told[0][0] is False and told[0][1].startswith(f"git push in {folder}: ")
    assert told[1][0] and told[1] == told[2]
    assert (folder / "checkpoints").read_text() == f"{checkpoint.note}\n"


def test_a_mail_to_nobody_is_a_failure(db: None, signer_home: Path) -> None:
    configure(signer_home, 'name = "post"\nkind = "mail"\nto = ""')
    append()
    make_checkpoint()
    (row,) = witness_latest()
    assert (row.ok, row.answer) == (False, "No mail went out to .")


def test_a_failing_witness_stops_nothing_and_is_an_entry_when_it_begins_and_ends(
    db: None, signer_home: Path, tmp_path: Path, hook: str
) -> None:
    configure(
        signer_home,
        f'name = "hook"\nkind = "webhook"\nurl = "{hook}"',
        'name = "gone"\nkind = "c2sp"\nurl = "http://127.0.0.1:9"\nkey = "nonsense"',
        f'name = "nogit"\nkind = "git"\nfolder = "{tmp_path / "nowhere"}"',
    )
    told = []
    for status in (500, 500, 200, 500):
        Hook.status = status
        append()
        make_checkpoint()
        rows = {row.witness: row for row in witness_latest()}
        assert not rows["gone"].ok and not rows["nogit"].ok
        told.append(rows["hook"].ok)
    assert told == [False, False, True, False]
    entries = AuditEntry.objects.filter(action="audit.witness", object_id="hook").order_by("seq")
    assert [row.outcome for row in entries] == ["failed", "allowed", "failed"]
    assert AuditEntry.objects.filter(action="audit.witness", object_id="gone").count() == 1


def test_a_wrong_file_of_witnesses_is_one_sentence(db: None, signer_home: Path) -> None:
    assert load_witnesses() == []
    for text in ("[[witness]]\nname='x'\n", "[[witness]]\nname='x'\nkind='fax'\n", "=", "witness = 3\n"):
        (signer_home / "witnesses.toml").write_text(text)
        with pytest.raises(AuditError, match="cannot be used"):
            load_witnesses()
