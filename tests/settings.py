"""The service's settings with a data home and a database that belong to this test run alone.

`PAWL_TEST_DATABASE=postgres` runs the same tests on a private PostgreSQL cluster (tests/postgres.py).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "PAWL_TEST_HOME" not in os.environ:  # the first process of a run; xdist's workers inherit what it chose
    os.environ["PAWL_TEST_HOME"] = tempfile.mkdtemp(prefix="pawl-test-")
    atexit.register(shutil.rmtree, os.environ["PAWL_TEST_HOME"], ignore_errors=True)
    if os.environ.get("PAWL_TEST_DATABASE") == "postgres":
        from tests.postgres import start_cluster

        os.environ["PAWL_TEST_DATABASE_URL"] = start_cluster()

_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["PAWL_HOME"] = str(Path(os.environ["PAWL_TEST_HOME"]) / _worker)
os.environ["PAWL_LOG_LEVEL"] = "WARNING"
os.environ.pop("REDIS_URL", None)
os.environ.pop("DATABASE_URL", None)
if "PAWL_TEST_DATABASE_URL" in os.environ:
    os.environ["DATABASE_URL"] = os.environ["PAWL_TEST_DATABASE_URL"]
for _name in [name for name in os.environ if name.endswith("_API_KEY")]:
    del os.environ[_name]

from deploy.settings import *  # noqa: E402, F403
from deploy.settings import DATABASES, PAWL_HOME  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if "DATABASE_URL" not in os.environ:
    DATABASES["default"]["TEST"] = {"NAME": str(PAWL_HOME / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += ";PRAGMA synchronous=OFF"
