"""A missing result is unknown in the database and on every page, never zero."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from django.test import Client

from governance.models import Person
from loop.installation import install
from loop.models import ArchiveEntry, Campaign, HiddenQuery, Rollout
from tests.loop.conftest import COINS, Service
from tests.loop.preflighted import hold_green

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ('{"items": items, "metrics": {"accuracy": float("nan")}}', "contains NaN"),
        ("0.99", "must return exactly"),
        ('{"items": {}, "metrics": {"accuracy": 0.99}}', "lack 120 of the 120 expected ids"),
    ],
)
def test_a_failed_evaluator_leaves_an_unknown_and_no_zero(
    service: Service, tmp_path: Path, returned: str, sentence: str
) -> None:
    shutil.copytree(COINS, tmp_path / "task")
    for name, old, new in (
        ("task.toml", 'id = "coins"', 'id = "broken"'),
        ("evaluator/evaluate.py", 'return {"items"', f'return {returned}\n    return {{"items"'),
    ):
        path = tmp_path / "task" / name
        path.write_text(path.read_text().replace(old, new))
    task = install(tmp_path / "task", service.operator)
    hold_green(task, service.operator)
    broken = Service(task, service.operator, service.reviewers)
    campaign = broken.run(broken.campaign())
    assert campaign.status == Campaign.Status.FAILED
    assert sentence in campaign.status_reason
    rollout = Rollout.objects.get(campaign=campaign)
    assert (rollout.score, rollout.items, rollout.metrics) == (None, {}, {})
    assert [row.score_after for row in campaign.generations.all()] == [None]
    assert not ArchiveEntry.objects.exists() and not HiddenQuery.objects.exists()
    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(ref=service.operator.ref).user)
    for address in (f"/campaigns/{campaign.ref}/", f"/rollouts/{rollout.pk}/", "/campaigns/"):
        page = re.sub(r"<[^>]+>", " ", client.get(address).content.decode())
        assert "no score" in page or "unknown" in page, address
        assert not re.search(r"(accuracy|score)\s+(is\s+)?0(\.0*)?\s", page), address
