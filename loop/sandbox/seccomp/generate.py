"""Writes the seccomp filters next to this file: `python -m loop.sandbox.seccomp.generate`.

The filters are classic BPF programs for one architecture each, and the same as profiles for container engines.
Everything is allowed except what is listed here: the harness shares the host's kernel, and these calls are either
ways out of the sandbox, ways around its limits, or kernel surface that no agent program needs. What System V calls keep
(shmget, semget, msgget) belongs to no process, so a watchdog that adds up processes would not see it. To ask for larger
socket buffers succeeds and changes nothing: so the number of sockets bounds what the kernel keeps in them. Engines get
no such rule, because a container's memory is limited by its control group, sockets and all.

Some calls reach past the run through what it may only read: asynchronous I/O (io_setup) takes from one table of the
whole machine; watches and leases tell of everybody's use of a shared file; sync and syncfs make the machine's disks
write. The limit on core files is set before the filter, to the one byte at which the kernel starts no program that a
core pattern names (it would run outside, as root, on the program's memory); setting it here succeeds and changes
nothing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

LOAD_WORD, JUMP_EQ, JUMP_GE, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
OFFSET_NR, OFFSET_ARCH = 0, 4
OFFSET_ARGUMENT = (16, 24, 32)
WORD = 4

CLONE_NEW_ANY = 0x7E020000
TERMINAL_INJECTION = (0x5412, 0x541C)
NOTICES = (1024, 1026, 1040)  # F_SETLEASE, F_NOTIFY, F_SETDELEG
SOCKET_FAMILIES = (1, 2, 10)
AF_UNIX = 1
RLIMIT_CORE = 4
SOL_SOCKET, BUFFER_OPTIONS = 1, (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, and both with FORCE
X32_BIT = 0x40000000
LOW_WORD = 0xFFFFFFFF

DENIED = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "uselib": 134, "personality": 135, "ustat": 136, "modify_ldt": 154,
        "pivot_root": 155, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
        "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
        "quotactl": 179, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "unshare": 272, "vmsplice": 278, "perf_event_open": 298,
        "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
        "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440,
        "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "open_tree_attr": 467,
        "mknod": 133, "mknodat": 259, "shmget": 29, "semget": 64, "msgget": 68,
        "sync": 162, "io_setup": 206, "inotify_init": 253, "inotify_init1": 294, "syncfs": 306,
    },
    "aarch64": {
        "lookup_dcookie": 18, "mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60,
        "vmsplice": 75, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
        "settimeofday": 170, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225,
        "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
        "memfd_create": 279, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440,
        "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "open_tree_attr": 467,
        "msgget": 186, "semget": 190, "shmget": 194,
        "io_setup": 0, "inotify_init1": 26, "sync": 81, "syncfs": 267,
    },
}  # fmt: skip
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SCMP_ARCH = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
CHECKED = {
    "x86_64": {
        "ioctl": 16,
        "socket": 41,
        "socketpair": 53,
        "setsockopt": 54,
        "clone": 56,
        "fcntl": 72,
        "setrlimit": 160,
        "prlimit64": 302,
        "clone3": 435,
    },
    "aarch64": {
        "fcntl": 25,
        "ioctl": 29,
        "socket": 198,
        "socketpair": 199,
        "setsockopt": 208,
        "clone": 220,
        "setrlimit": 164,
        "prlimit64": 261,
        "clone3": 435,
    },
}


@dataclass
class Program:
    """Instructions in order; jumps name a label and are resolved by `assemble`."""

    lines: list[tuple[int, int, str | None, str | None]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def load(self, offset: int) -> None:
        self.lines.append((LOAD_WORD, offset, None, None))

    def jump(self, code: int, value: int, *, true: str | None = None, false: str | None = None) -> None:
        """A conditional jump; a branch left out goes to the next instruction."""
        self.lines.append((code, value, true, false))

    def give(self, action: int) -> None:
        self.lines.append((RETURN, action, None, None))

    def label(self, name: str) -> None:
        self.labels[name] = len(self.lines)

    def assemble(self) -> bytes:
        """The program as struct sock_filter entries (8 bytes each, little endian)."""
        out = bytearray()
        for index, (code, value, true, false) in enumerate(self.lines):
            hop = [self.labels[name] - index - 1 if name else 0 for name in (true, false)]
            if max(hop) > 255 or min(hop) < 0:
                raise ValueError(f"instruction {index} jumps {hop} instructions; BPF allows 0 to 255")
            out += struct.pack("<HBBI", code, hop[0], hop[1], value)
        return bytes(out)


def build(arch: str) -> bytes:
    """The filter for one architecture ('x86_64' or 'aarch64')."""
    program, numbers = Program(), CHECKED[arch]
    program.load(OFFSET_ARCH)
    program.jump(JUMP_EQ, AUDIT_ARCH[arch], false="kill")
    program.load(OFFSET_NR)
    if arch == "x86_64":
        program.jump(JUMP_GE, X32_BIT, true="kill")
    for number in DENIED[arch].values():
        program.jump(JUMP_EQ, number, true="eperm")
    program.jump(JUMP_EQ, numbers["clone3"], true="enosys")
    for name in ("clone", "ioctl", "socket", "socketpair", "setsockopt", "fcntl", "setrlimit", "prlimit64"):
        program.jump(JUMP_EQ, numbers[name], true=name)
    program.give(ALLOW)
    _look_at_arguments(program)
    for name, action in (
        ("allow", ALLOW),
        ("nothing", ERRNO),
        ("eperm", ERRNO | EPERM),
        ("enosys", ERRNO | ENOSYS),
        ("kill", KILL_PROCESS),
    ):
        program.label(name)
        program.give(action)
    return program.assemble()


def _look_at_arguments(program: Program) -> None:
    """What is decided for each call of CHECKED that is not denied outright."""
    program.label("clone")
    program.load(OFFSET_ARGUMENT[0])
    program.jump(JUMP_SET, CLONE_NEW_ANY, true="eperm", false="allow")
    for name, commands in (("ioctl", TERMINAL_INJECTION), ("fcntl", NOTICES)):
        program.label(name)
        program.load(OFFSET_ARGUMENT[1])
        for command in commands:
            program.jump(JUMP_EQ, command, true="eperm")
        program.give(ALLOW)
    program.label("socket")
    program.load(OFFSET_ARGUMENT[0])
    for family in SOCKET_FAMILIES:
        program.jump(JUMP_EQ, family, true="allow")
    program.give(ERRNO | EAFNOSUPPORT)
    program.label("socketpair")
    program.load(OFFSET_ARGUMENT[0])
    program.jump(JUMP_EQ, AF_UNIX, true="allow", false="eperm")
    program.label("setsockopt")
    program.load(OFFSET_ARGUMENT[1])
    program.jump(JUMP_EQ, SOL_SOCKET, false="allow")
    program.load(OFFSET_ARGUMENT[2])
    for option in BUFFER_OPTIONS:
        program.jump(JUMP_EQ, option, true="nothing")
    program.give(ALLOW)
    program.label("setrlimit")
    program.load(OFFSET_ARGUMENT[0])
    program.jump(JUMP_EQ, RLIMIT_CORE, true="nothing", false="allow")
    program.label("prlimit64")
    program.load(OFFSET_ARGUMENT[1])
    program.jump(JUMP_EQ, RLIMIT_CORE, false="allow")
    for half in (0, WORD):  # without new values it only tells the old ones
        program.load(OFFSET_ARGUMENT[2] + half)
        program.jump(JUMP_EQ, 0, false="nothing")
    program.give(ALLOW)


def profile(arch: str) -> bytes:
    """The same filter for a container engine: a seccomp profile in JSON.

    An engine compares 64-bit arguments while the kernel looks at 32, so what is denied by value is masked, and the
    allowed socket families are the gaps between denied ranges.
    """
    denied = list(DENIED[arch])
    rules: list[dict[str, Any]] = [
        _rule(denied, EPERM),
        _rule(["clone3"], ENOSYS),
        *(_rule(["clone"], EPERM, _masked(0, flag, flag)) for flag in _bits(CLONE_NEW_ANY)),
        *(_rule(["ioctl"], EPERM, _masked(1, LOW_WORD, request)) for request in TERMINAL_INJECTION),
        *(_rule(["fcntl"], EPERM, _masked(1, LOW_WORD, command)) for command in NOTICES),
        *(_rule(["socket"], EAFNOSUPPORT, rule) for rule in _outside(SOCKET_FAMILIES)),
        _rule(["socketpair"], EPERM, {"index": 0, "value": AF_UNIX, "valueTwo": 0, "op": "SCMP_CMP_NE"}),
        _rule(["setrlimit"], 0, _masked(0, LOW_WORD, RLIMIT_CORE)),
        _rule(
            ["prlimit64"],
            0,
            _masked(1, LOW_WORD, RLIMIT_CORE),
            {"index": 2, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_NE"},
        ),
    ]
    content = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [SCMP_ARCH[arch]], "syscalls": rules}
    return json.dumps(content, indent=1).encode() + b"\n"


def _rule(names: list[str], error: int, *arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A denial where all the conditions on arguments hold."""
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error}
    return rule | ({"args": [dict(argument) for argument in arguments]} if arguments else {})


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _bits(word: int) -> list[int]:
    return [1 << bit for bit in range(32) if word & 1 << bit]


def _outside(allowed: tuple[int, ...]) -> list[dict[str, Any]]:
    """Conditions that together hold for every first argument but the allowed ones."""
    gaps = [value for value in range(max(allowed)) if value not in allowed]
    found = [{"index": 0, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"} for value in gaps]
    return [*found, {"index": 0, "value": max(allowed), "valueTwo": 0, "op": "SCMP_CMP_GT"}]


def main() -> None:
    """Writes both forms for every known architecture."""
    for arch in DENIED:
        for name, data in ((f"{arch}.bpf", build(arch)), (f"container-{arch}.json", profile(arch))):
            target = Path(__file__).with_name(name)
            target.write_bytes(data)
            print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
