"""Opens raw, packet, netlink and keyed sockets of the allowed families, and reaches for other networks."""

from __future__ import annotations

import fcntl
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for family in (socket.AF_INET, socket.AF_INET6):
    for kind in (socket.SOCK_RAW, socket.SOCK_RDM, 10):
        for protocol in (0, 1, 255, 0x300):
            try:
                socket.socket(family, kind, protocol)
                print("BREACH opened", family, kind, protocol)
            except (OSError, ValueError):
                continue
for family in (15, 16, 17, 29, 30, 38, 39, 40, 41, 42, 44, 45):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind)
            print("BREACH opened family", family)
        except OSError:
            continue
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
MARK, BIND_DEVICE, TRANSPARENT, BUFFER_FORCE = 36, 25, 19, 33
for level, option, value in ((1, MARK, 1), (0, TRANSPARENT, 1), (1, BIND_DEVICE, b"eth0")):
    try:
        plain.setsockopt(level, option, value)
        print("BREACH set", level, option)
    except OSError:
        continue
plain.setsockopt(1, BUFFER_FORCE, 64 << 20)
if plain.getsockopt(1, socket.SO_RCVBUF) > 1 << 20:
    print("BREACH has a large buffer")
for request in (0x8914, 0x8916, 0x890B, 0x8946):
    try:
        fcntl.ioctl(plain, request, b"lo".ljust(40, b"\0"))
        print("BREACH changed the network", hex(request))
    except OSError:
        continue
