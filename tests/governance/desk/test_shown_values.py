"""How values are shown: numbers with their unknowns, evidence of every form, pictures, names of rows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from governance import rules
from governance.actions import hold, stop
from governance.desk.evidence import cards, score_delta
from governance.desk.svg import Scale, interval_plot
from governance.errors import NotAllowed
from governance.models import (
    AuditEntry,
    AuditHead,
    AuditNode,
    Authenticator,
    CampaignToken,
    Checkpoint,
    Evidence,
    FactorReset,
    Halt,
    Hold,
    Passkey,
    Pointer,
    PointerMove,
    Proposal,
    ReadToken,
    RecoveryCode,
    RoleGrant,
    Witnessing,
)
from governance.roles import roles_of
from governance.templatetags import pawl
from tests.governance.cast import REASON, World, promoted, ready, say

pytestmark = pytest.mark.one_database

NUMBERS: list[tuple[Any, Any, str]] = [
    (pawl.score, 0.123456, "0.1235"),
    (pawl.score, None, "unknown"),
    (pawl.score, True, "unknown"),
    (pawl.signed, -0.5, "\u22120.5"),
    (pawl.signed, float("nan"), "unknown"),
    (pawl.usd, 0, "$0.00"),
    (pawl.usd, 0.0012, "$0.00120"),
    (pawl.usd, None, "unknown"),
    (pawl.duration, 4.25, "4.2 s"),
    (pawl.duration, 42, "42 s"),
    (pawl.duration, 185, "3 min 5 s"),
    (pawl.duration, 7800, "2 h 10 min"),
    (pawl.duration, "soon", "unknown"),
    (pawl.pvalue, 0.01234, "0.0123"),
    (pawl.pvalue, 0.00001234, "1.2e-05"),
    (pawl.pvalue, None, "unknown"),
    (pawl.code, "", ""),
    (pawl.code, "abcdef0123", "ABCD-EF01"),
    (pawl.count, 1234567, "1,234,567"),
    (pawl.unlocal, 0.5, "0.5"),
    (pawl.pretty, {"b": 1, "a": 2}, '{\n  "a": 2,\n  "b": 1\n}'),
    (pawl.pretty, "plain", "plain"),
    (pawl.one_line, "two\nlines", "two lines"),
    (pawl.words, "changes_requested", "changes requested"),
    (pawl.age, None, ""),
]


@pytest.mark.parametrize(("shown", "value", "text"), NUMBERS)
def test_a_value_is_shown_and_an_unknown_one_is_said_to_be(shown: Any, value: Any, text: str) -> None:
    assert shown(value) == text


def test_differences_long_texts_lists_and_ages_are_shown() -> None:
    assert pawl.minus(3, 1) == 2.0
    assert pawl.minus(None, 1) is None
    assert pawl.one_line("word " * 99).endswith("\u2026")
    assert pawl.split_words("a b") == ["a", "b"]
    now = timezone.now()
    ages = [pawl.age(now - timedelta(seconds=seconds)) for seconds in (5, 300, 7200, 172_800)]
    assert ages == ["5 s", "5 min", "2 h", "2 d"]


def test_an_interval_is_drawn_with_or_without_the_smallest_gain() -> None:
    assert Scale(1, 1, 0, 10)(1) == 5
    plain = interval_plot(low=0.1, value=0.2, high=0.3, smallest_gain=None, label="x")
    assert "needed" not in plain and "range good" in plain
    assert "range bad" in interval_plot(low=-0.3, value=-0.2, high=-0.1, smallest_gain=0.02, label="x")
    with pytest.raises(ValueError, match="upside down"):
        interval_plot(low=1, value=0, high=0, smallest_gain=None, label="x")


def card_of(name: str, value: Any) -> Any:
    """The card of one piece of evidence."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    (card,) = cards([Evidence(name=name, media_type="application/json", sha256="0" * 64, size=1, body=body)])
    return card


FORMS: list[tuple[str, Any, str]] = [
    ("comparison", [1], "raw"),
    ("comparison", {"gain": 0.1, "low": 0.0, "high": 0.2}, "comparison"),
    ("comparison", {"difference": 0.1, "interval": [0.0, 0.2], "slices": [{"n": 3}, "no"]}, "comparison"),
    ("comparison", {"difference": 0.1, "interval": [0.3, 0.2]}, "comparison"),
    ("public", [1], "raw"),
    ("public", {"score_before": 1, "score_after": 2}, "public"),
    ("public", {"score_before": 1}, "public"),
    ("attribution", {"cells": "none"}, "facts"),
    ("attribution", {"cells": [{"harness": "old", "adapter": "new", "score": 1}, "no"]}, "attribution"),
    ("ledger", [1], "raw"),
    ("ledger", {"alpha": 0.05}, "ledger"),
    ("detectors", {"a": 1}, "facts"),
    ("detectors", [1], "raw"),
    ("detectors", [{"name": "D1"}], "detectors"),
    ("sample", [1], "raw"),
    ("sample", {"best": [{"rollout": 7, "item": "a"}, "no"]}, "sample"),
    ("decision", [{"lever": "harness"}, "no"], "decision"),
    ("decision", {"lever": "weights", "params": {"lr": 0.1}}, "decision"),
    ("not_tested", {"listed": ["a"]}, "not_tested"),
    ("not_tested", ["a"], "not_tested"),
    ("cost", {"a": None, "b": True, "c": 1000, "d": 0.5, "e": "x", "f": [1], "g": False}, "facts"),
    ("anything else", {"a": 1}, "raw"),
    ("anything else", b"\xff not JSON", "raw"),
]


