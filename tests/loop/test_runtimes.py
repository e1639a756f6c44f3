"""Runtimes: built once per lock, by whoever comes first, and never from anything but locked wheels."""

from __future__ import annotations

import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loop.errors import TaskError
from loop.runtimes import check_requirements, ensure_runtime, runtime_digest
from loop.sandbox import get_backend
from loop.types import Outcome, SandboxSpec


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local index with one package, the only one that pip can see in this test."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "pawlcheck-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pawlcheck.py", "VALUE = 42\n")
        info = "pawlcheck-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pawlcheck\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/RECORD", f"pawlcheck.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def locked(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return path


def test_a_package_of_the_lock_can_be_imported_inside_and_no_other(wheels: Path, tmp_path: Path) -> None:
    runtime = ensure_runtime(locked(tmp_path, "pawlcheck==1.0  # the one\n"), tmp_path / "store")
    source = "import pawlcheck\nprint(pawlcheck.VALUE)\ntry:\n    import django\nexcept ImportError:\n    print('none')"
    spec = SandboxSpec(("/venv/bin/python", "-I", "-c", source), (), (), runtime=runtime.path)
    (tmp_path / "out").mkdir()
    result = get_backend().run(spec, tmp_path / "out")
    assert (result.outcome, result.log_tail) == (Outcome.OK, "42\nnone\n")


def test_the_empty_runtime_runs_and_is_shared(tmp_path: Path) -> None:
    first = ensure_runtime(None, tmp_path)
    assert ensure_runtime(None, tmp_path) == first
    assert first.path.name == first.digest == runtime_digest(None)


def test_two_at_once_build_one(wheels: Path, tmp_path: Path) -> None:
    requirements = locked(tmp_path, "pawlcheck==1.0\n")
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda _: ensure_runtime(requirements, tmp_path / "store"), range(3)))
    assert len(made) == 1
    assert len([path for path in (tmp_path / "store").iterdir() if path.is_dir()]) == 1


def test_a_runtime_is_readable_whatever_the_umask(wheels: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        runtime = ensure_runtime(locked(tmp_path, "pawlcheck==1.0\n"), tmp_path / "store")
    finally:
        os.umask(before)
    assert all(
        path.stat().st_mode & 0o044 == 0o044 for path in runtime.path.rglob("*") if not path.is_symlink()
    )


def test_another_lock_is_another_runtime(tmp_path: Path) -> None:
    assert runtime_digest(locked(tmp_path, "pawlcheck==1.0\n")) != runtime_digest(None)


def test_a_package_that_cannot_be_had_is_a_clear_error_and_leaves_nothing(
    wheels: Path, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match="cannot be installed: ERROR: No matching distribution"):
        ensure_runtime(locked(tmp_path, "pawlcheck==9.9\n"), tmp_path / "store")
    assert not [path for path in (tmp_path / "store").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "line",
    ["pawlcheck", "pawlcheck>=1", "-e .", "./here", "git+https://x/y", "https://x/y.whl", "-r /etc/passwd",
     "--index-url=https://x", "pawlcheck @ file:///x", "pawlcheck==1.0 --global-option=x", "pawlcheck==1.*"],
)  # fmt: skip
def test_only_exact_versions_are_a_lock(tmp_path: Path, line: str) -> None:
    with pytest.raises(TaskError, match="not a locked package"):
        check_requirements(locked(tmp_path, f"{line}\n"))


def test_hashes_markers_extras_and_comments_are_a_lock(tmp_path: Path) -> None:
    text = (
        f"# lock\nx[y]==1.0 ; python_version > '3.8' \\\n    --hash=sha256:{'0' * 64}\n\nz==2.0.post1+cpu\n"
    )
    check_requirements(locked(tmp_path, text))
