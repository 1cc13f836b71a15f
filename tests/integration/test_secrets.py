"""No secret reaches the log of a real process, at its most talkative."""

import json
from pathlib import Path

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from processes import Serve, Start
from sidecar.server.tokens import new_token
from test_workers import until
from trader import order, signed, wallet_of


def test_orders_tokens_and_bad_requests(tmp_path: Path, start: Start, serve: Serve) -> None:
    ipc, tokens = tmp_path / "ipc", tmp_path / "tokens"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    token, line = new_token("desk", "read,trade")
    tokens.write_text(line + "\n")
    flags = ("--server-tokens-file", str(tokens), "--log-level", "debug")
    server = serve("--source-path", str(ipc), *flags)
    bearer = {"Authorization": f"Bearer {token}"}
    alice = wallet_of(0xA11CE)
    secrets = [token, alice.key.hex()]
    money = {"type": "faucet", "amount": "10000000"}
    for action in (money, order(), {"type": "nonsense"}):
        made = signed(alice, action)
        secrets += [made["signature"]["r"], made["signature"]["s"]]
        body = json.dumps(made)
        url = f"{server.url}/exchange"
        assert requests.post(url, body, headers=bearer, timeout=10).status_code in (200, 422)
        assert requests.post(url, body[:-5], headers=bearer, timeout=10).status_code == 422
    wrong = {"Authorization": "Bearer not-this-one"}
    assert requests.post(f"{server.url}/info", "{}", headers=wrong, timeout=10).status_code == 401
    assert requests.get(f"{server.url}/ws?token={token}", timeout=10).status_code in (400, 401, 426)
    with pytest.raises(InvalidStatus), connect(server.ws_url + f"?token={token}"):
        pass
    with connect(server.ws_url, additional_headers=bearer) as client:
        made = signed(alice, order(sz="3"))
        secrets += [made["signature"]["r"], made["signature"]["s"]]
        request = {"type": "action", "payload": made}
        client.send(json.dumps({"method": "post", "id": 1, "request": request}))
        assert json.loads(client.recv(timeout=10))["channel"] == "post"
    until(lambda: server.output.count('"event": "order"') >= 3)
    told = server.output
    assert server.stop() == 0
    assert '"connection": ' in told
    for secret in (*secrets, "not-this-one"):
        assert secret.removeprefix("0x") not in told
