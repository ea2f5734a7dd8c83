import pytest

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


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "1234/5", "a/b@c"])
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
    ("text", "sentence"),
    [
        ("mysql://db/thumbs", "begins with mysql://"),
        ("db.example:5432/thumbs", "must look like postgresql://"),
        ("", "must look like postgresql://"),
        ("postgresql://db/thumbs?pgbouncer=true", "'pgbouncer'"),
        ("postgresql://db/thumbs?connection_limit=5", "'connection_limit'"),
        ("postgresql://db/thumbs?channel_binding=require", "channel_binding=require"),
        ("postgresql://db/thumbs?target_session_attrs=read-only", "target_session_attrs=read-only"),
        ("postgresql://db/thumbs?sslmod=require", "'sslmod'"),
        ("postgresql://db/thumbs?connect_timeout=soon", "connect_timeout"),
        ("postgresql://db/thumbs?verbose", "name=value"),
        ("postgresql://db:70000/thumbs", "port"),
        ("host=db password='open", "quote"),
        ("host=db thumbs", "keyword=value"),
    ],
)
def test_what_cannot_be_honoured_is_named(text: str, sentence: str):
    with pytest.raises(InvalidAddress, match=sentence):
        parse_address(text)


def test_an_address_does_not_print_its_password():
    assert "secret" not in repr(parse_address("postgresql://queue:secret@db/thumbs?sslpassword=secret"))
