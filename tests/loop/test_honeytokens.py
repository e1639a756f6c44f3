"""Nothing of a hidden set is ever where the loop, its agents or an ordinary operator can look.

Every id, input and label of the hidden sets is a mark of its own. Real workers run whole campaigns whose harnesses and
evaluators try to carry the marks out; then everything but the hidden store is searched.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import git
import pytest
import redis

from deploy import child
from deploy.home import REPO
from tests.loop.honey_service import SLUGS, write_task

DEADLINE_S = 500.0
MARK = re.compile(rb"[hp](?:id|in|lb)[0-9a-f]{16}")
Env = dict[str, str]


@dataclass
class Places:
    """Where the service lies. The hidden store is outside the data home, and only the verifier's process knows it."""

    home: Path
    hidden: Path
    temp: Path
    tasks: Path
    environment: Env

    def env(self, *, verifier: bool) -> Env:
        """The environment of one account's processes."""
        return {**self.environment, "PAWL_HIDDEN": str(self.hidden) if verifier else "/proc/nowhere"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A data home with its tasks and a private queue."""
    root = tmp_path_factory.mktemp("honey")
    folders = {name: root / name for name in ("home", "hidden", "temp", "tasks")}
    folders["temp"].mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAWL_TEST")}
    kept.pop("DATABASE_URL", None)
    environment = {
        **kept,
        "PAWL_HOME": str(folders["home"]),
        "PAWL_BOOTSTRAP": "0",
        "TMPDIR": str(folders["temp"]),
        "REDIS_URL": f"unix://{root}/q.sock",
        "DJANGO_SETTINGS_MODULE": "deploy.settings",
        "PYTHONPATH": str(REPO),
    }
    for slug in SLUGS:
        write_task(folders["tasks"], slug)
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program is not None
    queue = [program, "--port", "0", "--unixsocket", f"{root}/q.sock", "--save", "", "--dir", str(root)]
    with running(queue, environment, root / "queue.log"):
        wait_for(lambda: (root / "q.sock").exists(), 20)
        yield Places(environment=environment, **folders)


@contextlib.contextmanager
def running(command: list[str], env: Env, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs."""
    with log.open("wb") as out:
        process = subprocess.Popen(child.command(command), env=env, cwd=REPO, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.1)


def service(places: Places, *args: str, verifier: bool) -> str:
    """What tests/loop/honey_service.py prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop.honey_service", *args],
        env=places.env(verifier=verifier), cwd=REPO, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def views(places: Places) -> dict[str, bytes]:
    """Everything that can be looked at after the campaigns, by where it was found."""
    service(places, "start", str(places.tasks), verifier=True)
    command = [sys.executable, str(REPO / "manage.py"), "worker"]
    logs = places.home / "logs"
    with (
        running([*command, "loop"], places.env(verifier=False), logs / "loop.log") as loop,
        running([*command, "verify"], places.env(verifier=True), logs / "verify.log"),
    ):
        service(places, "drive", verifier=False)
        found = {"environment of the loop's worker": Path(f"/proc/{loop.pid}/environ").read_bytes()}
    found |= {"pages": service(places, "pages", verifier=False).encode()}
    return found | files(places.home) | files(places.temp) | blobs(places) | columns(places) | queue(places)


def rows(places: Places, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(places.home / "db.sqlite3", timeout=20)) as database:
        return database.execute(query).fetchall()


def files(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): path.read_bytes() for path in paths}


def blobs(places: Places) -> dict[str, bytes]:
    """Every object of every harness repository, reachable or not."""
    found = {}
    for path in (places.home / "repos").glob("*.git"):
        with git.Repo(path) as repo:
            found[f"git {path.name}"] = repo.git.execute(
                ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"],
                strip_newline_in_stdout=False,
            ).encode(errors="replace")
    return found


def columns(places: Places) -> dict[str, bytes]:
    """Every column of every table."""
    found: dict[str, bytes] = {}
    for (table,) in rows(places, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        values = [
            value for row in rows(places, f'SELECT * FROM "{table}"') for value in row if value is not None
        ]
        found[f"table {table}"] = b"\0".join(map(plain, values))
    return found


def queue(places: Places) -> dict[str, bytes]:
    """Every key of the queue: jobs with their arguments, results and tracebacks."""
    connection: Any = redis.Redis.from_url(places.environment["REDIS_URL"])
    found = {}
    for key in connection.keys("*"):
        reads = {
            b"hash": lambda key: [part for pair in connection.hgetall(key).items() for part in pair],
            b"string": lambda key: [connection.get(key)],
            b"list": lambda key: connection.lrange(key, 0, -1),
            b"set": connection.smembers,
            b"zset": lambda key: connection.zrange(key, 0, -1),
            b"stream": lambda key: [repr(connection.xrange(key))],
        }
        found[f"queue {key.decode()}"] = b"\0".join(map(plain, reads[connection.type(key)](key)))
    return found


def plain(value: Any) -> bytes:
    """A value as bytes, unpacked where it is compressed."""
    data = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()
    with contextlib.suppress(zlib.error):
        return data + zlib.decompress(data)
    return data


def marks(view: bytes) -> set[bytes]:
    return set(MARK.findall(view))


def planted(places: Places, where: str) -> set[bytes]:
    return {mark for path in places.tasks.glob(where) for mark in marks(path.read_bytes())}


def test_no_mark_of_a_hidden_set_is_where_the_loop_can_look(places: Places, views: dict[str, bytes]) -> None:
    hidden = planted(places, "*/hidden/*/*.jsonl")
    assert len(hidden) == 3 * 60 * len(SLUGS)
    leaks = {where: sorted(marks(view) & hidden) for where, view in views.items()}
    assert not {where: found for where, found in leaks.items() if found}


def test_no_new_name_of_a_hidden_item_is_there_either(places: Places, views: dict[str, bytes]) -> None:
    """Ids are re-keyed for every reading; those names are no one's business either."""
    names: set[bytes] = set()
    proposals = rows(places, "SELECT ref FROM governance_proposal")
    for folder in places.hidden.glob("*/salt"):
        ids = [
            json.loads(line)["id"]
            for line in (folder.parent / "inputs" / "inputs.jsonl").read_text().splitlines()
        ]
        for (ref,) in proposals:
            key = hmac.new(folder.read_bytes(), ref.encode(), hashlib.sha256).digest()
            names |= {hmac.new(key, each.encode(), hashlib.sha256).hexdigest()[:16].encode() for each in ids}
    assert len(names) == 60 * len(SLUGS) ** 2
    seen = {name for view in views.values() for name in names if name in view}
    assert not seen


def test_no_public_label_is_outside_the_store_of_labels(places: Places, views: dict[str, bytes]) -> None:
    labels = {mark for mark in planted(places, "*/labels/*/*.jsonl") if mark.startswith(b"plb")}
    held = {where for where, view in views.items() if marks(view) & labels}
    assert held
    assert all(where.startswith(str(places.home / "labels")) for where in held), held


def test_the_search_would_have_found_them(places: Places, views: dict[str, bytes]) -> None:
    """The same search finds the hidden marks in their store, and public inputs wherever they rightly are."""
    store = b"".join(files(places.hidden).values())
    assert planted(places, "*/hidden/*/*.jsonl") <= marks(store)
    public = {mark for mark in planted(places, "*/public/*/*.jsonl") if mark.startswith(b"pin")}
    held = {where.split("/")[0] or "file" for where, view in views.items() if marks(view) & public}
    assert held >= {"file", "table loop_rollout", "pages"}
    jobs = b"".join(view for where, view in views.items() if where.startswith("queue rq:job:"))
    assert b"loop.jobs.advance" in jobs and b"loop.jobs.verify" in jobs
    assert any(where.startswith("git ") and b"settings.toml" in view for where, view in views.items())


def test_every_hostile_verification_failed_with_a_sentence_and_its_details_stayed_inside(
    places: Places, views: dict[str, bytes]
) -> None:
    slugs = dict(rows(places, "SELECT id, slug FROM governance_task"))
    proposals = rows(places, "SELECT task_id, status, status_reason FROM governance_proposal")
    ended = {slugs[task]: (status, reason) for task, status, reason in proposals}
    assert ended.keys() == set(SLUGS)
    assert ended["honey"][0] == "ready"
    for slug, words in (
        ("honey-harness", "its outputs were rejected"),
        ("honey-evaluator", "the evaluator failed"),
    ):
        status, reason = ended[slug]
        assert status == "failed"
        assert words in reason
    reports = b"".join(path.read_bytes() for path in (places.hidden / "reports").iterdir())
    assert {mark[:3] for mark in marks(reports)} >= {b"hin", b"hlb"}


def test_the_evidence_of_a_passed_verification_holds_aggregates_only(
    places: Places, views: dict[str, bytes]
) -> None:
    """No piece of it has as many entries as there are hidden items."""

    def longest(value: Any) -> int:
        if isinstance(value, dict | list):
            inside = value.values() if isinstance(value, dict) else value
            return max([len(value), *map(longest, inside)])
        return 0

    bodies = rows(places, "SELECT name, body FROM governance_evidence")
    assert {name for name, _ in bodies} >= {"comparison", "public", "detectors"}
    assert {name: longest(json.loads(bytes(body))) for name, body in bodies if name != "diff"}
    assert all(longest(json.loads(bytes(body))) < 40 for name, body in bodies if name != "diff")


def test_the_hidden_store_is_closed_to_others_and_nothing_is_left_in_its_scratch(
    places: Places, views: dict[str, bytes]
) -> None:
    assert places.hidden.stat().st_mode & 0o077 == 0
    assert not list((places.hidden / "scratch").iterdir())
    assert not list(places.temp.iterdir())


HOLD = """
import django, sys, time
django.setup()
from loop import hidden_store
with hidden_store.workplace() as folder:
    (folder / "copy").write_text("hidden rows")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_verifier_leaves_lies_in_the_hidden_store_and_goes_with_the_next(
    places: Places,
) -> None:
    env = places.env(verifier=True)
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=env, cwd=REPO, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        left = Path(first.stdout.readline().strip())
        with subprocess.Popen(command, env=env, cwd=REPO, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            other = Path(second.stdout.readline().strip())
            assert (left / "copy").exists(), "the folder of a living process must stay"
            first.send_signal(signal.SIGKILL)
            first.wait()
            second.send_signal(signal.SIGKILL)
    assert left.parent == other.parent == places.hidden / "scratch"
    assert (left / "copy").exists()
    with subprocess.Popen(command, env=env, cwd=REPO, stdout=subprocess.PIPE, text=True) as third:
        assert third.stdout is not None
        third.stdout.readline()
        assert not left.exists() and not other.exists()
        third.kill()
