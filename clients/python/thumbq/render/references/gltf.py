"""glTF and GLB: what the file says that it needs, and the files that it refers to."""

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from thumbq.render.files.companions import Companions
from thumbq.render.files.pictures import settle
from thumbq.render.files.refusal import Refused
from thumbq.render.references.gltf_layout import check_layout

Document = dict[str, Any]

LARGEST_DOCUMENT = 256 << 20
_READ = {
    "KHR_draco_mesh_compression",
    "KHR_lights_punctual",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
}
# Without these a model looks plainer, but it is all there.
_LOOKS = ("KHR_materials_", "KHR_texture_basisu", "EXT_texture_", "MSFT_texture_dds", "KHR_animation_", "KHR_xmp")
_WHITE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)


def prepare_gltf(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a glTF document whose companions are in the stage; raises Refused."""
    if raw.stat().st_size > LARGEST_DOCUMENT:
        raise Refused(f"The glTF document is larger than {LARGEST_DOCUMENT >> 20} MB.")
    document = _settled(_parsed(raw.read_bytes()), companions, path.parent, None)
    path.write_text(json.dumps(document, separators=(",", ":")))
    raw.unlink()


def prepare_glb(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write a GLB whose companions are in the stage; raises Refused."""
    with raw.open("rb") as file:
        text, start, length = _chunks(file.read(20), raw)
        file.seek(20)
        document = _parsed(file.read(text))
        file.seek(start)
        binary = file.read(length)
    document = _settled(document, companions, path.parent, binary)
    buffers = document.get("buffers", [])
    if buffers and "uri" in buffers[0]:
        # The reader takes the binary data of the GLB itself for the first buffer, even if the document names another.
        binary = _buffer(buffers[0], path.parent, None)
        del buffers[0]["uri"]
    content = json.dumps(document, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 4)
    # The reader wants binary data even where there is none to need.
    binary += bytes(-len(binary) % 4 or (0 if binary else 4))
    with path.open("wb") as file:
        total = 28 + len(content) + len(binary)
        file.write(struct.pack("<4sIII4s", b"glTF", 2, total, len(content), b"JSON") + content)
        file.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)
    raw.unlink()


def _chunks(header: bytes, raw: Path) -> tuple[int, int, int]:
    """Return the length of the document, and where its binary data is; raises Refused."""
    size = raw.stat().st_size
    if len(header) < 20:
        raise Refused("The GLB file is incomplete: it ends within its header.")
    _magic, version, total, text, kind = struct.unpack("<4sIII4s", header)
    if version != 2:
        raise Refused(f"The file is glTF {version}; only glTF 2.0 is supported.")
    if size < total:
        raise Refused(f"The GLB file is incomplete: {size} of {total} bytes.")
    if kind != b"JSON" or 20 + text > size:
        raise Refused("The GLB file is damaged: its document is not where its header says.")
    with raw.open("rb") as file:
        file.seek(20 + text)
        more = file.read(8)
    if len(more) < 8 or more[4:] != b"BIN\0":
        return text, size, 0
    (length,) = struct.unpack("<I", more[:4])
    if 28 + text + length > size:
        raise Refused(f"The GLB file is incomplete: its binary data has {size - 28 - text} of {length} bytes.")
    return text, 28 + text, length


