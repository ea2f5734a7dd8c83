"""The whole numbers in the paths of requests, such as the ids of models and jobs."""

from aiohttp import web

from thumbq_gateway.protojson.values import InvalidValue, whole_number_reader

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_read = whole_number_reader(_LOWEST, _HIGHEST)


def number_in_path(request: web.Request, name: str, lowest: int = _LOWEST) -> int:
    """Return the number under this name in the path. Raises HTTPNotFound for one that no id can be."""
    try:
        number: int = _read(request.match_info[name])
    except InvalidValue:
        raise web.HTTPNotFound from None
    if number < lowest:
        raise web.HTTPNotFound
    return number
