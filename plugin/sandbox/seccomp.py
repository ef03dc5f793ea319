"""Refuse the system calls that reach out of a sandbox, or past its limits.

The filter is a short program for the kernel (classic BPF, see seccomp(2)), which `bwrap --seccomp`
installs. A refused call fails with EPERM, as it would without the right to make it.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """The numbers of system calls on one kind of processor.

    Attributes:
        audit: how the kernel names the processor (AUDIT_ARCH in linux/audit.h).
        refused: calls that fail with EPERM.
        clone: fails with EPERM if it makes namespaces.
        clone3: fails with ENOSYS, so that libc takes `clone`, whose flags a filter can read.
        socket: fails with EPERM for other families than `_FAMILIES`.
        most: a larger number belongs to another calling convention.
    """

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int
    socket: int
    most: int = 0x3FFF_FFFF


MACHINES = {
    "x86_64": Machine(
        audit=0xC000_003E,
        refused=(
            *(101, 310, 311, 438, 440),  # ptrace, process_vm_readv and _writev, pidfd_getfd, ...
            *(272, 308, 165, 166, 155, 161),  # unshare, setns, mount, umount2, pivot_root, chroot
            *(428, 429, 430, 431, 432, 433, 442),  # the newer calls that mount
            *(319, 447, 29, 64, 68),  # memfd_create, memfd_secret, shmget, semget, msgget
            *(248, 249, 250, 321, 298, 323),  # keys, bpf, perf_event_open, userfaultfd
            *(425, 426, 427, 303, 304),  # io_uring, files by handle
            *(246, 320, 175, 313, 176, 167, 168, 169, 103, 163, 179),  # the machine itself
        ),
        clone=56,
        clone3=435,
        socket=41,
    ),
    "aarch64": Machine(
        audit=0xC000_00B7,
        refused=(
            *(117, 270, 271, 438, 440),
            *(97, 268, 40, 39, 41, 51),
            *(428, 429, 430, 431, 432, 433, 442),
            *(279, 447, 194, 190, 186),
            *(217, 218, 219, 280, 241, 282),
            *(425, 426, 427, 264, 265),
            *(104, 294, 105, 273, 106, 224, 225, 142, 116, 89, 60),
        ),
        clone=220,
        clone3=435,
        socket=198,
    ),
}
"""By what `platform.machine` says; numbers from the kernel's tables of system calls."""

_FAMILIES = (1, 2, 10)
"""Unix, IPv4, IPv6: all of them stay in the sandbox's own, empty network. Others may not."""

_NEW_NAMESPACES = 0x7E02_0000
"""The flags CLONE_NEW... of `clone`: user, pid, network, mount, ipc, uts, cgroup."""

_EPERM, _ENOSYS = 1, 38
_ALLOW, _KILL, _FAIL = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
"""Where `struct seccomp_data` holds them; of an argument, its lower half."""


def machine() -> Machine | None:
    """Return the numbers of this machine's processor; None for one that is not in the table."""
    return MACHINES.get(platform.machine())


def filter_for(here: Machine) -> bytes:
    """Return the filter, as `bwrap --seccomp` reads it."""
    refuse = [_step(_RETURN, _FAIL | _EPERM)]
    steps = [
        _step(_LOAD, _ARCH),
        *(_step(_EQUAL, here.audit, 1, 0), _step(_RETURN, _KILL)),
        _step(_LOAD, _NUMBER),
        *(_step(_GREATER, here.most, 0, 1), *refuse),
        *(_step(_EQUAL, here.clone3, 0, 1), _step(_RETURN, _FAIL | _ENOSYS)),
    ]
    for number in here.refused:
        steps += [_step(_EQUAL, number, 0, 1), *refuse]
    steps += [
        _step(_EQUAL, here.clone, 0, 4),
        *(_step(_LOAD, _FIRST_ARGUMENT), _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1), *refuse),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, here.socket, 0, 2 + len(_FAMILIES)),
        _step(_LOAD, _FIRST_ARGUMENT),
        *(_step(_EQUAL, each, len(_FAMILIES) - i, 0) for i, each in enumerate(_FAMILIES)),
        *(*refuse, _step(_RETURN, _ALLOW)),
    ]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction; the jumps say how many instructions to leave out."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
