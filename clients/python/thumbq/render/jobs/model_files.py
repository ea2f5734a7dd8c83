"""Where model files come from: a folder, or an http(s) URL for each model."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from thumbq.connection import is_local_host
from thumbq.render.child import RenderFailed
from thumbq.render.intake.model import Intake, Model
from thumbq.render.jobs.trust import Trust
from thumbq.tls import Tls

CHUNK = 1 << 20
DOWNLOAD_SECONDS = 300.0
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a host did, the first that fits. The library's own words quote addresses, and a query may hold a secret.
_DEEDS: tuple[tuple[type[aiohttp.ClientError], str], ...] = (
    (aiohttp.TooManyRedirects, "redirects too often"),
    (aiohttp.RedirectClientError, "redirects to an address that cannot be used"),
    (aiohttp.ClientResponseError, "gave an answer that is no HTTP"),
    (aiohttp.ClientPayloadError, "gave a broken answer"),
    (aiohttp.ClientError, "ended the connection"),
)


class ModelSource(Protocol):
    """Where models come from."""

    async def take(self, intake: Intake, model_id: int, model_hash: str) -> Model:
        """Return the model whose file has this hash, checked by the intake; raises RenderFailed."""
        ...


class ModelFolder:
    """Files named `<model id>.<format>`, `<model id>-<any name>.<format>` or `<model hash>.<format>`.

    Of several, the one with the right hash is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def take(self, intake: Intake, model_id: int, model_hash: str) -> Model:
        """See ModelSource; companions are looked for beside the file."""
        return await intake.take_from_folder(self._folder, model_id, model_hash.lower())


class ModelUrls:
    """Files fetched from a URL in which `{model_id}` and `{model_hash}` are filled in.

    What a model refers to is fetched from beside it, never from another host.
    """

    def __init__(self, template: str, tls: Tls) -> None:
        """Raises UnusableCertificate."""
        self._template = template
        self._trust = Trust(tls)

    async def take(self, intake: Intake, model_id: int, model_hash: str) -> Model:
        """See ModelSource."""
        url = URL(self._template.replace("{model_id}", str(model_id)).replace("{model_hash}", model_hash))
        timeout = aiohttp.ClientTimeout(total=DOWNLOAD_SECONDS, sock_connect=10, sock_read=30)
        connector = aiohttp.TCPConnector(ssl=await self._trust.current())
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            fetched = _Fetched(session, url, intake.incoming, intake.most_bytes)
            name, found = await fetched.model()
            if found != model_hash.lower():
                raise other_content(name)
            return await intake.take_fetched(fetched.path, name, fetched.companion)


class _Fetched:
    """The files of one model, fetched into a folder that is emptied for each."""

    def __init__(self, session: aiohttp.ClientSession, url: URL, folder: Path, most_bytes: int) -> None:
        for old in folder.iterdir():
            old.unlink()
        self._session = session
        self._url = url
        self._folder = folder
        self._most_bytes = self._left = most_bytes
        self._count = 0
        self.path = folder / "model"

    async def model(self) -> tuple[str, str]:
        """Fetch the model itself; returns the name that it has in the URL, and its hash."""
        try:
            return await self._get(self._url, self.path, follow=True)
        except TimeoutError as error:
            raise RenderFailed("The model file's server took too long to answer.", retryable=True) from error
        except aiohttp.ClientError as error:
            raise RenderFailed(
                f"The model file could not be fetched: {self._problem(error)}.", retryable=True
            ) from None

    def _problem(self, error: aiohttp.ClientError) -> str:
        """Return what went wrong, without an address. Every viewer of the job sees it."""
        if isinstance(error, aiohttp.ClientOSError):  # it names a host and a port alone
            return str(error)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"the proxy answered {error.status}"
        return f"{self._url.host} {next(deed for kind, deed in _DEEDS if isinstance(error, kind))}"

    async def companion(self, name: str) -> Path | None:
        """Fetch what the model refers to by a relative name; None when the server does not give it."""
        path = self._folder / f"companion{self._count}"
        self._count += 1
        beside = self._url.with_query(None).with_fragment(None)
        url = beside.with_path(quote(str(PurePosixPath(beside.path).parent / name)), encoded=True)
        try:
            # A redirection could lead to another host, or to one that only this machine can reach.
            await self._get(url, path, follow=False)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise RenderFailed(f"{name}, which the model refers to, could not be fetched.", retryable=True) from error
        except _NotGiven:
            return None
        return path

    async def _get(self, url: URL, path: Path, *, follow: bool) -> tuple[str, str]:
        digest = hashlib.sha256()
        async with self._session.get(url, allow_redirects=follow, proxy=_proxy_to(url)) as response:
            if response.status != 200:
                raise _NotGiven(response.status)
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise too_large(self._most_bytes)
                    digest.update(chunk)
                    file.write(chunk)
            return unquote(Path(response.url.path).name), digest.hexdigest()


def _proxy_to(url: URL) -> str | None:
    """Return the proxy that http_proxy or https_proxy names for a URL, unless its host is this one or in no_proxy."""
    proxy = getproxies().get(url.scheme, "")
    host = url.host or ""
    if not proxy.startswith(("http://", "https://")) or is_local_host(host) or proxy_bypass(host):
        return None
    return proxy


class _NotGiven(RenderFailed):
    """The server answered with another status than 200."""

    def __init__(self, status: int) -> None:
        again = status in TRY_AGAIN or status == 404
        super().__init__(f"The model file's server answered {status}.", retryable=again)


def model_source(source: str) -> ModelSource:
    """Return the source that a command line names; raises ValueError with a sentence."""
    if "://" not in source:
        return ModelFolder(Path(source))
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{source} is neither a folder nor an http(s) URL.")
    if "{model_id}" not in source and "{model_hash}" not in source:
        raise ValueError(f"{source} names the same file for every model: put {{model_id}} or {{model_hash}} into it.")
    return ModelUrls(source, Tls.from_environment())


def other_content(name: str) -> RenderFailed:
    """Return the failure of a file that is not what its job names."""
    return RenderFailed(f"The content of {name} does not have the hash that the job names.", retryable=False)


def too_large(most_bytes: int) -> RenderFailed:
    """Return the failure of a file that is longer than the limit."""
    limit = f"larger than the limit of {most_bytes >> 20} MB"
    return RenderFailed(f"The model file, with what it refers to, is {limit}.", retryable=False)
