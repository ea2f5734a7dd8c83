"""seccomp: system calls that this process can no longer make, as a filter that the kernel runs.

The filter refuses with EPERM what drawing and reading never need, so that a library that merely tries does not
die. Every other call is allowed, because the graphics drivers of different machines need different ones.
"""

import ctypes
import errno
import os
import platform
import struct

from thumbq.render.sandbox import kernel

# For each call its number on x86-64 and on 64-bit ARM, None where it does not exist.
_NEVER: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "fsopen": (430, 430), "fsmount": (432, 432),
    "open_by_handle_at": (304, 265), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273), "reboot": (169, 142),
}  # fmt: skip
_CHANGING: dict[str, tuple[int | None, int | None]] = {
    "creat": (85, None), "truncate": (76, 45), "mknod": (133, None), "mknodat": (259, 33),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88), "openat2": (437, 437),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OPEN, _OPENAT, _CLONE, _CLONE3, _TGKILL, _PRLIMIT = (2, None), (257, 56), (56, 220), (435, 435), (234, 131), (302, 261)
_CLONE_THREAD, _WRITES = 0x00010000, 0o3
_X32 = 0x40000000

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_SET_MODE_FILTER = 1

Step = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def forbid_system_calls(*, changing: bool = False, writing: bool = False) -> bool:
    """Forbid the network, new processes and what reaches into others.

    `changing` forbids to make, remove and rename files, too, and `writing` to open one for writing. False when this
    kernel or architecture has no such filter.
    """
    machine = platform.machine()
    if not kernel.is_linux() or machine not in _ARCHITECTURES or kernel.SECCOMP is None:
        return False
    steps = _filter(machine, changing=changing, writing=writing)
    content = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), content)
    try:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.call(kernel.SECCOMP, _SET_MODE_FILTER, 0, ctypes.byref(program))
    except OSError:
        return False
    return True


def _filter(machine: str, *, changing: bool, writing: bool) -> list[Step]:
    column = 0 if machine == "x86_64" else 1
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _refuse(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        # The other table of calls that x86-64 has.
        (_GREATER, 0, 1, _X32),
        _refuse(errno.EPERM),
    ]
    for numbers in (_NEVER | _CHANGING if changing else _NEVER).values():
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    # Its arguments lie in memory, where the filter cannot look; glibc then takes `clone`.
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    steps += _unless_argument(_CLONE[column], 0, (_ANY_BIT, _CLONE_THREAD))
    steps += _unless_argument(_TGKILL[column], 0, (_EQUAL, os.getpid()))
    steps += _unless_argument(_PRLIMIT[column], 0, (_EQUAL, 0))
    if writing:
        for call, position in ((_OPEN, 1), (_OPENAT, 2)):
            if (number := call[column]) is not None:
                steps += _unless_argument(number, position, (_ANY_BIT, _WRITES), refused=True)
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _unless_argument(number: int, position: int, test: tuple[int, int], *, refused: bool = False) -> list[Step]:
    """Refuse a call whose argument fails a test, or with `refused` one whose argument passes it."""
    code, value = test
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * position),
        (code, 0, 1, value) if refused else (code, 1, 0, value),
        _refuse(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]


def _refuse(number: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | number)
