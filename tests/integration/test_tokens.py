"""Where not everybody may come in: bearer tokens, over HTTP and WebSocket, and what makes them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import requests
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from rig import Node, sidecar_of
from sidecar.errors import ConfigInvalid
from sidecar.server.tokens import read_tokens

pytestmark = pytest.mark.anyio


def token(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "sidecar", "token", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def post(url: str, headers: dict[str, str]) -> requests.Response:
    asked = {"type": "serverInfo"}
    return await anyio.to_thread.run_sync(
        lambda: requests.post(url, json=asked, headers=headers, timeout=20)
    )


async def ask(websocket: Any, **request: Any) -> Any:
    await websocket.send(json.dumps(request))
    return json.loads(await websocket.recv())


async def test_who_may_read_and_who_may_trade(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    reader = token("eye", "--scopes", "read", "--file", str(file)).stdout.strip()
    trader = token("desk", "--file", str(file)).stdout.strip()
    assert file.stat().st_mode & 0o777 & ~0o040 == 0o600  # hashes; the service's group may read
    assert reader not in file.read_text()
    with Node(tmp_path / "ipc") as node:
        node.step(3)
        async with sidecar_of(node, server__tokens_file=str(file)) as sidecar:
            exchange = sidecar.info_url.replace("/info", "/exchange")
            nobody = await post(sidecar.info_url, {})
            assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
            for header in ("Bearer nonsense", f"Basic {reader}", f"Bearer {reader} {reader}"):
                refused = await post(sidecar.info_url, {"Authorization": header})
                assert refused.status_code == 401
            assert (await post(sidecar.info_url, bearer(reader))).status_code == 200
            refused = await post(exchange, bearer(reader))
            assert (refused.status_code, refused.json()["msg"]) == (
                403,
                "the token 'eye' may not trade",
            )
            assert (await post(exchange, bearer(trader))).status_code == 422  # it is no action
            with pytest.raises(InvalidStatus, match="401"):
                await connect(sidecar.ws_url).__aenter__()
            action = {"type": "action", "payload": {}}
            async with connect(sidecar.ws_url, additional_headers=bearer(reader)) as websocket:
                answer = await ask(websocket, method="post", id=1, request=action)
                payload = answer["data"]["response"]["payload"]
                assert payload == "403: the token 'eye' may not trade"
                answer = await ask(websocket, method="onDisconnect", action={})
                assert answer == {"channel": "error", "data": "the token 'eye' may not trade"}
            async with connect(sidecar.ws_url, additional_headers=bearer(trader)) as websocket:
                answer = await ask(websocket, method="post", id=1, request=action)
                assert answer["data"]["response"]["payload"].startswith("422: ")


def test_the_command_and_the_file(tmp_path: Path) -> None:
    made = token("desk", "--scopes", "trade")
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n\n{made.stderr}")
    assert read_tokens(file)
    assert token("two words").returncode == 1
    assert "scopes are read, trade" in token("desk", "--scopes", "fly").stderr
    for line in ("desk read", f"desk fly {'0' * 64}", f"desk read {'0' * 63}"):
        file.write_text(f"# ours\n{line}\n")
        with pytest.raises(ConfigInvalid, match="line 2 is not a name, scopes"):
            read_tokens(file)
    with pytest.raises(ConfigInvalid, match="can't read"):
        read_tokens(tmp_path / "none")
