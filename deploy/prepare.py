"""Makes the data home, the database and the log's signer; safe when two processes do it at once."""

from __future__ import annotations

import fcntl
import os

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from deploy import home
from governance.audit import checkpoints


def prepare(*, demo: bool = False) -> list[str]:
    """Make the data home, migrate, make the log's key where nothing was signed yet; return the migrations applied.

    With `demo`, a home that is new is marked for good as a demonstration's. A log that was signed before and lost its
    key is left as it is: the desk opens, nothing goes live.
    """
    home.init_home(demo=demo)
    descriptor = os.open(home.folder("run") / "migrate.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        pending = pending_migrations()
        if pending:
            call_command("migrate", interactive=False, verbosity=0)
        if (
            checkpoints.latest() is None
            and not settings.SIGNER_EXTERNAL
            and not checkpoints.key_files().exists()
        ):
            checkpoints.init_signer()
    finally:
        os.close(descriptor)
    return pending


def pending_migrations() -> list[str]:
    """Names ("app.0001_initial") of the migrations that the database does not have yet."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan]
