"""Keeps memory in the kernel's list of mappings: every other page with other rights, in many children."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
PAGES, PAGE = 65000, mmap.PAGESIZE
for _ in range(60):
    if os.fork() == 0:
        start = libc.mmap(None, ctypes.c_size_t(PAGES * PAGE), 0, 0x22, -1, ctypes.c_long(0))
        for page in range(0, PAGES, 2):
            if libc.mprotect(ctypes.c_void_p(start + page * PAGE), ctypes.c_size_t(PAGE), mmap.PROT_READ):
                break
        time.sleep(30)
time.sleep(30)
