"""A private PostgreSQL cluster for a test run: on a unix socket in a temporary folder, gone with the run."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

NOTHING_LASTS = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "jit=off", "checkpoint_timeout=1h",
)  # fmt: skip


def server_programs() -> Path | None:
    """The folder with initdb and postgres (the newest one installed), or None."""
    on_path = shutil.which("initdb")
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True
    )
    candidates = [*([Path(on_path).resolve().parent] if on_path else []), *folders]
    return next((p for p in candidates if (p / "initdb").exists() and (p / "pg_ctl").exists()), None)


def start_cluster() -> str:
    """Start a cluster that ends with this process; return its DATABASE_URL.

    Raises RuntimeError when it cannot. PostgreSQL refuses to run as root: then the cluster runs as the
    account `postgres`, or `nobody`.
    """
    programs = server_programs()
    if programs is None:
        raise RuntimeError(
            "PostgreSQL's server programs are missing; install them: apt-get install postgresql"
        )
    folder = Path(tempfile.mkdtemp(prefix="pawl-pg-"))
    account = _account()
    identity: dict[str, int | list[int]] = {}
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def call(program: str, *args: str) -> None:
        done = subprocess.run(
            [str(programs / program), *args],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **identity,  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            log = folder / "log"
            detail = (done.stdout or "") + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} failed for the test cluster in {folder}: {detail[-2000:]}")

    data = folder / "data"
    call("initdb", "-D", str(data), "-U", "pawl", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    settings = ["listen_addresses=''", "max_connections=60", *NOTHING_LASTS]
    options = " ".join([f"-k {folder}", *(f"-c {setting}" for setting in settings)])
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(call, "pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    call("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
    return f"postgresql://pawl@/postgres?host={folder}"


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
