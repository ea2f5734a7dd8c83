"""Objects in a bucket of S3, or of a store that speaks its protocol: the pictures, and models that are fetched.

An object is named as `s3://bucket/prefix/key`. The library `obstore` speaks the protocol. Its errors are long, and
quote the store's answers; those of this module are a sentence each, without any part of a key or secret.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from thumbq_runtime.access.secret_files import read_secret_file

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import S3Config, S3Store

T = TypeVar("T")

SCHEME = "s3://"
PIECE = 256 * 1024  # bytes
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
# Each may be set by a file as well, whose name is in the variable with _FILE at its end.
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CONNECT = timedelta(seconds=3)
_SILENCE = timedelta(seconds=10)
# A large model on a slow network; `_SILENCE` ends what no longer moves.
_WHOLE = timedelta(seconds=300)
_TRIES_AGAIN = 2
_TRIES_FOR = timedelta(seconds=5)
# Until the store has begun to answer, all attempts together.
_ANSWER = 10.0
# An upload may be this slow, in bytes a second. Nothing comes back meanwhile, so `_SILENCE` would end it.
_SLOWEST = 50_000
# There is no such object. The answer shows the rest.
_NONE = "thumbq-looks-whether-the-store-answers"


class StoreTrouble(Exception):
    """Says in a sentence why the store did not do what it was asked for."""


class StoreAway(StoreTrouble):
    """The store cannot be reached, does not answer in time, or is broken."""


class StoreRefuses(StoreTrouble):
    """The store refuses, as for wrong credentials, a missing bucket or a wrong clock. An operator has to act."""


class NoSuchObject(StoreTrouble):
    """There is no object of this name."""


# What a store answers, in the words of the protocol.
_REGION = "The bucket {bucket} is in another region: set AWS_REGION."
_ANSWERS: dict[str, tuple[type[StoreTrouble], str]] = {
    "NoSuchBucket": (StoreRefuses, "The object store has no bucket {bucket}."),
    "RequestTimeTooSkewed": (StoreRefuses, "The clock of this machine is wrong, so the object store refuses."),
    "AuthorizationHeaderMalformed": (StoreRefuses, _REGION),
    "PermanentRedirect": (StoreRefuses, _REGION),
    "redirect without LOCATION": (StoreRefuses, _REGION),  # the library's own words for an answer without any
    "KeyTooLongError": (NoSuchObject, "The object store takes no name as long as this."),
    "XMinioStorageFull": (StoreAway, "The object store is full."),
    "SlowDown": (StoreAway, "The object store has too much to do."),
}
_CODE = re.compile(rf"<Code>({'|'.join(_ANSWERS)})</Code>|(redirect without LOCATION)")


class InvalidStore(ValueError):
    """Says in a sentence why the address of a store cannot be used."""


@dataclass(frozen=True)
class Facts:
    """What the store knows of an object."""

    size: int
    tag: str
    modified: datetime


class FoundObject:
    """An object, or a part of one, whose bytes are about to come."""

    def __init__(self, answer: "GetResult", bucket: str) -> None:
        self.facts = _facts(answer.meta)
        # the first byte that comes, and the byte after the last
        self.part: tuple[int, int] = answer.range
        self._answer = answer
        self._bucket = bucket

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes, from the first to the last. Raises StoreTrouble."""
        stream = self._answer.stream(min_chunk_size=PIECE)
        while True:
            async with _in_words(self._bucket):
                try:
                    piece = await anext(stream)
                except StopAsyncIteration:
                    return
            yield piece


