"""A walk over every route: what decides asks for a step-up, each time, and no new route slips in unseen."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from governance.desk.proposals import _DONE
from governance.models import Attempt, AuditEntry
from tests.governance.cast import PASSWORD, REASON, World, ready
from tests.governance.desk.deciding_posts import governed_state, make_posts
from tests.governance.desk.factor_helpers import code_of, give_authenticator, let_time_pass

pytestmark = pytest.mark.one_database

DECIDES_NOTHING = {
    "login", "login-factor", "logout",  # the door itself
    "password",  # asks for the old password in its own form
    "seen",  # a mark of one's own
    "audit-export",  # reads the log, for those who may, and is an entry
    "passkey-question",  # a challenge, worth nothing unless a passkey answers it
    "authenticator-confirm", "passkey-confirm",  # end what a step-up began in the same session
}  # fmt: skip
STARTS_ONLY = {"loop:api-campaigns"}  # begins a campaign by an operator's token, which lets nothing go live
DECIDES_NOT = {"reject", "request_changes", "withdraw"}  # acts on a proposal that let nothing go live
SAMPLES = {"ref": "none", "slug": "digits", "index": 0, "name": "diff", "seq": 0, "pk": 1, "number": 1}


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(getattr(world.cast, name).user)
    return client


def routes() -> dict[str, str]:
    """{name: an address of it} of every named route but those of Django's admin, which is a reading room."""
    found = {}
    for space in ("desk", "loop"):
        _, resolver = get_resolver().namespace_dict[space]
        for pattern in resolver.url_patterns:
            assert isinstance(pattern, URLPattern) and pattern.name, (
                "a route without a name escapes this walk"
            )
            wanted = pattern.pattern.converters
            found[f"{space}:{pattern.name}"] = reverse(
                f"{space}:{pattern.name}", kwargs={name: SAMPLES[name] for name in wanted}
            )
    return found


def test_every_route_that_takes_a_post_is_known_to_decide_or_not_to(world: World) -> None:
    deciding = {post.name for post in make_posts(world)}
    taking = set()
    for name, address in routes().items():
        if (
            as_person(world, "operator").post(address, headers={"authorization": "Bearer x"}).status_code
            != 405
        ):
            taking.add(name)
    assert taking == {f"desk:{name}" for name in deciding | DECIDES_NOTHING} | STARTS_ONLY
    assert len(routes()) > 30


def test_every_act_on_a_proposal_is_known_to_decide_or_not_to(world: World) -> None:
    deciding = {post.form["act"] for post in make_posts(world) if post.name == "act"}
    assert deciding | DECIDES_NOT == set(_DONE) and not deciding & DECIDES_NOT


@pytest.mark.parametrize(
    ("proof", "sentence"),
    [
        ({}, "The password is not yours"),
        ({"password": "guessed"}, "The password is not yours"),
        ({"password": PASSWORD}, "Type a code of your authenticator"),
        ({"password": PASSWORD, "code": "12345"}, "The code does not fit"),
        ({"password": PASSWORD, "passkey": "{}"}, "answered already"),
    ],
)
def test_no_deciding_act_passes_without_all_of_the_step_up(
    world: World, proof: dict[str, str], sentence: str
) -> None:
    posts = make_posts(world)
    for name in {post.who for post in posts}:
        give_authenticator(getattr(world.cast, name))
    before = governed_state()
    for post in posts:
        Attempt.objects.all().delete()
        answer = as_person(world, post.who).post(post.address, {**post.form, **proof})
        assert answer.status_code == 403, post
        assert sentence in answer.content.decode(), post
        newest = AuditEntry.objects.latest("seq")
        assert (newest.action, newest.outcome) == ("desk.step_up", "denied"), post
    assert governed_state() == before


def test_a_step_up_counts_for_one_act_alone(world: World) -> None:
    first, second = ready(world), ready(world, {"main.py": ("file", b"print(3)\n")})
    rita = world.cast.rita
    give_authenticator(rita)
    client = as_person(world, "rita")
    form = {"act": "approve", "reason": REASON}
    proof = {"password": PASSWORD, "code": code_of(rita)}
    address = "/proposals/{}/act/"
    done = client.post(address.format(first.ref), {**form, **proof, "subject_digest": first.subject_digest})
    assert done.status_code == 302 and first.reviews.count() == 1
    for again in ({}, proof, {"password": PASSWORD}):
        told = {**form, **again, "subject_digest": second.subject_digest}
        assert client.post(address.format(second.ref), told).status_code == 403
    assert second.reviews.count() == 0
    let_time_pass(rita)
    told = {**form, "password": PASSWORD, "code": code_of(rita), "subject_digest": second.subject_digest}
    assert client.post(address.format(second.ref), told).status_code == 302
