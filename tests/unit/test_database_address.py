from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.storage.postgres.address import Address, InvalidAddress, parse_address


def test_a_plain_address():
    address = parse_address("postgresql://queue:secret@db.example:6543/thumbs")
    assert address.hosts == (("db.example", 6543),)
    assert (address.user, address.password, address.database) == ("queue", "secret", "thumbs")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://queue:s%2Fc%40t@db/thumbs",
        "postgres://queue:s%2Fc%40t@db/thumbs",
        "postgresql+asyncpg://queue:s%2Fc%40t@db/thumbs",
        "postgresql+psycopg://queue:s%2Fc%40t@db:5432/thumbs",
        "host=db user=queue password='s/c@t' dbname=thumbs",
        "host = db port=5432 user=queue password = s/c@t dbname=thumbs",
        "host=db\n  user=queue\n  password=s/c@t\n  dbname=thumbs",
        "postgresql:///thumbs?host=db&user=queue&password=s%2Fc%40t",
        "  postgresql://queue:s%2Fc%40t@db/thumbs\n",
    ],
)
def test_one_place_in_the_spellings_of_many_tools(text: str):
    assert parse_address(text) == Address((("db", 5432),), "queue", "s/c@t", "thumbs")


@pytest.mark.parametrize(
    ("password", "meant"),
    [("p@ss", "p@ss"), ("a:b", "a:b"), ("50%", "50%"), ("h#sh", "h#sh"), ("%40", "@"), ("é", "é")],
)
def test_a_password_with_special_characters_is_taken_where_its_end_is_clear(password: str, meant: str):
    assert parse_address(f"postgresql://queue:{password}@db/thumbs").password == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("it's", "it's"),
        ("'it\\'s'", "it's"),
        ("it\\'s", "it's"),
        ("'a = b'", "a = b"),
        ('a"b', 'a"b'),
        ("a://b", "a://b"),
    ],
)
def test_a_password_between_pairs_is_taken_to_the_letter(written: str, meant: str):
    assert parse_address(f"host=db password={written} user=queue").password == meant
    assert parse_address("postgresql://db/thumbs?password=a+b").password == "a+b"


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "1234/5", "a/b@c", "p@ss/word"])
def test_a_password_that_ends_an_address_too_early_is_answered_with_the_escapes(password: str):
    with pytest.raises(InvalidAddress, match=r"%2F") as refusal:
        parse_address(f"postgresql://queue:{password}@db/thumbs")
    assert password not in str(refusal.value)


def test_several_hosts_each_with_its_port():
    assert parse_address("postgresql://a:1,b,[::1]:3/thumbs").hosts == (("a", 1), ("b", 5432), ("::1", 3))
    assert parse_address("host=a,b port=6000 dbname=thumbs").hosts == (("a", 6000), ("b", 6000))
    assert parse_address("host=a,b port=1,2 dbname=thumbs").hosts == (("a", 1), ("b", 2))
    with pytest.raises(InvalidAddress, match="3 hosts and 2 ports"):
        parse_address("host=a,b,c port=1,2")


def test_a_socket_folder():
    assert parse_address("postgresql:///thumbs?host=/var/run/postgresql").hosts == (("/var/run/postgresql", 5432),)
    assert parse_address("postgresql://%2Fvar%2Frun/thumbs").hosts == (("/var/run", 5432),)


def test_parameters_of_libpq_are_honoured():
    address = parse_address(
        "postgresql://db/thumbs?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=7&application_name=queue"
        "&options=-c%20search_path%3Dthumbs&target_session_attrs=read-write&channel_binding=prefer&schema=thumbs"
    )
    assert address.connect_timeout == 7
    assert address.asyncpg == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    assert address.settings == {
        "application_name": "queue",
        "options": "-c search_path=thumbs",
        "search_path": "thumbs",
    }
    assert parse_address("postgresql://db/thumbs?ssl=true").asyncpg == {"sslmode": "require"}
    assert parse_address("postgresql://db/thumbs?connect_timeout=1").connect_timeout == 2


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("host=db hostaddr=10.0.0.1 sslmode=verify-ca", "10.0.0.1"),
        ("hostaddr=10.0.0.1 sslmode=verify-full", "10.0.0.1"),
        ("host=db sslmode=verify-full", "db"),
    ],
)
def test_a_number_takes_the_place_of_a_name_that_no_certificate_is_checked_against(text: str, host: str):
    assert parse_address(text).hosts == ((host, 5432),)


def test_a_port_without_a_host_is_that_of_the_host_in_the_environment():
    for text in ("postgresql://:6543/thumbs", "port=6543 dbname=thumbs"):
        assert parse_address(text).arguments(None)["port"] == 6543


