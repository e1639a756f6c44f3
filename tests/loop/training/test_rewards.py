"""The reward server with the real sandbox: labels stay inside, and only checked numbers come out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loop.errors import TrainingError
from loop.sandbox import get_backend
from loop.training.reward_wire import RewardClient, parse_rewards
from loop.training.rewards import RewardServer
from tests.loop.training.parts import evaluator_source


def serve(folder: Path, code: str | None = None) -> RewardServer:
    source = evaluator_source(folder) if code is None else evaluator_source(folder, code)
    return RewardServer(get_backend(), source)


def test_right_wrong_and_unknown_are_one_zero_and_none(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        assert server.rewards([("i1", "b"), ("i1", "a"), ("nobody", "a"), ("i0", "xa")]) == [
            1.0,
            0.0,
            None,
            1.0,
        ]


def test_a_trainer_asks_over_a_socket_of_its_own(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        client, other = RewardClient(server.trainer_socket), RewardClient(server.trainer_socket)
        assert client.rewards([("i2", "c")]) == [1.0]
        assert other.rewards([("i2", "b"), ("i0", "a")]) == [0.0, 1.0]
        assert client.rewards([]) == []


def test_leaving_ends_the_sandbox_and_removes_the_sockets(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        client = RewardClient(server.trainer_socket)
        socket_path = server.trainer_socket
    assert not os.path.exists(socket_path)
    with pytest.raises(TrainingError):
        client.rewards([("i0", "a")])
    with pytest.raises(TrainingError):
        server.rewards([("i0", "a")])


def test_an_evaluator_that_raises_is_an_error_and_the_server_goes_on(tmp_path: Path) -> None:
    code = (
        "def reward(rows, labels):\n    assert rows[0]['completion'] != 'boom', 'no boom'\n    return [1]\n"
    )
    with serve(tmp_path, code) as server:
        with pytest.raises(TrainingError, match="AssertionError: no boom"):
            server.rewards([("i0", "boom")])
        assert server.rewards([("i0", "fine")]) == [1.0]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("[]", "0 rewards for 1"),
        ("[float('nan')]", "finite number or null"),
        ("[float('inf')]", "finite number or null"),
        ("'1'", "rewards"),
        ("None", "TypeError"),
    ],
)
def test_anything_but_one_finite_number_or_null_a_row_is_refused(
    tmp_path: Path, result: str, said: str
) -> None:
    with serve(tmp_path, f"def reward(rows, labels):\n    return {result}\n") as server:
        client = RewardClient(server.trainer_socket)
        with pytest.raises(TrainingError, match=said):
            client.rewards([("i0", "a")])


def test_an_evaluator_without_a_reward_function_says_so(tmp_path: Path) -> None:
    code = "def evaluate(outputs, labels):\n    return {}\n"
    with serve(tmp_path, code) as server, pytest.raises(TrainingError, match="defines no reward"):
        server.rewards([("i0", "a")])


def test_an_evaluator_that_dies_is_an_error_that_names_its_last_line(tmp_path: Path) -> None:
    code = "import os\n\ndef reward(rows, labels):\n    print('out of ink', flush=True)\n    os._exit(5)\n"
    with serve(tmp_path, code) as server, pytest.raises(TrainingError, match="reward sandbox"):
        server.rewards([("i0", "a")])


def test_an_evaluator_that_cannot_be_imported_is_an_error_and_no_reward(tmp_path: Path) -> None:
    with pytest.raises(TrainingError), serve(tmp_path, "raise RuntimeError('broken')\n") as server:
        server.rewards([("i0", "a")])


def test_labels_are_mounted_read_only_in_the_evaluators_sandbox(tmp_path: Path) -> None:
    code = "def reward(rows, labels):\n    open(labels + '/labels.jsonl', 'a')\n    return [1]\n"
    with serve(tmp_path, code) as server, pytest.raises(TrainingError, match=r"Read-only|PermissionError"):
        server.rewards([("i0", "a")])


@pytest.mark.parametrize("value", [True, "1", [1], {}])
def test_what_is_no_number_is_no_reward(value: object) -> None:
    with pytest.raises(TrainingError):
        parse_rewards({"rewards": [value]}, 1)


def test_a_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not answer"):
        RewardClient(str(tmp_path / "none.sock"))
