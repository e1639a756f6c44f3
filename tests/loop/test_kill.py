"""`kill -9` of workers, queue and web process in the middle of a campaign loses nothing.

The real service is struck while it runs; tests/loop/test_kill_sweep.py strikes every single point of every act.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from tests.loop.killing import Env, follow, kill, processes, queue_of, service, serving, wait_until_gone

STEPS = ("prepare", "roll_out", "decide", "edit", "compare")


class Struck(Exception):
    """The web process is to be killed now."""


def test_workers_queue_and_web_process_killed_at_every_step_change_nothing(
    service_env: Env, tmp_path: Path
) -> None:
    calm = {**service_env, "PAWL_HOME": str(tmp_path / "calm")}
    home = Path(service_env["PAWL_HOME"])
    calm_ref, ref = service(calm, "coins", "6"), service(service_env, "coins", "6")
    killed: list[str] = []

    def strike(step: str) -> None:
        if step in killed or step not in (*STEPS, "verify"):
            return
        killed.append(step)
        if step == "decide":
            raise Struck
        kill(processes(home, ("manage.py", "worker", "verify" if step == "verify" else "loop")))
        if step == "compare":
            kill(queue_of(process))

    with serving(service_env) as process:
        queue = queue_of(process)
        with suppress(Struck):
            follow(home, strike)
    assert "decide" in killed
    wait_until_gone(home, queue)
    with serving(service_env) as process:
        follow(home, strike)
    assert set(killed) >= {"roll_out", "decide", "compare", "verify"}
    undisturbed = json.loads(service(calm, "run", calm_ref))
    assert (undisturbed["status"], undisturbed["proposals"]) == ("finished", ["ready"])
    assert json.loads(service(service_env, "archive", ref)) == undisturbed
