"""Whether the parts of a glTF document fit into each other; the reader trusts every number, and dies of a wrong one."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from thumbq.render.files.refusal import Refused

_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_VALUES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
# An accessor without a buffer view stands for zeros, and costs a few bytes of file for any number of them.
MOST_ZEROS = 1_000_000
MOST_NODES = 200_000

Document = dict[str, Any]


def check_layout(document: Document, buffers: Sequence[int]) -> None:
    """Refuse a document whose views, accessors, references or nodes cannot be right; `buffers` are their lengths."""
    try:
        views = [_checked_view(number, view, buffers) for number, view in enumerate(_list(document, "bufferViews"))]
        for number, accessor in enumerate(_list(document, "accessors")):
            _check_accessor(number, accessor, views)
        for mesh in _list(document, "meshes"):
            _check_mesh(document, mesh)
        _check_tree(_list(document, "nodes"))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Refused("The glTF file is damaged: a part of it is of another kind than glTF 2.0 says.") from error


def _list(document: Document, name: str) -> list[Document]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise TypeError(name)
    return value


def _checked_view(number: int, view: Document, buffers: Sequence[int]) -> Document:
    start, length, buffer = view.get("byteOffset", 0), view["byteLength"], view["buffer"]
    if min(start, length, buffer) < 0 or start + length > buffers[buffer]:
        raise Refused(f"The glTF file is damaged: buffer view {number} reaches beyond its buffer.")
    return view


def _check_accessor(number: int, accessor: Document, views: Sequence[Document]) -> None:
    count, start = accessor["count"], accessor.get("byteOffset", 0)
    size = _BYTES[accessor["componentType"]] * _VALUES[accessor["type"]]
    if min(count, start) < 0:
        raise ValueError(count)
    if "bufferView" not in accessor:
        if count > MOST_ZEROS and "KHR_draco_mesh_compression" not in str(accessor):
            raise Refused(f"The glTF file is damaged: accessor {number} has {count} values and no data.")
        return
    view = views[_place(accessor["bufferView"], views)]
    stride = view.get("byteStride") or size
    if count and start + stride * (count - 1) + size > view["byteLength"]:
        raise Refused(f"The glTF file is incomplete: accessor {number} reaches beyond its buffer view.")


def _check_mesh(document: Document, mesh: Document) -> None:
    accessors = _list(document, "accessors")
    for primitive in mesh["primitives"]:
        targets = primitive.get("targets", [])
        indices = [primitive["indices"]] if "indices" in primitive else []
        for group in (primitive["attributes"], *targets):
            indices += group.values()
        for index in indices:
            _place(index, accessors)
        if "material" in primitive:
            _place(primitive["material"], _list(document, "materials"))


def _check_tree(nodes: Sequence[Document]) -> None:
    """Raise Refused when the nodes form a ring, or when few of them stand for very many."""
    children = [[_place(child, nodes) for child in node.get("children", [])] for node in nodes]
    parents = Counter(child for group in children for child in group)
    drawn = [0 if parents[number] else 1 for number in range(len(nodes))]
    free = [number for number in range(len(nodes)) if not parents[number]]
    for number in free:
        for child in children[number]:
            drawn[child] += drawn[number]
            parents[child] -= 1
            if not parents[child]:
                free.append(child)
    if len(free) < len(nodes):
        raise Refused("The glTF file is damaged: its nodes form a ring.")
    if sum(drawn) > MOST_NODES:
        raise Refused(f"The glTF file stands for more than {MOST_NODES} nodes.")


def _place(index: Any, parts: Sequence[object]) -> int:
    """Return a valid index; raise IndexError for any other. Python would take negative ones."""
    if not isinstance(index, int) or not 0 <= index < len(parts):
        raise IndexError(index)
    return index
