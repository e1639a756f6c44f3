"""Who may work on a row, and who may commit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from loop import leases
from loop.errors import Fenced
from loop.leases import every, free_rows, held, take
from loop.models import Campaign
from tests.loop.conftest import Service


@pytest.fixture
def campaign(service: Service) -> Campaign:
    """A campaign that nobody works on."""
    return service.campaign()


def test_a_held_row_is_taken_by_nobody_else(campaign: Campaign) -> None:
    with held(Campaign, campaign.pk) as lease:
        assert lease is not None
        assert take(Campaign, campaign.pk) is None
        assert not free_rows(Campaign).exists()
    assert take(Campaign, campaign.pk) is not None


def test_a_renewal_that_waits_for_a_commit_never_outlives_its_block(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the block's last transaction holds the database, renewals queue up behind it."""
    monkeypatch.setattr(leases, "RENEW_S", 0.001)
    for _ in range(10):
        with held(Campaign, campaign.pk) as lease:
            assert lease is not None
            with lease.commit():
                threading.Event().wait(0.05)
        campaign.refresh_from_db()
        assert campaign.lease_until is None


def test_a_lease_that_ran_out_can_be_taken_and_the_late_holder_commits_nothing(campaign: Campaign) -> None:
    late = take(Campaign, campaign.pk)
    assert late is not None
    Campaign.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert take(Campaign, campaign.pk) is not None
    with pytest.raises(Fenced, match="taken over"), late.commit():
        raise AssertionError("the block must not run")
    assert late.lost.is_set()
    assert not late.renew()


def test_the_row_of_a_dead_process_on_this_host_is_free_at_once(campaign: Campaign) -> None:
    assert take(Campaign, campaign.pk) is not None
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        child.wait()
    host = Campaign.objects.get(pk=campaign.pk).holder.partition(" ")[0]
    Campaign.objects.update(holder=f"{host} {child.pid} 12345")
    assert take(Campaign, campaign.pk) is not None


def test_a_reused_process_number_does_not_keep_a_row(campaign: Campaign) -> None:
    assert take(Campaign, campaign.pk) is not None
    host = Campaign.objects.get(pk=campaign.pk).holder.partition(" ")[0]
    Campaign.objects.update(holder=f"{host} {os.getpid()} 1")
    assert take(Campaign, campaign.pk) is not None


def test_the_row_of_another_host_is_free_only_when_its_lease_runs_out(campaign: Campaign) -> None:
    assert take(Campaign, campaign.pk) is not None
    Campaign.objects.update(holder="elsewhere 1 1")
    assert take(Campaign, campaign.pk) is None


def test_what_is_done_every_so_often_is_done_in_a_thread_and_ends_with_the_block(campaign: Campaign) -> None:
    seen: list[int] = []
    beaten = threading.Event()

    def beat() -> None:
        seen.append(threading.get_ident())
        beaten.set()

    with every(0.001, beat):
        assert beaten.wait(10)
    assert threading.get_ident() not in seen
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]
