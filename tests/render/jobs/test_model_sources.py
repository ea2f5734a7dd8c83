"""Where the reference worker finds model files."""

import hashlib
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.network.certificates import Certificates
from thumbq.render.child import RenderFailed
from thumbq.render.intake.model import Intake
from thumbq.render.jobs.model_files import ModelFolder, ModelSource, ModelUrls, model_source
from thumbq.tls import Tls

CUBE = (
    b"solid cube\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    b"endsolid\n"
)
HASH = hashlib.sha256(CUBE).hexdigest()
LIMIT = 1 << 20
ONE_TRIANGLE = 84 + 50
SECRET = "a-signature"


@pytest.mark.parametrize("name", ["7.stl", "007.stl", "7-cube.stl", "7.STL", f"{HASH}.stl", f"{HASH.upper()}.stl"])
async def test_a_file_is_found_by_its_name(tmp_path: Path, intake: Intake, name: str):
    (tmp_path / name).write_bytes(CUBE)
    (tmp_path / "77.stl").write_bytes(b"another")
    model = await ModelFolder(tmp_path).take(intake, 7, HASH)
    assert (model.name, model.format) == (name, "stl")
    assert model.path.stat().st_size == ONE_TRIANGLE


async def test_of_several_files_the_one_with_the_right_hash_is_taken(tmp_path: Path, intake: Intake):
    (tmp_path / "7-a.glb").write_bytes(b"older")
    (tmp_path / "7-b.stl").write_bytes(CUBE)
    (tmp_path / "7-c.png").write_bytes(b"a picture of it")
    assert (await ModelFolder(tmp_path).take(intake, 7, HASH.upper())).name == "7-b.stl"


@pytest.mark.parametrize(
    ("name", "content", "message", "retryable"),
    [
        ("8.stl", CUBE, "There is no file for model 7 in the folder of models.", True),
        ("7.stl", b"other", "The content of 7.stl does not have the hash that the job names.", False),
        ("7.stl", bytes(LIMIT + 1), "The model file 7.stl is larger than the limit of 1 MB.", False),
        (
            "7.png",
            CUBE,
            "The file of model 7 (7.png) is of no known format. These formats can be rendered: GLB, ",
            True,
        ),
    ],
)
async def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, intake: Intake, name: str, content: bytes, message: str, retryable: bool
):
    (tmp_path / name).write_bytes(content)
    await _refused(ModelFolder(tmp_path), intake, message, retryable)


async def test_a_folder_that_is_not_there_may_come_back(tmp_path: Path, intake: Intake):
    message = "The folder of models cannot be read: No such file or directory."
    await _refused(ModelFolder(tmp_path / "unmounted"), intake, message, retryable=True)


