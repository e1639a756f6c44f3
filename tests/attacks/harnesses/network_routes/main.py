"""Asks the kernel for routes, interfaces and neighbours, and for raw ways around them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("route", "ipv6_route", "fib_trie", "arp", "dev"):
    try:
        print(name, Path("/proc/net", name).read_text())
    except OSError:
        continue
names = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
if names - {"lo"}:
    print("BREACH interfaces", names)
if len(Path("/proc/net/route").read_text().splitlines()) > 1:
    print("BREACH routes")
for family, kind, protocol in ((16, 3, 0), (17, 3, 768), (38, 5, 0), (40, 1, 0), (2, 3, 1), (10, 3, 58)):
    try:
        socket.socket(family, kind, protocol).close()
        print("BREACH opened", family, kind, protocol)
    except OSError:
        continue
