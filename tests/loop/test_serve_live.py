"""Serving what is live: on a lease, followed when it moves, and ended by a stop, a silence or a lie."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer as DjangoServer

from governance import actions
from governance.actors import LOOP, SETUP
from governance.assurance.receipt import Moved
from governance.audit.checkpoints import get_signer
from governance.audit.lease import LEASE
from governance.audit.notes import make_key
from governance.audit.tokens import create_token, revoke_token
from governance.digests import file_list
from governance.models import AuditEntry, Release
from governance.people import person_named
from governance.pointers import live_release
from loop.catalog import load_task
from loop.gateway import GatewayLimits
from loop.installation import repo_of
from loop.installed import ModelParts, tree_of
from loop.repos import CommitNote, digest_of, edited
from loop.runtimes import Runtime
from loop.serving.keeper import Leased, LeaseKeeper, NotServing, Source
from loop.serving.live_release import LoadedRelease
from loop.serving.live_server import LiveServer
from loop.serving.manager import stop_servers
from tests.loop.conftest import COINS, Service
from tests.loop.tiny_models import write_model

pytestmark = pytest.mark.one_database

WHY = "Something looks wrong tonight."
INPUTS = [{"id": "a", "weight": 9.0}, {"id": "b", "weight": 0.1}]
END_S = LEASE.total_seconds()


@dataclass
class Clock:
    """Seconds that a test moves on."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Serving:
    """A serving process's parts in this process, with a clock of the test's own."""

    server: LiveServer
    keeper: LeaseKeeper
    clock: Clock
    source: Source
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def get(self, path: str = "/health") -> tuple[int, Any]:
        """Status and JSON."""
        reply = httpx.get(self.url + path, timeout=30)
        return reply.status_code, reply.json()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        reply = httpx.post(self.url + path, json=body, timeout=60)
        return reply.status_code, reply.json()

    def refused(self) -> str:
        """Why nothing is served, at every address."""
        status, told = self.get()
        assert (status, self.post("/v1/run", {"inputs": INPUTS})[0]) == (503, 503)
        return str(told["error"]["message"])


