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
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


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
    the caller's user has another number than root's) or the number of a user to become. `directory` is
    entered under that identity.
    """
    launcher = [sys.executable, "-I", "-S", __file__]
    return [*launcher, str(os.getpid()), str(int(death_signal)), identity, str(directory or "."), *program]


def enter_user_namespace() -> None:
    """Appear as an ordinary user to this process only: on disk and to others it stays who it was."""
    import pwd

    user, group = os.geteuid(), os.getegid()
    # A user that the system can name, because initdb looks its own user up.
    named = min((entry for entry in pwd.getpwall() if entry.pw_uid), key=lambda entry: entry.pw_name != "nobody")
    if _libc().unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "a user namespace is not permitted here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{named.pw_uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{named.pw_gid or named.pw_uid} {group} 1")


def become_user(user: int) -> None:
    """Give root's rights up for those of `user`."""
    import pwd

    os.setgroups([])
    os.setgid(pwd.getpwuid(user).pw_gid)
    os.setuid(user)


def end_with_parent(parent: int, death_signal: int) -> None:
    """Ask for `death_signal` at the death of `parent`, and leave if it is dead already."""
    if sys.platform == "linux" and _libc().prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        sys.exit("the parent process has ended")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _main(parent: str, death_signal: str, identity: str, directory: str, *program: str) -> None:
    try:
        if identity == NAMESPACE:
            enter_user_namespace()
        elif identity != OWN_IDENTITY:
            become_user(int(identity))
        # After the change of identity, which makes the kernel forget the death signal.
        end_with_parent(int(parent), int(death_signal))
        os.chdir(directory)
        # Python ignores these two; the program shall not inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.execv(program[0], program)
    except (OSError, KeyError, ValueError) as problem:
        sys.exit(f"{program[0]} cannot be run: {problem}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
