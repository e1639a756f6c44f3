"""The table of states against the page that it was taken from, spelled out here by hand."""

from __future__ import annotations

from governance.transitions import NEXT, OPEN

PAGE = {
    "draft": {"verifying"},
    "verifying": {"ready", "failed"},
    "ready": {"in_review"},
    "in_review": {"approved", "changes_requested", "rejected"},
    "approved": {"promoting"},
    "promoting": {"promoted"},
    "promoted": {"superseded", "reverted"},
}
OPEN_ONES = {"draft", "verifying", "ready", "in_review", "approved"}
ENDS_OF_OPEN_ONES = {"stale", "expired", "withdrawn"}
# What the page's line leaves out: a quorum of one decides at once, and people change their minds before a promotion.
AT_ONCE = {
    "ready": {"approved", "changes_requested", "rejected"},
    "approved": {"changes_requested", "rejected"},
    "changes_requested": {"withdrawn"},
}
ENDINGS = {
    "superseded", "reverted", "failed", "changes_requested", "rejected", "stale", "expired", "withdrawn", "quarantined",
}  # fmt: skip


def test_the_table_is_the_pages_table() -> None:
    assert {str(status) for status in OPEN} == OPEN_ONES
    page = {name: set(following) for name, following in PAGE.items()} | {name: set() for name in ENDINGS}
    for name, following in AT_ONCE.items():
        page[name] |= following
    for name in page:
        page[name] |= ENDS_OF_OPEN_ONES if name in OPEN_ONES else set()
        page[name] |= {"quarantined"} if name != "quarantined" else set()
    assert {str(old): {str(new) for new in following} for old, following in NEXT.items()} == page