_REFUSED = {
    "mysql://db/thumbs": "begins with mysql://",
    "db.example:5432/thumbs": "must look like postgresql://",
    "": "must look like postgresql://",
    '"postgresql://db/thumbs"': "quotes",
    "postgresql://db/thumbs?pgbouncer=perhaps": "pgbouncer .* true or false",
    "postgresql://db/thumbs?pooler=statement": "pooler .* must be one of transaction, session",
    "postgresql://db/thumbs?connection_limit=5": "'connection_limit'",
    "postgresql://db/thumbs?keepalives=1": "'keepalives'",
    "postgresql://db/thumbs?channel_binding=require": "channel_binding=require",
    "postgresql://db/thumbs?target_session_attrs=read-only": "target_session_attrs=read-only",
    "postgresql://db/thumbs?sslmod=require": "did you mean 'sslmode'",
    "postgresql://db/thumbs?sslmode=nonsense": "sslmode .* must be one of",
    "postgresql://db/thumbs?sslnegotiation=x": "sslnegotiation .* must be one of",
    "postgresql://db/thumbs?ssl_min_protocol_version=2": "ssl_min_protocol_version .* must be one of",
    "postgresql://db/thumbs?ssl=maybe": "ssl .* must be true, false",
    "postgresql://db/thumbs?verbose": "name=value",
    "postgresql://db/thumbs?sslmode=require&sslmode=disable": "two values for sslmode",
    "postgresql://db/thumbs?dbname=a&database=b": "two values for dbname",
    "host=a host=b": "two values for host",
    "host=db password='open": "quote",
    "host=db thumbs": "keyword=value",
    # hosts
    "postgresql://[::1/thumbs": r"\[::1\]:5432",
    "postgresql://::1/thumbs": r"\[::1\]:5432",
    "postgresql://[::1]x/thumbs": r"\[::1\]:5432",
    "postgresql://[]/thumbs": r"\[::1\]:5432",
    "postgresql://a,,b/thumbs": "comma",
    "postgresql://,/thumbs": "comma",
    "host=a, port=1": "comma",
    "postgresql://a..b/thumbs": "no name that a host can have",
    f"postgresql://{'a' * 300}/thumbs": "no name that a host can have",
    "postgresql://a%20b/thumbs": "no name that a host can have",
    "host= dbname=thumbs": "no name that a host can have",
    f"host=/{'a' * 100}": "too long a name",
    "hostaddr=nonsense": "IP address",
    "host=a,b hostaddr=127.0.0.1": "as many in hostaddr",
    "host=db hostaddr=10.0.0.1 sslmode=verify-full": "remove hostaddr",
    "host=db hostaddr=10.0.0.1 ssl=verify-full": "remove hostaddr",
    "port=1,2": "2 ports and no host",
    # numbers
    **{
        f"postgresql://db:{port}/thumbs": "port" for port in ("0", "65536", "70000", "abc", "-1", "+1", "²", "1" * 5000)
    },
    **{
        f"postgresql://db/thumbs?connect_timeout={seconds}": "connect_timeout .* 0 to 3600"
        for seconds in ("soon", "-1", "1.5", "3601", 10**20, "1_0", "٣", "1" * 5000)
    },
    # characters
    "postgresql://db/thumbs#x": "'#'",
    "postgresql://db/thumbs?application_name=a#x": "'#'",
    "postgresql://a b/thumbs": "space",
    "postgresql://queue:p w@db/thumbs": "space",
    "postgresql://db/thumbs\0": "control character",
    "postgresql://db/thumbs?options=%00": "control character",
    "host=db password='a\nb'": "control character",
    **{
        f"postgresql://{place}".replace("*", "%00", 1): "control character"
        for place in ("a*:b@db/c", "a:b*@db/c", "a:b@db*/c", "a:b@db/c*")
    },
    **{
        f"postgresql://{place}".replace("*", "%FF", 1): "not UTF-8"
        for place in ("a*:b@db/c", "a:b*@db/c", "a:b@db*/c", "a:b@db/c*", "db/c?application_name=*")
    },
    "postgresql://db/\udcff": "not UTF-8",
}


@pytest.mark.parametrize(("text", "sentence"), _REFUSED.items(), ids=lambda text: ascii(text)[:60])
def test_what_cannot_be_honoured_is_named(text: str, sentence: str):
    with pytest.raises(InvalidAddress, match=sentence):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "user=queue password=tell://no-one host=db x=y",
        "host=db password=two tell=words",
        "password=tell://no-one port=x",
        "psql://queue:tell@db",
        "postgresql://queue:1?tell=x@db/thumbs",
        "postgresql://queue:tell?a@db/thumbs",
        "postgresql://queue:tell@db:tell/thumbs",
        "postgresql://queue:a,tell:@b:tell/thumbs",
    ],
)
def test_no_refusal_shows_a_part_of_a_password(text: str):
    with pytest.raises(InvalidAddress) as refusal:
        parse_address(text)
    assert "tell" not in str(refusal.value)


@given(
    st.text(alphabet=st.sampled_from("ab:/?#@[],=&%0F+ '\\\"\0\n\udcffé²"), max_size=40),
    st.sampled_from(
        ["", "postgresql://", "postgresql://u:p@", "postgresql://db/", "postgresql://db?", "host=", "host=a x="]
    ),
)
def test_any_text_is_an_address_or_refused(text: str, start: str):
    with suppress(InvalidAddress):
        address = parse_address(start + text)
        for host in address.hosts or [None]:
            assert address.arguments(host)["target_session_attrs"] == "read-write"


def test_an_address_does_not_print_its_password():
    assert "secret" not in repr(parse_address("postgresql://queue:secret@db/thumbs?sslpassword=secret"))