def _parsed(content: bytes) -> Document:
    try:
        document = json.loads(content.decode("utf-8-sig").rstrip("\0 "))
    except UnicodeDecodeError as error:
        raise Refused("The glTF document is damaged: it is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"The glTF document is damaged or incomplete: {error.msg} ({where}).") from error
    asset = document.get("asset") if isinstance(document, dict) else None
    if not isinstance(asset, dict) or "version" not in asset:
        raise Refused("The JSON file is not a glTF document: it does not say which version of glTF it is.")
    if str(asset["version"]).split(".")[0] != "2":
        raise Refused(f"The file is glTF {str(asset['version'])[:10]}; only glTF 2.0 is supported.")
    return dict(document)


def _settled(document: Document, companions: Companions, stage: Path, binary: bytes | None) -> Document:
    """Return the document with every reference in the stage, and without what cannot be had."""
    try:
        _check_extensions(document)
        lengths = [
            _settle_buffer(number, buffer, companions, stage, binary)
            for number, buffer in enumerate(document.get("buffers", []))
        ]
        check_layout(document, lengths)
        _settle_pictures(document, companions, stage, binary)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Refused("The glTF file is damaged: a part of it is of another kind than glTF 2.0 says.") from error
    return document


def _check_extensions(document: Document) -> None:
    required = [str(name) for name in document.get("extensionsRequired", [])]
    lacking = [name for name in required if name not in _READ and not name.startswith(_LOOKS)]
    if lacking:
        names = ", ".join(name[:60] for name in lacking[:5])
        what = f"extensions {names}, which are" if len(lacking) > 1 else f"extension {names}, which is"
        raise Refused(f"The file needs the {what} not supported.")
    document["extensionsRequired"] = [name for name in required if name in _READ]
    if not document["extensionsRequired"]:
        del document["extensionsRequired"]


def _settle_buffer(number: int, buffer: Document, companions: Companions, stage: Path, binary: bytes | None) -> int:
    """Put a buffer into the stage, and return how many bytes of it there are; raises Refused."""
    length = int(buffer["byteLength"])
    uri = buffer.get("uri")
    if uri is None:
        if number or binary is None:
            raise Refused(f"The glTF file is incomplete: buffer {number} has no data.")
        there, name = len(binary), "its binary data"
    elif str(uri).startswith("data:"):
        there, name = len(_embedded(uri)), f"buffer {number}"
    else:
        own = companions.take(str(uri), encoded=True)
        if own is None:
            if companions.is_waiting:
                return length
            raise Refused(companions.remarks[-1])
        buffer["uri"] = own
        there, name = (stage / own).stat().st_size, str(uri).rpartition("/")[2][:80]
    if there < length:
        raise Refused(f"The glTF file is incomplete: {name} has {there} of {length} bytes.")
    return length


def _settle_pictures(document: Document, companions: Companions, stage: Path, binary: bytes | None) -> None:
    images = document.get("images", [])
    lost = set()
    for number, image in enumerate(images):
        content = _picture(document, image, companions, stage, binary)
        name = f"texture{number}"
        fault = settle(content, stage / name) if content is not None else None
        if content is not None and fault is None:
            images[number] = {"uri": name, "name": name}
        else:
            if fault:
                companions.remarks.append(f"Texture {number} {fault}.")
            images[number] = {"uri": _WHITE}
            lost.add(number)
    blank = {number for number, texture in enumerate(document.get("textures", [])) if _source(texture) in lost}
    _forget_textures(document.get("materials", []), blank)


def _picture(
    document: Document, image: Document, companions: Companions, stage: Path, binary: bytes | None
) -> bytes | Path | None:
    """Return the content of a picture, wherever it is; None when it cannot be had."""
    if "bufferView" in image:
        view = document["bufferViews"][image["bufferView"]]
        buffer = document["buffers"][view["buffer"]]
        start = view.get("byteOffset", 0)
        return _buffer(buffer, stage, binary)[start : start + view["byteLength"]]
    uri = str(image.get("uri", ""))
    if uri.startswith("data:"):
        return _embedded(uri)
    own = companions.take(uri, encoded=True)
    return stage / own if own else None


def _buffer(buffer: Document, stage: Path, binary: bytes | None) -> bytes:
    uri = buffer.get("uri")
    if uri is None:
        return binary or b""
    return _embedded(uri) if str(uri).startswith("data:") else (stage / uri).read_bytes()


def _embedded(uri: str) -> bytes:
    head, _, content = uri.partition(",")
    try:
        return base64.b64decode(content) if head.endswith(";base64") else unquote_to_bytes(content)
    except binascii.Error as error:
        raise Refused("The glTF file is damaged: data within it is not Base64.") from error


def _source(texture: Document) -> int | None:
    """Return the picture of a texture. One that an extension names becomes its own."""
    for extension in texture.pop("extensions", {}).values():
        if isinstance(extension, dict) and "source" in extension:
            texture["source"] = extension["source"]
    return texture.get("source")


def _forget_textures(part: Any, blank: set[int]) -> None:
    """Take the textures that have no picture out of materials."""
    if isinstance(part, dict):
        for name, value in list(part.items()):
            if name.endswith("Texture") and isinstance(value, dict) and value.get("index") in blank:
                del part[name]
            else:
                _forget_textures(value, blank)
    elif isinstance(part, list):
        for value in part:
            _forget_textures(value, blank)
