"""`thumbq tls` makes certificates that clients and servers accept."""

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from thumbq.cli import app

# Ends as soon as it has put the first of its files in place.
KILLED = """
import os, signal, sys
from pathlib import Path
from thumbq_runtime.tls.authority import Authority
replace = Path.replace
def replace_and_end(path, target):
    replace(path, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = replace_and_end
Authority(Path(sys.argv[1]))
"""


def tls(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["tls", "--folder", str(folder), *options], env={"COLUMNS": "300"})


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def test_openssl_accepts_the_certificates_for_their_names_alone(tmp_path: Path) -> None:
    made = tls(tmp_path, "--host", "queue.example", "--host", "10.0.0.5", "--client", "render-1")
    assert made.exit_code == 0, made.output
    server, client, ca = (tmp_path / name for name in ("server.pem", "render-1.pem", "ca.pem"))
    strict: list[str | Path] = ["verify", "-x509_strict", "-CAfile", ca]
    openssl(*strict, "-purpose", "sslserver", "-verify_hostname", "queue.example", server)
    openssl(*strict, "-purpose", "sslserver", "-verify_ip", "10.0.0.5", server)
    openssl(*strict, "-purpose", "sslserver", "-verify_hostname", "localhost", server)
    openssl(*strict, "-purpose", "sslclient", client)
    assert "CN=render-1" in openssl("x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", client)
    for purpose, certificate in (("sslclient", server), ("sslserver", client)):
        with pytest.raises(subprocess.CalledProcessError):
            openssl(*strict, "-purpose", purpose, certificate)
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*strict, "-purpose", "sslserver", "-verify_hostname", "other.example", server)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    tls(folder, "--client", "render-1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert {modes[name] for name in ("ca.key", "server.key", "render-1.key")} == {0o600}
    assert modes["new"] == 0o700
    assert set(modes) == {
        "new",
        *(f"{name}.{kind}" for name in ("ca", "server", "render-1") for kind in ("pem", "key")),
    }


def test_run_again_it_keeps_the_authority_and_renews_the_rest(tmp_path: Path) -> None:
    tls(tmp_path)
    authority, first = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    tls(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() != first
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")


def test_an_authority_that_was_made_in_part_is_made_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    made = tls(tmp_path)
    assert made.exit_code == 0, made.output
    openssl("verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "server.pem")


def test_it_says_which_settings_name_the_files(tmp_path: Path) -> None:
    said = tls(tmp_path, "--client", "ci").stdout
    for line in (
        f"THUMBQ_TLS_CERT_FILE={tmp_path}/server.pem",
        f"THUMBQ_TLS_KEY_FILE={tmp_path}/server.key",
        f"THUMBQ_TLS_CLIENT_CA_FILE={tmp_path}/ca.pem",
        f"THUMBQ_CA={tmp_path}/ca.pem",
        f"THUMBQ_CERT={tmp_path}/ci.pem",
        f"THUMBQ_KEY={tmp_path}/ci.key",
    ):
        assert line in said


@pytest.mark.parametrize("name", ["ca", "server", "../ci", "", "a b", "x" * 65])
def test_a_name_that_is_no_clients_is_refused(tmp_path: Path, name: str) -> None:
    refused = tls(tmp_path, "--client", name)
    assert refused.exit_code == 1
    assert "cannot be the name of a client" in refused.stderr


def test_a_folder_with_a_broken_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("no key")
    (tmp_path / "ca.pem").write_text("no certificate")
    refused = tls(tmp_path)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("thumbq: The certificates cannot be made: ")
