"""Runs the processes of the built images, and asks for a thumbnail.

Usage: python -m tests.deploy.images.trial FOLDER FILE...

It has namespaces for mounts and for the network to itself: the images' own ports are free, and what it mounts is gone
with it. Only then its folder is deleted. Each process gets what docker-compose.yml gives it: a read-only root file
system, an empty /tmp, and neither capabilities nor ways to get more.
"""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from tests.deploy.images.build import say
from tests.support.service.served import request
from thumbq.render.samples import write_samples
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

PAGE = "http://127.0.0.1:5009/"
PATIENCE = 300.0
# What nothing needs that only runs.
TOOLS = ("pip", "pip3", "gcc", "cc", "make", "git", "curl", "wget")


@dataclass(frozen=True)
class Container:
    """An image's files, and the process that its configuration describes."""

    name: str
    root: Path
    configuration: Mapping[str, Any]

    def command(self, *arguments: str, **variables: str) -> list[str]:
        """Return a command line that runs in the image as its user."""
        user = self.configuration["User"]
        environment = [*self.configuration["Env"], *(f"{name}={value}" for name, value in variables.items())]
        rights = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        rights += ["--bounding-set=-all", "--inh-caps=-all"]
        return ["chroot", str(self.root), "setpriv", *rights, "env", "--ignore-environment", *environment, *arguments]

    @contextmanager
    def running(self, **variables: str) -> Iterator[None]:
        """Run the image's command until the end of the block, from where it is healthy; it ends in order on SIGTERM."""
        arguments = [*self.configuration["Entrypoint"], *self.configuration["Cmd"]]
        with subprocess.Popen(self.command(*arguments, **variables)) as process:
            try:
                self._wait_until_healthy(process)
                yield
                process.terminate()
                assert process.wait(60) == 0, f"{self.name} ended with exit code {process.returncode}"
            finally:
                process.kill()

    def _wait_until_healthy(self, process: "subprocess.Popen[bytes]") -> None:
        kind, *check = self.configuration["Healthcheck"]["Test"]
        assert kind == "CMD"
        began = time.monotonic()
        while subprocess.run(self.command(*check), check=False, capture_output=True).returncode:
            assert process.poll() is None, f"{self.name} ended with exit code {process.returncode}"
            assert time.monotonic() < began + PATIENCE, f"{self.name} is not healthy after {PATIENCE} s"
            time.sleep(0.1)
        say(f"{self.name} is healthy after {time.monotonic() - began:.1f} s")

    def check(self) -> None:
        """Check that the image holds no build tools, and that its user can change no file of it."""
        found = [tool for tool in TOOLS if not self._fails("sh", "-c", f"command -v {tool}")]
        assert not found, f"{self.name} has {', '.join(found)}"
        assert self._fails("touch", "/opt/thumbq/new"), f"{self.name} can write to itself"
        assert not self._fails("touch", "/tmp/new"), f"{self.name} has no /tmp"

    def _fails(self, *arguments: str) -> bool:
        return subprocess.run(self.command(*arguments), check=False, capture_output=True).returncode != 0


def container(file: Path, folder: Path, **mounted: Path) -> Container:
    """Return a container with folders of the machine, one for each name below its root."""
    configuration = json.loads(file.read_text())
    root = folder / file.stem
    root.mkdir()
    for name in mounted:
        Path(configuration["Root"], name).mkdir(exist_ok=True)
    mount("--bind", configuration["Root"], str(root))
    mount("-o", "remount,bind,ro", str(root))
    mount("-t", "tmpfs", "tmpfs", str(root / "tmp"))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "tmpfs", "tmpfs", str(root / "dev"))
    for device in ("null", "zero", "random", "urandom"):
        (root / "dev" / device).touch()
        mount("--bind", f"/dev/{device}", str(root / "dev" / device))
    for name, source in mounted.items():
        mount("--bind", str(source), str(root / name))
    return Container(file.stem, root, configuration)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def render(models: Path) -> None:
    """Ask for the thumbnail of a model on the JSON API, and look at the picture."""
    sample = next(sample for sample in write_samples(models) if sample.sound)
    began = time.monotonic()
    status, body = request(f"{PAGE}api/thumbnail-jobs", {"modelId": sample.model_id, "modelHash": sample.model_hash})
    assert status == 200, body
    while json.loads(request(f"{PAGE}models/{sample.model_id}/thumbnail")[1])["status"] != "Ready":
        assert time.monotonic() < began + PATIENCE, "no thumbnail was made"
        time.sleep(0.1)
    status, picture = request(f"{PAGE}models/{sample.model_id}/thumbnail/file")
    assert status == 200, picture
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "WEBP"
        assert image.convert("RGBA").getchannel("A").getextrema()[1] == 255, "the picture is empty"
        say(f"{sample.name} was rendered, {image.width} × {image.height}, after {time.monotonic() - began:.1f} s")


def main(folder: Path, server_file: Path, gateway_file: Path, worker_file: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    models, thumbnails = folder / "models", folder / "thumbnails"
    for shared in (models, thumbnails):
        shared.mkdir()
    thumbnails.chmod(0o777)
    with ExitStack() as stack:
        address = stack.enter_context(EmbeddedPostgres(folder / "database"))
        [socket_folder] = parse_qs(urlsplit(address).query)["host"]
        # The image's user is not the one that owns the socket.
        for path in (Path(socket_folder), *Path(socket_folder).glob(".s.PGSQL.*[0-9]")):
            path.chmod(0o777)
        server = container(server_file, folder, postgres=Path(socket_folder), thumbnails=thumbnails)
        gateway = container(gateway_file, folder, thumbnails=thumbnails)
        worker = container(worker_file, folder, models=models, thumbnails=thumbnails)
        for each in (server, gateway, worker):
            each.check()
        database = "postgresql://postgres@/thumbq?host=/postgres"
        stack.enter_context(server.running(DATABASE_URL=database, THUMBQ_THUMBNAIL_ROOT="/thumbnails"))
        stack.enter_context(gateway.running(THUMBQ_THUMBNAIL_ROOT="/thumbnails"))
        stack.enter_context(worker.running())
        render(models)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
