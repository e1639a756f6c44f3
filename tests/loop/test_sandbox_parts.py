"""The sandbox's pure parts: filters, logs, frames, reading of outputs."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loop.sandbox import seccomp, watch
from loop.sandbox.collect import Refused, collect
from loop.sandbox.container.frames import DATA, FILE, LOG, BadFrame, FrameReader, frame
from loop.sandbox.logs import LogKeeper, escape
from loop.sandbox.seccomp import generate
from loop.sandbox.supervisor import parse_status


def test_the_shipped_filters_are_what_the_generator_makes() -> None:
    folder = Path(generate.__file__).parent
    for arch in generate.DENIED:
        assert (folder / f"{arch}.bpf").read_bytes() == generate.build(arch)


def test_escaped_text_cannot_move_reorder_or_hide() -> None:
    hostile = "a\x1b[2Jb\u202ec\u200bd\x00e\u2028f\rg".encode() + b"\xff"
    text = escape(hostile)
    assert text == "a\\x1b[2Jb\\u202ec\\u200bd\\x00e\\u2028f\\x0dg\\xff"
    assert escape("line\n\ttäb ✓".encode()) == "line\n\ttäb ✓"


def test_a_log_keeper_keeps_the_beginning_and_a_short_end() -> None:
    keeper = LogKeeper(32)
    for part in (b"a" * 30, b"bbbb", b"c" * 90, b"yz"):
        keeper.feed(part)
    assert keeper.text() == "a" * 30 + "bb\n[92 bytes not kept]\nyz"
    short = LogKeeper(32)
    short.feed(b"all of it")
    assert short.text() == "all of it"


@pytest.mark.parametrize("arch", generate.DENIED)
def test_the_filters_numbers_are_those_of_libseccomp(arch: str) -> None:
    found = ctypes.util.find_library("seccomp")
    if found is None:
        return  # the shipped bytes are still checked above; this machine has no second source of the numbers
    library = ctypes.CDLL(found)
    unknown = []
    for name, number in {**generate.DENIED[arch], **generate.CHECKED[arch]}.items():
        known = library.seccomp_syscall_resolve_name_arch(
            ctypes.c_uint32(generate.AUDIT_ARCH[arch]), name.encode()
        )
        if known < 0:
            unknown.append(name)
        else:
            assert (name, known) == (name, number)
    assert len(unknown) <= 5, unknown


def run_filter(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel's interpreter would return for one system call: classic BPF, the five opcodes that we use."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *([0] * (6 - len(arguments))))
    lines = list(struct.iter_unpack("<HBBI", program))
    accumulator = at = 0
    while True:
        code, true, false, value = lines[at]
        at += 1
        if code == generate.RETURN:
            return int(value)
        if code == generate.LOAD_WORD:
            accumulator = struct.unpack_from("<I", data, value)[0]
            continue
        held = {
            generate.JUMP_EQ: accumulator == value,
            generate.JUMP_GE: accumulator >= value,
            generate.JUMP_SET: bool(accumulator & value),
        }[code]
        at += true if held else false


EPERM, ENOSYS, NO_FAMILY = (generate.ERRNO | number for number in (generate.EPERM, generate.ENOSYS, 97))
HIGH = 1 << 40


@pytest.mark.parametrize("arch", generate.DENIED)
def test_each_filter_decides_as_it_should(arch: str) -> None:
    program, native, numbers = generate.build(arch), generate.AUDIT_ARCH[arch], generate.CHECKED[arch]
    foreign = next(other for other in generate.AUDIT_ARCH.values() if other != native)
    cases = [
        (foreign, 1, (), generate.KILL_PROCESS),
        (native, 1, (), generate.ALLOW),
        *(
            (native, generate.DENIED[arch][name], (), EPERM)
            for name in ("memfd_create", "shmget", "io_setup", "inotify_init1", "sync", "syncfs")
        ),
        (native, numbers["clone3"], (), ENOSYS),
        (native, numbers["clone"], (0x10000000,), EPERM),
        (native, numbers["clone"], (0x00010F00,), generate.ALLOW),
        (native, numbers["ioctl"], (0, HIGH | 0x5412), EPERM),
        (native, numbers["ioctl"], (0, 0x5401), generate.ALLOW),
        *((native, numbers["fcntl"], (0, HIGH | command), EPERM) for command in (1024, 1026, 1040)),
        (native, numbers["fcntl"], (0, 1030), generate.ALLOW),
        *((native, numbers["socket"], (family,), generate.ALLOW) for family in (1, 2, 10)),
        *((native, numbers["socket"], (family,), NO_FAMILY) for family in (0, 16, 17, 40)),
        (native, numbers["socketpair"], (1,), generate.ALLOW),
        (native, numbers["socketpair"], (2,), EPERM),
        *((native, numbers["setsockopt"], (3, 1, option), generate.ERRNO) for option in (7, 8, 32, 33)),
        (native, numbers["setsockopt"], (3, HIGH | 1, HIGH | 7), generate.ERRNO),
        (native, numbers["setsockopt"], (3, 1, 2), generate.ALLOW),
        (native, numbers["setsockopt"], (3, 6, 7), generate.ALLOW),
        (native, numbers["setrlimit"], (HIGH | 4, 1), generate.ERRNO),
        (native, numbers["setrlimit"], (7, 1), generate.ALLOW),
        *((native, numbers["prlimit64"], (0, HIGH | 4, new), generate.ERRNO) for new in (1, HIGH)),
        (native, numbers["prlimit64"], (0, 4, 0, 1), generate.ALLOW),
        (native, numbers["prlimit64"], (0, 7, 1), generate.ALLOW),
    ]
    if arch == "x86_64":
        cases.append((native, generate.X32_BIT | 1, (), generate.KILL_PROCESS))
    for architecture, number, arguments, wanted in cases:
        assert (number, run_filter(program, architecture, number, *arguments)) == (number, wanted)


@pytest.mark.parametrize("arch", generate.DENIED)
def test_the_engines_profile_is_the_shipped_one_and_denies_the_same_calls(arch: str) -> None:
    shipped = Path(seccomp.__file__).with_name(f"container-{arch}.json").read_bytes()
    assert shipped == generate.profile(arch)
    rules = json.loads(shipped)["syscalls"]
    assert set(rules[0]["names"]) == set(generate.DENIED[arch]) and "args" not in rules[0]
    sockets = [rule["args"][0] for rule in rules if rule["names"] == ["socket"]]
    denied = {rule["value"] for rule in sockets if rule["op"] == "SCMP_CMP_EQ"}
    assert denied == set(range(10)) - {1, 2}
    assert [rule["value"] for rule in sockets if rule["op"] == "SCMP_CMP_GT"] == [10]
    # A plain comparison would be passed by setting a bit that the kernel cuts off.
    ioctls = [rule["args"][0] for rule in rules if rule["names"] == ["ioctl"]]
    assert {rule["op"] for rule in ioctls} == {"SCMP_CMP_MASKED_EQ"}
    assert {rule["value"] for rule in ioctls} == {0xFFFFFFFF}
    kept = [rule for rule in rules if set(rule["names"]) & {"setrlimit", "prlimit64"}]
    assert [rule["errnoRet"] for rule in kept] == [0, 0] and kept[0]["args"][0]["valueTwo"] == 4
    assert [rule["op"] for rule in kept[1]["args"]] == ["SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"]


def test_frames_survive_any_cutting_of_the_stream() -> None:
    sent = [(LOG, b"hello"), (FILE, b"a.txt"), (DATA, b""), (DATA, bytes(300))]
    stream = b"".join(frame(kind, payload) for kind, payload in sent)
    for step in (1, 3, 7, len(stream)):
        reader = FrameReader()
        assert [
            found for at in range(0, len(stream), step) for found in reader.feed(stream[at : at + step])
        ] == sent


@pytest.mark.parametrize("stream", [b"X\0\0\0\0", b"L\xff\xff\xff\xff"])
def test_bytes_that_are_no_frames_are_refused(stream: bytes) -> None:
    with pytest.raises(BadFrame, match="no frame"):
        list(FrameReader().feed(stream))


@pytest.mark.parametrize("kind", ["link", "hardlink", "folder", "fifo", "large"])
def test_only_a_plain_file_within_its_cap_is_read(tmp_path: Path, kind: str) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    for folder in (out, target):
        folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    {
        "link": lambda: (out / "a").symlink_to(tmp_path / "secret"),
        "hardlink": lambda: (out / "a").hardlink_to(tmp_path / "secret"),
        "folder": lambda: (out / "a").mkdir(),
        "fifo": lambda: os.mkfifo(out / "a"),
        "large": lambda: (out / "a").write_bytes(bytes(11)),
    }[kind]()
    handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(Refused, match="The output a"):
            collect(out, ("a",), handle, 10)
    finally:
        os.close(handle)
    assert os.listdir(target) == []


def test_a_forged_status_line_neither_breaks_the_supervisor_nor_replaces_the_first() -> None:
    lines = [
        b'{"child-pid": 7}',
        b"{",
        b"[" * 5000,
        b"[1]",
        b'{"child-pid": 1, "exit-code": "0"}',
        b"\xff",
        b'{"exit-code": 3}',
    ]
    assert parse_status(b"\n".join(lines)) == {"child-pid": 7, "exit-code": 3}
    assert parse_status(b"") == {}


def test_page_tables_mappings_and_sockets_of_a_process_are_counted() -> None:
    source = (
        "import mmap, os, socket\n"
        "empty = mmap.mmap(-1, 2 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)\n"
        "for at in range(0, 2 << 30, 2 << 20): empty[at]\n"
        "parts = [mmap.mmap(-1, 4096, prot=1 + at % 2 * 2) for at in range(6000)]\n"
        "os.write(1, b'f'); os.read(0, 1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stdout.read(1) == b"f"
        resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * watch.PAGE_MIB
        assert 3 <= watch.sample([process.pid]).memory_mib - resident < 16
        account = watch.MappingsAccount()
        found = max(account.note([process.pid]) for _ in range(20))
        assert 6000 * watch.MAPPING_MIB <= found < 9000 * watch.MAPPING_MIB
        assert account.note([]) == 0
        process.stdin.close()
    before = watch.sockets(os.getpid())
    with socket.socket(socket.AF_UNIX), socket.socket():
        assert watch.sockets(os.getpid()) >= before + 2


def test_memory_is_counted_for_a_process_whose_first_thread_has_ended() -> None:
    source = (
        "import ctypes, os, sys, threading\n"
        "def fill():\n"
        "    block = b'x' * (80 << 20)\n"
        "    os.write(1, b'f'); os.read(0, 1)\n"
        "threading.Thread(target=fill).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stdout.read(1) == b"f"
        stat = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 30
        while b") Z " not in stat.read_bytes() and time.monotonic() < deadline:
            continue
        assert b") Z " in stat.read_bytes()
        assert 80 < watch.sample([process.pid]).memory_mib < 160
        exact = watch.exact_memory_mib([process.pid])
        assert exact is not None and 80 < exact < 160
        process.stdin.close()
