"""Looks for capabilities it may have kept, and asks for more in every way a process has."""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    if int(status[name], 16):
        print("BREACH has", name, status[name].strip())
if status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2":
    print("BREACH may gain rights or calls")
header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
everything = ctypes.create_string_buffer(struct.pack("<6I", *[0xFFFFFFFF] * 6))
if libc.capset(header, everything) == 0:
    print("BREACH set its capabilities")
AMBIENT, RAISE, KEEP, SECUREBITS, NO_NEW_PRIVS, MM = 47, 2, 8, 28, 38, 35
for option, first, second in (
    (AMBIENT, RAISE, 21),
    (SECUREBITS, 0x3F, 0),
    (NO_NEW_PRIVS, 0, 0),
    (MM, 1, 4096),
):
    if libc.prctl(option, first, second, 0, 0) == 0:
        print("BREACH prctl", option, first)
for identity in (libc.setresuid, libc.setresgid):
    for number in (0, 65534, 61000):
        if identity(number, number, number) == 0:
            print("BREACH became", number)
if libc.setgroups(1, struct.pack("<I", 0)) == 0:
    print("BREACH joined a group")