@asynccontextmanager
async def https_site(certificates: Certificates) -> AsyncIterator[str]:
    """The URL of a model, from a server with a private authority."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=CUBE)

    app = web.Application()
    app.router.add_get("/{model}/file.stl", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.of_server()).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/{{model_id}}/file.stl"
    finally:
        await runner.cleanup()


async def test_models_come_from_a_server_with_a_private_authority(tmp_path: Path, intake: Intake):
    certificates = Certificates(tmp_path / "tls")
    async with https_site(certificates) as url:
        model = await ModelUrls(url, Tls(certificates.ca)).take(intake, 7, HASH)
        assert model.path.stat().st_size == ONE_TRIANGLE
        with pytest.raises(RenderFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await ModelUrls(url, Tls()).take(intake, 7, HASH)


async def test_files_of_tls_are_read_again_when_they_have_changed(tmp_path: Path, intake: Intake):
    certificates, others = Certificates(tmp_path / "tls"), Certificates(tmp_path / "others")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(others.ca.read_bytes())
    async with https_site(certificates) as url:
        models = ModelUrls(url, Tls(trusted))
        await _refused(models, intake, "The model file could not be fetched", retryable=True)
        trusted.write_bytes(certificates.ca.read_bytes())
        assert (await models.take(intake, 7, HASH)).format == "stl"
        # The former stays in use while a file is being replaced.
        trusted.write_bytes(b"")
        assert (await models.take(intake, 7, HASH)).format == "stl"


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A web server with a model under two names, and all that can go wrong."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.match_info["name"]:
            case "7.stl" | "file":
                return web.Response(body=CUBE)
            case "large":
                return web.Response(body=bytes(LIMIT + 1))
            case "other":
                return web.Response(body=b"other")
            case "broken":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(CUBE)
                assert request.transport
                request.transport.close()
                return response
            case "garbage":
                assert request.transport
                request.transport.write(b"no HTTP\r\n\r\n")
                request.transport.close()
                return web.Response()
            case "away":
                raise web.HTTPFound(f"/7/garbage?sig={SECRET}")
            case "round":
                raise web.HTTPFound(f"/7/round?sig={SECRET}")
            case "nowhere":
                raise web.HTTPFound(f"ftp://models.example/?sig={SECRET}")
            case name:
                return web.Response(status=int(name))

    app = web.Application()
    app.router.add_get("/{model}/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("template", ["/{model_id}/{model_id}.stl", "/{model_id}/file?of={model_hash}"])
async def test_a_fetched_file_is_known_by_its_url_or_its_content(site: str, intake: Intake, template: str):
    model = await ModelUrls(site + template, Tls()).take(intake, 7, HASH)
    assert model.path.stat().st_size == ONE_TRIANGLE
    assert (model.format, model.path.suffix) == ("stl", ".stl")


@pytest.mark.parametrize(
    ("name", "message", "retryable"),
    [
        ("404", "The model file's server answered 404.", True),
        ("403", "The model file's server answered 403.", False),
        ("503", "The model file's server answered 503.", True),
        ("large", "The model file, with what it refers to, is larger than the limit of 1 MB.", False),
        ("other", "The content of other does not have the hash that the job names.", False),
        ("broken", "The model file could not be fetched", True),
    ],
)
async def test_a_fetch_that_fails_says_why(site: str, intake: Intake, name: str, message: str, retryable: bool):
    await _refused(ModelUrls(f"{site}/{{model_id}}/{name}", Tls()), intake, message, retryable)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("garbage", "127.0.0.1 gave an answer that is no HTTP."),
        ("broken", "127.0.0.1 gave a broken answer."),
        ("away", "127.0.0.1 gave an answer that is no HTTP."),
        ("round", "127.0.0.1 redirects too often."),
        ("nowhere", "127.0.0.1 redirects to an address that cannot be used."),
    ],
)
async def test_no_failure_tells_an_address(site: str, intake: Intake, name: str, message: str):
    template = f"{site.replace('//', f'//reader:{SECRET}@')}/{{model_id}}/{name}?token={SECRET}"
    with pytest.raises(RenderFailed) as failure:
        await ModelUrls(template, Tls()).take(intake, 7, HASH)
    assert str(failure.value) == f"The model file could not be fetched: {message}"
    assert failure.value.retryable
    assert SECRET not in "".join(traceback.format_exception(failure.value))


async def test_a_file_is_fetched_through_the_proxy_of_the_environment(
    site: str, intake: Intake, monkeypatch: pytest.MonkeyPatch
):
    """The site stands in for a proxy, which is asked for the whole URL of a host that only it knows."""
    monkeypatch.setenv("http_proxy", site)
    monkeypatch.setenv("no_proxy", "queue.invalid")
    model = await ModelUrls("http://models.invalid/{model_id}/7.stl", Tls()).take(intake, 7, HASH)
    assert model.path.stat().st_size == ONE_TRIANGLE
    direct = ModelUrls("http://queue.invalid/{model_id}/7.stl", Tls())
    await _refused(direct, intake, "The model file could not be fetched", retryable=True)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    await _refused(ModelUrls("http://models.invalid/{model_id}/7.stl", Tls()), intake, "", retryable=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "LOCALHOST"])
async def test_no_proxy_is_asked_for_a_file_on_this_machine(
    site: str, intake: Intake, monkeypatch: pytest.MonkeyPatch, host: str
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    here = site.replace("127.0.0.1", host)
    assert (await ModelUrls(f"{here}/{{model_id}}/7.stl", Tls()).take(intake, 7, HASH)).format == "stl"


async def test_a_server_that_is_away_may_come_back(intake: Intake, unused_tcp_port: int):
    source = ModelUrls(f"http://127.0.0.1:{unused_tcp_port}/{{model_id}}", Tls())
    await _refused(source, intake, "The model file could not be fetched", retryable=True)


def test_the_source_is_a_folder_or_a_url_for_each_model(tmp_path: Path):
    assert isinstance(model_source(str(tmp_path)), ModelFolder)
    assert isinstance(model_source("https://models.example/{model_hash}"), ModelUrls)
    with pytest.raises(ValueError, match="names the same file for every model"):
        model_source("https://models.example/one.glb")
    with pytest.raises(ValueError, match="neither a folder nor"):
        model_source("ftp://models.example/{model_id}")


async def _refused(source: ModelSource, intake: Intake, message: str, retryable: bool) -> None:
    with pytest.raises(RenderFailed) as refusal:
        await source.take(intake, 7, HASH)
    assert str(refusal.value).startswith(message)
    assert refusal.value.retryable is retryable
