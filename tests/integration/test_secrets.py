"""No secret reaches the log of a real process, at its most talkative."""

import json
import signal
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


PASSWORD = "hunter2hunter2"


def test_wherever_a_secret_is_put(tmp_path: Path, start: Start, serve: Serve) -> None:
    """Tokens and signatures where they do not belong: paths, queries, other headers, frames, a
    file of tokens that holds a token; a password in a URL of the settings. Through reloads.
    """
    ipc, tokens = tmp_path / "ipc", tmp_path / "tokens"
    start("devnet", "--path", str(ipc), "--block-ms", "100").wait_for("block|height")
    token, line = new_token("desk", "read,trade")
    lost, _ = new_token("lost", "read")
    tokens.write_text(line + "\n")
    server = serve(
        *("--source-path", str(ipc), "--server-tokens-file", str(tokens), "--log-level", "debug"),
        *("--tracing-endpoint", f"http://desk:{PASSWORD}@127.0.0.1:9/v1/traces"),
        *("--server-origins", "https://app.example"),
    )
    bearer = {"Authorization": f"Bearer {token}"}
    made = signed(wallet_of(0xA11CE), order())
    both = made["signature"]["r"] + made["signature"]["s"][2:] + "1b"
    secrets = [token, lost, PASSWORD, made["signature"]["r"], made["signature"]["s"]]
    places: list[tuple[str, dict[str, str]]] = [
        (f"/{token}", bearer),
        (f"/info?token={token}&signature={both}", {}),
        (f"/info?access_token={lost}", bearer),
        ("/info", {"Authorization": f"Bearer {token} {lost}"}),
        ("/info", {"Authorization": f"Basic {lost}"}),
        ("/info", {"Cookie": f"token={token}", "X-Api-Key": lost}),
        ("/info", bearer | {"Origin": f"https://{lost}.example"}),
        ("/info", bearer | {"Traceparent": token, "X-Forwarded-For": lost}),
        ("/info", bearer | {"Content-Type": both, "Expect": lost}),
        ("/ws", bearer | {"Sec-WebSocket-Protocol": token, "Upgrade": "websocket"}),
    ]
    for path, headers in places:
        answer = requests.post(server.url + path, both, headers=headers, timeout=10)
        assert 400 <= answer.status_code < 500
    with connect(server.ws_url, additional_headers=bearer) as client:
        for text in (
            json.dumps({"method": "subscribe", "subscription": {"type": token}}),
            json.dumps({"method": "onDisconnect", "action": made}),
            json.dumps({"method": "post", "id": 1, "request": {"type": "action", "payload": both}}),
            json.dumps(made)[:-3],
        ):
            client.send(text)
            client.recv(timeout=10)
    tokens.write_text(f"{line}\n{lost}\n")  # a token, where its hash belongs
    server.signal(signal.SIGHUP)
    server.wait_for("line 2 is not a name")
    tokens.write_text("")
    server.signal(signal.SIGHUP)
    server.wait_for('"event": "reloaded"')
    told = server.output + json.dumps(server.get("/readyz", server.operator_port)[1])
    metrics = requests.get(f"http://127.0.0.1:{server.operator_port}/metrics", timeout=10).text
    assert server.stop() == 0
    told += server.output + metrics
    assert [secret for secret in secrets if secret.removeprefix("0x") in told] == []
