"""What `thumbq doctor` finds out about the object stores that the environment names: of pictures, and of models."""

import os
import secrets
from collections.abc import Awaitable
from typing import NamedTuple

from thumbq_runtime.files.model_objects import ModelObjects
from thumbq_runtime.files.objects import SCHEME, InvalidStore, Objects, StoreAway, StoreTrouble
from thumbq_runtime.settings import shared as settings

_ABOUT = "See docs/operations.md#object-storage."
_PICTURES = settings.THUMBNAIL_STORE.variable
# Of the gateway, and of the render worker, which takes folders and other addresses as well.
_MODELS = ("THUMBQ_MODEL_STORE", "THUMBQ_MODELS")


class Finding(NamedTuple):
    """A finding of the doctor. `advice` says what to do, and is empty when all is well."""

    what: str
    found: str
    advice: str = ""


class _Refused(Exception):
    """Says what a store does not do, and which right would allow it."""


async def find_stores() -> list[Finding]:
    """Look whether the stores can be reached, and allow what thumbq does with them."""
    found = []
    if address := os.environ.get(_PICTURES):
        found.append(await _pictures(address))
    for variable in _MODELS:
        template = os.environ.get(variable, "")
        if template.startswith(SCHEME) or (template and variable == _MODELS[0]):
            found.append(await _models(variable, template))
    return found


async def _pictures(address: str) -> Finding:
    what = "picture store"
    try:
        objects = Objects(address)
        await objects.look()
        await _try_out(objects)
    except InvalidStore as problem:
        return Finding(what, str(problem), f"Correct {_PICTURES}. {_ABOUT}")
    except _Refused as refused:
        found, advice = refused.args
        return Finding(what, f"{address} {found}", advice)
    except StoreTrouble as trouble:
        return Finding(what, f"{address}: {trouble}", _advice(trouble))
    return Finding(what, f"{address} answers; pictures can be written, read and removed")


async def _models(variable: str, template: str) -> Finding:
    what = "model store"
    try:
        await ModelObjects(template).look()
    except InvalidStore as problem:
        return Finding(what, str(problem), f"Correct {variable}. {_ABOUT}")
    except StoreTrouble as trouble:
        return Finding(what, f"{template}: {trouble}", _advice(trouble))
    return Finding(what, f"{template} answers, and models can be read")


async def _try_out(objects: Objects) -> None:
    """Write a small object, read it and remove it. Raises _Refused."""
    key, content = f"thumbq-doctor-{secrets.token_hex(8)}", b"thumbq doctor"
    await _allowed(objects.put(key, content, "text/plain"), "takes no pictures", "PutObject")
    try:
        await _allowed(_same(objects, key, content), "does not give back what was written", "GetObject")
    finally:
        await _allowed(objects.remove(key), f"removes no pictures, so {key} stays there", "DeleteObject")


async def _same(objects: Objects, key: str, content: bytes) -> None:
    found = await objects.get(key)
    if b"".join([piece async for piece in found.pieces()]) != content:
        raise StoreTrouble("The object has another content.")


async def _allowed(work: Awaitable[object], refused: str, right: str) -> None:
    try:
        await work
    except StoreTrouble as trouble:
        advice = f"The credentials need {right} below this address. {_ABOUT}"
        raise _Refused(f"{refused}: {trouble}", _advice(trouble, advice)) from trouble


def _advice(trouble: StoreTrouble, otherwise: str = f"Look at the AWS_ variables. {_ABOUT}") -> str:
    away = f"Look at the store and the network, and at AWS_ENDPOINT_URL. {_ABOUT}"
    return away if isinstance(trouble, StoreAway) else otherwise
