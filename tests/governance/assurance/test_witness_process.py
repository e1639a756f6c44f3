"""The witness as others run it: a process that answers over HTTP, and what is wrong with it in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.home import REPO
from governance.assurance.witness_server import MAX_BODY, Witness, WitnessConfig
from governance.audit.notes import ALGORITHM_COSIGNATURE, VerifierKey, parse_key, signers_of
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError
from tests.governance.assurance.forge import KEY, signed

LEAVES = [leaf_hash(bytes([number])) for number in range(9)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The settings of a witness of one log, on a port that is free."""
    path = tmp_path / "witness.toml"
    path.write_text(
        f'name = "w.example/1"\nstate = "{tmp_path / "state"}"\nlisten = "127.0.0.1:0"\nlogs = ["{KEY}"]\n'
    )
    return path


def command(config: Path, *options: str) -> list[str]:
    """The command line of a witness."""
    return [sys.executable, str(REPO / "manage.py"), "witness", "--config", str(config), *options]


@pytest.fixture
def service(config: Path, service_env: dict[str, str]) -> Iterator[tuple[str, VerifierKey]]:
    """(address, key) of a witness that runs, from what it prints as it begins."""
    process = subprocess.Popen(
        command(config),
        env=service_env,
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    assert first.startswith("Witness of 1 log(s) at http://127.0.0.1:")
    yield first.split()[-1], parse_key(second.removeprefix("Its key: ").strip(), ALGORITHM_COSIGNATURE)
    process.terminate()
    process.wait(30)
    process.stdout.close()


def test_it_cosigns_over_http_and_answers_everything_else_in_words(
    service: tuple[str, VerifierKey], config: Path, service_env: dict[str, str], tmp_path: Path
) -> None:
    address, key = service
    shown = subprocess.run(
        command(config, "--show-key"),
        env=service_env,
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.strip() == str(key)
    note = signed(Tree(LEAVES))
    with httpx.Client(base_url=address) as client:
        answer = client.post("/add-checkpoint", content=b"old 0\n\n" + note)
        assert answer.status_code == 200
        assert key in signers_of(note + answer.content, [key])[1]
        assert client.post("/add-checkpoints", content=b"").status_code == 404
        assert client.post("/add-checkpoint", content=b"x" * (MAX_BODY + 1)).status_code == 413
        chunked = client.post("/add-checkpoint", content=iter([b"old 9\n\n", note]))
        assert (chunked.status_code, chunked.text) == (413, "too large\n")
        (state,) = (tmp_path / "state").glob("*.json")
        state.write_text("{}")
        lost = client.post("/add-checkpoint", content=b"old 9\n\n" + note)
        assert (lost.status_code, lost.text) == (500, "the witness cannot sign now\n")


def test_a_key_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    config = WitnessConfig("w.example/1", tmp_path, "127.0.0.1", 0, ())
    Witness(config)
    for text in ("AAAA", "no base64!"):
        (tmp_path / "witness.key").write_text(text)
        with pytest.raises(AuditError, match=r"The witness's key .* cannot be used"):
            Witness(config)
