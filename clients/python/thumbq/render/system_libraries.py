"""Finds the libraries of the operating system that the renderer lacks, and installs them on Debian and Ubuntu.

python -m thumbq.render.system_libraries [--install]
"""

import os
import shutil
import subprocess
import sys

# OpenGL without a display, and a driver that draws in software. f3d brings everything else.
PACKAGES = ("libegl1", "libgl1-mesa-dri")
PROBE = "import f3d; engine = f3d.Engine.create_egl(); engine.window.size = 16, 16; engine.window.render_to_image()"


def missing_libraries() -> tuple[str, ...]:
    """Return the Debian packages that drawing needs and that are missing; none when a picture can be drawn.

    It tries in a process of its own, because the libraries end a process in which a driver is missing.
    Raises ModuleNotFoundError when f3d itself is missing.
    """
    # Not with `thumbq` loaded: see drawing/process.py.
    probe = subprocess.run([sys.executable, "-P", "-c", PROBE], check=False, capture_output=True, text=True)
    if "ModuleNotFoundError" in probe.stderr:
        raise ModuleNotFoundError(
            "The renderer f3d is not installed: pip install 'thumbq[render]'. It is published for Linux on x86-64,"
            " macOS 14 on Apple's processors, and Windows."
        )
    return PACKAGES if probe.returncode else ()


def advice(packages: tuple[str, ...]) -> str:
    """Return one line that says what to install."""
    command = f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {' '.join(packages)}"
    return f"Rendering needs libraries of the operating system. On Debian or Ubuntu: {command}"


def install(packages: tuple[str, ...]) -> None:
    """Install Debian packages as root; raises subprocess.CalledProcessError."""
    quietly = ["apt-get", "--yes", "--quiet", "--quiet"]
    for command in (["update"], ["install", "--no-install-recommends", *packages]):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*quietly, *command], check=True, env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    """Check, and with `--install` install as root; exit code 1 with one line when something is still missing."""
    try:
        packages = missing_libraries()
        if packages and "--install" in sys.argv[1:] and os.geteuid() == 0 and shutil.which("apt-get"):
            sys.stdout.write(f"Installing {' '.join(packages)}, which the renderer needs.\n")
            sys.stdout.flush()
            install(packages)
            packages = missing_libraries()
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"The packages could not be installed (apt-get: exit code {error.returncode}).")
    if packages:
        sys.exit(advice(packages))


if __name__ == "__main__":
    main()
