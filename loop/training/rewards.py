"""The reward server: the evaluator's reward() in a sandbox of its own, asked by the trainer and by the landscape.

Labels are mounted in that sandbox only. The parent process sits between: it checks every reply, so neither side can
hand the other anything but completions one way and finite numbers or null the other way.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from loop.errors import LoopError, TrainingError
from loop.sandbox.base import SandboxBackend
from loop.training.reward_wire import LineSocket, parse_rewards
from loop.types import Limits, Mount, SandboxSpec

PROGRAM = Path(__file__).with_name("reward_program.py")
START_S = 60.0
STOP_S = 10.0
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class RewardSource:
    """An evaluator and the labels of one public split, with the built runtime it needs (None: bare interpreter).

    `reply_s` bounds one request, `life_s` the whole life of the server, both in wall seconds.
    """

    evaluator_dir: Path
    labels_dir: Path
    runtime: Path | None = None
    limits: Limits = DEFAULT_LIMITS
    reply_s: float = 120.0
    life_s: float = 3600.0


class RewardServer:
    """Context manager. `rewards(rows)` asks the evaluator; `trainer_socket` is where a trainer process asks the same.

    Raises TrainingError on entering when the evaluator's sandbox does not start, and from `rewards` when it dies,
    is too slow, or gives anything but finite numbers or null, one for each row.
    """

    def __init__(self, backend: SandboxBackend, source: RewardSource) -> None:
        self._backend = backend
        self._source = source
        self._lock = threading.Lock()
        self._ended = ""
        self._lines: LineSocket | None = None
        self._clients: list[LineSocket] = []
        self._threads: list[threading.Thread] = []
        self._trainers: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> RewardServer:
        self._folder = Path(tempfile.mkdtemp(prefix="pawl-reward-"))
        self.trainer_socket = str(self._folder / "trainer.sock")
        try:
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _start(self) -> None:
        evaluator = _listen(self._folder / "evaluator.sock", 0o666)  # the sandbox has a user id of its own
        self._trainers = _listen(Path(self.trainer_socket), 0o600)
        self._thread(self._run_sandbox)
        evaluator.settimeout(0.1)
        with evaluator:
            connection = self._accept(evaluator)
        connection.settimeout(self._source.reply_s)
        self._lines = LineSocket(connection)
        self._acceptor = self._thread(self._serve_trainers, self._trainers)

    def _thread(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _run_sandbox(self) -> None:
        source = self._source
        python = "/venv/bin/python" if source.runtime else self._backend.python
        spec = SandboxSpec(
            argv=(python, "-I", "/driver/reward_program.py"),
            mounts=(
                Mount(PROGRAM, "/driver/reward_program.py"),
                Mount(source.evaluator_dir, "/evaluator"),
                Mount(source.labels_dir, "/labels"),
            ),
            outputs=(),
            limits=replace(source.limits, wall_s=source.life_s, cpu_s=max(1, int(source.life_s))),
            runtime=source.runtime,
            socket=self._folder / "evaluator.sock",
        )
        collected = self._folder / "out"
        try:
            collected.mkdir()
            result = self._backend.run(spec, collected)
            tail = result.log_tail.strip().splitlines()[-1:] or [result.reason]
            self._ended = f"{result.outcome}: {tail[0]}"
        except (LoopError, OSError) as error:  # told to whoever asks for a reward next
            self._ended = str(error)

    def _accept(self, listener: socket.socket) -> socket.socket:
        for _ in range(int(START_S / 0.1)):
            try:
                return listener.accept()[0]
            except TimeoutError:
                if self._ended:
                    raise TrainingError(
                        f"The evaluator's reward sandbox ended at once: {self._ended}."
                    ) from None
        raise TrainingError(f"The evaluator's reward sandbox did not start within {START_S:.0f} s.")

    def rewards(self, rows: Sequence[tuple[str, str]]) -> list[float | None]:
        """Rewards of (item id, completion) rows, in order; None means unknown, never 0."""
        if self._lines is None:
            raise TrainingError("The reward server is not running.")
        request = {"rows": [{"id": item, "completion": text} for item, text in rows]}
        with self._lock:
            try:
                self._lines.send(request)
                reply = self._lines.receive()
            except OSError as error:
                raise TrainingError(f"The evaluator's reward sandbox did not answer: {error}.") from error
        if reply is None:
            raise TrainingError(f"The evaluator's reward sandbox ended: {self._ended or 'without a reason'}.")
        return parse_rewards(reply, len(rows))

    def _serve_trainers(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed: the server is being left
            lines = LineSocket(connection)
            self._clients.append(lines)
            self._thread(self._serve_one, lines)

    def _serve_one(self, lines: LineSocket) -> None:
        try:
            while (request := lines.receive()) is not None:
                try:
                    rows = [(str(row["id"]), str(row["completion"])) for row in request["rows"]]
                    lines.send({"rewards": self.rewards(rows)})
                except (TrainingError, KeyError, TypeError) as error:
                    lines.send({"error": str(error)})
        except (OSError, ValueError, TrainingError):
            return  # the trainer is gone; its own end is reported by its exit status

    def _close(self) -> None:
        if self._trainers is not None:
            self._trainers.shutdown(socket.SHUT_RDWR)
            self._trainers.close()
        if self._acceptor is not None:
            self._acceptor.join(STOP_S)  # from here on no client is added
        for lines in [self._lines, *self._clients]:
            if lines is not None:
                lines.close()
        for thread in self._threads:
            thread.join(STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)


def _listen(path: Path, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(8)
    return listener
