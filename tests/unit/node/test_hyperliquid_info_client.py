"""The client of a node's info server: every way in which there is no answer has its sentence."""

import contextlib

import anyio
import pytest
from anyio.abc import SocketStream

from info_peer import free_port, http, info_peer, says, stays_silent
from sidecar.errors import ConfigInvalid, NodeUnreachable
from sidecar.node.hyperliquid import InfoAnswer, InfoClient

pytestmark = pytest.mark.anyio

REQUEST = b'{"type": "exchangeStatus"}'


async def ask(url: str, *, timeout_s: float = 5.0, bytes_max: int = 1000) -> InfoAnswer:
    return await InfoClient(url).post(REQUEST, timeout_s=timeout_s, answer_bytes_max=bytes_max)


async def test_an_answer_comes_back_as_it_is() -> None:
    async with info_peer(says(http(200, b'{"time": 1}'))) as peer:
        assert await ask(peer.url) == InfoAnswer(200, "application/json", b'{"time": 1}')
        assert peer.requests == [{"type": "exchangeStatus"}]


async def test_an_error_is_an_answer_too() -> None:
    async with info_peer(says(http(500, b"no state yet", "text/plain"))) as peer:
        answer = await ask(peer.url)
    assert answer == InfoAnswer(500, "text/plain", b"no state yet")
    assert answer.text() == "no state yet"


async def test_an_answer_in_pieces_and_chunks() -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = (head[:9], head[9:50], head[50:], b"3\r\n[1,\r\n", b"2\r\n2]\r\n0\r\n\r\n")
    async with info_peer(says(*parts)) as peer:
        assert (await ask(peer.url)).body == b"[1,2]"


async def test_an_answer_that_the_end_of_the_connection_ends() -> None:
    async with info_peer(says(b"HTTP/1.0 200 OK\r\n\r\nnull")) as peer:
        assert (await ask(peer.url)).body == b"null"


async def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}/info"
    with pytest.raises(NodeUnreachable, match=f"info server at {url} can't be reached") as raised:
        await ask(url)
    assert not raised.value.timeout


async def test_no_answer_in_time() -> None:
    async with info_peer(stays_silent) as peer:
        with pytest.raises(NodeUnreachable, match=r"gave no answer in 0\.05 s") as raised:
            await ask(peer.url, timeout_s=0.05)
    assert raised.value.timeout


@pytest.mark.parametrize(
    "text",
    [b"", b"HTTP/1.1 200 OK\r\nConte", http(200, b"0123456789")[:-1], b"SSH-2.0-x\r\n\r\n"],
)
async def test_an_answer_that_is_cut_or_not_http(text: bytes) -> None:
    async with info_peer(says(text)) as peer:
        with pytest.raises(NodeUnreachable, match=r"gave a broken answer|broke the connection"):
            await ask(peer.url)


async def test_an_answer_that_is_too_long() -> None:
    async with info_peer(says(http(200, b"x" * 1000))) as peer:
        assert len((await ask(peer.url, bytes_max=1000)).body) == 1000
        with pytest.raises(NodeUnreachable, match="an answer of more than 999 bytes"):
            await ask(peer.url, bytes_max=999)


async def test_an_answer_without_end_is_not_read_without_end() -> None:
    async def endless(stream: SocketStream, body: bytes) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(anyio.BrokenResourceError):  # once we hang up
            while True:
                await stream.send(b"x" * 1000)

    async with info_peer(endless) as peer:
        with pytest.raises(NodeUnreachable, match="an answer of more than 5000 bytes"):
            await ask(peer.url, bytes_max=5000)


@pytest.mark.parametrize("path", ["", "/"])
async def test_the_path_may_be_left_out(path: str) -> None:
    async with info_peer(says(http(200, b"null"))) as peer:
        assert (await ask(peer.url.removesuffix("/info") + path)).status == 200


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:3001", "https://127.0.0.1:3001/info", "http://", "http://h:99999/info"),
        *("http://user@h/info", "http://h/info?x", "http://[::1/info", "http://hö/info"),
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"source.info_url: .*it is such as http://127"):
        InfoClient(url)
