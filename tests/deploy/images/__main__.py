"""Build the images of the Dockerfile, and let them render a model: `python -m tests.deploy.images`, as root on Debian.

No daemon, and no registry of images: debootstrap makes the base image, and buildah the others on it. The processes run
in the images' files with the rights that docker-compose.yml leaves them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.images.build import Images

PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux", "ip": "iproute2"}
TARGETS = ("server", "gateway", "worker")


def main() -> int:
    argparse.ArgumentParser(prog="python -m tests.deploy.images", description=__doc__).parse_args()
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if os.geteuid():
        sys.exit("Only root can build and try the images in this way.")
    if missing:
        sys.exit(f"Programs are missing. On Debian or Ubuntu: apt-get install {' '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="thumbq-images-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "trial").mkdir()
    try:
        with Images(folder) as images:
            built = images.build(TARGETS)
            trial = ["unshare", "--mount", "--net", sys.executable, "-m", "tests.deploy.images.trial"]
            return subprocess.run([*trial, folder / "trial", *built], check=False).returncode
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
