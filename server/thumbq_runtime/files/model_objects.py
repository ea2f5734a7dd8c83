"""Models in an object store, as the render worker and the gateway find them."""

from thumbq_runtime.files.objects import SCHEME, InvalidStore, NoSuchObject, Objects

_ID, _HASH = "{model_id}", "{model_hash}"
# No model has these.
_NO_ID, _NO_HASH = 0, "0" * 64


class ModelObjects:
    """The objects of models. Their address has `{model_id}` or `{model_hash}` in it, and each model fills it in."""

    def __init__(self, template: str) -> None:
        """Raises InvalidStore."""
        bucket, _, self._key = template.removeprefix(SCHEME).partition("/")
        if not template.startswith(SCHEME):
            raise InvalidStore(f"{template!r} is no address of models in a store, such as s3://bucket/{_HASH}.")
        if _ID not in self._key and _HASH not in self._key:
            example = f"put {_ID} or {_HASH} behind the bucket"
            raise InvalidStore(f"{template!r} names the same object for every model: {example}.")
        self.store = Objects(f"{SCHEME}{bucket}")
        self.need_hash = _HASH in self._key

    def key(self, model_id: int, model_hash: str) -> str:
        """Return the key of a model's object."""
        return self._key.replace(_ID, str(model_id)).replace(_HASH, model_hash)

    async def look(self) -> None:
        """Look whether the store answers, and lets models be read. Raises StoreTrouble."""
        try:
            await self.store.get(self.key(_NO_ID, _NO_HASH))
        except NoSuchObject:
            return
