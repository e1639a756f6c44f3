"""The declared envelope: which changes of the harness are inside, and which rule puts one outside."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from governance.capabilities import measure, new_names
from governance.digests import file_list
from governance.errors import BadInput
from governance.lanes import Change, classify
from governance.policy import bundled_text, parse_policy
from tests.governance.cast import Tree, World, promoted, ready

STRICT = parse_policy(bundled_text()).envelope
WIDE = replace(STRICT, paths=("*",))
LIVE: Tree = {
    "main.py": ("file", b"import os\nimport json\nprint(os.environ['X'], json.loads('1'))\n"),
    "settings.toml": ("file", b"votes = 1\n"),
}


def judge(new: Tree, old: Tree = LIVE) -> tuple[str, str]:
    change = Change(False, True, file_list(old), file_list(new), measure(old, new))
    return classify(change, WIDE)


def main(text: str) -> Tree:
    return {**LIVE, "main.py": ("file", LIVE["main.py"][1] + text.encode())}


@pytest.mark.parametrize(
    "text",
    [
        "import math\nprint(math.tau)\n",
        "print(os.environ['X'])\n",  # used by the live harness already
        "import re\nprint(re.compile('x'))\n",
        "model.eval()\n",
        "print('to open the door')\n",
    ],
)
def test_a_change_that_reaches_for_nothing_new_is_inside(text: str) -> None:
    lane, why = judge(main(text))
    assert (lane, "inside the envelope" in why) == ("harness", True)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import socket\n", "socket"),
        ("import urllib.request as u\nu.urlopen('x')\n", "urllib.request"),
        ("from http import client\n", "http.client"),
        ("from subprocess import *\n", "subprocess"),
        ("os.system('true')\n", "os.system"),
        ("import os as o\no.remove('x')\n", "os.remove"),
        ("from os import path\n", "os.path"),
        ("open('x')\n", "open"),
        ("f = open\n", "open"),
        ("eval('1')\n", "eval"),
        ("getattr(json, 'load')\n", "getattr"),
        ("x = vars\n", "vars"),
        ("print(table['subprocess'])\n", "subprocess"),
        ("print(().__class__.__base__.__subclasses__())\n", "__class__.__base__.__subclasses__"),
        ("def late():\n    import ctypes\n", "ctypes"),
    ],
)
def test_a_newly_used_forbidden_name_is_outside_and_named(text: str, name: str) -> None:
    lane, why = judge(main(text))
    assert lane == "harness_outside"
    assert "main.py newly uses " in why and name in why
    assert why.endswith("(envelope: forbidden_names)")


@pytest.mark.parametrize(
    ("new", "rule", "words"),
    [
        (main("def broken(:\n"), "forbidden_names", "cannot be read as Python"),
        (main("x = '\0'\n"), "max_changed_lines", "not known"),
        (main("(" * 5_000), "forbidden_names", "cannot be read as Python"),
        ({**LIVE, "run": ("file", b"#!/bin/sh\ncurl\n")}, "forbidden_names", "run cannot be read as Python"),
        ({**LIVE, "x.PY": ("file", b"import socket\n")}, "forbidden_names", "x.PY newly uses socket"),
        ({**LIVE, "requirements.txt": ("file", b"six\n")}, "dependency_files", "depends on"),
        ({**LIVE, "lib/requirements-dev.txt": ("file", b"six\n")}, "dependency_files", "depends on"),
        ({**LIVE, "go": ("exec", b"x\n")}, "plain files", "a link or a program"),
        ({**LIVE, "settings.toml": ("file", b"x = 1\n" * 201)}, "max_changed_lines", "202 lines"),
        ({**LIVE, "settings.toml": ("file", b"x" * 20_001)}, "max_changed_bytes", "20,010 bytes"),
    ],
)
def test_each_rule_of_the_envelope_fires_with_its_name(new: Tree, rule: str, words: str) -> None:
    lane, why = judge(new)
    assert lane == "harness_outside"
    assert words in why
    assert why.endswith(f"(envelope: {rule})")


def test_removing_a_file_or_a_name_needs_no_second_look() -> None:
    assert judge({"settings.toml": LIVE["settings.toml"]})[0] == "harness"
    assert judge({**LIVE, "main.py": ("file", b"import json\n")})[0] == "harness"


def test_names_are_compared_with_a_former_version_that_could_not_be_read_as_if_it_had_none() -> None:
    assert new_names(b"def (", b"import os\n") == frozenset({"os"})
    assert new_names(b"", b"x = 1\n" * 100_000) is None


def test_the_lane_of_a_real_proposal_follows_the_policy_in_force(world: World) -> None:
    quiet = ready(world, {"main.py": ("file", b"print(1)\n"), "settings.toml": ("file", b"votes = 9\n")})
    assert quiet.lane == "harness"
    program: Tree = {"main.py": ("file", b"print(1)\n"), "prompts/x.py": ("file", b"import socket\n")}
    loud = ready(world, program)
    assert (loud.lane, loud.lane_reason) == (
        "harness_outside",
        "prompts/x.py newly uses socket, which the envelope forbids. (envelope: forbidden_names)",
    )


def test_a_proposal_from_before_a_promotion_is_measured_against_what_is_live_now(world: World) -> None:
    first = promoted(world, {"main.py": ("file", b"print(1)\n"), "prompts/a.py": ("file", b"x = open\n")})
    assert first.lane == "harness_outside"
    tree: Tree = {"main.py": ("file", b"print(1)\n"), "prompts/a.py": ("file", b"x = open\ny = x\n")}
    old: Tree = {"main.py": ("file", b"print(1)\n"), "prompts/a.py": ("file", b"x = open\n")}
    assert ready(world, tree, old=old).lane == "harness"


def test_a_policy_from_before_these_rules_is_read_with_the_bundled_ones() -> None:
    older = re.sub(r"max_changed_bytes.*?(?=\n\n\[gate\])", "", bundled_text(), flags=re.DOTALL)
    assert "forbidden_names" not in older
    assert parse_policy(older).envelope == STRICT
    own = parse_policy(
        older.replace("[gate]", "x = 1\n[gate]", 0).replace(
            "max_changed_lines = 200",
            'max_changed_lines = 200\nforbidden_names = ["os"]\nmax_changed_bytes = 7',
        )
    )
    assert (own.envelope.forbidden_names, own.envelope.max_changed_bytes) == (("os",), 7)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "max_changed_bytes = 20_000",
            "max_changed_bytes = -1",
            "envelope.max_changed_bytes must be a whole",
        ),
        ("forbidden_names = [", "forbidden_names = 3 #", "not valid TOML"),
        ("max_changed_bytes = 20_000", "max_bytes = 1", "unknown keys: max_bytes"),
    ],
)
def test_a_wrong_envelope_is_refused_with_a_sentence(old: str, new: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        parse_policy(bundled_text().replace(old, new, 1))
