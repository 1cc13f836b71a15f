"""`sidecar watch`: with a token, over TLS, and what it says where it is not let in."""

import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream
from anyio.streams.tls import TLSListener

from proxy_processes import Certificate, make_certificate, program
from rig import Node, sidecar_of
from test_tokens import token

pytestmark = pytest.mark.anyio


async def watch(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, and what it says: two messages at most."""
    command = (sys.executable, "-m", "sidecar", "watch", *arguments, "--count", "2")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=60
        )

    done = await anyio.to_thread.run_sync(run)
    return done.returncode, done.stdout, done.stderr


@asynccontextmanager
async def in_tls(port: int, certificate: Certificate) -> AsyncIterator[int]:
    """The port of a proxy that speaks TLS in front of that one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)

    async def serve(client: ByteStream) -> None:
        server = await anyio.connect_tcp("127.0.0.1", port)
        async with client, server, anyio.create_task_group() as tasks:
            tasks.start_soon(copy, client, server)
            await copy(server, client)
            tasks.cancel_scope.cancel()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    secure = TLSListener(listener, context, standard_compatible=False)
    async with secure, anyio.create_task_group() as tasks:
        tasks.start_soon(secure.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def copy(source: ByteReceiveStream, target: ByteSendStream) -> None:
    with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):  # one has gone
        async for part in source:
            await target.send(part)


async def test_a_token_lets_in(tmp_path: Path) -> None:
    own = tmp_path / "token"
    given = token("eye", "--scopes", "read", "--file", str(tmp_path / "tokens")).stdout
    own.write_text(given)
    with Node(tmp_path / "ipc") as node:
        node.step(3)
        async with sidecar_of(node, server__tokens_file=str(tmp_path / "tokens")) as sidecar:
            where = ("blocks", "--url", sidecar.ws_url)
            code, _, said = await watch(*where)
            assert code == 1
            assert "refused with status 401: a token is needed" in said
            assert "--token-file" in said
            code, _, said = await watch(*where, "--token", "nonsense")
            assert (code, "refused with status 401: this token is not known" in said) == (1, True)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(steps, node)
                for flags, stdin in (
                    (("--token-file", str(own)), ""),
                    (("--token-file", "-"), given),
                    (("--token", given.strip()), ""),
                ):
                    code, shown, said = await watch(*where, *flags, stdin=stdin)
                    assert (code, said) == (0, "")
                    assert shown.count('"channel":"blocks"') == 2
                tasks.cancel_scope.cancel()


async def steps(node: Node) -> None:
    while True:
        node.step()
        await anyio.sleep(0.05)


@pytest.mark.skipif(program("openssl") is None, reason="openssl is not installed")
async def test_over_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with Node(tmp_path / "ipc") as node:
        node.step(3)
        async with sidecar_of(node) as sidecar, anyio.create_task_group() as tasks:
            tasks.start_soon(steps, node)
            port = int(sidecar.ws_url.rsplit(":", 1)[1].partition("/")[0])
            async with in_tls(port, certificate) as secure:
                where = ("blocks", "--url", f"wss://127.0.0.1:{secure}/ws")
                code, shown, said = await watch(*where, "--ca-file", str(certificate.cert))
                assert (code, said) == (0, "")
                assert shown.count('"channel":"blocks"') == 2
                code, _, said = await watch(*where)
                assert code == 1
                assert "no certificate that is trusted: self-signed certificate; --ca-file" in said
            code, _, said = await watch("blocks", "--url", f"wss://127.0.0.1:{port}/ws")
            assert (code, f"no server at wss://127.0.0.1:{port}/ws: " in said) == (1, True)
            tasks.cancel_scope.cancel()


async def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    code, _, said = await watch("--token-file", missing)
    assert (code, f"ConfigInvalid: --token-file: {missing}: No such" in said) == (1, True)
    code, _, said = await watch("--ca-file", missing)
    assert (code, f"ConfigInvalid: --ca-file: {missing}: No such" in said) == (1, True)
    code, _, said = await watch("--token-file", "-", stdin="\n")
    assert (code, "a token is one line of ASCII" in said) == (1, True)
