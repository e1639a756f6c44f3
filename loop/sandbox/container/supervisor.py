"""Runs one container and reports: `python -I -S supervisor.py`, an order on stdin, a Report on stdout.

A container belongs to its engine and outlives whoever started it, so this process stands between: it watches the
asking process and its own stdin, and removes the container by force when either ends. Should this process be killed
too, its end of the container's stdin closes and the first process inside ends the run; what even that leaves is
removed by the next probe (see reap.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from loop.sandbox import verdicts
from loop.sandbox.collect import Collected, Refused, copy
from loop.sandbox.command import BASE_ENV, RELAY_PORT
from loop.sandbox.container import engine as engines
from loop.sandbox.container.frames import (
    DATA,
    END,
    FILE,
    LOG,
    REFUSED,
    STARTED,
    USAGE,
    BadFrame,
    FrameReader,
)
from loop.sandbox.container.reap import owner
from loop.sandbox.devices import INSIDE as DRIVER
from loop.sandbox.logs import LogKeeper
from loop.sandbox.protocol import GONE, Order, Report, open_asker
from loop.sandbox.slots import NoFreeSlot, take_uid
from loop.sandbox.staging import StagingError, copy_tree, is_small
from loop.types import Limits, Outcome, Usage

HERE = Path(__file__).resolve().parent
LOOP = HERE.parents[1]
# What the first process inside imports; nothing else of the service is shown to a container.
INSIDE = (
    "types.py", "sandbox/verdicts.py", "sandbox/watch.py", "sandbox/collect.py", "sandbox/relay.py",
    "sandbox/container/frames.py", "sandbox/container/init.py",
)  # fmt: skip
RELAY = "/run/pawl/loop/sandbox/relay.py"
SOCKET = "/run/llm.sock"
ORDINARY_UID = 1000
START_S = 60.0
GRACE_S = 1.0
REMOVE_S = 60.0
POLL_S = 0.1
MIB = 1 << 20


NOT_TOLD = Usage()


class EngineFailed(Exception):
    """The engine did not do what it was asked; the message quotes it."""


@dataclass
class Seen:
    """What came out of the container so far, none of it trusted."""

    log: LogKeeper
    began: float = field(default_factory=time.monotonic)
    started: bool = False
    said: Any = None
    usage: Usage = NOT_TOLD
    ended_s: float | None = None
    refused: str = ""
    files: dict[str, list[bytes]] = field(default_factory=dict)
    held: int = 0
    stop: tuple[Outcome, str] | None = None
    words: bytes = b""

    def wall_s(self) -> float:
        """Seconds since the program was started (since the engine was asked, before that), until its end was seen."""
        return time.monotonic() - self.began if self.ended_s is None else self.ended_s


def main() -> None:
    """Reads the order, runs it, writes the report."""
    values = json.loads(sys.stdin.buffer.readline())
    order, engine = Order.from_values(values["order"]), engines.Engine(**values["engine"])
    asker = open_asker(order.parent)
    try:
        report = carry_out(order, engine, asker)
    except (StagingError, NoFreeSlot, EngineFailed, BadFrame) as error:
        report = Report(error=str(error))
    except OSError as error:
        report = Report(error=f"The container could not be prepared: {error}.")
    sys.stdout.buffer.write(report.to_json())
    sys.stdout.buffer.flush()


def carry_out(order: Order, engine: engines.Engine, asker: int) -> Report:
    """One whole run: stage, engine, watch, remove, collect."""
    uid = take_uid() if os.geteuid() == 0 else ORDINARY_UID
    name = f"sbx-{secrets.token_hex(8)}"
    box = engines.Box(name, owner(order.parent), uid, order.seccomp)
    seen = Seen(LogKeeper(order.limits.log_kib * 1024))
    with tempfile.TemporaryDirectory(prefix="sbx-", dir=engine.stage) as folder:
        os.chmod(folder, 0o711)
        staged = _stage(order, Path(folder), uid)
        with _removed(engine, name):
            for argv in engines.prepare_argvs(engine, box, order.limits):
                _ask(argv)
            _run(engines.run_argv(engine, box, order.limits, staged, order.devices), order, seen, asker)
    return _report(order, seen)


@contextlib.contextmanager
def _removed(engine: engines.Engine, name: str) -> Iterator[None]:
    """Whatever happens in the block, nothing of the container is left after it."""
    try:
        yield
    finally:
        for argv in engines.remove_argvs(engine, name):
            subprocess.run(argv, capture_output=True, timeout=REMOVE_S, check=False)


def _ask(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=START_S, check=False)
    if done.returncode != 0:
        raise EngineFailed(f"{Path(argv[0]).name} failed: {_last_line(done.stderr)}")


def _stage(order: Order, folder: Path, uid: int) -> dict[str, str]:
    """{path inside: host path}: small trees are copied to opaque places, large ones and runtimes bound as they are."""
    staged = {}
    for index, (target, source) in enumerate({**order.copies, **order.layers}.items()):
        if not Path(source).exists():
            raise StagingError(f"{source} cannot be opened for the sandbox (it does not exist).")
        staged[target] = source
        if target in order.copies and is_small(Path(source)):
            staged[target] = str(folder / str(index))
            copy_tree(Path(source), folder / str(index))
    for name in INSIDE:
        place = folder / "pawl" / "loop" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(LOOP / name, place)
        place.chmod(0o644)
    for place in (folder / "pawl").rglob("*"):
        if place.is_dir():
            place.chmod(0o755)
    (folder / "pawl").chmod(0o755)
    staged["/run/pawl"] = str(folder / "pawl")
    staged |= order.libraries
    if order.socket:
        if os.geteuid() == 0:
            os.chown(order.socket, uid, -1)
        else:
            os.chmod(order.socket, 0o666)
        staged[SOCKET] = order.socket
    return staged


def _job(order: Order) -> bytes:
    """What the first process inside needs to know, as one line."""
    env = {"PATH": "/venv/bin:/usr/local/bin:/usr/bin:/bin", **BASE_ENV}
    if order.socket:
        env["LLM_SOCKET"] = SOCKET
    if order.libraries:
        env["LD_LIBRARY_PATH"] = DRIVER
    job = {
        "argv": order.argv,
        "env": env | dict(order.env),
        "limits": asdict(order.limits),
        "outputs": order.outputs,
        "relay": [RELAY, SOCKET, str(RELAY_PORT)] if order.socket else [],
    }
    return json.dumps(job).encode() + b"\n"


def _run(argv: list[str], order: Order, seen: Seen, asker: int) -> None:
    """Starts the client and takes in what comes out, until the container ends or must be removed."""
    client = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    assert client.stdin and client.stdout and client.stderr
    try:
        with contextlib.suppress(BrokenPipeError):  # its own words on stderr say more
            client.stdin.write(_job(order))
        _take_in(client, order, seen, asker)
    finally:
        # A client that is still there holds a container that must go; `_removed` sees to that.
        seen.ended_s = seen.wall_s()
        client.stdin.close()
        client.kill()
        client.wait()
    os.set_blocking(client.stderr.fileno(), False)
    seen.words += client.stderr.read() or b""
    if not seen.started and seen.stop is None:
        words = _last_line(seen.words.decode(errors="replace"))
        raise EngineFailed(f"{Path(argv[0]).name} could not start the container: {words}")


def _take_in(client: subprocess.Popen[bytes], order: Order, seen: Seen, asker: int) -> None:
    assert client.stdout and client.stderr
    frames, poll = FrameReader(), select.poll()
    out, errors, lifeline = client.stdout.fileno(), client.stderr.fileno(), sys.stdin.fileno()
    for descriptor in (out, errors, lifeline, asker):
        poll.register(descriptor, select.POLLIN)
    while seen.stop is None:
        ready = {descriptor for descriptor, _ in poll.poll(POLL_S * 1000)}
        if ready & {lifeline, asker}:
            raise SystemExit(GONE)
        if errors in ready:
            words = os.read(errors, 1 << 16)
            seen.words = (seen.words + words)[-4096:]
            if not words:
                poll.unregister(errors)
        if out in ready:
            data = os.read(out, 1 << 16)
            if not data:
                return
            for kind, payload in frames.feed(data):
                _take(kind, payload, order, seen)
        _check_time(order.limits, seen)


def _take(kind: bytes, payload: bytes, order: Order, seen: Seen) -> None:
    """Notes one frame. Raises BadFrame for what the first process would never send."""
    limits = order.limits
    if kind == STARTED:
        seen.started, seen.began = True, seen.began if seen.started else time.monotonic()
    elif kind == LOG:
        seen.log.feed(payload)
        if seen.log.total > (limits.log_kill_mib + 1) * MIB:
            seen.stop = verdicts.log(limits)
    elif kind == FILE:
        name = payload.decode(errors="replace")
        if name not in order.outputs or name in seen.files:
            raise BadFrame("the container's first process sent a file that nobody asked for")
        seen.files[name] = []
    elif kind == DATA and seen.files:
        seen.held += len(payload)
        if seen.held > limits.out_mib * MIB:
            raise BadFrame("the container's first process sent more than /out can hold")
        seen.files[next(reversed(seen.files))].append(payload)
    elif kind == USAGE:
        seen.usage = _usage(payload, seen.usage)
    elif kind == REFUSED:
        seen.refused = payload.decode(errors="replace")[:500]
    elif kind == END:
        seen.said = _json(payload)


def _check_time(limits: Limits, seen: Seen) -> None:
    """The first process inside keeps the time; this is for one that was subverted or starved."""
    if seen.started and seen.said is None and seen.wall_s() > limits.wall_s + GRACE_S:
        seen.stop = verdicts.wall(limits)
    elif not seen.started and seen.wall_s() > START_S:
        raise EngineFailed(f"the container engine started nothing within {START_S:g} s")


def _report(order: Order, seen: Seen) -> Report:
    outcome, reason, code = _judged(order.limits, seen)
    # The inside looks at its own clock; when it did not come to that, ours counts.
    usage = seen.usage if seen.said is not None else replace(seen.usage, wall_s=seen.wall_s())
    outputs: list[Collected] = []
    refused = seen.refused
    if not refused:
        outputs, refused = _write(order, seen)
    if outcome is Outcome.OK and refused:
        outcome, reason = Outcome.OUTPUT_REJECTED, refused
    return Report(
        outcome=outcome,
        reason=reason,
        exit_code=code,
        log_tail=seen.log.text(),
        usage=asdict(usage),
        outputs=tuple(asdict(item) for item in outputs),
    )


def _write(order: Order, seen: Seen) -> tuple[list[Collected], str]:
    target = os.open(order.collect_to, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        cap = order.limits.file_mib * MIB
        return [copy(blocks, name, target, cap) for name, blocks in seen.files.items()], ""
    except Refused as error:
        return [], str(error)
    finally:
        os.close(target)


def _judged(limits: Limits, seen: Seen) -> verdicts.Verdict:
    """The verdict from outside where there is one, else the inside's, checked."""
    if seen.stop is not None:
        return (*seen.stop, None)
    try:
        outcome, reason, code = seen.said
        known = Outcome(outcome)
    except (TypeError, ValueError):
        return verdicts.of_exit(None, 0.0, limits)
    sound = (
        isinstance(reason, str) and (code is None or type(code) is int) and known is not Outcome.SANDBOX_ERROR
    )
    return (known, reason[:500], code) if sound else verdicts.of_exit(None, 0.0, limits)


def _usage(payload: bytes, before: Usage) -> Usage:
    """The usage that a frame tells; what is no usage changes nothing."""
    try:
        wall_s, cpu_s, peak_mib, processes = map(float, _json(payload))
    except (TypeError, ValueError):
        return before
    if not all(0 <= number < 1e9 for number in (wall_s, cpu_s, peak_mib, processes)):
        return before
    return Usage(wall_s, cpu_s, peak_mib, int(processes))


def _json(payload: bytes) -> Any:
    """The value, or None for what is no JSON."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "it said nothing")[:400]


if __name__ == "__main__":
    main()
