"""Versions and the audit log at the desk."""

from __future__ import annotations

import io
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from governance.audit.checkpoints import key_files, make_checkpoint
from governance.audit.signer import STATE_FILE
from governance.desk.versions import DEEPEST, lineage
from governance.models import AuditEntry, Pointer, Witnessing
from tests.desk_scene import Scene, descend, make_scene
from tests.governance.cast import PASSWORD, REASON, make_world
from tests.snapshot import remembered

pytestmark = pytest.mark.one_database


@pytest.fixture
def scene(db: None, signer_home: Path) -> Scene:
    return remembered("scene", signer_home, lambda: make_scene(make_world()))


def as_person(scene: Scene, name: str) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(scene.world.cast, name).user)
    return client


def live(scene: Scene) -> str:
    return Pointer.objects.get(key="release:digits").digest


def revert(client: Client, to_digest: str, **changed: str) -> tuple[int, str]:
    live_now = Pointer.objects.get(key="release:digits").digest
    form = {"digest": to_digest, "live": live_now, "reason": REASON, "password": PASSWORD, "act": "revert"}
    answer = client.post("/tasks/digits/revert/", form | changed)
    return answer.status_code, answer.content.decode()


def test_the_task_page_shows_what_is_live_and_what_was(scene: Scene) -> None:
    page = as_person(scene, "outsider").get("/tasks/digits/").content.decode()
    for digest in (live(scene), scene.seed.digest, scene.world.seed.digest):
        assert digest[:12] in page
    assert "strict 4" in page
    assert "This needs the role operator; outsider does not hold it." in page


def test_the_list_of_tasks_names_live_release_and_open_proposals(
    scene: Scene, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = as_person(scene, "outsider")
    with django_assert_max_num_queries(10):
        page = client.get("/tasks/").content.decode()
    assert live(scene)[:12] in page


def test_releases_are_listed_below_the_release_that_they_were_made_from(scene: Scene) -> None:
    nodes = lineage(scene.world.task, live(scene), {scene.seed.digest, live(scene)})
    cooler = scene.promoted.target
    assert [(node.release.digest, node.depth, node.parent) for node in nodes] == [
        (scene.world.seed.digest, 0, ""),
        (scene.seed.digest, 1, scene.world.seed.digest),
        (cooler, 2, scene.seed.digest),
        (scene.waiting.target, 3, cooler),
        (scene.failed.target, 3, cooler),
    ]
    assert [node.live for node in nodes] == [False, False, True, False, False]
    assert [node.was_live for node in nodes] == [False, True, False, False, False]


def test_a_long_line_of_descent_is_shown_whole_with_bounded_indentation(scene: Scene) -> None:
    parent = scene.seed
    for number in range(60):
        parent = descend(scene.world, {"main.py": ("file", b"print(%d)\n" % number)}, parent)
    nodes = lineage(scene.world.task, live(scene), set())
    assert len(nodes) == 65
    assert max(node.depth for node in nodes) == DEEPEST
    assert parent.digest[:12] in as_person(scene, "outsider").get("/tasks/digits/").content.decode()


def test_an_operator_makes_a_former_release_live_again(scene: Scene) -> None:
    status, _ = revert(as_person(scene, "operator"), scene.seed.digest)
    assert status == 302
    assert live(scene) == scene.seed.digest


@pytest.mark.parametrize(
    ("name", "changed", "status", "sentence"),
    [
        ("outsider", {}, 403, "This needs the role operator"),
        ("operator", {"live": "0" * 64}, 409, "The live release moved since you opened this page"),
        ("operator", {"password": "guess"}, 403, "The password is not yours"),
        ("operator", {"digest": "f" * 64}, 400, "was never live"),
        ("operator", {"reason": "no"}, 400, "Give a reason"),
    ],
)
def test_a_refused_revert_says_why_and_changes_nothing(
    scene: Scene, name: str, changed: dict[str, str], status: int, sentence: str
) -> None:
    before = live(scene)
    got, page = revert(as_person(scene, name), changed.get("digest", scene.seed.digest), **changed)
    assert got == status
    assert sentence in page
    assert live(scene) == before


def test_the_log_is_for_auditors_owners_and_operators(scene: Scene) -> None:
    answer = as_person(scene, "rita").get("/audit/")
    assert answer.status_code == 403
    assert "This needs the role auditor" in answer.content.decode()
    assert AuditEntry.objects.filter(action="audit.read", outcome="denied").count() == 1
    assert as_person(scene, "operator").get("/audit/").status_code == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=proposal.review", {"proposal.review"}),
        ("action=role.", {"role.grant"}),
        ("actor=rita", {"proposal.review"}),
        ("outcome=denied", set()),
        ("task=digits&action=task.install", {"task.install"}),
    ],
)
def test_the_log_can_be_filtered(scene: Scene, query: str, expected: set[str]) -> None:
    answer = as_person(scene, "operator").get(f"/audit/?{query}")
    assert {row["entry"].action for row in answer.context["rows"]} == expected


