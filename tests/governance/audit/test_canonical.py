"""The verifier's own canonical JSON gives the same bytes as the library that the service writes with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.canonical import canonical, parse_canonical

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=15,
)


@given(VALUES)
def test_both_writers_agree(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_both_writers_agree_on_numbers(value: float) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1e21, 1e20, 123456789.0, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308]
)
def test_both_writers_agree_on_awkward_numbers(value: float) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), b"bytes", {1, 2}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(value)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a": 1}', b"1.0", b'"\\u0041"', b"[1,]", b"\xff", b"NaN"]
)
def test_bytes_in_any_other_form_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_canonical(data)
