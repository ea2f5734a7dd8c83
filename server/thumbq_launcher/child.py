"""Starts a program that ends with its parent and, where asked, does not run as root.

This file does the work as a small process of its own, which then becomes the program. Code between fork and
exec would not be safe, because the parent has threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

OWN_IDENTITY = "own"
NAMESPACE = "namespace"
# Suffix to the number of a user: the user may reach every file.
REACHING_ALL = "+dac_override"
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 1, 28, 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def ending_with_parent(
    program: Sequence[str],
    death_signal: signal.Signals,
    *,
    identity: str = OWN_IDENTITY,
    directory: Path | None = None,
) -> list[str]:
    """Return the command line that runs `program` so that it receives `death_signal` when this process dies.

    On Linux the kernel sends the signal when the *thread* that started the command ends, so start it from the
    main thread; other systems send none. `identity` is OWN_IDENTITY, NAMESPACE (a user namespace where
    the caller's user has another number than root's) or the number of a user to become, with or without
    REACHING_ALL. `directory` is entered under that identity.
    """
    launcher = [sys.executable, "-I", "-S", __file__]
    return [*launcher, str(os.getpid()), str(int(death_signal)), identity, str(directory or "."), *program]


def user_of(identity: str) -> int | None:
    """Return the number of the user that an identity becomes, or None if files on disk stay the caller's."""
    number = identity.removesuffix(REACHING_ALL)
    return int(number) if number.isdigit() else None


def enter_user_namespace() -> None:
    """Appear as an ordinary user to this process only; on disk and to other processes the user stays the same."""
    import pwd

    user, group = os.geteuid(), os.getegid()
    # The system must be able to name the user, because initdb looks its own user up.
    named = min((entry for entry in pwd.getpwall() if entry.pw_uid), key=lambda entry: entry.pw_name != "nobody")
    _ask_kernel("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{named.pw_uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{named.pw_gid or named.pw_uid} {group} 1")


def become_user(user: int, *, reaching_all: bool = False) -> None:
    """Exchange root's rights for those of `user`; with `reaching_all`, keep the right to reach every file."""
    import pwd

    group = next((entry.pw_gid for entry in pwd.getpwall() if entry.pw_uid == user), user)
    if reaching_all:
        # PostgreSQL finds its programs with access(), which otherwise would answer without that right.
        _ask_kernel("prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if reaching_all:
        kept = 1 << _CAP_DAC_OVERRIDE
        # The effective, permitted and inheritable sets, then the same three for the capabilities from 32 on.
        rights = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        _ask_kernel("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), rights)
        # An ambient right outlasts exec.
        _ask_kernel("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def end_with_parent(parent: int, death_signal: int) -> None:
    """Ask the kernel for `death_signal` at the death of `parent`; exit if `parent` is dead already."""
    if sys.platform == "linux":
        _ask_kernel("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent process has ended")


def _ask_kernel(call: str, *arguments: int | ctypes.Array[ctypes.c_uint32]) -> None:
    # The kernel reads all the bits of a long.
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), call)(*given):
        raise OSError(ctypes.get_errno(), f"{call} is not permitted here")


def _main(parent: str, death_signal: str, identity: str, directory: str, *program: str) -> None:
    try:
        if identity == NAMESPACE:
            enter_user_namespace()
        elif identity != OWN_IDENTITY:
            become_user(int(identity.removesuffix(REACHING_ALL)), reaching_all=identity.endswith(REACHING_ALL))
        # Only after the change of identity, because that makes the kernel forget the death signal.
        end_with_parent(int(parent), int(death_signal))
        os.chdir(directory)
        # Python ignores these two signals; the program must not inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.execv(program[0], program)
    # AttributeError: the C library lacks the call.
    except (OSError, AttributeError, ValueError) as problem:
        sys.exit(f"{program[0]} cannot be run: {problem}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
