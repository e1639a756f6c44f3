"""Two kinds of workers that run attacks: this process, and an ordinary user's that has the sandbox's code alone."""

from __future__ import annotations

import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from loop.errors import EvaluatorError, HarnessError, OutputRejected
from loop.harness_tree import check_folder
from loop.sandbox import chosen_name, get_backend
from loop.scoring import score_outputs
from loop.types import Outcome, SandboxResult, Usage
from tests.attacks import outside
from tests.attacks.arena import Arena

REPO = Path(__file__).resolve().parents[2]
ROOT, USER = "root", "user"
FIRST_USER = 62000
ANSWER_S = 120.0


class WorkerError(Exception):
    """An ordinary user's worker cannot be used; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of one run. `outcome` is None where the worker gave none; then `reason` says why."""

    outcome: Outcome | None
    reason: str
    score: float | None
    log: str
    usage: Usage = field(default_factory=Usage)


class Worker(Protocol):
    """Something that runs armed attacks, from several threads at once."""

    name: str

    def run(self, arena: Arena, seed: int) -> Observed:
        """One run of the attack that is armed in the arena; its outputs come to `arena.outputs`."""
        ...

    def survivors(self) -> list[int]:
        """The pids of processes that sandboxes of this worker left behind."""
        ...

    def traces(self) -> list[str]:
        """What its sandboxes left on the machine."""
        ...


class HereWorker:
    """This process, whoever runs it: whole rollouts."""

    def __init__(self) -> None:
        self.name = ROOT if os.geteuid() == 0 else USER

    def run(self, arena: Arena, seed: int) -> Observed:
        """See Worker."""
        os.environ.update(arena.key)
        try:
            report = arena.run(arena.harness_dir, seed)
        finally:
            for name in arena.key:
                os.environ.pop(name)
        score = report.score.value if report.score else None
        return Observed(report.outcome, report.reason, score, report.log_tail, report.usage)

    def survivors(self) -> list[int]:
        """Processes with the uid of a slot that is free; of an ordinary user's none can be told apart here."""
        return outside.settled(outside.in_free_slots) if self._has_slots() else []

    def traces(self) -> list[str]:
        """Everything that belongs to the uid of any slot."""
        return outside.traces(outside.SLOT_UIDS) if self._has_slots() else []

    def _has_slots(self) -> bool:
        return self.name == ROOT and chosen_name() == "bwrap"


