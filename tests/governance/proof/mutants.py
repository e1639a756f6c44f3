"""`python -m tests.governance.proof.mutants`: break each guard of the trusted core and see that something notices.

First the tests of the core, each guard against those that pass it (break_each.py); then random histories for what they
let pass. Exit status 1 when a mutant lives that is not listed as harmless, with a line for each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HARMLESS = {
    "governance.against_log:check_account:found without object_type='person'": "they are recorded of people alone",
    "governance.against_log:_entries:found without object_type='proposal'": "a ref is of one type alone",
    "governance.actions.base:lapse_all:found without status__in=OPEN": "`lapse` asks again, of each one that is found",
    "governance.actions.reverting:revert:not asked: task is None": "the key of a release names a task that is known",
    "governance.attention:reading_began:found without object_type='proposal'": "a ref is of one type alone",
    "governance.audit.canonical:_number:the bound of value < 0": "zero was answered before",
    "governance.audit.ed25519:verify_ed25519:not asked: len(public_key) != 32": "all its bytes make the challenge",
    "governance.audit.ed25519:verify_ed25519:the bound of scalar >= ORDER": "nobody finds a signature with this scalar",
    "governance.audit.lease:parse_lease:not asked: lines[0] != LEASE_HEADER": "the text is written again and compared",
    "governance.audit.lease:parse_lease:not asked: lease.not_after.tzinfo is None": "it is written again and compared",
    "governance.lineage:ancestry:all, not only if pk is not None": "no row has the key None",
    "governance.lineage:_above:all, not only if row.parent_id is not None": "no row has the key None",
}
SLOW = (
    "test_stateful.py",
    "test_crashes.py",
    "test_crashes_everywhere.py",
    "test_mutants.py",
    "test_core.py",
)
HANGS_AFTER = 240  # seconds that one history may take
REPO = Path(__file__).parents[3]


def main() -> int:
    """Break, run, tell."""
    options = _options()
    home = Path(tempfile.mkdtemp(prefix="pawl-mutants-"))
    try:
        count, left = _by_tests(home, options.only)
        left = [name for name in left if without_line(name) not in HARMLESS]
        alive = _by_histories(home, left, options.histories) if left else []
    finally:
        shutil.rmtree(home)
    lines = [f"{count} mutants, {len(alive)} live", *(f"  {name}" for name in alive)]
    print("\n".join(lines), flush=True)
    return 1 if alive else 0


def _options() -> argparse.Namespace:
    told = argparse.ArgumentParser(
        prog="python -m tests.governance.proof.mutants",
        description=__doc__,
        epilog="example: python -m tests.governance.proof.mutants --only rules:check_may",
    )
    told.add_argument(
        "--only", nargs="*", default=[], metavar="PART", help="mutants with one of these in their name"
    )
    told.add_argument("--histories", type=int, default=60, help="random histories that the rest must survive")
    return told.parse_args()


def without_line(name: str) -> str:
    """A mutant's name, whatever line it is on."""
    module, function, _, what = name.split(":", 3)
    return f"{module}:{function}:{what}"


def _by_tests(home: Path, only: list[str]) -> tuple[int, list[str]]:
    """How many mutants there are, and which of them no test of the core notices."""
    folder = REPO / "tests" / "governance"
    files = sorted(
        path for part in (".", "audit", "assurance", "desk") for path in folder.glob(f"{part}/test_*.py")
    )
    wanted = [str(path) for path in files if path.name not in SLOW]
    shares = os.cpu_count() or 1
    running = [_share(home / str(share), f"{share}/{shares}", only, wanted) for share in range(shares)]
    failed = [process.args for process in running if process.wait() != 0]
    if failed:
        raise subprocess.CalledProcessError(1, failed[0])
    told = [json.loads((home / str(share) / "alive.json").read_text("utf-8")) for share in range(shares)]
    return sum(count for count, _ in told), [name for _, alive in told for name in alive]


def _share(home: Path, share: str, only: list[str], wanted: list[str]) -> subprocess.Popen[bytes]:
    """A process that runs these tests against its share of the mutants, and tells in `alive.json` what lives."""
    home.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "tests.governance.proof.break_each"]
    told = {
        "PAWL_MUTANTS": str(home / "alive.json"),
        "PAWL_MUTANTS_ONLY": json.dumps(only),
        "PAWL_MUTANTS_SHARE": share,
    }
    return subprocess.Popen(
        [*command, f"--basetemp={home}/t", *wanted],
        cwd=REPO,
        env={**os.environ, **told},
        stdin=subprocess.DEVNULL,
    )


def _by_histories(home: Path, names: list[str], count: int) -> list[str]:
    """Which of these mutants no random history notices either."""
    os.environ.update(PAWL_HOME=str(home / "home"), DJANGO_SETTINGS_MODULE="deploy.settings")
    os.environ.pop("DATABASE_URL", None)
    import django

    django.setup()
    from deploy.prepare import prepare
    from tests.governance.proof.mutation import mutants
    from tests.governance.proof.stage import make_stage

    prepare()
    stage = make_stage()
    alive = []
    for mutant in [each for each in mutants() if each.name in names]:
        noticed = _in_histories(stage, mutant, home / "home" / "keys", count)
        print(f"killed by {noticed}: {mutant.name}" if noticed else f"LIVES: {mutant.name}", flush=True)
        if not noticed:
            alive.append(mutant.name)
    return alive


def _in_histories(stage: object, mutant: object, keys: Path, count: int) -> str:
    """Which history noticed, run in a child process; empty when none did."""
    from django.db import connections

    from tests.governance.proof.interleaving import interleave
    from tests.governance.proof.mutation import broken

    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = b""
        try:
            with broken(mutant):  # type: ignore[arg-type]
                for seed in range(count):
                    signal.alarm(HANGS_AFTER)
                    told = f"history {seed}".encode()
                    interleave(stage, keys, seed)  # type: ignore[arg-type]
            told = b""
        finally:
            os.write(writing, told or b"-")
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        told_us = pipe.read()
    os.waitpid(child, 0)
    _bring_back(keys)
    return "" if told_us == "-" else told_us or "a history that never ends"


def _bring_back(keys: Path) -> None:
    """A child that was ended may have left the signer's key away."""
    from governance.audit.signer import KEY_FILE

    if (keys / "away").exists():
        (keys / "away").rename(keys / KEY_FILE)


if __name__ == "__main__":
    sys.exit(main())
