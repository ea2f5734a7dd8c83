"""A connection that TLS prevents is explained in one sentence, whichever side is wrong."""

import os
import stat
from pathlib import Path

import grpc
import pytest

from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.operator.test_cli_interventions import thumbq
from thumbq import Client
from thumbq.client.errors import error_of
from thumbq.connection import open_channel
from thumbq.tls import Tls, UnusableAddress, UnusableCertificate
from thumbq.v1.notification_pb2 import GetNotificationCursorRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub


async def reason(target: str, monkeypatch: pytest.MonkeyPatch, ca: Path) -> str:
    """Return why a client does not reach a server, without the address."""
    monkeypatch.setenv("THUMBQ_CA", str(ca))
    async with open_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await NotificationServiceStub(channel).GetNotificationCursor(GetNotificationCursorRequest(), timeout=60)
    return str(error_of(refused.value, target)).removeprefix(f"{target}: ")


async def test_a_certificate_that_is_not_taken_is_explained(database_url, certificates, tmp_path, monkeypatch):
    other = Certificates(tmp_path / "other")
    async with running_server(database_url, **certificates.settings) as address:
        target = f"grpcs://{address}"
        untrusted = await reason(target, monkeypatch, other.ca)
        assert untrusted == "its certificate comes from an authority that is not trusted here (THUMBQ_CA)"
        certificates.server(days=-1)
        assert await reason(target, monkeypatch, certificates.ca) == "its certificate has expired"
        sentence = f"thumbq: The server at {target} cannot be reached: its certificate has expired.\n"

        async def is_told() -> bool:  # a command waits for 5 s, which a busy machine may take for a handshake
            return sentence in (await thumbq(target, "stats"))[1]

        await eventually(is_told, timeout=120)


async def test_a_certificate_for_another_name_is_explained(database_url, certificates, monkeypatch):
    async with running_server(database_url, grpc_host="127.0.0.2", **certificates.settings) as address:
        target = f"grpcs://127.0.0.2:{address.rpartition(':')[2]}"
        found = await reason(target, monkeypatch, certificates.ca)
        assert found == "its certificate is for another name than the one in the address"


async def test_tls_on_one_side_alone_is_explained(database_url, certificates, monkeypatch):
    async with running_server(database_url, **certificates.settings) as address:
        plain = await reason(address, monkeypatch, certificates.ca)
        assert plain.endswith("if it has TLS, its address begins with grpcs://")
    async with running_server(database_url) as address:
        secure = await reason(f"grpcs://{address}", monkeypatch, certificates.ca)
        assert secure == "it has no TLS: leave grpcs:// out of the address"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://127.0.0.1:5009", "is an address of HTTP: that of the gRPC API is host:port"),
        ("tcp://10.0.0.1:50051", "is no address of gRPC: that of the gRPC API is host:port"),
        ("", "is empty: it is host:port"),
    ],
)
async def test_an_address_of_something_else_is_explained(address, reason):
    with pytest.raises(UnusableAddress, match=reason):
        await Client(address).__aenter__()


def test_files_of_a_client_that_cannot_be_used_are_named(certificates):
    one, two = certificates.client("one"), certificates.client("two")
    none, pipe = certificates.folder / "none.pem", certificates.folder / "pipe.pem"
    os.mkfifo(pipe)
    for tls, sentence in (
        (Tls(none), f"THUMBQ_CA names {none}, which cannot be read: No such file or directory"),
        (Tls(pipe), f"THUMBQ_CA names {pipe}, which is no regular file"),
        (Tls(certificates.folder), f"THUMBQ_CA names {certificates.folder}, which is no regular file"),
        (Tls(one.with_suffix(".key")), f"THUMBQ_CA names {one.with_suffix('.key')}, which holds no certificate in PEM"),
        (Tls(cert=one), "THUMBQ_CERT and THUMBQ_KEY belong together: give both, or neither"),
        (
            Tls(cert=one, key=two.with_suffix(".key")),
            f"THUMBQ_KEY names {two.with_suffix('.key')}, which does not belong to the certificate {one}",
        ),
    ):
        with pytest.raises(UnusableCertificate) as refused:
            tls.credentials()
        assert str(refused.value) == sentence


def test_a_key_that_others_can_read_is_warned_of(certificates, caplog):
    one = certificates.client("one")
    key = one.with_suffix(".key")
    Tls(cert=one, key=key).credentials()
    assert not caplog.messages
    key.chmod(stat.S_IMODE(key.stat().st_mode) | stat.S_IROTH)
    Tls(cert=one, key=key).credentials()
    assert caplog.messages == [f"Other users of this machine can read the key {key}: chmod 600"]
