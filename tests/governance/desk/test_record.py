"""The decision record: one page with who, what and why, proven by the log."""

from __future__ import annotations

from django.test import Client

from governance.audit.checkpoints import get_signer, key_files, make_checkpoint
from governance.audit.signer import KEY_FILE
from governance.models import AuditEntry
from tests.governance.cast import BOLDER, REASON, World, promoted, ready, say


def page(world: World, name: str, ref: str) -> tuple[int, str]:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(world.cast, name).user)
    answer = client.get(f"/proposals/{ref}/record/")
    return answer.status_code, answer.content.decode()


def test_a_promotion_has_a_record_with_people_digests_and_proofs(world: World) -> None:
    proposal = promoted(world)
    make_checkpoint()
    status, html = page(world, "outsider", proposal.ref)
    assert status == 200
    for text in (
        proposal.title,
        "rita",
        "operator",
        REASON,
        proposal.subject_digest,
        proposal.target,
        "comparison",
    ):
        assert text in html
    entries = AuditEntry.objects.filter(object_id__in=[proposal.ref, proposal.key]).order_by("seq")
    move = entries.filter(action="pointer.move").latest("seq")
    ready_entry = entries.get(action="proposal.ready")
    for row in (move, ready_entry):
        assert f"#{row.seq}" in html and row.leaf in html
    assert html.count(", included") == entries.filter(action__startswith="proposal.").count() + 1
    assert "not as the log has it" not in html
    read = AuditEntry.objects.latest("seq")
    assert (read.action, read.actor) == ("record.read", world.cast.outsider.ref)


def test_an_open_proposal_has_no_record_and_a_rejected_one_has(world: World) -> None:
    proposal = ready(world, BOLDER)
    assert page(world, "rita", proposal.ref)[0] == 404
    say(world, "rita", proposal, "reject")
    status, html = page(world, "rita", proposal.ref)
    assert status == 200 and "It did not go live" in html and "not signed yet" in html


def test_a_record_is_read_also_while_the_logs_key_is_gone(world: World) -> None:
    proposal = promoted(world)
    key = str(get_signer().key())
    assert key in page(world, "rita", proposal.ref)[1]
    (key_files().folder / KEY_FILE).unlink()
    status, html = page(world, "rita", proposal.ref)
    assert status == 200 and key not in html and proposal.subject_digest in html
