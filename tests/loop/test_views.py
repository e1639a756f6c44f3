"""Campaign pages and trajectories at the desk: live, paged, and safe to look at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from governance.audit.checkpoints import init_signer
from loop.models import AgentCall, Campaign, Generation
from loop.presenters import step_view
from tests.desk_scene import Scene, make_scene
from tests.governance.cast import make_world
from tests.snapshot import remembered

pytestmark = pytest.mark.one_database


@pytest.fixture
def scene(db: None, settings: Settings, tmp_path: Path) -> Scene:
    settings.PAWL_HOME = tmp_path
    (tmp_path / "keys").mkdir()
    init_signer()
    return remembered("scene", tmp_path, lambda: make_scene(make_world()))


@pytest.fixture
def viewer(scene: Scene) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(scene.world.cast.outsider.user)
    return client


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_names_each_campaign_with_its_best_score(viewer: Client) -> None:
    page = text(viewer, "/campaigns/")
    assert "0.604 → 0.744" in page
    assert "6 / 8" in page


def test_the_list_asks_a_fixed_number_of_queries(
    scene: Scene, viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        Campaign.objects.create(
            ref=f"other-{number}",
            task=scene.world.task,
            profile="search",
            contract={},
            contract_digest="d" * 64,
            status="finished",
            base_release=scene.seed,
            started_by="loop",
        )
    with django_assert_max_num_queries(8):
        assert text(viewer, "/campaigns/").count("other-") >= 5


def test_a_campaign_shows_its_contract_budgets_and_every_generation(scene: Scene, viewer: Client) -> None:
    page = text(viewer, f"/campaigns/{scene.campaign.ref}/")
    for expected in (
        "rolling out on public-val: 148 of 250 items",
        "1,284,310 of 4,000,000",
        "ZeroDivisionError",
        "0.664 → unknown",
        "the best accepted release, once, after the last generation",
        "7 generations, 3 kept; best kept score from 0.604 to 0.744.",
        "Training in generation 4",
        "passed",
    ):
        assert expected in page, expected


def test_a_running_campaign_asks_for_its_live_part_and_a_finished_one_does_not(
    scene: Scene, viewer: Client
) -> None:
    address = f"/campaigns/{scene.campaign.ref}/"
    assert 'hx-trigger="every 2s"' in text(viewer, address)
    Campaign.objects.filter(pk=scene.campaign.pk).update(status="finished")
    assert "every 2s" not in text(viewer, address)


def test_a_page_that_was_open_stops_asking_when_the_campaign_ends(scene: Scene, viewer: Client) -> None:
    address = f"/campaigns/{scene.campaign.ref}/live/"
    assert viewer.get(address).status_code == 200
    Campaign.objects.filter(pk=scene.campaign.pk).update(status="finished")
    assert viewer.get(address).status_code == 286


def test_the_live_part_moves_with_the_generation(scene: Scene, viewer: Client) -> None:
    Generation.objects.filter(campaign=scene.campaign, number=6).update(
        progress={"text": "the Feedback-Agent decides", "done": None, "total": None}
    )
    page = text(viewer, f"/campaigns/{scene.campaign.ref}/live/")
    assert "the Feedback-Agent decides" in page
    assert "<html" not in page


def test_the_inbox_strip_lists_running_campaigns_only(scene: Scene, viewer: Client) -> None:
    assert "generation 6 of 8" in text(viewer, "/campaigns/running/")
    Campaign.objects.update(status="finished")
    assert "generation" not in text(viewer, "/campaigns/running/")


def test_a_campaign_without_generations_has_a_page(scene: Scene, viewer: Client) -> None:
    bare = Campaign.objects.create(
        ref="bare",
        task=scene.world.task,
        profile="search",
        contract={},
        contract_digest="d" * 64,
        status="finished",
        base_release=scene.seed,
        started_by="loop",
    )
    assert "No generation was run." in text(viewer, f"/campaigns/{bare.ref}/")


def test_a_trajectory_is_paged_by_a_hundred_steps(scene: Scene, viewer: Client) -> None:
    address = f"/rollouts/{scene.rollout.pk}/"
    first, last = text(viewer, address), text(viewer, f"{address}?page=3")
    assert first.count('<details class="step">') == 100 and "steps 1\u2013100 of 230" in first
    assert last.count('<details class="step">') == 30 and "Later steps" not in last
    assert "page 3 of 3" in text(viewer, f"{address}?page=999")


def test_a_trajectory_can_be_read_item_by_item(scene: Scene, viewer: Client) -> None:
    page = text(viewer, f"/rollouts/{scene.rollout.pk}/?item=val-0004")
    assert page.count('<details class="step">') == 1
    assert "scored 0" in page


def test_a_page_of_steps_asks_a_fixed_number_of_queries(
    scene: Scene, viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(8):
        viewer.get(f"/rollouts/{scene.rollout.pk}/")


def test_hostile_text_is_shown_as_text(scene: Scene, viewer: Client) -> None:
    page = text(viewer, f"/rollouts/{scene.rollout.pk}/")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page and "[U+202E]" in page
    assert "\x1b" not in page and "\u241b" in page


def test_a_step_of_the_other_protocol_is_read_too(scene: Scene) -> None:
    step = scene.rollout.steps.get(index=0)
    step.body = {
        "api": "anthropic",
        "request": {
            "system": "Be brief.",
            "messages": [{"role": "user", "content": [{"text": "Which digit?"}]}],
        },
        "reply": {"content": [{"type": "text", "text": "seven"}]},
        "status": 200,
    }
    view = step_view(step)
    assert view.asked == (("system", "Be brief."), ("user", "Which digit?"))
    assert (view.answered, view.status) == ("seven", 200)


@pytest.mark.parametrize("body", [{}, [], {"request": 3, "reply": []}, {"reply": None, "error": "refused"}])
def test_a_step_with_an_unexpected_body_is_still_shown(scene: Scene, viewer: Client, body: object) -> None:
    scene.rollout.steps.filter(index=0).update(body=body)
    assert text(viewer, f"/rollouts/{scene.rollout.pk}/").count('<details class="step">') == 100


def test_no_page_of_the_loop_has_inline_scripts_or_styles(scene: Scene, viewer: Client) -> None:
    for address in ("/campaigns/", f"/campaigns/{scene.campaign.ref}/", f"/rollouts/{scene.rollout.pk}/"):
        html = text(viewer, address)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html), address


def test_a_generation_shows_its_decision_and_every_exchange_as_text(scene: Scene, viewer: Client) -> None:
    turn = scene.campaign.generations.get(number=2)
    AgentCall.objects.create(
        generation=turn,
        index=0,
        role="feedback",
        model="model-x",
        request={"messages": [{"role": "user", "content": "<script>alert(1)</script>"}]},
        reply={"content": "I would vote more often."},
        prompt_tokens=1200,
        completion_tokens=34,
        cost_usd=0.0041,
    )
    page = text(viewer, f"/campaigns/{scene.campaign.ref}/generations/2/")
    assert "See the evidence." in page and "I would vote more often." in page
    assert "1200+34 tokens" in page and "$0.0041" in page
    assert "<script>alert" not in page
    assert f"/campaigns/{scene.campaign.ref}/generations/2/" in text(
        viewer, f"/campaigns/{scene.campaign.ref}/"
    )


def test_a_generation_without_a_language_model_says_so(scene: Scene, viewer: Client) -> None:
    assert "No language model was asked" in text(viewer, f"/campaigns/{scene.campaign.ref}/generations/1/")
