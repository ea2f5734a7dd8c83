"""Where model files come from: a folder, or an http(s) URL for each model."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import aiohttp

from thumbq.render.detection import format_of_content
from thumbq.render.formats import CAN_BE_DRAWN, format_of_name

CHUNK = 1 << 20
DOWNLOAD_SECONDS = 300.0
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class NoModel(Exception):
    """Says in one sentence why there is no model file, and whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file whose content has the hash that the job names."""

    path: Path
    format: str


class ModelFolder:
    """Files named `<model id>.<format>`, `<model id>-<any name>.<format>` or `<model hash>.<format>`.

    Of several, the one with the right hash is taken. `most_bytes` bounds a file's size.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    @asynccontextmanager
    async def open(self, model_id: int, model_hash: str) -> AsyncIterator[ModelFile]:
        """The file of a model, where it lies; raises NoModel."""
        yield await asyncio.to_thread(self._find, model_id, model_hash.lower())

    def _find(self, model_id: int, model_hash: str) -> ModelFile:
        named = re.compile(rf"({model_id}(-.*)?|{re.escape(model_hash)})\.[^.]+", re.IGNORECASE)
        try:
            files = [file for file in self._folder.iterdir() if named.fullmatch(file.name)]
        except OSError as error:
            raise NoModel(f"The folder of models cannot be read: {error.strerror}.", retryable=True) from error
        models = [(file, word) for file in sorted(files) if (word := format_of_name(file.name))]
        if not models:
            # It may still be on its way.
            raise NoModel(_no_file(model_id, [file.name for file in files]), retryable=True)
        for file, word in models:
            if file.stat().st_size > self._most_bytes:
                raise _too_large(self._most_bytes)
            with file.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() == model_hash:
                    return ModelFile(file, word)
        raise _other_content(models[0][0].name)


class ModelUrls:
    """Files fetched from a URL in which `{model_id}` and `{model_hash}` are filled in; each is whole by itself."""

    def __init__(self, template: str, most_bytes: int) -> None:
        self._template = template
        self._most_bytes = most_bytes

    @asynccontextmanager
    async def open(self, model_id: int, model_hash: str) -> AsyncIterator[ModelFile]:
        """The file of a model, fetched for the while; raises NoModel."""
        url = self._template.replace("{model_id}", str(model_id)).replace("{model_hash}", model_hash)
        with tempfile.TemporaryDirectory(prefix="thumbq-model-") as folder:
            path = Path(folder) / "model"
            with path.open("wb") as file:
                name, found = await self._fetch(url, file)
            if found != model_hash.lower():
                raise _other_content(name)
            word = format_of_name(name) or format_of_content(path)
            if word is None:
                raise NoModel(f"The model file is of no known format. {CAN_BE_DRAWN}", retryable=False)
            # The renderer knows a format by the name.
            yield ModelFile(path.rename(path.with_suffix(f".{word}")), word)

    async def _fetch(self, url: str, file: IO[bytes]) -> tuple[str, str]:
        """Write the answer to `file`; returns the name that it has in the URL, and its hash."""
        digest = hashlib.sha256()
        timeout = aiohttp.ClientTimeout(total=DOWNLOAD_SECONDS, sock_connect=10, sock_read=30)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
                if response.status != 200:
                    again = response.status in TRY_AGAIN or response.status == 404
                    raise NoModel(f"The model file's server answered {response.status}.", retryable=again)
                async for chunk in response.content.iter_chunked(CHUNK):
                    if file.tell() + len(chunk) > self._most_bytes:
                        raise _too_large(self._most_bytes)
                    digest.update(chunk)
                    file.write(chunk)
                return unquote(Path(response.url.path).name), digest.hexdigest()
        except TimeoutError as error:
            raise NoModel("The model file's server took too long to answer.", retryable=True) from error
        except aiohttp.ClientError as error:
            raise NoModel(f"The model file could not be fetched: {error}.", retryable=True) from error


def model_files(source: str, most_bytes: int) -> ModelFolder | ModelUrls:
    """The source that a command line names; raises ValueError with a sentence."""
    if "://" not in source:
        return ModelFolder(Path(source), most_bytes)
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{source} is neither a folder nor an http(s) URL.")
    if "{model_id}" not in source and "{model_hash}" not in source:
        raise ValueError(f"{source} names the same file for every model: put {{model_id}} or {{model_hash}} into it.")
    return ModelUrls(source, most_bytes)


def _no_file(model_id: int, others: list[str]) -> str:
    if others:
        return f"The file of model {model_id} ({others[0]}) is of no known format. {CAN_BE_DRAWN}"
    return f"There is no file for model {model_id} in the folder of models."


def _too_large(most_bytes: int) -> NoModel:
    return NoModel(f"The model file is larger than the limit of {most_bytes >> 20} MB.", retryable=False)


def _other_content(name: str) -> NoModel:
    return NoModel(f"The content of {name} does not have the hash that the job names.", retryable=False)
