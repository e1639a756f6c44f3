"""One story in which every verb of governance/actions is done once, each where it can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyotp

from governance import actions
from governance.actors import LOOP, SETUP, VERIFIER, Actor
from governance.digests import json_digest, sha256_hex
from governance.factors import STEP_S, new_secret
from governance.models import Person, Proposal, Version
from governance.passkeys import Site, new_question
from governance.roles import OPERATOR
from governance.submitting import submit_policy
from tests.governance.cast import (
    BETTER,
    BOLDER,
    EVALUATOR,
    FAIRER,
    PASSWORD,
    REASON,
    SEED,
    World,
    approved,
    draft_of,
    evaluator_manifest,
    evidence,
    make_adapter,
    make_harness,
    make_release,
    make_world,
    ready,
    say,
)
from tests.governance.desk.software_passkey import SoftwarePasskey
from tests.governance.proof.clock import Clock
from tests.governance.proof.stage import POLICIES, policy_text

SITE = Site("localhost", "http://localhost")
SLOWER = {**SEED, "settings.toml": ("file", b"votes = 5\n")}
SLOWEST = {**SEED, "settings.toml": ("file", b"votes = 7\n")}
OTHERS = [{**SEED, "settings.toml": ("file", f"votes = {votes}\n".encode())} for votes in (9, 11, 13)]
EMERGENCY = "Every answer since midnight is wrong and no former release reads the new scans."


@dataclass(frozen=True)
class Step:
    """One verb, done. `parts`: it is several acts, one after the other, and goes on where it was cut off.

    `silent`: no decision, so no entry.
    """

    verb: str
    do: Callable[[], object]
    parts: bool = False
    silent: bool = False


def story(clock: Clock) -> Iterator[Step]:
    """The steps in their order; each is done, whole, before the next one is asked for. Needs a signer and `clock`."""
    yield Step("install_policy", lambda: actions.install_policy(by=SETUP), parts=True)
    yield Step("create_person", lambda: actions.create_person(username="nina", password=PASSWORD, by=SETUP))
    nina = Person.objects.get()
    yield Step("grant_role", lambda: actions.grant_role(person=nina, role=OPERATOR, by=SETUP))
    yield Step("revoke_role", lambda: actions.revoke_role(person=nina, role=OPERATOR, by=SETUP))
    world = make_world({"otto": (OPERATOR,), "rita": (OPERATOR,)})
    yield from _bringing_in(world)
    yield from _deciding(world)
    yield from _stopping(world)
    yield from _factors(world, clock)
    yield from _clock(world, clock)


def _bringing_in(world: World) -> Iterator[Step]:
    spec, digest = {"id": "letters", "title": "Letters"}, sha256_hex(b"letters")
    yield Step("install_task", lambda: actions.install_task(spec=spec, spec_digest=digest, by=SETUP))
    manifest = evaluator_manifest(FAIRER)
    yield Step(
        "register_version",
        lambda: actions.register_version(
            kind="evaluator", digest=json_digest(manifest), task=world.task, manifest=manifest, by=LOOP
        ),
    )
    make_harness(world.task, BETTER)
    yield Step("register_release", lambda: make_release(world.task, BETTER))
    letters = actions.install_task(spec=spec, spec_digest=digest, by=SETUP)
    first = evaluator_manifest(EVALUATOR)
    version = actions.register_version(
        kind="evaluator", digest=json_digest(first), task=letters, manifest=first, by=SETUP
    )
    yield Step(
        "install_pointer",
        lambda: actions.install_pointer(
            key="evaluator:letters", digest=version.digest, reason="First.", by=SETUP
        ),
    )


def _deciding(world: World) -> Iterator[Step]:
    by = world.cast.act("operator")
    draft = draft_of(world)
    yield Step("open_proposal", lambda: actions.open_proposal(draft=draft, by=LOOP))
    proposal = Proposal.objects.get()
    yield Step("begin_verification", lambda: actions.begin_verification(proposal=proposal, by=VERIFIER))
    yield Step(
        "finish_verification",
        lambda: actions.finish_verification(
            proposal=proposal, passed=True, reason="Better.", evidence=evidence(SEED, BETTER), by=VERIFIER
        ),
    )
    yield Step("review", lambda: say(world, "rita", proposal))
    yield Step("promote", lambda: actions.promote(proposal=proposal, reason=REASON, by=by))
    back = world.seed.digest
    yield Step("revert", lambda: actions.revert(key="release:digits", to_digest=back, reason=REASON, by=by))
    due = Proposal.objects.get(kind="revert")
    ravi = world.cast.act("ravi")
    yield Step("acknowledge", lambda: actions.acknowledge(proposal=due, reason=REASON, by=ravi))
    worse = approved(world, BOLDER)
    actions.promote(proposal=worse, reason=REASON, by=by)
    yield Step("revert_lineage", lambda: actions.revert_lineage(digest=worse.target, reason=REASON, by=by))
    withdrawn = ready(world, SLOWER)
    yield Step("withdraw", lambda: actions.withdraw(proposal=withdrawn, reason=REASON, by=LOOP))


def _stopping(world: World) -> Iterator[Step]:
    by = world.cast.act("operator")
    held = ready(world, SLOWEST)
    yield Step("hold", lambda: actions.hold(digest=held.target, reason=REASON, by=by))
    yield Step("lift_hold", lambda: actions.lift_hold(digest=held.target, reason=REASON, by=by))
    ready(world, OTHERS[0])
    yield Step("stop", lambda: actions.stop(scope="digits", reason=REASON, by=by))
    yield Step("resume", lambda: actions.resume(scope="digits", reason=REASON, by=by))
    actions.resume(scope="digits", reason=REASON, by=world.cast.act("olga"))
    release = make_release(world.task, OTHERS[0])
    yield Step("break_glass", lambda: actions.break_glass(release=release, reason=EMERGENCY, by=by))


def _factors(world: World, clock: Clock) -> Iterator[Step]:
    ada = world.cast.ada
    by = ada.actor("session")
    yield Step(
        "change_password", lambda: actions.change_password(person=ada, password=f"{PASSWORD} 2", by=by)
    )
    yield Step("keep_account", lambda: actions.keep_account(person=ada, password=PASSWORD, by=by))
    secret = new_secret()

    def code() -> str:
        return pyotp.TOTP(secret).at(clock.now)

    yield Step(
        "add_authenticator",
        lambda: actions.add_authenticator(person=ada, secret=secret, code=code(), by=by),
    )
    clock.forward(seconds=2 * STEP_S)
    yield Step("use_code", lambda: actions.use_code(person=ada, code=code(), by=by))
    yield Step("renew_recovery_codes", lambda: actions.renew_recovery_codes(person=ada, by=by))
    yield from _passkeys(ada, by)
    yield Step("remove_authenticator", lambda: actions.remove_authenticator(person=ada, by=by))
    olga = world.cast.act("olga")
    yield Step("reset_factors", lambda: actions.reset_factors(person=ada, reason=REASON, by=olga))
    yield Step(
        "mark_seen",
        lambda: actions.mark_seen(kind="file", digest="0" * 64, seen=True, by=by),
        silent=True,
    )
    yield Step("note_event", lambda: actions.note_event(by=by, action="audit.read", subject=("log", "x")))


def _passkeys(ada: Person, by: Actor) -> Iterator[Step]:
    device = SoftwarePasskey()
    made, asked = new_question(SITE), new_question(SITE)
    answer = device.create(made)
    yield Step(
        "add_passkey",
        lambda: actions.add_passkey(person=ada, name="Laptop", answer=answer, question=made, by=by),
    )
    used = device.use(asked)
    yield Step("use_passkey", lambda: actions.use_passkey(person=ada, answer=used, question=asked, by=by))
    credential = ada.passkeys.get().credential_id
    yield Step("remove_passkey", lambda: actions.remove_passkey(person=ada, credential=credential, by=by))


def _clock(world: World, clock: Clock) -> Iterator[Step]:
    broken = Proposal.objects.get(kind="break_glass")
    for name in ("otto", "rita"):
        say(world, name, broken)
    actions.promote(proposal=broken, reason=REASON, by=world.cast.act("operator"))
    clock.forward(hours=5)
    yield Step("revert_due", lambda: actions.revert_due(now=clock.now))
    adapter = make_adapter(world.task)
    ready(world, SEED, adapter)
    with _moved(adapter):
        yield Step("refresh_stale", actions.refresh_stale)
    ready(world, OTHERS[1])
    clock.forward(hours=400)
    yield Step("expire_due", lambda: actions.expire_due(now=clock.now))
    _by_itself(world, clock)
    ready(world, OTHERS[2])
    yield Step("promote_due", actions.promote_due)


@contextmanager
def _moved(adapter: Version) -> Iterator[None]:
    """While the block runs, the adapter's manifest is another one: the subject of its proposal has moved."""
    row = Version.objects.filter(pk=adapter.pk)
    row.update(manifest={"rank": 8})
    yield
    row.update(manifest=adapter.manifest)


def _by_itself(world: World, clock: Clock) -> None:
    """Put a policy in force that lets harness changes go live without a person."""
    by = world.cast.act("operator")
    proposal = submit_policy(text=policy_text(POLICIES[0]), summary="", by=by)
    for owner in ("olga", "otto"):
        say(world, owner, proposal)
    clock.forward(hours=25)
    actions.promote(proposal=proposal, reason=REASON, by=by)
