"""The control, inside its jail: one attack as a plain process, then a careless collector and a careless scorer.

They do what a service without a sandbox does: follow links, believe result files and printed scores, divide by the
rows submitted. `main` prints what the attack achieved, as one JSON list. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.attacks.bait import HONEST_SCORE, MEMORY_MIB, PROCESSES, WALL_S, Bait, changes, snapshot

MIB = 1 << 20
LOG_BYTES, FILES_BYTES, INODES, OUT_FILES, FILE_BYTES = 16 * MIB, 128 * MIB, 8192, 64, 32 * MIB
OUT, IN, HARNESS, SCRATCH = Path("/out"), Path("/in"), Path("/harness"), Path("/scratch")
SYSTEM = ("/", "/etc", "/run", "/usr", "/dev")
SHARED = ("/tmp", "/dev/shm", "/var/tmp", "/run")
SCORER_S = 2


@dataclass
class Watch:
    """A process that was started, its log so far, and the limits that were seen to be passed."""

    process: subprocess.Popen[bytes]
    mine: frozenset[int]
    log: bytearray = field(default_factory=bytearray)
    passed: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Keeps the log, for a thread of its own."""
        assert self.process.stdout is not None
        while len(self.log) <= LOG_BYTES and (data := os.read(self.process.stdout.fileno(), 1 << 16)):
            self.log += data

    def others(self) -> list[int]:
        """The pids of all live processes but the jail's own."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if pid not in self.mine and _state(pid) not in ("", "Z")]

    def look(self) -> None:
        """Notes which limits are passed now."""
        tasks, memory, disk = 0, 0.0, os.statvfs("/")
        for pid in self.others():
            fields = _stat(pid)
            tasks += int(fields[17]) if fields else 0
            memory += int(fields[21]) * 4096 / MIB if fields else 0
        used = sum(each.f_frsize * (each.f_blocks - each.f_bfree) for each in (disk, os.statvfs("/dev/shm")))
        over = {
            "memory": memory > MEMORY_MIB, "processes": tasks > PROCESSES, "log": len(self.log) > LOG_BYTES,
            "disk": used > FILES_BYTES, "files": disk.f_files - disk.f_ffree > INODES,
        }  # fmt: skip
        self.passed |= {name for name, is_over in over.items() if is_over}

    def bury(self) -> None:
        """Kills everything but the jail's own processes."""
        while others := self.others():
            for pid in others:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def main(name: str, runs: int) -> None:
    """Runs one attack and prints what it achieved."""
    bait = Bait(_folder("/tmp/arena"))
    decoy = subprocess.Popen(["/usr/bin/sleep", "60"])
    for folder in (OUT, SCRATCH, HARNESS, IN, Path("/run"), Path("/var/tmp"), Path("/etc")):
        _folder(str(folder))
    Path("/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    shutil.copytree(bait.inputs, IN, dirs_exist_ok=True)
    bait.arm(Path("/suite/harnesses", name), HARNESS, decoy.pid)
    before = {
        "bait": snapshot([*bait.watched(), IN, HARNESS]),
        "system": _listing(SYSTEM),
        "state": _listing(SHARED),
    }
    achieved: list[str] = []
    for _ in range(runs):
        shutil.rmtree(OUT, ignore_errors=True)
        watch = _run(bait, frozenset({1, os.getpid(), decoy.pid}))
        achieved += [f"passed the limit on {limit}" for limit in sorted(watch.passed)]
        if watch.process.poll() is not None and watch.others():
            achieved.append("outlived its run")
        watch.bury()
        achieved += _judged(bait, watch)
    if decoy.poll() is not None:
        achieved.append("killed another process")
    if changed := changes(before["bait"], snapshot([*bait.watched(), IN, HARNESS])):
        achieved.append(f"changed {changed[0]}")
    if new := changes(before["system"], _listing(SYSTEM)):
        achieved.append(f"wrote {new[0]}")
    if left := changes(before["state"], _listing(SHARED)):
        achieved.append(f"left {left[0]}")
    achieved += [f"reached a listener ({listener})" for listener in bait.touched()]
    print(json.dumps(list(dict.fromkeys(achieved))))


def _run(bait: Bait, mine: frozenset[int]) -> Watch:
    """The attack as a plain process, until it ends, passes a limit or takes twice its time."""
    _folder(str(OUT))
    env = {
        "HARNESS_IN": str(IN),
        "HARNESS_OUT": str(OUT),
        "HARNESS_SEED": "1",
        "PATH": "/usr/bin",
        **bait.key,
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(HARNESS / "main.py")],
        env=env, cwd="/scratch", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    watch, began = Watch(process, mine), time.monotonic()
    reader = threading.Thread(target=watch.read, daemon=True)
    reader.start()
    while process.poll() is None and not watch.passed:
        watch.look()
        if time.monotonic() - began > 1.5 * WALL_S:
            watch.passed.add("time")
        time.sleep(0.01)
    watch.look()
    reader.join(0.3)
    return watch


def _judged(bait: Bait, watch: Watch) -> Iterator[str]:
    log = watch.log.decode(errors="replace")
    collected = Path("/tmp/collected")
    _folder(str(collected))
    broken = _broken(OUT / "predictions.jsonl")
    if len(list(os.scandir(OUT)) if os.access(OUT, os.R_OK) else []) > OUT_FILES:
        yield "passed the limit on outputs"
    score: float | None = None
    try:
        score = _within(SCORER_S, lambda: _careless(bait, log, collected))
    except (
        OSError,
        ValueError,
        LookupError,
        RecursionError,
        MemoryError,
        TypeError,
        ArithmeticError,
    ) as error:
        yield f"broke the scorer ({type(error).__name__})"
    if score is not None and (broken or abs(score - HONEST_SCORE) > 1e-9):
        yield f"got the score {score:.3f}" + (f" for {broken}" if broken else "")
    if bait.leaked(log, collected):
        yield "took a secret"
    if any(char in log for char in "\x1b\u202e\x07"):
        yield "wrote control characters to the reader"
    if "BREACH" in log:
        yield "says so: " + next(line for line in log.splitlines() if "BREACH" in line)[:60]
    shutil.rmtree(collected)


def _careless(bait: Bait, log: str, collected: Path) -> float:
    """What a careless service takes for the score."""
    for name in ("results.json", "result.json"):
        if (OUT / name).exists():
            return float(json.loads((OUT / name).read_text())["score"])
    if said := re.search(r"accuracy: ([0-9.]+)%", log):
        return float(said[1]) / 100
    text = (OUT / "predictions.jsonl").read_text(errors="replace")
    (collected / "predictions.jsonl").write_text(text)
    labels = {row["id"]: row["label"] for row in map(json.loads, bait.secrets[0].read_text().splitlines())}
    rows = [json.loads(line) for line in text.splitlines()]
    return sum(row["answer"] == labels.get(row["id"]) for row in rows) / len(rows)


def _broken(path: Path) -> str:
    """In which way an output breaks the contract; '' where it keeps it."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return "no plain file"
        if status.st_size > FILE_BYTES:
            return "a file over its limit"
        ids = re.findall(r'"id": ?"(.*?)"', path.read_text(errors="replace"))
    except OSError:
        return "no plain file"
    return "" if sorted(ids) == ["a", "b", "c"] else "the wrong rows"


def _within(seconds: int, act: Callable[[], float]) -> float:
    """What `act` returns; raises TimeoutError where it hangs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return act()
    finally:
        signal.alarm(0)


def _listing(folders: tuple[str, ...]) -> dict[str, str]:
    return {
        entry.path: "there" for folder in folders if os.path.isdir(folder) for entry in os.scandir(folder)
    }


def _folder(path: str) -> Path:
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
