"""Draws the contact sheet of docs/rendering.md, and prints its times: python -m tests.render.gallery."""

import asyncio
import io
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from tests.render.gallery.catalogue import write_gallery
from thumbq.render.child import Limits
from thumbq.render.drawing.renderer import Renderer

SHEET = Path(__file__).parents[3] / "docs" / "images" / "contact-sheet.webp"
CELL, COLUMNS, LABEL = 160, 10, 14
GROUNDS, TEXT = ((255, 255, 255), (24, 26, 32)), (128, 128, 128)


async def main() -> None:
    """Draw every model once, on the grounds of light and dark pages in turn."""
    pictures: list[tuple[str, Image.Image]] = []
    seconds = defaultdict[str, list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        async with Renderer(Limits()) as renderer:
            models = write_gallery(Path(folder))
            await renderer.render(models[0])
            for model in models:
                drawn = await renderer.render(model)
                pictures.append((model.name, Image.open(io.BytesIO(drawn.files[0]))))
                for stage, spent in drawn.seconds.items():
                    seconds[stage].append(spent)
                seconds["all"].append(sum(drawn.seconds.values()))
    sheet(pictures).save(SHEET, "WEBP", quality=80, method=6)
    for stage, each in seconds.items():
        sys.stdout.write(f"{stage:8} median {statistics.median(each):.3f} s, most {max(each):.3f} s\n")
    sys.stdout.write(f"{len(pictures)} models\n")


def sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """Return all pictures with their names."""
    rows = -(-len(pictures) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + LABEL)), GROUNDS[0])
    draw = ImageDraw.Draw(image)
    for number, (name, picture) in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        x, y = column * CELL, row * (CELL + LABEL)
        draw.rectangle((x, y, x + CELL, y + CELL + LABEL), fill=GROUNDS[(row + column) % 2])
        small = picture.convert("RGBA").resize((CELL, CELL), Image.Resampling.LANCZOS)
        image.paste(small, (x, y), small)
        draw.text((x + 4, y + CELL), name, fill=TEXT)
    return image


if __name__ == "__main__":
    asyncio.run(main())
