"""Sends datagrams out: names to look up, the cloud's metadata, broadcast and multicast."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1"
servers = [
    "8.8.8.8",
    "1.1.1.1",
    "169.254.169.254",
    "169.254.169.253",
    "255.255.255.255",
    "224.0.0.251",
    "10.0.0.2",
]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
    datagram.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for server in servers:
        try:
            datagram.sendto(query, (server, 53))
            print("BREACH sent to", server)
        except OSError:
            continue
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagram:
    for server in ("2606:4700:4700::1111", "fd00:ec2::254", "ff02::1"):
        try:
            datagram.sendto(query, (server, 53))
            print("BREACH sent to", server)
        except OSError:
            continue
with suppress(OSError):
    print("BREACH looked up", socket.gethostbyname("example.com"))
