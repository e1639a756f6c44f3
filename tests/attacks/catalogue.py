"""What the attacks say of themselves: one `attack.toml` beside each program, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from loop.types import Outcome
from tests.attacks.bait import PATIENT_S, PLANT, WALL_S

HARNESSES = Path(__file__).parent / "harnesses"
GROUPS = (
    "labels", "evaluator", "tree", "network", "processes", "memory", "disk", "log", "outputs", "results",
    "introspection", "runtime", "names", "state", "kernel", "gateway",
)  # fmt: skip
OUTCOMES = (
    Outcome.OK, Outcome.HARNESS_FAILED, Outcome.TIMEOUT, Outcome.LIMIT, Outcome.OUTPUT_REJECTED,
)  # fmt: skip
WORKS = "works"
GATEWAY = "gateway"
STATE = "state"


class CatalogueError(Exception):
    """An attack's description cannot be used; the message is one sentence that says where and why."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile program. `sandbox` and `peer` number the items of the two lists of known attacks that it covers.

    `outcomes` are those of a rollout that count as contained. `control` is "works" where the program succeeds
    without a sandbox, else a sentence why that run proves little. `information` is a sentence where the program
    does learn something, which is documented and harmless. `user` is a sentence where an ordinary user's worker does
    not contain it, which is documented too; it is then run as root alone.
    """

    name: str
    folder: Path
    group: str
    tries: str
    sandbox: tuple[int, ...]
    peer: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    control: str
    information: str
    user: str = ""

    @property
    def needs_gateway(self) -> bool:
        """Whether it runs against a gateway and a provider (gateway_judge.py), or in the arena (judge.py)."""
        return self.group == GATEWAY

    def runs_as(self, worker: str) -> bool:
        """Whether this kind of worker runs it in the arena."""
        return not self.needs_gateway and not (worker == "user" and self.user)

    @property
    def plants(self) -> bool:
        """Whether it is its tree, and no program, that attacks: then it may be refused before it runs."""
        return (self.folder / PLANT).exists()

    @property
    def works(self) -> bool:
        """Whether the control is expected to succeed."""
        return self.control == WORKS

    @property
    def wall_s(self) -> float:
        """How long it may run: little where that limit is what stops it."""
        return WALL_S if Outcome.TIMEOUT in self.outcomes else PATIENT_S

    @property
    def runs(self) -> int:
        """How often it is run in one arena: what looks for an earlier run needs one."""
        return 2 if self.group == STATE else 1


def attacks(folder: Path = HARNESSES) -> dict[str, Attack]:
    """All attacks by name, in the order of their groups. Raises CatalogueError."""
    found = [read(path) for path in sorted(folder.iterdir()) if path.is_dir() and path.name != "__pycache__"]
    return {attack.name: attack for attack in sorted(found, key=lambda each: GROUPS.index(each.group))}


def chosen(names: Iterable[str]) -> list[Attack]:
    """The named attacks, or all where none is named. Raises CatalogueError for an unknown name."""
    known, wanted = attacks(), list(names)
    for name in wanted:
        if name not in known:
            raise CatalogueError(f"There is no attack named {name}; docs/attacks.md lists them.")
    return [attack for name, attack in known.items() if not wanted or name in wanted]


def read(folder: Path) -> Attack:
    """The attack in this folder. Raises CatalogueError."""
    path = folder / "attack.toml"
    if not (folder / "main.py").is_file():
        raise CatalogueError(f"{folder} holds no main.py; an attack is a program.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogueError(f"{path} is missing; it says what the attack tries.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path} is not TOML: {error}.") from None
    expected = {field.name for field in fields(Attack)} - {"name", "folder"}
    values.setdefault("user", "")
    for name in sorted(expected ^ values.keys()):
        raise CatalogueError(f"{path} {'lacks' if name in expected else 'has an unknown'} key {name}.")
    return Attack(
        name=folder.name,
        folder=folder,
        group=_group(values, folder.name, path),
        tries=_text(values, "tries", path),
        sandbox=_numbers(values, "sandbox", path),
        peer=_numbers(values, "peer", path),
        outcomes=_outcomes(values, path),
        control=_text(values, "control", path),
        information=_text(values, "information", path, empty=True),
        user=_text(values, "user", path, empty=True),
    )


def _group(values: dict[str, Any], name: str, path: Path) -> str:
    group = values["group"]
    if group not in GROUPS:
        raise CatalogueError(f"{path}: the group {group!r} is none of {', '.join(GROUPS)}.")
    if (group == GATEWAY) != name.startswith(f"{GATEWAY}_"):
        raise CatalogueError(
            f"{path}: attacks of the group {GATEWAY}, and no others, are named {GATEWAY}_...."
        )
    return str(group)


def _text(values: dict[str, Any], key: str, path: Path, *, empty: bool = False) -> str:
    text = values[key]
    if not isinstance(text, str) or "\n" in text or "|" in text:
        raise CatalogueError(f"{path}: {key} must be one line of text without a bar.")
    if not text.strip() and not empty:
        raise CatalogueError(f"{path}: {key} must say something.")
    return text.strip()


def _numbers(values: dict[str, Any], key: str, path: Path) -> tuple[int, ...]:
    numbers = values[key]
    if not isinstance(numbers, list) or not all(type(each) is int and each > 0 for each in numbers):
        raise CatalogueError(f"{path}: {key} must be a list of numbers from 1.")
    return tuple(numbers)


def _outcomes(values: dict[str, Any], path: Path) -> tuple[Outcome, ...]:
    names, allowed = values["outcomes"], {outcome.value: outcome for outcome in OUTCOMES}
    if not isinstance(names, list) or not names:
        raise CatalogueError(f"{path}: outcomes must be a list with at least one of {', '.join(allowed)}.")
    for name in names:
        if name not in allowed:
            raise CatalogueError(f"{path}: the outcome {name!r} is none of {', '.join(allowed)}.")
    return tuple(allowed[name] for name in names)
