"""A world with an auditor, and one honest export made by the acts themselves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from governance.actions import revert
from governance.actors import Actor
from governance.assurance.bundle_files import read_bundle
from governance.assurance.export import ExportRequest, export_bundle
from governance.audit.checkpoints import get_signer, init_signer, make_checkpoint
from governance.models import Checkpoint
from tests.governance.assurance.history import History, honest_history
from tests.governance.cast import REASON, World, make_world, promoted


@dataclass(frozen=True)
class Honest:
    """An export of a log with a promotion and a revert; what an auditor kept from before; the log's key."""

    size: int
    read: dict[str, bytes]
    kept: bytes
    key: str

    @property
    def files(self) -> dict[str, bytes]:
        """A copy of the files, to change."""
        return dict(self.read)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever reads the honest export needs the database that it was made on, also when run alone."""
    for item in items:
        if {"honest", "rich"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.django_db)


def make_auditor(world: World) -> Actor:
    """The person with the role auditor."""
    return world.cast.act("ada")


def make_history(world: World) -> Checkpoint:
    """A promotion, a checkpoint that the auditor keeps, then a revert."""
    proposal = promoted(world)
    kept = make_checkpoint()
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    return kept


@pytest.fixture
def auditor(world: World) -> Actor:
    """A person with the role auditor."""
    return make_auditor(world)


@pytest.fixture
def history(world: World, auditor: Actor) -> Checkpoint:
    """A log with a promotion and a revert, and the checkpoint between them."""
    return make_history(world)


@pytest.fixture(scope="session")
def honest(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Honest:
    """The honest export: made once, in a transaction that is undone; its bytes serve every test."""
    home = tmp_path_factory.mktemp("honest")
    (home / "keys").mkdir()
    undone = transaction.atomic()
    undone._from_testcase = True  # type: ignore[attr-defined]  # as Django's test cases do: durable acts run inside
    with django_db_blocker.unblock(), override_settings(PAWL_HOME=home), undone:
        init_signer()
        world = make_world()
        auditor, history = make_auditor(world), make_history(world)
        wanted = ExportRequest(
            since=history.size, identities=True, artifacts={"adapters/one/manifest.json": b'{"rank":4}\n'}
        )
        bundle = export_bundle(home / "out", by=auditor, request=wanted)
        made = Honest(bundle.size, read_bundle(home / "out"), history.note.encode(), str(get_signer().key()))
        transaction.set_rollback(True)
    return made


@pytest.fixture(scope="session")
def rich(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> History:
    """A history of every kind of act: made once, in a transaction that is undone."""
    home = tmp_path_factory.mktemp("rich")
    (home / "keys").mkdir()
    undone = transaction.atomic()
    undone._from_testcase = True  # type: ignore[attr-defined]
    with django_db_blocker.unblock(), override_settings(PAWL_HOME=home), undone:
        init_signer()
        made = honest_history()
        transaction.set_rollback(True)
    return made
