"""Orders of funded accounts through the sidecars, as long as a run lasts; answers are kept."""

import contextlib
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
from eth_account.signers.local import LocalAccount

from processes import Server
from tests.history.journal import Answer
from trader import order, signed, wallet_of

WALLETS = tuple(wallet_of(number) for number in (0xA11CE, 0xB0B))
PAUSE_S = 0.5


class Traffic:
    """Trades at random. `run` in a thread of its own, until `ending` is set."""

    def __init__(self, directory: Path, seed: int, servers: Callable[[], list[Server]]) -> None:
        self._random = random.Random(f"{seed}:traffic")
        self._servers = servers
        self._file = (directory / "orders.jsonl").open("ab")
        self._resting: list[tuple[LocalAccount, int]] = []
        self.ending = Event()
        self.outcomes: dict[str, int] = {}

    def fund(self, amount: str = "10000000") -> None:
        """Money for all."""
        for wallet in WALLETS:
            while self._post(wallet, {"type": "faucet", "amount": amount}) != 200:
                time.sleep(0.1)

    def run(self) -> None:
        """For ever."""
        while not self.ending.wait(self._random.expovariate(1 / PAUSE_S)):
            wallet = self._random.choice(WALLETS)
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._post(wallet, self._action())
        self._file.close()

    def _action(self) -> dict[str, Any]:
        rng = self._random
        if self._resting and rng.random() < 0.3:
            _, oid = self._resting.pop(rng.randrange(len(self._resting)))
            return {"type": "cancel", "cancels": [{"a": 0, "o": oid}]}
        buy = rng.random() < 0.5
        mid = float(self._ask({"type": "allMids"})["TOYOTA"])
        if rng.random() < 0.3:
            px = f"{mid * (1.01 if buy else 0.99):.4g}"
            return order(px, "2.0", buy=buy, tif="Ioc")
        away = rng.uniform(0.001, 0.01)
        px = f"{mid * (1 - away if buy else 1 + away):.4g}"
        return order(px, f"{rng.randint(1, 5)}.0", buy=buy, tif=rng.choice(("Gtc", "Alo")))

    def _post(self, wallet: LocalAccount, action: dict[str, Any]) -> int:
        status, height, answer = self._exchange(json.dumps(signed(wallet, action)).encode())
        name = answer.get("status", str(status))
        self.outcomes[name] = self.outcomes.get(name, 0) + 1
        response = answer.get("response")
        if status == 200 and isinstance(response, dict) and response["type"] == "order":
            statuses = response["data"]["statuses"]
            user = wallet.address.lower()
            self._file.write(msgspec.json.encode(Answer(user, height, statuses)) + b"\n")
            for one in statuses:
                if "resting" in one:
                    self._resting.append((wallet, one["resting"]["oid"]))
        return status

    def _exchange(self, body: bytes) -> tuple[int, int, dict[str, Any]]:
        try:
            with self._open("/exchange", body) as response:
                height = int(response.headers.get("Sidecar-Height", "0"))
                return response.status, height, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, 0, json.load(error)
        except OSError:
            return 0, 0, {}

    def _ask(self, request: dict[str, Any]) -> Any:
        with self._open("/info", json.dumps(request).encode()) as response:
            return json.load(response)

    def _open(self, path: str, body: bytes) -> Any:
        servers = self._servers()
        if not servers:
            raise OSError("nobody is there")
        request = urllib.request.Request(self._random.choice(servers).url + path, body)
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=8)
