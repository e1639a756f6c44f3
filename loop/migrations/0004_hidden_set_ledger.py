"""Every hidden query says which hidden set answered it, and as which of that set's queries."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import Any, ClassVar

from django.db import migrations, models

_ledger = import_module("loop.migrations.0002_append_only_ledger")


def fill(apps: Any, editor: Any) -> None:
    """Number the queries of each hidden set in the order in which they were asked."""
    Query = apps.get_model("loop", "HiddenQuery")
    Version = apps.get_model("governance", "Version")
    asked: Counter[str] = Counter()
    for query in Query.objects.select_related("campaign").order_by("created_at", "pk"):
        evaluator = Version.objects.get(
            kind="evaluator", task_id=query.campaign.task_id, digest=query.campaign.contract["evaluator"]
        )
        hidden_set = evaluator.manifest["hidden_commitment"]
        asked[hidden_set] += 1
        Query.objects.filter(pk=query.pk).update(hidden_set=hidden_set, place=asked[hidden_set])


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("loop", "0003_preflight")]
    # The triggers that refuse changes are lifted for the filling; SQLite also loses them when it remakes the table.
    operations: ClassVar[list[Any]] = [
        migrations.RunPython(_ledger.drop, _ledger.create),
        migrations.AddField("hiddenquery", "hidden_set", models.CharField(default="", max_length=64), False),
        migrations.AddField("hiddenquery", "place", models.PositiveIntegerField(default=0), False),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddConstraint(
            "hiddenquery",
            models.UniqueConstraint(fields=["hidden_set", "place"], name="one_hidden_query_per_place"),
        ),
        migrations.RunPython(_ledger.create, _ledger.drop),
    ]
