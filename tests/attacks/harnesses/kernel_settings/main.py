"""Opens the kernel's settings for writing: core pattern, magic keys, groups, its own maps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
PLACES = """sys/kernel/core_pattern sys/kernel/modprobe sys/kernel/hostname sys/vm/overcommit_memory sysrq-trigger
sys/net/ipv4/ip_forward sys/kernel/ns_last_pid self/uid_map self/gid_map self/setgroups 1/uid_map
sys/user/max_user_namespaces sys/kernel/yama/ptrace_scope sys/kernel/dmesg_restrict irq/0/smp_affinity"""
for place in PLACES.split():
    try:
        with open(f"/proc/{place}", "r+b", buffering=0) as handle:
            handle.write(b"0\n")
            print("BREACH wrote", place)
    except OSError:
        continue
for folder in ("/sys", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/fs/bpf"):
    if os.path.exists(folder):
        print("BREACH", folder, os.listdir(folder)[:5])
try:
    Path("/proc/self/oom_score_adj").write_text("-1000")
    print("BREACH the kernel would spare it")
except OSError:
    pass