@pytest.mark.parametrize(("name", "value", "template"), FORMS)
def test_evidence_of_any_form_has_a_card(name: str, value: Any, template: str) -> None:
    assert card_of(name, value).template == template


def test_what_a_comparison_does_not_state_is_unknown() -> None:
    assert score_delta({"difference": 0.25}) == 0.25
    assert score_delta({"difference": float("inf")}) is None
    assert score_delta([0.25]) is None
    facts = dict(card_of("cost", {"a": None, "b": True, "c": 1000, "d": 0.5, "f": [1]}).extra["facts"])
    assert facts == {"a": "unknown", "b": "yes", "c": "1,000", "d": "0.5", "f": "[1]"}


def test_a_detectors_figures_are_shown_with_as_much_as_was_measured() -> None:
    measured = {
        "precision": 0.94,
        "precision_interval": [0.74, 0.99],
        "recall": 0.5,
        "recall_interval": [0.2, None],
    }
    findings = card_of("detectors", [{"measured": measured}, {"measured": {"recall": "high"}}, {}]).extra
    shown = [(each["precision"], each["recall"]) for each in findings["findings"]]
    assert shown == [("0.94 (0.74 to 0.99)", "0.50"), ("", ""), ("", "")]


def test_a_sample_keeps_what_names_a_trajectory_and_drops_the_rest() -> None:
    rows = [{"rollout": 7, "item": "a"}, {"rollout": "7", "item": "a"}, {"rollout": 7}, "no"]
    extra = card_of("sample", {"best": rows, "worst": [], "note": "none"}).extra
    assert extra["groups"] == [("best", [{"rollout": 7, "item": "a"}])]


def test_the_page_of_a_piece_of_evidence_shows_it_whole_whatever_it_is(world: World) -> None:
    proposal = ready(world)
    for name, body in (("notes", b"1 < 2, so \xff it is"), ("figures", b'{"b":1,"a":[2]}')):
        Evidence.objects.create(
            proposal=proposal, name=name, media_type="text/plain", sha256="0" * 64, size=1, body=body
        )
    client = Client(headers={"host": "localhost"})
    client.force_login(world.cast.rita.user)
    address = f"/proposals/{proposal.ref}/evidence"
    assert "1 &lt; 2, so \ufffd it is" in client.get(f"{address}/notes/").content.decode()
    assert "&quot;b&quot;: 1,\n" in client.get(f"{address}/figures/").content.decode()


def test_every_row_has_a_name_that_people_can_read(world: World) -> None:
    proposal = promoted(world)
    operator = world.cast.act("operator")
    hold(digest=world.seed.digest, reason=REASON, by=operator)
    named = [
        str(stop(scope="", reason=REASON, by=operator)),
        str(RoleGrant.objects.get(person=world.cast.rita)),
        str(world.seed),
        str(Pointer.objects.get(key="release:digits")).partition(" =")[0],
        str(PointerMove.objects.get(key="release:digits", generation=1)).partition(":")[0],
        str(proposal.reviews.get()),
        str(AuditEntry.objects.get(seq=0)),
        str(AuditHead.objects.get()).partition(" ")[0],
        str(Evidence.objects.filter(proposal=proposal).first()),
    ]
    assert named[:2] == ["stop of everything", "rita as reviewer"]
    assert named[2].startswith("digits@")
    assert named[3:6] == ["release:digits", "release", "approve by rita"]
    assert named[6:] == ["#0 version.register (allowed)", "log", "comparison"]


def test_rows_of_factors_tokens_holds_and_the_log_have_names_too(world: World) -> None:
    rita = world.cast.rita
    named = {
        "authenticator of rita": Authenticator(person=rita),
        "recovery code of rita": RecoveryCode(person=rita),
        "passkey phone of rita": Passkey(person=rita, name="phone"),
        "reset of the factors of rita": FactorReset(person=rita),
        "hold of aaaaaaaaaaaa": Hold(digest="a" * 64),
        "checkpoint at 7": Checkpoint(size=7),
        "node 3 of level 8": AuditNode(level=8, index=3),
        "mine at 7: ok": Witnessing(witness="mine", size=7, ok=True),
        "mine at 8: failed": Witnessing(witness="mine", size=8, ok=False),
        "read token siem": ReadToken(name="siem"),
        "campaign token nightly": CampaignToken(name="nightly"),
    }
    assert [str(row) for row in named.values()] == list(named)


def test_a_stop_that_is_over_is_not_resumed_again(world: World) -> None:
    over = Halt(scope="", resumed_at=timezone.now())
    with pytest.raises(NotAllowed, match="This stop is over already"):
        rules.check_may_resume(over, world.cast.act("operator"))


def test_the_loop_waits_while_the_inbox_is_longer_than_the_policy_allows(world: World) -> None:
    rules.check_inbox()
    proposal = ready(world)
    copies = [
        Proposal(**{**_fields(proposal), "ref": f"copy-{number}", "key": f"other:{number}"})
        for number in range(20)
    ]
    for copy in copies:
        copy.save(force_insert=True)
    with pytest.raises(NotAllowed, match="21 proposals wait for people and the policy allows 20"):
        rules.check_inbox()


def _fields(proposal: Proposal) -> dict[str, Any]:
    return {
        field.attname: getattr(proposal, field.attname)
        for field in Proposal._meta.fields
        if field.name != "id"
    }


def test_a_closed_account_holds_no_role(world: World) -> None:
    rita = world.cast.rita
    proposal = ready(world)
    rita.user.is_active = False
    assert roles_of(rita) == frozenset()
    rita.user.save(update_fields=["is_active"])
    with pytest.raises(NotAllowed, match="is not active"):
        say(world, "rita", proposal)
    assert rules.counting_roles(rita, timezone.now()) == frozenset()