def test_the_log_is_paged_by_number_in_a_fixed_number_of_queries(
    scene: Scene, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = as_person(scene, "operator")
    for name in ("rita", "otto", "operator"):
        as_person(scene, name).get(f"/proposals/{scene.waiting.ref}/")
    with django_assert_max_num_queries(13):
        first = client.get("/audit/")
    assert len(first.context["rows"]) == 50
    older = client.get(f"/audit/?before={first.context['older']}")
    numbers = [row["entry"].seq for page in (first, older) for row in page.context["rows"]]
    assert numbers == list(range(numbers[0], numbers[-1] - 1, -1))
    assert numbers[-1] == 0


def test_an_entry_is_shown_with_a_proof_that_holds(scene: Scene) -> None:
    answer = as_person(scene, "operator").get("/audit/3/")
    assert answer.context["proof"]["holds"]
    assert "Included in the checkpoint at" in answer.content.decode()


def test_an_entry_that_was_changed_in_the_table_has_no_proof(scene: Scene) -> None:
    triggers = import_module("governance.migrations.0002_append_only")
    with connection.cursor() as cursor:
        for statement in triggers.drop_statements(connection.vendor):
            cursor.execute(statement)
        body = AuditEntry.objects.get(seq=3).body.replace('"outcome":"allowed"', '"outcome":"denied"')
        cursor.execute("UPDATE governance_auditentry SET body = %s WHERE seq = 3", [body])
        for statement in triggers.create_statements(connection.vendor):
            cursor.execute(statement)
    answer = as_person(scene, "operator").get("/audit/3/")
    assert not answer.context["proof"]["holds"]
    assert "the table was changed" in answer.content.decode()


def test_an_entry_after_the_last_checkpoint_waits_for_the_next_one(scene: Scene) -> None:
    client = as_person(scene, "operator")
    client.get(f"/proposals/{scene.waiting.ref}/")
    seq = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]
    assert "No checkpoint covers this entry yet" in client.get(f"/audit/{seq}/").content.decode()
    make_checkpoint()
    assert "Included in the checkpoint" in client.get(f"/audit/{seq}/").content.decode()


def test_only_an_auditor_exports_the_log(scene: Scene) -> None:
    assert as_person(scene, "operator").post("/audit/export/").status_code == 403
    answer = as_person(scene, "ada").post("/audit/export/")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as bundle:
        assert {"checkpoint", "entries.jsonl", "verify.py"} <= set(bundle.namelist())
    assert AuditEntry.objects.filter(object_type="log", object_id="export", outcome="allowed").exists()
    assert AuditEntry.objects.filter(action="audit.export", outcome="denied").count() == 1


def test_an_export_that_cannot_be_signed_is_a_sentence_on_the_page(scene: Scene) -> None:
    before = AuditEntry.objects.filter(action="audit.export").count()
    (key_files().folder / STATE_FILE).unlink()
    answer = as_person(scene, "ada").post("/audit/export/", follow=True)
    assert answer.redirect_chain == [("/audit/", 302)]
    assert "memory" in answer.content.decode() and "restore it" in answer.content.decode()
    assert AuditEntry.objects.filter(action="audit.export").count() == before


def test_the_newest_answer_of_each_witness_is_shown(scene: Scene) -> None:
    for size, witness, ok, answer in (
        (3, "mine", False, "timed out"),
        (4, "mine", True, ""),
        (4, "theirs", True, ""),
        (5, "theirs", False, "answered 500"),
    ):
        Witnessing.objects.create(size=size, witness=witness, ok=ok, answer=answer)
    page = as_person(scene, "operator").get("/audit/").content.decode()
    kept = page.split("<h2>Kept by others</h2>")[1].split("</section>")[0]
    assert "mine has the checkpoint at 4" in kept and "timed out" not in kept
    assert "theirs failed at 5" in kept and "answered 500" in kept
