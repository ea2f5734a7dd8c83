"""The two forms of an address, an URL and keyword=value pairs, taken apart the way libpq does it."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from thumbq_server.storage.postgres.address.parameters import InvalidAddress, gives_twice

_ESCAPES = "write its / ? # @ : as %2F %3F %23 %40 %3A"
_MUST_LOOK_LIKE = "DATABASE_URL must look like postgresql://user:password@host:5432/database."
_SCHEME = re.compile(r"(?P<scheme>(?:jdbc:)?[A-Za-z][A-Za-z0-9+.-]{0,30})://")
_KEYWORD_STRING = re.compile(r"\s*[a-z_]+\s*=")
# A value may stand in single quotes; a backslash takes the next character as it is.
_PAIR = re.compile(
    r"\s*(?P<name>[^\s=']+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>(?!')(?:[^\s\\]|\\.)*))", re.DOTALL
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[^:]*))?")
_SAME = {"database": "dbname"}


def split_address(text: str) -> dict[str, str]:
    """Return the parameters of an address by libpq's names. Raises InvalidAddress."""
    text = text.strip()
    if text[:1] in {"'", '"'}:
        raise InvalidAddress("DATABASE_URL stands in quotes: remove them.")
    if scheme := _SCHEME.match(text):
        if scheme["scheme"].partition("+")[0] not in {"postgresql", "postgres"}:
            raise InvalidAddress(f"DATABASE_URL begins with {scheme[0]}, and thumbq runs on postgresql:// only.")
        _check_characters(text)
        parameters = _split_url(text[scheme.end() :])
    elif _KEYWORD_STRING.match(text):
        parameters = _split_keywords(text)
    else:
        raise InvalidAddress(_MUST_LOOK_LIKE)
    _check_characters("".join(parameters.values()))
    return parameters


def _check_characters(text: str) -> None:
    categories = {unicodedata.category(character) for character in text}
    if "Cs" in categories:
        raise InvalidAddress("DATABASE_URL is not UTF-8.")
    if "Cc" in categories:
        raise InvalidAddress("DATABASE_URL contains a control character, such as the end of a line: remove it.")


def _split_url(rest: str) -> dict[str, str]:
    if any(map(str.isspace, rest)):
        raise InvalidAddress("DATABASE_URL contains a space: write %20 where it belongs to a name or a password.")
    before_query, _, query = rest.partition("?")
    authority, _, database = before_query.partition("/")
    # A password may contain "@" unescaped: the last one ends it.
    account, _, host_list = authority.rpartition("@")
    user, has_password, password = account.partition(":")
    early_end = "@" in query and "=" not in query.partition("@")[0] and "@" not in authority
    if early_end or "@" in database:
        raise InvalidAddress(f"The password in DATABASE_URL ends too early: {_ESCAPES}.")
    if "#" in host_list + database + query:
        raise InvalidAddress(
            "DATABASE_URL contains '#', at which many programs would end it: write %23 where it belongs to a name or a"
            " password, else remove it."
        )
    place = _hosts_of(host_list)
    place |= {"user": _unescaped(user)} if user else {}
    place |= {"password": _unescaped(password)} if has_password else {}
    place |= {"dbname": _unescaped(database)} if database else {}
    return place | _split_query(query)


def _split_query(query: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    if not all(name and separator for name, separator, _ in pairs):
        raise InvalidAddress("The part of DATABASE_URL behind '?' must be name=value, joined by '&'.")
    return _once((_unescaped(name), _unescaped(value)) for name, _, value in pairs)


def _hosts_of(host_list: str) -> dict[str, str]:
    if not host_list:
        return {}
    names, ports = [], []
    for entry in host_list.split(","):
        found = _HOST.fullmatch(entry)
        if found is None:
            raise InvalidAddress(
                "DATABASE_URL must have hosts such as db:5432 or [::1]:5432; if what stands there is part of a"
                f" password, {_ESCAPES}."
            )
        names.append(_unescaped(found["ipv6"] or found["name"]))
        ports.append(found["port"] or "")
    return {"host": ",".join(names), "port": ",".join(ports)}


def _split_keywords(text: str) -> dict[str, str]:
    pairs, position = [], 0
    while position < len(text):
        found = _PAIR.match(text, position)
        if found is None:
            if text.count("'") % 2:
                raise InvalidAddress("A quote in DATABASE_URL is not closed.")
            raise InvalidAddress(
                "DATABASE_URL must be keyword=value pairs, such as host=db dbname=thumbq, or an URL; a value with"
                " spaces stands in single quotes."
            )
        value = found["quoted"] if found["plain"] is None else found["plain"]
        pairs.append((found["name"], re.sub(r"\\(.)", r"\1", value)))
        position = found.end()
    return _once(pairs)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a dictionary. Raises InvalidAddress for a name with two values."""
    parameters: dict[str, str] = {}
    for written, value in pairs:
        name = _SAME.get(written, written)
        if parameters.setdefault(name, value) != value:
            raise gives_twice(name)
    return parameters


def _unescaped(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidAddress("An escape with % in DATABASE_URL is not UTF-8: write é as %C3%A9.") from None
