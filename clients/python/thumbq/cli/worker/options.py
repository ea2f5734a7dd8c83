"""The options of `thumbq worker`."""

from pathlib import Path
from typing import Annotated

import typer

Models = Annotated[
    str,
    typer.Option(
        envvar="THUMBQ_MODELS",
        help="Where the model files are: a folder of <id>.glb, <id>-<name>.glb or <hash>.glb, or a URL such as"
        " https://host/models/{model_id}/file or s3://bucket/{model_hash}, which may use either.",
    ),
]
ThumbnailRoot = Annotated[
    Path | None, typer.Option(envvar="THUMBQ_THUMBNAIL_ROOT", help="Folder that the thumbnails are written to.")
]
ThumbnailStore = Annotated[
    str | None,
    typer.Option(
        envvar="THUMBQ_THUMBNAIL_STORE",
        help="Object store that the thumbnails are written to instead, as s3://bucket/prefix.",
    ),
]
Server = Annotated[str, typer.Option(envvar="THUMBQ_SERVER", help="Address of the server's gRPC API.")]
Concurrency = Annotated[int | None, typer.Option(min=1, show_default="one per core", help="Models rendered at a time.")]
WorkerId = Annotated[str | None, typer.Option(show_default="host name and process id", help="Name of this worker.")]
TimeLimit = Annotated[float, typer.Option(min=0.1, help="Seconds that one model may take.")]
MemoryLimit = Annotated[int, typer.Option(min=512, help="MB that a renderer may use.")]
ModelSizeLimit = Annotated[int, typer.Option(min=1, help="MB that a model file may have.")]
Size = Annotated[
    list[int] | None,
    typer.Option(
        show_default="512", help="Width and height in pixels; give it again for more sizes. The first is the job's."
    ),
]
PictureFormat = Annotated[str, typer.Option(help="webp, png, jpeg or avif.")]
Background = Annotated[str, typer.Option(help="'transparent', or a colour such as #f4f4f5.")]
CameraPreset = Annotated[
    str, typer.Option("--camera", help="quarter, iso, front, or thumbnail, which is what Modelibr's own worker shows.")
]
Turntable = Annotated[
    int, typer.Option(show_default="no turntable", help="Frames of an animated WebP of the turning model.")
]
Front = Annotated[
    float, typer.Option(help="Degrees by which the front of these models is turned: 90 shows what faces right.")
]
Up = Annotated[
    list[str] | None,
    typer.Option(
        show_default="by format",
        help="Axis that is up where a file does not say: z, or obj=z for one format; give it again for more.",
    ),
]
Gpu = Annotated[
    bool, typer.Option("--gpu", help="Draw on a graphics card. No test has done so yet: none of our machines has one.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, show_default="none", help="Port that answers Prometheus with metrics."),
]
MetricsHost = Annotated[str, typer.Option(help="Address that this port binds; 0.0.0.0 lets other machines read.")]
