"""A server or a gateway says in one sentence why it cannot use its certificate, and warns of what is risky."""

import asyncio
import os
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings
from thumbq_runtime.tls.certificates import CertificateFiles, InvalidCertificate, read_certificate


def files(certificates: Certificates) -> CertificateFiles:
    folder = certificates.folder
    return CertificateFiles(folder / "server.pem", folder / "server.key", certificates.ca)


def refusal(certificates: Certificates) -> str:
    with pytest.raises(InvalidCertificate) as refused:
        read_certificate(files(certificates))
    return str(refused.value).replace(str(certificates.folder), "tls")


def test_a_key_of_another_certificate_is_named(certificates):
    certificates.client("render-1")
    (certificates.folder / "server.key").write_bytes((certificates.folder / "render-1.key").read_bytes())
    assert refusal(certificates) == "The key tls/server.key does not belong to the certificate tls/server.pem."


def test_a_missing_file_is_named(certificates):
    (certificates.folder / "server.key").unlink()
    assert refusal(certificates) == "The key tls/server.key cannot be read: No such file or directory."


def test_a_file_of_another_kind_is_named(certificates):
    (certificates.folder / "ca.pem").write_text("not a certificate")
    assert refusal(certificates) == "tls/ca.pem holds no certificate in PEM."
    (certificates.folder / "server.key").write_text("not a key")
    assert refusal(certificates) == "tls/server.key holds no private key in PEM."


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem"])
def test_a_pipe_a_folder_and_a_device_are_refused_and_not_read(certificates, name):
    path = certificates.folder / name
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        path.unlink()
        make(path)
        assert refusal(certificates).endswith(f"tls/{name} is no regular file.")
        path.rmdir() if path.is_dir() else path.unlink()
        path.touch()
    path.write_bytes(bytes(2**20 + 1))
    assert refusal(certificates).endswith(f"tls/{name} has 1048577 bytes: at most 1048576 are read.")


def test_der_and_empty_files_are_named(certificates):
    certificate, key = certificates.folder / "server.pem", certificates.folder / "server.key"
    pem = certificate.read_bytes()
    for content in (b"", x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER), pem[: len(pem) // 2]):
        certificate.write_bytes(content)
        assert refusal(certificates) == "tls/server.pem holds no certificate in PEM."
    certificate.write_bytes(pem)
    whole = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(whole, ec.EllipticCurvePrivateKey)
    for content in (b"", whole.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())):
        key.write_bytes(content)
        assert refusal(certificates) == "tls/server.key holds no private key in PEM."


def test_a_key_of_an_unknown_kind_is_named(certificates):
    of_no_algorithm = b64encode(bytes.fromhex("300e02010030050603 2a0304 0402 0000".replace(" ", "")))
    key = b"-----BEGIN PRIVATE KEY-----\n" + of_no_algorithm + b"\n-----END PRIVATE KEY-----\n"
    (certificates.folder / "server.key").write_bytes(key)
    assert refusal(certificates) == "The key tls/server.key is of a kind that thumbq cannot use."


def test_authorities_may_be_named_in_any_language_and_a_key_may_follow_its_parameters(certificates):
    ca, key = certificates.ca, certificates.folder / "server.key"
    ca.write_bytes("# Főtanúsítvány\n".encode() + ca.read_bytes() + "# Autorité\n".encode("latin1"))
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key.write_bytes(parameters + key.read_bytes())
    assert read_certificate(files(certificates)).client_ca == ca.read_bytes()


def test_a_key_with_a_password_is_named(certificates):
    path = certificates.folder / "server.key"
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert refusal(certificates) == "The key tls/server.key has a password: thumbq needs one without."


@pytest.mark.parametrize("program", ["server", "gateway"])
def test_a_program_refuses_to_start_with_one_sentence_and_exit_code_2(program, certificates):
    ended = start(program, certificates, THUMBQ_TLS_CERT_FILE=certificates.folder / "none.pem")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        2,
        f"thumbq {program}: The certificate {certificates.folder}/none.pem cannot be read: No such file or directory.",
    )


@pytest.mark.parametrize("program", ["server", "gateway"])
def test_a_certificate_without_its_key_is_refused(program, certificates):
    ended = start(program, certificates, THUMBQ_TLS_KEY_FILE="")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (
        2,
        f"thumbq {program}: THUMBQ_TLS_CERT_FILE and THUMBQ_TLS_KEY_FILE belong together: set both, or neither.",
    )


def start(program: str, certificates: Certificates, **variables: Path | str) -> subprocess.CompletedProcess[str]:
    environment = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "THUMBQ_TLS_CERT_FILE": certificates.folder / "server.pem",
        "THUMBQ_TLS_KEY_FILE": certificates.folder / "server.key",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", f"thumbq_{program}"],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_a_key_that_others_can_read_and_a_certificate_that_ends_are_warned_of(certificates, database_url, capsys):
    certificates.server(days=3)
    (certificates.folder / "server.key").chmod(0o644)
    async with running_server(database_url, **certificates.settings):
        pass
    output = capsys.readouterr().out
    assert output.count("tls.expires_soon") == 1
    assert output.count("tls.key_exposed") == 1


async def test_an_expired_certificate_is_warned_of(certificates, database_url, capsys):
    certificates.server(days=-1)
    async with running_server(database_url, **certificates.settings):
        pass
    assert capsys.readouterr().out.count("tls.expired ") == 1


async def test_a_certificate_of_the_future_is_warned_of(certificates, database_url, capsys, monkeypatch):
    monkeypatch.setattr("thumbq_runtime.tls.authority._BEFORE", timedelta(hours=-1))
    certificates.server()
    async with running_server(database_url, **certificates.settings):
        pass
    assert capsys.readouterr().out.count("tls.not_yet_valid ") == 1


async def test_a_listener_for_other_machines_without_tls_says_so_once(certificates, database_url, capsys):
    open_to_all = {"grpc_host": "0.0.0.0", "insecure": True}
    async with running_server(database_url, **open_to_all) as address:
        settings = Settings(http_port=0, http_host="0.0.0.0", server=address, insecure=True)
        async with running(settings, asyncio.Event()):
            pass
    assert capsys.readouterr().out.count("tls.off") == 2  # one of the server, and one of the gateway
    async with running_server(database_url, **open_to_all, **certificates.settings):
        pass
    assert "tls." not in capsys.readouterr().out
