"""What the bootstrap decides, and how it repairs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import bootstrap, system
from deploy.home import REPO


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ("core",)),
        (["--help"], ("core",)),
        (["doctor"], ("core",)),
        (["demo"], ("core", "train")),
        (["demo", "--harness-only"], ("core",)),
        (["demo", "--help"], ("core",)),
        (["test", "--fast"], ("core", "train", "dev")),
        (["lint"], ("core", "train", "dev")),
        (["setup"], ("core",)),
        (["setup", "--extra", "train"], ("core", "train")),
        (["setup", "--extra=dev", "--extra=train"], ("core", "train", "dev")),
        (["campaign", "digits"], ("core",)),
    ],
)
def test_each_command_gets_what_it_needs_and_no_more(args: list[str], expected: tuple[str, ...]) -> None:
    assert bootstrap.extras_for(args, installed=frozenset({"core"})) == expected


def test_a_campaign_keeps_the_weights_lever_up_to_date_where_it_is_installed() -> None:
    found = bootstrap.extras_for(["campaign", "digits"], installed=frozenset({"core", "train"}))
    assert found == ("core", "train")


@pytest.mark.parametrize("args", [["setup", "--extra", "gpu"], ["setup", "--extra"], ["setup", "--extra=x"]])
def test_an_unknown_extra_is_refused_with_the_choice(args: list[str]) -> None:
    with pytest.raises(system.SetupError, match="choose from: train, dev"):
        bootstrap.extras_for(args, installed=frozenset())


def test_help_needs_no_system_program() -> None:
    assert bootstrap.programs_for(["demo", "--help"]) == ()
    assert bootstrap.programs_for([]) == ()


def test_only_the_whole_test_run_needs_a_browser_and_postgresql() -> None:
    assert bootstrap.programs_for(["test"]) == system.ALL
    assert bootstrap.programs_for(["test", "--fast"]) == system.RUNTIME
    assert bootstrap.programs_for(["test", "tests/deploy"]) == system.RUNTIME


@pytest.mark.parametrize(
    "path", ["tests", "tests/browser", "tests/browser/test_desk.py::test_x", "./tests/browser/"]
)
def test_tests_in_a_browser_need_one_however_they_are_named(path: str) -> None:
    assert system.CHROMIUM in bootstrap.programs_for(["test", path, "--no-lint"])
    assert system.CHROMIUM not in bootstrap.programs_for(["test", path, "--fast"])


def test_nothing_that_runs_untrusted_code_starts_without_bubblewrap() -> None:
    for command in ("demo", "campaign", "rollout", "verify", "preflight", "serve", "worker", "test"):
        assert system.BUBBLEWRAP in bootstrap.programs_for([command]), command


def test_a_changed_requirement_changes_only_its_own_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {"core": ["a>=1"], "train": ["torch==1"]}
    monkeypatch.setattr(bootstrap, "requirements", lists.__getitem__)
    before = bootstrap.wanted_digests(("core", "train"))
    lists["train"] = ["torch==2"]
    after = bootstrap.wanted_digests(("core", "train"))
    assert before["core"] == after["core"]
    assert before["train"] != after["train"]


def test_an_environment_is_complete_only_with_the_same_digests() -> None:
    assert bootstrap.is_complete({"core": "1", "dev": "9"}, {"core": "1"})
    assert not bootstrap.is_complete({"core": "1"}, {"core": "2"})
    assert not bootstrap.is_complete({}, {"core": "2"})


def _venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    for name, path in {
        "VENV": venv,
        "PYTHON": venv / "bin" / "python",
        "STAMP": venv / "pawl-stamp.json",
        "INSTALLING": venv / "pawl-installing",
    }.items():
        monkeypatch.setattr(bootstrap, name, path)
    return venv


def test_an_interrupted_installation_counts_as_nothing_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = _venv(tmp_path, monkeypatch)
    (venv / "pawl-stamp.json").write_text(json.dumps({"core": "1"}))
    assert bootstrap.read_stamp() == {"core": "1"}
    (venv / "pawl-installing").touch()
    assert bootstrap.read_stamp() == {}


def test_an_environment_whose_python_is_gone_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = _venv(tmp_path, monkeypatch)
    (venv / "pawl-stamp.json").write_text(json.dumps({"core": "1"}))
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    assert bootstrap.read_stamp() == {}


def test_half_installed_packages_are_forgotten_and_whole_ones_kept(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, record in {"whole": True, "cut": True, "norecord": False}.items():
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").touch()
        info = site / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").touch()
        if record:
            (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.dist-info/METADATA,,\n")
    (site / "cut" / "__init__.py").unlink()
    (site / "~ld").mkdir()
    bootstrap._drop_half_installed(tmp_path)
    assert sorted(path.name for path in site.glob("*.dist-info")) == ["whole-1.dist-info"]
    assert not (site / "~ld").exists()


def test_a_complete_environment_is_known_without_a_process_and_without_any_package() -> None:
    if not bootstrap.read_stamp():
        pytest.fail("this environment has no stamp; run the tests by `python3 manage.py test`")
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, args: sys.exit(event) if event in ('subprocess.Popen', 'os.fork') else None)\n"
        "from deploy import bootstrap\n"
        "assert bootstrap.is_complete(bootstrap.read_stamp(), bootstrap.wanted_digests(('core',)))\n"
        "bootstrap.system.missing(bootstrap.programs_for(['demo']))\n"
        "files = {name: getattr(found, '__file__', '') or '' for name, found in sys.modules.items()}\n"
        "print([name for name, file in files.items() if 'site-packages' in file])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def _fake_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        target = folder / name.replace("_", "-")
        target.write_text(text)
        target.chmod(target.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_without_root_the_exact_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_path(tmp_path, monkeypatch, apt_get="#!/bin/sh\nexit 0\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(system.SetupError) as caught:
        system.ensure((system.BUBBLEWRAP, system.GIT))
    assert "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends bubblewrap git'" in str(
        caught.value
    )


def test_without_apt_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_path(tmp_path, monkeypatch)
    with pytest.raises(system.SetupError, match="package manager: bubblewrap"):
        system.ensure((system.BUBBLEWRAP,))


def test_as_root_apt_installs_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    script = f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n/usr/bin/touch {folder}/bwrap\n/bin/chmod +x {folder}/bwrap\n'
    _fake_path(tmp_path, monkeypatch, apt_get=script)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    system.ensure((system.BUBBLEWRAP,))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["-q update", "-q install -y --no-install-recommends bubblewrap"]


def test_a_failed_apt_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_path(tmp_path, monkeypatch, apt_get="#!/bin/sh\nexit 100\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(system.SetupError, match="could not install bubblewrap"):
        system.ensure((system.BUBBLEWRAP,))


def test_a_snap_stub_is_not_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = "#!/bin/sh\nif ! [ -x /snap/bin/chromium ]; then echo 'requires the chromium snap'; exit 1; fi\n"
    _fake_path(tmp_path, monkeypatch, chromium_browser=stub)
    assert system.find(system.CHROMIUM) is None


def test_an_external_queue_stands_in_for_a_redis_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_path(tmp_path, monkeypatch)
    assert system.missing((system.REDIS,)) == [system.REDIS]
    monkeypatch.setenv("REDIS_URL", "redis://queue.example/0")
    assert system.missing((system.REDIS,)) == []