class UserWorker:
    """One process under a uid of its own with a copy of the sandbox's code; its outputs are scored by this process."""

    name = USER

    def __init__(self, commons: Path, parallel: int) -> None:
        self.commons = commons
        taken = {uid for _, uid in outside.with_uid(range(FIRST_USER, FIRST_USER + 2000))}
        self.uid = secrets.choice([FIRST_USER + n for n in range(2000) if FIRST_USER + n not in taken])
        self._answers: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        copy_code(commons / "code")
        make_readable(commons)
        self._temporary().mkdir()
        os.chown(self._temporary(), self.uid, self.uid)
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", public_python(), "-B",
             str(commons / "code" / "user_worker.py"), str(parallel)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
            env={"PYTHONPATH": str(commons / "code"), "PATH": "/usr/bin:/bin", "TMPDIR": str(self._temporary())},
        )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, arena: Arena, seed: int) -> Observed:
        """See Worker."""
        try:
            check_folder(arena.harness_dir)
        except HarnessError as error:
            return Observed(Outcome.HARNESS_FAILED, str(error), None, "")
        answer = self._ask(arena, seed)
        if answer.get("error"):
            return Observed(None, answer["error"], None, "")
        del answer["id"]
        usage, outcome = Usage(**answer.pop("usage")), Outcome(answer.pop("outcome"))
        result = SandboxResult(outcome=outcome, usage=usage, **answer)
        return self._scored(arena, Observed(outcome, result.reason, None, result.log_tail, usage))

    def survivors(self) -> list[int]:
        """Processes of this worker's uid that are no part of it any more."""
        return outside.settled(lambda: outside.strays(self.uid, self.process.pid))

    def traces(self) -> list[str]:
        """Everything of this uid on the machine, but for its own folder."""
        return outside.traces(range(self.uid, self.uid + 1))

    def close(self) -> None:
        """Ends the process. Raises WorkerError where it or anything of it, or a scratch file, is left."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(ANSWER_S)
        left = outside.settled(lambda: [pid for pid, _ in outside.with_uid(range(self.uid, self.uid + 1))])
        if left or any(self._temporary().iterdir()):
            raise WorkerError(f"The ordinary user's worker left processes {left} or scratch files behind.")

    def _temporary(self) -> Path:
        return self.commons / "tmp"

    def _ask(self, arena: Arena, seed: int) -> dict[str, Any]:
        job = self._job(arena, seed)
        answer = self._answers[job["id"]] = queue.SimpleQueue()
        assert self.process.stdin is not None
        with self._lock:
            try:
                self.process.stdin.write(json.dumps(job) + "\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                return {"error": f"The ordinary user's worker is gone: {self._last_words()}"}
        try:
            return answer.get(timeout=ANSWER_S)
        except queue.Empty:
            return {"error": f"The ordinary user's worker gave no answer: {self._last_words()}"}

    def _job(self, arena: Arena, seed: int) -> dict[str, Any]:
        """Lays out what the other user may read, in a folder whose name tells nothing."""
        folder = Path(tempfile.mkdtemp(dir=self.commons))
        shutil.copytree(arena.harness_dir, folder / "harness", symlinks=True)
        shutil.copytree(arena.inputs, folder / "in")
        shutil.copytree(arena.runtime.path, folder / "runtime", symlinks=True)
        inside = "/usr/bin/python3.11" if public_python() == "/usr/bin/python3" else get_backend().python
        for link in (folder / "runtime" / "bin").iterdir():
            link.unlink()
            link.symlink_to(inside)
        make_readable(folder)
        (folder / "out").mkdir()
        os.chown(folder / "out", self.uid, self.uid)
        shutil.rmtree(arena.outputs, ignore_errors=True)
        arena.outputs.symlink_to(folder / "out")
        env = {
            "HARNESS_IN": "/in",
            "HARNESS_OUT": "/out",
            "HARNESS_WORK": "/scratch",
            "HARNESS_SEED": str(seed),
        }
        return {
            "id": folder.name, "folder": str(folder), "env": env, "bait": arena.key,
            "runtime": str(folder / "runtime"), "limits": asdict(arena.task.limits),
            "outputs": [arena.task.outputs.file],
        }  # fmt: skip

    def _scored(self, arena: Arena, observed: Observed) -> Observed:
        folder = arena.outputs.resolve()
        arena.outputs.unlink()
        shutil.copytree(folder, arena.outputs, symlinks=True)
        if observed.outcome is not Outcome.OK:
            return observed
        try:
            score = score_outputs(get_backend(), arena.evaluation(), arena.outputs)
        except OutputRejected as error:
            return replace(observed, outcome=Outcome.OUTPUT_REJECTED, reason=str(error))
        except EvaluatorError as error:
            return replace(observed, reason=str(error))
        return replace(observed, score=score.value)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            self._answers[answer["id"]].put(answer)
        for waiting in self._answers.values():
            waiting.put({"error": f"The ordinary user's worker ended: {self._last_words()}"})

    def _last_words(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().strip()[-500:] if self.process.poll() is not None else "it hangs"


@contextmanager
def worker(name: str, parallel: int) -> Iterator[Worker]:
    """A worker of this kind. Raises WorkerError where it cannot be had."""
    here = HereWorker()
    if name == here.name:
        yield here
        return
    if name not in kinds():
        raise WorkerError(
            f"Attacks run as {here.name} alone here; as {name} they need root and the bwrap sandbox."
        )
    with commons() as folder:
        user = UserWorker(folder, parallel)
        try:
            yield user
        finally:
            user.close()


def kinds() -> tuple[str, ...]:
    """The workers that can be had here: an ordinary user cannot become root, and a container engine is root's."""
    both = os.geteuid() == 0 and chosen_name() == "bwrap"
    return (ROOT, USER) if both else (HereWorker().name,)


@contextmanager
def commons() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="sbx-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def copy_code(target: Path) -> None:
    """The sandbox's code, and the program that serves it, for another user to run."""
    (target / "loop").mkdir(parents=True)
    for part in ("__init__.py", "types.py", "errors.py", "scratch.py", "processes.py"):
        shutil.copyfile(REPO / "loop" / part, target / "loop" / part)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "loop" / "sandbox", target / "loop" / "sandbox", ignore=ignore)
    shutil.copyfile(Path(__file__).with_name("user_worker.py"), target / "user_worker.py")


def make_readable(folder: Path) -> None:
    """Lets every user read what lies below the folder; links are left as they are."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def public_python() -> str:
    """An interpreter that every user of this machine can start."""
    private = Path(sys.base_prefix).resolve().is_relative_to(Path.home())
    return "/usr/bin/python3" if private else str(Path(sys.executable).resolve())