@pytest.fixture
def serving(service: Service, live_server: DjangoServer) -> Iterator[Serving]:
    """`coins` served on leases from a real web server. Nothing else runs: no queue, no worker."""
    auditor = actions.create_person(username="ada", password="correct-horse-ada", by=SETUP)
    actions.grant_role(person=auditor, role="auditor", by=SETUP)
    token = create_token(name="serving", by=auditor.actor("command"))
    source = Source(live_server.url, token, "coins", (get_signer().key(),))
    clock = Clock()
    keeper = LeaseKeeper(source, clock)
    with LiveServer(("127.0.0.1", 0), keeper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Serving(server, keeper, clock, source)
        server.shutdown()


def test_what_is_live_is_run_on_the_inputs_that_are_sent(service: Service, serving: Serving) -> None:
    assert "has been asked for yet" in serving.refused()
    serving.server.refresh()
    live = live_release(service.task).digest
    status, told = serving.get()
    assert (status, told["status"], told["release"]) == (200, "serving", live)
    status, told = serving.post("/v1/run", {"inputs": INPUTS})
    assert (status, told["release"]) == (200, live)
    assert told["outputs"] == [{"id": "a", "answer": "heavy"}, {"id": "b", "answer": "light"}]
    assert serving.get("/v1/models") == (200, {"object": "list", "data": []})
    assert serving.post("/v1/completions", {"prompt": "x"})[0] == 404
    assert serving.get("/elsewhere")[0] == 404
    bodies: list[dict[str, Any]] = [{}, {"inputs": {}}, {"inputs": [1]}, {"inputs": [{"weight": 1.0}]}]
    for body in (*bodies, {"inputs": INPUTS, "seed": True}):
        assert serving.post("/v1/run", body)[0] == 400
    status, told = serving.post("/v1/run", {"inputs": [{"id": "a"}]})
    assert status == 502 and "gave no outputs (harness_failed)" in told["error"]["message"]


def test_a_stop_ends_serving_at_the_next_renewal_and_a_resumption_brings_it_back(
    service: Service, serving: Serving
) -> None:
    serving.server.refresh()
    actions.stop(scope="coins", reason=WHY, by=service.reviewers[0])
    assert serving.get()[0] == 200
    serving.server.refresh()
    assert "The task coins was stopped on" in serving.refused() and WHY in serving.refused()
    other = actions.create_person(username="otis", password="correct-horse-otis", by=SETUP)
    actions.grant_role(person=other, role="operator", by=SETUP)
    for by in (service.operator, other.actor("command")):
        actions.resume(scope="coins", reason=WHY, by=by)
    serving.server.refresh()
    assert serving.get()[0] == 200


def test_while_the_service_is_silent_serving_goes_on_to_the_end_of_its_lease(serving: Serving) -> None:
    serving.server.refresh()
    before = AuditEntry.objects.count()
    serving.keeper._source = replace(serving.source, url="http://127.0.0.1:1")
    serving.clock.now += END_S - 0.01
    serving.server.refresh()
    assert serving.get()[0] == 200
    serving.clock.now += 0.01
    why = serving.refused()
    assert "The lease ran out at" in why and "gives no answer (ConnectError" in why
    serving.keeper._source = serving.source
    serving.server.refresh()
    assert serving.get()[0] == 200
    assert AuditEntry.objects.count() == before, "renewing is no entry"


def test_an_answer_that_comes_after_the_end_of_the_lease_does_not_leave(serving: Serving) -> None:
    serving.server.refresh()

    class Slow(LoadedRelease):
        def run(self, inputs: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
            serving.clock.now += END_S
            return LoadedRelease.run(self, inputs, seed)

    ready = serving.server._loaded
    assert ready is not None
    serving.server._loaded = Slow(*(getattr(ready, each.name) for each in fields(ready)))
    status, told = serving.post("/v1/run", {"inputs": INPUTS})
    assert status == 503 and "The lease ran out" in told["error"]["message"] and "outputs" not in told


def test_without_a_signer_no_lease_is_renewed(serving: Serving, settings: Settings, tmp_path: Path) -> None:
    serving.server.refresh()
    settings.SIGNER_EXTERNAL, settings.SIGNER_SOCKET = True, tmp_path / "nobody"
    serving.server.refresh()
    assert serving.get()[0] == 200
    serving.clock.now += END_S
    assert "does not answer at" in serving.refused()


def test_a_lease_ends_by_the_walls_clock_too(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    serving.server.refresh()
    leased = serving.keeper.hold()
    serving.keeper._leased = replace(leased, not_after=datetime.now(UTC))
    with pytest.raises(NotServing, match="ran out"):
        serving.keeper.hold()


def test_a_revoked_token_and_a_key_of_another_log_end_serving_at_once(serving: Serving) -> None:
    serving.server.refresh()
    serving.keeper._source = replace(serving.source, keys=(make_key("pawl/log-other", bytes(32)),))
    serving.server.refresh()
    assert "What the service gave is no lease" in serving.refused()
    serving.keeper._source = serving.source
    serving.server.refresh()
    assert serving.get()[0] == 200
    revoke_token(name="serving", by=person_named("ada").actor("command"))
    serving.server.refresh()
    assert "unknown or revoked" in serving.refused()


def test_the_live_release_is_followed_when_it_moves_and_not_back(service: Service, serving: Serving) -> None:
    serving.server.refresh()
    first = live_release(service.task)
    old_lease = serving.keeper.hold()
    better = promote_other(service)
    serving.keeper.renew()
    assert "is being loaded" in serving.refused()
    serving.server.refresh()
    assert serving.get()[1]["release"] == better.digest
    told = serving.post("/v1/run", {"inputs": INPUTS})[1]
    assert told["release"] == better.digest and told["outputs"][0]["answer"] == "light"
    assert old_lease.moved.generation < serving.keeper.hold().moved.generation
    actions.revert(key="release:coins", to_digest=first.digest, reason=WHY, by=service.operator)
    serving.server.refresh()
    assert serving.get()[1]["release"] == first.digest
    serving.keeper._generation = 9
    serving.server.refresh()
    assert "it is an old one" in serving.refused()


def test_a_release_whose_bytes_changed_is_not_served(service: Service, serving: Serving) -> None:
    harness = live_release(service.task).harness
    note = CommitNote("Other", "agent", datetime(2026, 1, 1, tzinfo=UTC))
    other = repo_of(service.task).commit({**tree_of(harness), "x.py": ("file", b"x\n")}, None, note, "other")
    type(harness).objects.filter(pk=harness.pk).update(manifest={**harness.manifest, "commit": other})
    serving.server.refresh()
    assert "does not hold the harness" in serving.refused()
    Release.objects.update(origin="x")
    type(harness).objects.filter(pk=harness.pk).update(manifest=harness.manifest)
    serving.server.refresh()
    assert serving.get()[0] == 200


def test_the_live_releases_model_answers_openai_clients_while_it_is_leased(
    tmp_path: Path, settings: Settings
) -> None:
    settings.PAWL_HOME = tmp_path
    model = ModelParts("b" * 64, write_model(tmp_path / "tiny"), None)
    release = Release(digest="d" * 64, binding={"base_model": "b" * 64})
    moved = Moved("release:x", release.digest, 0, 0, 1)
    keeper = LeaseKeeper(Source("http://127.0.0.1:1", "t", "x", ()))
    keeper._leased = Leased(release.digest, moved, float("inf"), datetime.now(UTC) + LEASE)
    with LiveServer(("127.0.0.1", 0), keeper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server._loaded = LoadedRelease(
            release, load_task(COINS), tmp_path, Runtime(tmp_path, ""), GatewayLimits(), model
        )
        serving = Serving(server, keeper, Clock(), keeper._source)
        try:
            assert [row["id"] for row in serving.get("/v1/models")[1]["data"]] == ["task-model"]
            asked = {"model": "anything", "prompt": "a", "max_tokens": 3}
            status, told = serving.post("/v1/completions", asked)
            assert (status, told["model"], len(told["choices"])) == (200, "task-model", 1)
            assert serving.post("/v1/completions", {**asked, "max_tokens": -1})[0] == 400
            assert serving.post("/v1/completions", {**asked, "stream": True})[0] == 400
            stop_servers(tmp_path / "run")
            server._loaded = replace(server._loaded, model=replace(model, folder=tmp_path / "gone"))
            status, told = serving.post("/v1/completions", asked)
            assert status == 502 and "is no model folder" in told["error"]["message"]
        finally:
            stop_servers(tmp_path / "run")
        server.shutdown()


def promote_other(service: Service) -> Release:
    """Another harness, which finds every coin light, made live by people."""
    live = live_release(service.task)
    main = tree_of(live.harness)["main.py"][1].decode().replace('"heavy" if', '"light" if')
    tree = edited(tree_of(live.harness), {"main.py": main})
    note = CommitNote("Light", "agent", datetime(2026, 1, 1, tzinfo=UTC))
    commit = repo_of(service.task).commit(tree, live.harness.manifest["commit"], note, "light")
    version = actions.register_version(
        kind="harness", digest=digest_of(tree), task=service.task,
        manifest={"commit": commit, "files": file_list(tree)}, by=LOOP,
    )  # fmt: skip
    draft = actions.ReleaseDraft(service.task, version, None, live, live.binding, "test")
    release = actions.register_release(draft=draft, by=LOOP)
    proposal = actions.break_glass(release=release, reason=WHY * 2, by=service.operator)
    for name in ("otto", "otis"):
        person = actions.create_person(username=name, password=f"correct-horse-{name}", by=SETUP)
        actions.grant_role(person=person, role="operator", by=SETUP)
        actions.review(
            proposal=proposal, verdict="approve", reason=WHY, subject_digest=proposal.subject_digest,
            by=person.actor("command"),
        )  # fmt: skip
        proposal.refresh_from_db()
    actions.promote(proposal=proposal, reason=WHY, by=service.operator)
    return release
