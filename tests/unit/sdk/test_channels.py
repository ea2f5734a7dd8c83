"""The channels that workers of a process share."""

from contextlib import AsyncExitStack

from thumbq.working import channels
from thumbq.working.channels import Channels

SERVER = ("127.0.0.1:1", None, None)  # nothing is sent


async def test_streams_share_a_channel_until_one_of_them_leaves_it():
    some = Channels()
    async with some.join(*SERVER) as first:
        async with some.join(*SERVER) as second, some.join("127.0.0.1:2", None, None) as elsewhere:
            assert second is first
            assert elsewhere is not first
        async with some.join(*SERVER) as third, some.join(*SERVER) as fourth:
            assert third is not first
            assert fourth is third


async def test_a_channel_takes_a_limited_number_of_streams(monkeypatch):
    monkeypatch.setattr(channels, "MOST_STREAMS", 2)
    some = Channels()
    async with AsyncExitStack() as stack:
        joined = [await stack.enter_async_context(some.join(*SERVER)) for _ in range(5)]
    assert len(set(joined)) == 3


async def test_a_key_and_files_that_the_environment_names_since_are_not_those_of_before(monkeypatch, tmp_path):
    some, file = Channels(), tmp_path / "key"
    monkeypatch.delenv("THUMBQ_API_KEY", raising=False)
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(file))
    file.write_text("tq_first")
    async with some.join(*SERVER) as first:
        file.write_text("tq_second")
        async with some.join(*SERVER) as second, some.join(SERVER[0], "tq_second", None) as third:
            assert second is not first
            assert third is second
            monkeypatch.setenv("THUMBQ_CA", str(tmp_path / "ca.pem"))
            async with some.join(*SERVER) as fourth:
                assert fourth is not second
