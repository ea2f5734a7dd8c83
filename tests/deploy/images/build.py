"""Builds the images with debootstrap and buildah."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[3]
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Images:
    """Images below a folder; they and their mounts are gone at the end of the block."""

    folder: Path

    def __enter__(self) -> "Images":
        return self

    def __exit__(self, *exception: object) -> None:
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")
        subprocess.run(["umount", "--recursive", self.folder / "storage/overlay"], check=False, capture_output=True)

    def build(self, targets: Sequence[str]) -> list[Path]:
        """Build every target, and return files that describe them: their configuration, and where they are mounted."""
        self._make_base()
        images: list[Path] = []
        for target in targets:
            began = time.monotonic()
            name = f"thumbq-{target}"
            # Health checks are no part of the OCI's format.
            options = ["--isolation=chroot", "--layers", "--format=docker", "--pull=never", *self._trust()]
            self._buildah("bud", *options, f"--target={target}", f"--tag={name}", str(PROJECT))
            root = self._buildah("mount", self._buildah("from", "--pull-never", name))
            described = json.loads(self._buildah("inspect", "--type=image", name))["Docker"]["config"]
            images.append(self.folder / f"{target}.json")
            images[-1].write_text(json.dumps({"Root": root, **described}))
            size = run("du", "--summarize", "--block-size=M", root).split()[0]
            say(f"{name}: {size} in {time.monotonic() - began:.0f} s")
        return images

    def _make_base(self) -> None:
        """Make the image that the Dockerfile begins with, and tag it with that name."""
        [base] = {line.split()[1] for line in dockerfile() if line.startswith("FROM") and ":" in line}
        suite = base.partition(":")[2].removesuffix("-slim")
        began = time.monotonic()
        run("debootstrap", "--variant=minbase", suite, str(self.folder / "base"))
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(self.folder / "base"), "/")
        self._buildah("commit", "--quiet", "--rm", container, base)
        say(f"{base}: {time.monotonic() - began:.0f} s")

    def _trust(self) -> list[str]:
        """Return the options that let pip in the build trust the authorities of this machine, a proxy's among them."""
        configuration = self.folder / "pip.conf"
        configuration.write_text("[global]\ncert = /mnt/authorities.pem\n")
        return [f"--volume={configuration}:/etc/pip.conf:ro", f"--volume={AUTHORITIES}:/mnt/authorities.pem:ro"]

    def _buildah(self, command: str, *arguments: str) -> str:
        storage = [f"--root={self.folder}/storage", f"--runroot={self.folder}/run"]
        return run("buildah", *storage, command, *arguments)


def dockerfile() -> list[str]:
    return (PROJECT / "Dockerfile").read_text().splitlines()


def run(*command: str) -> str:
    """Return the standard output of a command, or end with all its output when it fails."""
    made = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if made.returncode:
        sys.exit(f"{' '.join(command)}: exit code {made.returncode}\n{made.stdout[-4000:]}{made.stderr[-4000:]}")
    return made.stdout.strip()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
