"""Asks for the thumbnails of a folder of photos, and waits for them: `python enqueue.py PHOTOS [SERVER]`."""

import sys
from pathlib import Path

from thumbq import BlockingClient, Request, Unsuccessful, hash_file


def main(photos: Path, server: str) -> None:
    """Print where each picture is, or why there is none."""
    files = sorted(file for file in photos.iterdir() if file.stem.isdigit())
    with BlockingClient(server) as client:
        answers = client.enqueue_many(Request(model_id=int(file.stem), model_hash=hash_file(file)) for file in files)
        for file, answer in zip(files, answers, strict=True):
            try:
                picture = client.wait_for(answer.job_id, timeout=60)
            except Unsuccessful as error:
                print(f"{file.name}: {error}")
            else:
                print(f"{file.name}: {picture.width} × {picture.height}, {picture.url}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["localhost:50051"]))
