"""A trader on the development chain's own socket, with the official SDK's signatures."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import sign_l1_action

from sidecar.devnet.execution.markets import MARKETS
from sidecar.node.submission import (
    Answer,
    RecordStream,
    Request,
    decode_answer,
    encode_request,
)

_META = {
    "universe": [{"name": market.symbol, "szDecimals": market.sz_decimals} for market in MARKETS]
}


class Submitter:
    """A connection to `submit.sock`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._records = RecordStream(1 << 24)
        self._asked = 0
        self.heights: list[int] = []

    def send(self, body: bytes) -> int:
        """An action on its way; its id."""
        self._asked += 1
        self._connection.sendall(encode_request(Request(self._asked, time.time_ns(), body)))
        return self._asked

    def answer(self) -> Answer:
        """The next answer, whichever it is of."""
        while (payload := self._records.next_payload()) is None:
            data = self._connection.recv(1 << 16)
            assert data, "the node closed the connection"
            self._records.feed(data)
        return decode_answer(payload)

    def post(self, payload: Any) -> Any:
        """An action and its answer, as the exchange endpoint gives it."""
        number = self.send(msgspec.json.encode(payload))
        answer = self.answer()
        assert answer.request_id == number
        self.heights.append(answer.height)
        return {"status": "ok" if answer.ok else "err", "response": answer.response}

    def faucet(self, wallet: LocalAccount, amount: str = "10000000") -> Any:
        """Money to begin with."""
        action = {"type": "faucet", "amount": amount}
        nonce = time.time_ns() // 1_000_000
        signature = sign_l1_action(wallet, action, None, nonce, None, False)
        return self.post({"action": action, "nonce": nonce, "signature": signature})

    def client(self, wallet: LocalAccount) -> Exchange:
        """The official client; what it posts goes over the socket."""
        no_spot: dict[str, Any] = {"universe": [], "tokens": []}
        client = Exchange(wallet, "http://testnet.invalid", meta=_META, spot_meta=no_spot)
        client.post = lambda _path, payload: self.post(payload)
        return client


@contextmanager
def submitting(path: Path) -> Iterator[Submitter]:
    """A connection, once the node listens."""
    deadline = time.monotonic() + 20
    with socket.socket(socket.AF_UNIX) as connection:
        while True:
            try:
                connection.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline, f"nobody listens on {path}"
                time.sleep(0.02)
        connection.settimeout(20)
        yield Submitter(connection)
