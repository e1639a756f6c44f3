"""A world with an auditor, and one honest export made by the acts themselves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from governance.actions import create_person, grant_role, revert
from governance.actors import Actor
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.export import Bundle, ExportRequest, make_bundle
from governance.models import Checkpoint
from governance.roles import AUDITOR
from tests.governance.cast import PASSWORD, REASON, World, promoted


@dataclass(frozen=True)
class Honest:
    """An export of a log with a promotion and a revert; what an auditor kept from before; the log's key."""

    bundle: Bundle
    kept: bytes
    key: str

    @property
    def files(self) -> dict[str, bytes]:
        """A copy of the files, to change."""
        return dict(self.bundle.files)


@pytest.fixture
def auditor(world: World) -> Actor:
    """A person with the role auditor."""
    olga = world.cast.act("olga")
    person = create_person(username="ada", password=PASSWORD, by=olga)
    grant_role(person=person, role=AUDITOR, by=olga)
    return person.actor("session")


@pytest.fixture
def history(world: World, auditor: Actor) -> Checkpoint:
    """A promotion, a checkpoint that the auditor keeps, then a revert."""
    proposal = promoted(world)
    kept = make_checkpoint()
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    return kept


_made: list[Honest] = []


@pytest.fixture
def honest(request: pytest.FixtureRequest) -> Honest:
    """The honest export: made once, its bytes serve every test."""
    if not _made:
        history: Checkpoint = request.getfixturevalue("history")
        auditor: Actor = request.getfixturevalue("auditor")
        wanted = ExportRequest(
            since=history.size, identities=True, artifacts={"adapters/one/manifest.json": b'{"rank":4}\n'}
        )
        bundle = make_bundle(by=auditor, request=wanted)
        _made.append(Honest(bundle, history.note.encode(), str(get_signer().key())))
    return _made[0]
