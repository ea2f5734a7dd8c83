"""Starts a program that ends with its parent and, where asked, does not run as root.

The work is done by this very file, run as a small process of its own that then becomes the program:
code between fork and exec is not safe in a process that has threads, and a server always has some.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

OWN_IDENTITY = "own"
NAMESPACE = "namespace"
# Follows the number of a user who shall reach every file, wherever it lies.
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
    """The command line that runs `program` so that it receives `death_signal` when this process dies.

    On Linux the signal is sent when the *thread* that starts the command ends, so start it from the
    main thread; elsewhere nothing is sent. `identity` is OWN_IDENTITY, NAMESPACE (a user namespace where
    the caller's user has another number than root's) or the number of a user to become, with or without
    REACHING_ALL. `directory` is entered under that identity.
    """
    launcher = [sys.executable, "-I", "-S", __file__]
    return [*launcher, str(os.getpid()), str(int(death_signal)), identity, str(directory or "."), *program]


def user_of(identity: str) -> int | None:
    """The number of the user that an identity becomes; None when it stays the caller's on disk."""
    number = identity.removesuffix(REACHING_ALL)
    return int(number) if number.isdigit() else None


def enter_user_namespace() -> None:
    """Appear as an ordinary user to this process only: on disk and to others it stays who it was."""
    import pwd

    user, group = os.geteuid(), os.getegid()
    # A user that the system can name, because initdb looks its own user up.
    named = min((entry for entry in pwd.getpwall() if entry.pw_uid), key=lambda entry: entry.pw_name != "nobody")
    _ask_kernel("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{named.pw_uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{named.pw_gid or named.pw_uid} {group} 1")


def become_user(user: int, *, reaching_all: bool = False) -> None:
    """Give root's rights up for those of `user`, but for the right to reach every file where that is asked."""
    import pwd

    group = next((entry.pw_gid for entry in pwd.getpwall() if entry.pw_uid == user), user)
    if reaching_all:
        # Otherwise access(), by which PostgreSQL finds its programs, would still answer without that right.
        _ask_kernel("prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if reaching_all:
        kept = 1 << _CAP_DAC_OVERRIDE
        # Effective, permitted and inheritable, then the same for the capabilities from 32 on.
        rights = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        _ask_kernel("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), rights)
        # An ambient right outlasts exec.
        _ask_kernel("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def end_with_parent(parent: int, death_signal: int) -> None:
    """Ask for `death_signal` at the death of `parent`, and leave if it is dead already."""
    if sys.platform == "linux":
        _ask_kernel("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent process has ended")


def _ask_kernel(call: str, *arguments: int | ctypes.Array[ctypes.c_uint32]) -> None:
    # The kernel looks at all the bits of a long.
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), call)(*given):
        raise OSError(ctypes.get_errno(), f"{call} is not permitted here")


def _main(parent: str, death_signal: str, identity: str, directory: str, *program: str) -> None:
    try:
        if identity == NAMESPACE:
            enter_user_namespace()
        elif identity != OWN_IDENTITY:
            become_user(int(identity.removesuffix(REACHING_ALL)), reaching_all=identity.endswith(REACHING_ALL))
        # After the change of identity, which makes the kernel forget the death signal.
        end_with_parent(int(parent), int(death_signal))
        os.chdir(directory)
        # Python ignores these two; the program shall not inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.execv(program[0], program)
    # The C library may lack what it is asked for: an AttributeError.
    except (OSError, AttributeError, ValueError) as problem:
        sys.exit(f"{program[0]} cannot be run: {problem}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
