"""The sandbox contract: one suite for the fake and for every backend that a probe finds working on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loop.sandbox import BACKENDS
from loop.types import Limits, Mount, Outcome, SandboxResult, SandboxSpec
from tests.loop.sandboxes import (
    MIB,
    PROGRAM,
    Case,
    echo,
    flood,
    make,
    many,
    probes,
    read_host,
    runnable,
    say_and,
    sleep,
    write,
)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_runs_here_or_refuses_with_what_to_do(name: str) -> None:
    probe = probes()[name]
    assert (name in runnable()) == probe.ok
    if probe.ok:
        assert set(probe.facts) >= {
            "version",
            "kernel",
            "boundary",
            "worker",
            "memory",
            "seccomp",
            "host_paths",
        }
        assert probe.facts["seccomp"].startswith("sha256:")
    else:
        assert probe.facts == {}
        assert "install" in probe.detail or "PAWL_SANDBOX" in probe.detail


@pytest.fixture(params=["fake", *runnable()])
def run_case(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., SandboxResult]:
    """Runs a Case on each backend that works here; /in holds a file `word`, and a.txt and b.txt are collected."""

    def run(case: Case, **limits: Any) -> SandboxResult:
        harness, inputs, out = (tmp_path / name for name in ("harness", "in", "out"))
        for folder in (harness, inputs, out):
            folder.mkdir()
        (harness / "main.py").write_text(case.source)
        (inputs / "word").write_text("pawl")
        backend = make(request.param, {PROGRAM: case.act})
        mounts = (Mount(harness, "/harness"), Mount(inputs, "/in"))
        spec = SandboxSpec(
            (backend.python, "-I", PROGRAM), mounts, ("a.txt", "b.txt"), Limits(**({"wall_s": 10} | limits))
        )
        return backend.run(spec, out)

    return run


Runner = Callable[..., SandboxResult]


def test_a_program_that_ends_well_is_ok_and_its_log_is_kept(run_case: Runner) -> None:
    result = run_case(Case("print('hello')", say_and(0)))
    assert (result.outcome, result.reason, result.exit_code) == (Outcome.OK, "", 0)
    assert result.log_tail == "hello\n"
    assert result.usage.processes == 1


def test_an_exit_status_makes_a_failed_harness(run_case: Runner) -> None:
    result = run_case(Case("print('hello'); raise SystemExit(3)", say_and(3)))
    assert (result.outcome, result.exit_code) == (Outcome.HARNESS_FAILED, 3)
    assert "exit status 3" in result.reason


def test_named_outputs_come_out_with_size_and_digest_and_others_stay(
    run_case: Runner, tmp_path: Path
) -> None:
    source = "open('/out/a.txt', 'w').write('one'); open('/out/secret.txt', 'w').write('two')"
    result = run_case(Case(source, write(("a.txt", b"one"), ("secret.txt", b"two"))))
    assert [(file.name, file.size) for file in result.outputs] == [("a.txt", 3)]
    assert result.outputs[0].sha256 == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert os.listdir(tmp_path / "out") == ["a.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "one"


def test_a_mount_can_be_read(run_case: Runner, tmp_path: Path) -> None:
    run_case(Case("open('/out/a.txt', 'w').write(open('/in/word').read())", echo))
    assert (tmp_path / "out" / "a.txt").read_text() == "pawl"


def test_what_is_not_mounted_is_not_there(run_case: Runner) -> None:
    result = run_case(Case("open('/root/.bashrc')", read_host))
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "FileNotFoundError" in result.log_tail


def test_a_program_that_outstays_its_time_is_stopped(run_case: Runner) -> None:
    source = "open('/out/a.txt', 'w').write('early')\nimport time; time.sleep(30)"
    result = run_case(Case(source, sleep), wall_s=1)
    assert (result.outcome, result.exit_code) == (Outcome.TIMEOUT, None)
    assert "1 s of wall time" in result.reason


def test_a_log_flood_is_stopped_and_only_its_beginning_and_end_are_kept(run_case: Runner) -> None:
    result = run_case(Case("while True: print('x' * 1000000)", flood), log_kill_mib=2, log_kib=1)
    assert result.outcome is Outcome.LIMIT
    assert len(result.log_tail) < 1200
    assert "bytes not kept" in result.log_tail


def test_the_output_folder_holds_a_limited_number_of_files(run_case: Runner) -> None:
    source = "for index in range(100): open(f'/out/{index}', 'w')"
    result = run_case(Case(source, many))
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "No space left on device" in result.log_tail


def test_the_output_folder_holds_a_limited_number_of_bytes(run_case: Runner) -> None:
    source = "for name in 'ab': open(f'/out/{name}.txt', 'wb').write(bytes(3 << 20))"
    result = run_case(Case(source, write(("a.txt", bytes(3 * MIB)), ("b.txt", bytes(3 * MIB)))), out_mib=4)
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "No space left on device" in result.log_tail
