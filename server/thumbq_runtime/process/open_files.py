"""How many files a program may have open. Each connection is one."""

import resource


def allow_many_open_files() -> None:
    """Raise the soft limit of open files to the hard one. Its default of 1024 is for select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
