"""Why bubblewrap may be unable to make namespaces on this machine, and what to do about it."""

from __future__ import annotations

from pathlib import Path

SWITCHES = (
    (
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor keeps user namespaces from programs without a profile (Ubuntu 23.10 and later): write "
        "/etc/apparmor.d/bwrap with 'abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap "
        "flags=(unconfined) { userns, }' and run: apparmor_parser -r /etc/apparmor.d/bwrap",
    ),
    (
        "proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "user namespaces are switched off: run sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are switched off: run sysctl -w user.max_user_namespaces=10000",
    ),
)
CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
IN_CONTAINER = (
    "this is a container, whose engine forbids namespaces: set PAWL_SANDBOX=container to run one container for each "
    "rollout, or start this one with seccomp, AppArmor and masked paths off (see docs/security.md)"
)
UNKNOWN = "check that this kernel allows user namespaces, or set PAWL_SANDBOX=container"


def namespaces_remedy(root: Path = Path("/")) -> str:
    """What to do when bubblewrap cannot set a sandbox up, judged by the files below `root`."""
    if any((root / mark).exists() for mark in CONTAINER_MARKS):
        return IN_CONTAINER
    for name, bad, remedy in SWITCHES:
        try:
            found = (root / name).read_text().strip()
        except OSError:
            continue
        if found == bad:
            return remedy
    return UNKNOWN
