"""Which tests need more than this machine gives, and no package would help: rights, history of the code, kubectl."""

import os
import shutil
import subprocess
from functools import cache

from tests.support.service.previous_release import are_at_hand


@cache
def left_out() -> dict[str, str]:
    """Return the markers of the tests that cannot run here, each with the reason."""
    reasons = {}
    if not _can_mount():
        reasons["small_disk"] = "this process may not mount file systems"
    if not _can_make_networks():
        reasons["network_namespaces"] = "this process may not make network namespaces"
    if shutil.which("kubectl") is None:
        reasons["kubectl"] = "kubectl is missing, and the one of Debian 12 is too old"
    if not are_at_hand():
        reasons["previous_release"] = "the commits of earlier releases are missing here"
    return reasons


def _can_mount() -> bool:
    """Return whether this process may mount a file system; containers usually may not."""
    return not subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode


def _can_make_networks() -> bool:
    """Return whether this process may make network namespaces, and bridges and cables between them."""
    for line in ("link add b0 type bridge", "link add v0 type veth peer name v1"):
        command = ["unshare", "--net", "ip", *line.split()]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            return False
    return True
