"""Reading the log over HTTP: tokens, pages that resume, what is live with its receipt."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from governance.actors import Actor
from governance.assurance.bundle_parts import write_proof
from governance.assurance.receipt import ReceiptInvalid, check_receipt
from governance.assurance.receipts import make_receipt
from governance.audit.canonical import canonical
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.notes import encode64, make_key
from governance.audit.stored_tree import StoredTree
from governance.audit.tokens import create_token, note_reading, reader, revoke_token
from governance.audit.tree import Tree, leaf_hash
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Checkpoint, Pointer, ReadToken
from tests.governance.assurance.forge import KEY, install, signed
from tests.governance.cast import PASSWORD, World

pytestmark = pytest.mark.one_database

ENTRIES = "/api/v1/audit/entries"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_reads_until_it_is_revoked_and_only_its_digest_is_kept(
    world: World, auditor: Actor, client: Client
) -> None:
    token = create_token(name="siem", by=auditor)
    assert token not in str(ReadToken.objects.values()) and ReadToken.objects.get().sha256 != token
    assert client.get(ENTRIES, headers=bearer(token)).status_code == 200
    assert client.get("/api/v1/audit/checkpoint", headers=bearer(token)).status_code == 404
    assert client.get(ENTRIES, headers=bearer(token + "x")).status_code == 401
    assert client.get(ENTRIES).headers["WWW-Authenticate"] == "Bearer"
    revoke_token(name="siem", by=world.cast.act("olga"))
    assert client.get(ENTRIES, headers=bearer(token)).status_code == 401
    logged = [row.action for row in AuditEntry.objects.filter(object_type="token").order_by("seq")]
    assert logged == ["token.create", "token.revoke"]
    assert token not in "".join(AuditEntry.objects.values_list("body", flat=True))
    for name in ("siem", "Has Blank", "", "x" * 41):
        with pytest.raises(BadInput):
            create_token(name=name, by=auditor)
    with pytest.raises(BadInput, match="in use"):
        revoke_token(name="siem", by=auditor)
    with pytest.raises(NotAllowed):
        create_token(name="more", by=world.cast.act("operator"))


def test_a_consumers_reading_is_an_entry_once_a_day(world: World, auditor: Actor, client: Client) -> None:
    token = create_token(name="siem", by=auditor)
    for _ in range(3):
        client.get(ENTRIES, headers=bearer(token))
    reads = AuditEntry.objects.filter(action="audit.read", actor="token:siem")
    assert reads.count() == 1
    by = reader(token)
    assert by is not None
    note_reading(by, timezone.now() + timedelta(days=1, minutes=1))
    assert reads.count() == 2


def test_a_consumer_that_keeps_next_gets_every_entry_once(
    world: World, auditor: Actor, client: Client
) -> None:
    token = create_token(name="siem", by=auditor)
    client.get(ENTRIES, headers=bearer(token))
    total = AuditEntry.objects.count()
    read, start = [], 0
    while True:
        page = client.get(f"{ENTRIES}?from={start}&limit=7", headers=bearer(token)).json()
        read += [row["seq"] for row in page["entries"]]
        start = page["next"]
        if not page["more"]:
            break
    assert read == list(range(total)) and start == total
    assert client.get(f"{ENTRIES}?from={start}", headers=bearer(token)).json() == {
        "entries": [], "next": total, "more": False,
    }  # fmt: skip
    create_token(name="later", by=auditor)
    page = client.get(f"{ENTRIES}?from={start}", headers=bearer(token)).json()
    assert [row["entry"]["action"] for row in page["entries"]] == ["token.create"]


def test_an_unchanged_page_is_not_sent_again(world: World, auditor: Actor, client: Client) -> None:
    token = create_token(name="siem", by=auditor)
    client.get(ENTRIES, headers=bearer(token))
    for query in ("from=0&limit=5", "from=0"):
        first = client.get(f"{ENTRIES}?{query}", headers=bearer(token))
        again = {**bearer(token), "If-None-Match": first.headers["ETag"]}
        assert client.get(f"{ENTRIES}?{query}", headers=again).status_code == 304
        create_token(name=f"t{len(query)}", by=auditor)
        expected = 304 if "limit" in query else 200
        assert client.get(f"{ENTRIES}?{query}", headers=again).status_code == expected


def test_what_is_live_comes_with_a_receipt_that_is_checked_offline(
    world: World, auditor: Actor, history: Checkpoint, client: Client
) -> None:
    token = create_token(name="serving", by=auditor)
    told = client.get("/api/v1/tasks/digits/live", headers=bearer(token)).json()
    assert (told["release"], told["harness"]) == (world.seed.digest, world.seed.harness.digest)
    key = get_signer().key()
    moved = check_receipt(told["receipt"], [key], "release:digits", told["release"])
    assert (moved.generation, moved.digest) == (2, world.seed.digest)
    assert client.get("/api/v1/tasks/nothing/live", headers=bearer(token)).status_code == 404
    assert client.get("/api/v1/tasks/digits/live").status_code == 401


def test_no_changed_receipt_is_valid(world: World, history: Checkpoint) -> None:
    make_checkpoint()
    receipt, key = make_receipt("release:digits"), get_signer().key()
    digest = Pointer.objects.get(key="release:digits").digest
    check_receipt(receipt, [key], "release:digits", digest)
    for name in receipt:
        text = receipt[name]
        for place in range(0, len(text), 1 + len(text) // 400):
            changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            with pytest.raises(ReceiptInvalid):
                check_receipt({**receipt, name: changed}, [key], "release:digits", digest)
    other = make_key(key.name, bytes(32))
    for keys, pointer, target in (
        ([other], "release:digits", digest),
        ([], "release:digits", digest),
        ([key], "release:other", digest),
        ([key], "release:digits", "0" * 64),
    ):
        with pytest.raises(ReceiptInvalid):
            check_receipt(receipt, keys, pointer, target)
    for broken in (
        {},
        {"format": receipt["format"]},
        {**receipt, "entry": "{}"},
        {**receipt, "proof": encode64(b"x")},
    ):
        with pytest.raises(ReceiptInvalid):
            check_receipt(broken, [key], "release:digits", digest)
    with pytest.raises(BadInput, match="no move"):
        make_receipt("release:nothing")


def test_an_entry_that_is_no_move_is_no_receipt(world: World, history: Checkpoint) -> None:
    checkpoint = make_checkpoint()
    ready = AuditEntry.objects.filter(action="proposal.ready").latest("seq")
    proof = write_proof(StoredTree(checkpoint.size), ready.seq, checkpoint.note.encode()).decode()
    body = {"format": "pawl-receipt/1", "entry": ready.body, "proof": proof}
    with pytest.raises(ReceiptInvalid):
        check_receipt(body, [get_signer().key()], "release:digits", ready.entry()["after"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"seq": 3}, "not of a move that was carried out"),
        ({"outcome": "denied"}, "not of a move that was carried out"),
        ({"action": "pointer.look"}, "not of a move that was carried out"),
        ({"object": {"type": "pointer", "id": "release:other"}}, "The receipt is of release:other"),
    ],
)
def test_what_the_log_signed_shows_a_move_only_where_it_is_one(change: dict[str, Any], sentence: str) -> None:
    body = canonical({**install("release:digits", "a" * 64), "seq": 0, **change})
    tree = Tree([leaf_hash(body)])
    proof = write_proof(tree, 0, signed(tree)).decode()
    receipt = {"format": "pawl-receipt/1", "entry": body.decode(), "proof": proof}
    if sentence:
        with pytest.raises(ReceiptInvalid, match=sentence):
            check_receipt(receipt, [KEY], "release:digits", "a" * 64)
    else:
        assert check_receipt(receipt, [KEY], "release:digits", "a" * 64).digest == "a" * 64


def test_the_command_gives_lists_and_revokes_tokens(
    auditor: Actor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    call_command("read_token", "list")
    assert "No token" in capsys.readouterr().out
    call_command("read_token", "create", "siem", "--as", "ada", "--json")
    assert reader(json.loads(capsys.readouterr().out)["token"]) is not None
    call_command("read_token", "revoke", "siem", "--as", "ada")
    call_command("read_token", "list")
    assert "siem: revoked" in capsys.readouterr().out
    with pytest.raises(CommandError, match="Name the consumer"):
        call_command("read_token", "create")
