"""Files that are no files, files that never end, and files that unfold into very much."""

import asyncio
import json
import os
import signal
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.processes import is_running
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.stage import Stage
from thumbq.render.intake.model import Intake
from thumbq.render.jobs.model_files import ModelFolder

HASH = "0" * 64
MODELS = Path(__file__).parents[1] / "models"


def _link(path: Path) -> None:
    path.with_name("target").write_text("v 0 0 0\n")
    path.symlink_to("target")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")


@pytest.mark.parametrize(
    ("make", "kind"),
    [(_link, "a link"), (os.mkfifo, "a fifo"), (_socket, "a socket"), (_device, "a device"), (os.mkdir, "a folder")],
)
async def test_what_is_not_a_plain_file_is_refused_at_once(
    tmp_path: Path, intake: Intake, make: Callable[[Path], None], kind: str
):
    make(tmp_path / "7.obj")
    with pytest.raises(RenderFailed) as refusal:
        await ModelFolder(tmp_path).take(intake, 7, HASH)
    assert str(refusal.value) == f"7.obj is {kind}. Only plain files are read."
    assert not refusal.value.retryable


@pytest.mark.parametrize("make", [os.mkfifo, _socket, _device])
async def test_a_companion_that_is_not_a_plain_file_is_left_out(
    tmp_path: Path, intake: Intake, make: Callable[[Path], None]
):
    make(tmp_path / "7.mtl")
    (tmp_path / "7.obj").write_text("mtllib 7.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    model = await intake.take_file(tmp_path / "7.obj")
    assert "cannot be used" in model.remarks[0]


async def test_a_read_that_never_ends_is_ended_by_the_time_limit(tmp_path: Path):
    """As from a file server that hangs: the process stands still in its read."""
    stage = Stage()
    intake = Intake(stage.path, Limits(seconds=0.3))
    await intake.start()
    stalled = intake.pid
    assert stalled
    os.kill(stalled, signal.SIGSTOP)
    with pytest.raises(RenderFailed, match=r"^Reading the model took longer than the limit of 0\.3 s; ") as failure:
        await intake.take_file(tmp_path / "7.obj")
    assert failure.value.retryable
    assert not is_running(stalled)
    await intake.close()
    stage.remove()


async def test_a_read_that_never_ends_does_not_keep_the_worker_from_stopping(tmp_path: Path):
    stage = Stage()
    intake = Intake(stage.path, Limits(seconds=3600))
    await intake.start()
    stalled = intake.pid
    assert stalled
    os.kill(stalled, signal.SIGSTOP)
    job = asyncio.create_task(intake.take_file(tmp_path / "7.obj"))
    await asyncio.sleep(0)
    started = monotonic()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await intake.close()
    assert monotonic() - started < 60  # the limit is an hour
    assert not is_running(stalled)
    stage.remove()


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", b" " * (4 << 20))


def _entities(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("3D/3dmodel.model", '<!DOCTYPE m [<!ENTITY a "aaaa">]><model>&a;</model>')


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.obj", b"v 0 0 0\n" * (1 << 20))


def _many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5001):
            archive.writestr(f"{number}.txt", "")


def _broken_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("model.obj", b"v 0 0 0\n")
    content = bytearray(path.read_bytes())
    # The properties of the compression, after the header of the entry, its name, a version and their own length.
    content[30 + len("model.obj") + 4] = 0xFF
    path.write_bytes(content)


_DAE_ENTITY = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><COLLADA>&a;</COLLADA>'


def _3ds(face: bytes) -> bytes:
    """One point, and one face of which this is the data."""

    def chunk(kind: int, content: bytes) -> bytes:
        return struct.pack("<HI", kind, 6 + len(content)) + content

    mesh = chunk(0x4110, struct.pack("<H3f", 1, 0, 0, 0)) + chunk(0x4120, b"\1\0" + face)
    return chunk(0x4D4D, chunk(0x3D3D, chunk(0x4000, b"a\0" + chunk(0x4100, mesh))))


# Each node has the next one twice.
_DOUBLING = json.dumps(
    {"asset": {"version": "2.0"}, "nodes": [{"children": [number + 1] * 2} for number in range(40)] + [{}]}
).encode()
_FACE = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
_FACE += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n3 0 0 7\n"
_WRL = (
    b"#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord Coordinate { point [ 0 0 0 ] } coordIndex [ 0 1 9 ] } }"
)
_IFC = b"ISO-10303-21;\nFILE_SCHEMA(('IFC4'));\n#1=IFCWALL(#9,'#7');\nEND-ISO-10303-21;\n"
_PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex 1000000000\nproperty float x\nproperty float y\n"
_PCD = b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nPOINTS 1000000000\nDATA binary\n"
_HUGE_STL = b"solid a\nfacet\nvertex 0 0 0\nvertex 1e39 0 0\nvertex 0 1 0\nendfacet\nendsolid a\n"
_HUGE_COLOR = b'<?xml version="1.0"?><COLLADA><color>1e200 0 0 1</color></COLLADA>'
# A number with more digits than Python takes.
_LONG = b"1" * 4301
_DAMAGED = "The model file is damaged: a part of it cannot be read"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.3mf", _bomb, "The file grows beyond the limit of 1 MB when it is unpacked."),
        ("a.3mf", _entities, "The file declares XML entities, which are not read."),
        ("a.zip", _zip_bomb, "model.obj is larger than the limit of 1 MB."),
        ("a.zip", _many_entries, "The archive has more than 5000 entries."),
        ("a.dae", _DAE_ENTITY, "The COLLADA file declares XML entities, which are not read."),
        ("a.stl", bytes(80) + struct.pack("<I", 10**9), "The STL file is incomplete: 0 of 1000000000 triangles."),
        ("a.off", b"OFF\n1000000000 1000000000 0\n", "The OFF file is incomplete: 28 bytes for"),
        ("a.ply", _PLY + b"property float z\nend_header\n", "The PLY file is incomplete: 0 of 1000000000 points."),
        ("a.ply", _FACE, "Face 1 of the PLY file names a point that is not there; it has 1."),
        ("a.ifc", _IFC, "The IFC file is damaged: it refers to #9, which is not there."),
        ("a.wrl", _WRL, "The VRML file has a face that names point 9; the most points of a part are 1."),
        ("a.ply", b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "The PLY file has no points."),
        (
            "a.3ds",
            _3ds(b"\0\0\1\0\2\0\0\0"),
            "Face 1 of a part of the 3DS file names a point that is not there; it has 1.",
        ),
        ("a.3ds", _3ds(b""), "The 3DS file is damaged: a part of it is longer than the whole"),
        ("a.pcd", _PCD, "The PCD file is incomplete: 0 of 1000000000 points."),
        ("a.pts", b"1000000000\n0 0 0\n", "The PTS file is incomplete: 1 of 1000000000 points."),
        ("a.ptx", b"100000\n100000\n" + b"0 0 0\n" * 8, "The PTX file is incomplete: 0 of 10000000000 points."),
        ("a.gltf", b"[" * 100_000, "The model file is nested too deeply."),
        ("a.gltf", b'{"asset":{"version":"2.0"},"nodes":[{"children":[0]}]}', "The glTF file is damaged: its nodes"),
        ("a.gltf", _DOUBLING, "The glTF file stands for more than 200000 nodes."),
        ("a.zip", _broken_lzma, "model.obj in the archive is damaged ("),
        ("a.stl", _HUGE_STL, f"{_DAMAGED} (OverflowError)."),
        ("a.dae", _HUGE_COLOR, f"{_DAMAGED} (OverflowError)."),
        ("a.pcd", _PCD.rstrip(), f"{_DAMAGED} (ValueError)."),
        ("a.pcd", _PCD.replace(b"1000000000", b" "), "The PCD file is damaged: its header does not say"),
        ("a.gltf", b'{"asset":' + _LONG, f"{_DAMAGED} (ValueError)."),
        ("a.ply", _PLY.replace(b"1000000000", _LONG) + b"end_header\n", f"{_DAMAGED} (ValueError)."),
        ("a.off", b"OFF\n%b 1 0\n" % _LONG, f"{_DAMAGED} (ValueError)."),
        ("a.wrl", _WRL.replace(b"9", _LONG), f"{_DAMAGED} (ValueError)."),
        ("a.ifc", _IFC.replace(b"#9", b"#" + _LONG), f"{_DAMAGED} (ValueError)."),
    ],
)
async def test_what_would_unfold_into_very_much_is_refused_before_it_does(
    tmp_path: Path, intake: Intake, name: str, content: bytes | Callable[[Path], None], sentence: str
):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(RenderFailed) as refusal:
        await intake.take_file(path)
    assert str(refusal.value).startswith(sentence)
    assert not refusal.value.retryable


async def test_a_3ds_part_of_a_material_that_is_not_there_has_none(tmp_path: Path, intake: Intake):
    content = (MODELS / "box.3ds").read_bytes()
    (tmp_path / "a.3ds").write_bytes(content.replace(b"\xff\xaf", b"\xff\xbf", 1))
    model = await intake.take_file(tmp_path / "a.3ds")
    assert b"\x30\x41" in content
    assert b"\x30\x41" not in model.path.read_bytes()