class Objects:
    """The objects whose names begin with an address. All credentials come from the environment."""

    def __init__(self, address: str) -> None:
        """Raises InvalidStore, also where the library or a file with credentials is missing."""
        self.address = address = checked_address(address)
        self.bucket, _, self._prefix = address.removeprefix(SCHEME).partition("/")
        self._store = _opened(self.bucket, _SILENCE)
        self._patient = _opened(self.bucket, None)

    def name(self, key: str) -> str:
        """Return the name of an object below the address."""
        return f"{self.address}/{key}"

    def key(self, name: str) -> str | None:
        """Return the key of an object below the address, or None for another name."""
        key = name.removeprefix(f"{self.address}/")
        return key if key != name and is_plain(key) else None

    async def put(self, key: str, content: bytes, content_type: str) -> str:
        """Keep an object, in one step: a reader finds all of it, or what was there before. Return its name."""
        import obstore

        kind = {"Content-Type": content_type}
        await self._asked(
            obstore.put_async(self._patient, self._path(key), content, attributes=kind, use_multipart=False),
            seconds=_ANSWER + len(content) / _SLOWEST,
        )
        return self.name(key)

    async def get(self, key: str, part: tuple[int, int] | None = None) -> FoundObject:
        """Return an object, or the part of it from one byte to before another. Raises StoreTrouble."""
        import obstore

        options: GetOptions = {"range": part} if part else {}
        answer = await self._asked(obstore.get_async(self._store, self._path(key), options=options))
        return FoundObject(answer, self.bucket)

    async def look_at(self, key: str) -> Facts:
        """Return what is known of an object. Raises StoreTrouble."""
        import obstore

        return _facts(await self._asked(obstore.head_async(self._store, self._path(key))))

    async def remove(self, key: str) -> None:
        """Remove an object, if there is one. Raises StoreTrouble."""
        import obstore

        await self._asked(obstore.delete_async(self._store, self._path(key)))

    async def signed_url(self, key: str, seconds: float) -> str:
        """Return an address under which anyone may read an object for this many seconds."""
        import obstore

        signed = obstore.sign_async(self._store, "GET", self._path(key), timedelta(seconds=seconds))
        return await self._asked(signed)

    async def look(self) -> None:
        """Look whether the store answers, takes the credentials and has the bucket. Raises StoreTrouble."""
        try:
            await self.get(_NONE)
        except NoSuchObject:
            return

    async def _asked(self, call: Awaitable[T], seconds: float | None = None) -> T:
        async with _in_words(self.bucket), asyncio.timeout(seconds or _ANSWER):
            return await call

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key


def checked_address(address: str) -> str:
    """Return the address of a store, without a slash at its end. Raises InvalidStore."""
    if "@" in address or "?" in address:
        # They would be shown wherever the address is.
        raise InvalidStore("The address of an object store holds no credentials: set AWS_ACCESS_KEY_ID and the like.")
    rest = address.removeprefix(SCHEME).rstrip("/")
    bucket, slash, prefix = rest.partition("/")
    if rest == address.rstrip("/") or not _BUCKET.fullmatch(bucket) or (slash and not is_plain(prefix)):
        raise InvalidStore(f"{address!r} is no address of an object store, such as s3://bucket/prefix.")
    return f"{SCHEME}{rest}"


def is_plain(key: str) -> bool:
    """Return whether a key has the same spelling everywhere: no empty part, no "." and no ".."."""
    return key.isprintable() and not any(part in {"", ".", ".."} for part in key.split("/"))


def _facts(meta: "ObjectMeta") -> Facts:
    size, modified = meta["size"], meta["last_modified"]
    # A store that gives no tag still says when an object was written.
    return Facts(size, meta["e_tag"] or f"{int(modified.timestamp()):x}-{size:x}", modified)


def _opened(bucket: str, silence: timedelta | None) -> "S3Store":
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ModuleNotFoundError:
        raise InvalidStore("An object store needs the extra 's3': pip install 'thumbq[s3]'.") from None
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
    try:
        secrets = cast("S3Config", dict(_from_files()))
        return S3Store(
            bucket,
            config=secrets,
            # The operator has written http:// into AWS_ENDPOINT_URL.
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": _CONNECT,
                "timeout": _WHOLE,
                **({"read_timeout": silence} if silence else {}),
            },
            retry_config={"max_retries": _TRIES_AGAIN, "retry_timeout": _TRIES_FOR},
        )
    except BaseError:
        raise InvalidStore("The object store cannot be used with these AWS_ variables.") from None
    except ValueError as problem:
        raise InvalidStore(str(problem)) from None


def _from_files() -> Iterator[tuple[str, str]]:
    """Yield the credentials that files hold. Raises ValueError with a sentence."""
    for variable in _CREDENTIALS:
        if not os.environ.get(variable) and (file := os.environ.get(f"{variable}_FILE")):
            yield variable.lower(), read_secret_file(Path(file), f"{variable}_FILE")


@asynccontextmanager
async def _in_words(bucket: str) -> AsyncIterator[None]:
    """Raise StoreTrouble for what the library raises in the block."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except TimeoutError:
        raise StoreAway("The object store does not answer in time.") from None
    except (BaseError, FileNotFoundError) as error:
        answer = str(error)
        if found := _CODE.search(answer):
            kind, sentence = _ANSWERS[found[1] or found[2]]
            raise kind(sentence.format(bucket=bucket)) from None
        if isinstance(error, FileNotFoundError):
            raise NoSuchObject("The object store has no such object.") from None
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            raise StoreRefuses("The object store does not accept the credentials, or they do not allow this.") from None
        raise StoreAway("The object store cannot be reached, or is broken.") from None
