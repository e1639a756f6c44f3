"""Exhaustive: every byte of a small bundle, and every way to rewrite a log with its real key."""

from __future__ import annotations

from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_parts import INCOMPLETE, OK, TAMPERED
from governance.audit.tree import Tree
from tests.governance.assurance.forge import (
    KEY,
    Forged,
    entry,
    signed,
    story,
    with_auditor,
    with_new_manifest,
)
from tests.governance.assurance.test_bundle import flipped, tree_of


def test_every_changed_byte_of_a_small_bundle_is_refused_with_either_manifest() -> None:
    artifact = {"artifacts/adapter.json": b'{"rank":4}\n'}
    files = Forged(
        with_auditor(entry("campaign.started", ("campaign", "7"), {})), extra=artifact, texts={}
    ).files()
    pins = Pins([str(KEY)])
    assert check_bundle(files, pins).status == OK
    for name in sorted(set(files) - {"verify.py", "VERIFY.md"}):
        for place in range(len(files[name])):
            changed = {**files, name: flipped(files[name], place)}
            report = check_bundle(changed, pins)
            expected = {TAMPERED, INCOMPLETE} if name == "MANIFEST.json" else {TAMPERED}
            assert report.status in expected, (name, place, report.problem)
            if name != "MANIFEST.json":
                report = check_bundle(with_new_manifest(changed), pins)
                assert report.status == TAMPERED, (name, place, report.problem)


def test_a_rewritten_swapped_cut_or_shortened_log_signed_with_the_real_key_is_caught_by_a_kept_checkpoint() -> (
    None
):
    told = list(story().values())
    kept = signed(Tree(tree_of(Forged(told).files()).leaf(number) for number in range(10)))
    pins = Pins([str(KEY)], kept)
    assert check_bundle(Forged(told).files(), pins).status == OK
    swapped = [told[1], told[0], *told[2:]]
    rewritten = [*told[:3], {**told[3], "reason": "another one"}, *told[4:]]
    for forged, status in (
        (swapped, TAMPERED), (rewritten, TAMPERED), (told[1:], TAMPERED), ([*told[:4], *told[5:]], TAMPERED),
        (told[:6], INCOMPLETE), ([], INCOMPLETE),
    ):  # fmt: skip
        report = check_bundle(Forged(forged).files(), pins)
        assert report.status == status and "step 7" in report.problem, report.problem
