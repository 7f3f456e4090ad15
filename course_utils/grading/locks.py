"""How a process locks itself in: namespaces, limits, forbidden system calls. On Linux; limits alone also on macOS."""

import ctypes
import os
import platform
import resource
import struct
from typing import Any

from course_utils.grading.child import Limits

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_DUMPABLE = 38, 24, 22, 4


def _call(name: str, *arguments: Any) -> int:
    """A C library function; OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _mount(target: str, options: str, flags: int) -> None:
    _call("mount", b"none", target.encode(), b"tmpfs", flags, options.encode())


def lock_in(channel: int, limits: Limits, scratch: str, isolate: bool) -> None:
    """In `scratch`, under limits, with `channel` as the only file descriptor; isolated also without rights, /proc and
    new processes. OSError if that cannot be."""
    if isolate:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        for folder in (scratch, "/dev/shm"):
            _mount(folder, f"size={limits.file_size},nr_inodes=4096,mode=1777", MS_NOSUID | MS_NODEV)
        _mount("/proc", "size=4k,nr_inodes=2,mode=555", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    os.chdir(scratch)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, channel)
    os.closerange(channel + 1, 65_536)
    for kind, amount in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CPU, int(limits.submission) + 10),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
        *([(resource.RLIMIT_NPROC, limits.processes)] if isolate else []),
    ):
        hard = resource.getrlimit(kind)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        try:
            resource.setrlimit(kind, (amount, amount))
        except (ValueError, OSError):
            if isolate:  # macOS knows no limit of address space; it has no sandbox either
                raise
    if isolate:
        for capability in range(64):
            try:
                _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
            except OSError:
                break  # the kernel's last capability is behind us
        header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
        _call("capset", header, nothing)
        _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        forbid_system_calls()


# Numbers in the kernel's tables for x86_64 and aarch64; None where a call does not exist
FORBIDDEN: dict[str, tuple[int, int | None]] = {
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "sched_setaffinity": (203, 122),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "memfd_create": (319, 279),
    "personality": (135, 92),
    "mount_setattr": (442, 442),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table, audit number
CLONE3 = 435  # answered with 'no such call', so that the C library falls back to clone and hears its 'not permitted'


def forbid_system_calls() -> None:
    """A seccomp filter: no processes, threads, namespaces, connections. On other processors the limits must do."""
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if platform.machine() not in ARCHITECTURES:
        return
    column, architecture = ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
    allow, kill, refuse, unknown = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # EPERM, ENOSYS
    code = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, kill)]  # the x32 door to the same calls
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, unknown)]
    for number in filter(None, (numbers[column] for numbers in FORBIDDEN.values())):
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    code.append((give, 0, 0, allow))
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(instructions)))
    _call("prctl", PR_SET_SECCOMP, 2, program, 0, 0)
