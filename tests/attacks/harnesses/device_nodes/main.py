"""Opens and makes nodes of disks, memory, consoles and machines."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
NAMES = """mem kmem port kmsg kvm fuse vda sda nvme0n1 loop0 loop-control mapper/control console
tty0 ttyS0 net/tun vhost-vsock"""
for name in NAMES.split():
    try:
        os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK)
        print("BREACH opened", name)
    except OSError:
        continue
for folder in ("/scratch", "/out", "/dev/shm", "/dev"):
    for kind in (stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO):
        try:
            os.mknod(f"{folder}/node{kind}", kind | 0o666, os.makedev(254, 0))
            print("BREACH made", folder, kind)
        except OSError:
            continue
