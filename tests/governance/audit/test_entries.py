"""The form of an entry is fixed: what does not have it is neither written nor accepted."""

from __future__ import annotations

from typing import Any

import pytest

from governance.audit.entries import shape_problem
from tests.governance.assurance.forge import entry

HONEST = {**entry("a.b", ("campaign", "7"), {}), "seq": 0}


def test_an_entry_of_the_right_form_has_no_problem() -> None:
    assert shape_problem(HONEST) == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"v": 2}, "version"),
        ({"v": True}, "version"),
        ({"seq": "0"}, "number"),
        ({"reason": {"a": 1}}, "reason is not text"),
        ({"actor": 3}, "actor does not have exactly"),
        ({"actor": {"kind": "human", "ref": "x"}}, "actor does not have exactly"),
        ({"object": {"type": "a", "id": 7}}, "object has a part that is not text"),
        ({"outcome": "maybe"}, "outcome"),
        ({"evidence": {}}, "evidence is not a list"),
        ({"detail": []}, "detail is not an object"),
        ({"more": ""}, "its fields are not"),
    ],
)
def test_every_other_form_is_named(change: dict[str, Any], sentence: str) -> None:
    assert sentence in shape_problem({**HONEST, **change})


def test_a_missing_field_and_a_list_are_no_entries() -> None:
    assert "fields" in shape_problem({key: value for key, value in HONEST.items() if key != "task"})
    assert "fields" in shape_problem([HONEST])
