"""Whether there is a graphics card to draw with, and what the renderer then needs besides what is readable anyway."""

import os
from pathlib import Path

from thumbq.render.child import RenderFailed

# The driver opens its device for reading and writing, and looks up what kind of card it is.
DEVICES = Path("/dev/dri")
DESCRIPTIONS = (Path("/sys/dev/char"), Path("/sys/devices"), Path("/sys/bus/pci"), Path("/sys/class/drm"))


def check_device() -> None:
    """Raise RenderFailed when this process can use no graphics card."""
    if not any(os.access(device, os.R_OK | os.W_OK) for device in DEVICES.glob("renderD*")):
        raise RenderFailed(
            f"There is no graphics card to render with: {DEVICES} has no device for it.", retryable=False
        )


def check_wall(confined: tuple[str, ...]) -> None:
    """Raise RenderFailed when a renderer that may write to a device could also write elsewhere."""
    if "landlock" not in confined:
        raise RenderFailed("A graphics card is used only where Landlock confines the renderer.", retryable=False)
