"""Keeps one market's book from `bookDelta` and checks every message. Needs: pip install websockets.

python docs/book_delta_client.py ws://127.0.0.1:8010/ws TOYOTA
"""

import contextlib
import json
import sys
import time
import zlib

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


class Book:  # apply() raises ValueError where a message is missing or the book is wrong
    def __init__(self):
        self.bids, self.asks, self.height = {}, {}, 0  # px -> (sz, n), as texts and int

    def apply(self, message):
        data, prev = message["data"], message["prev"]
        if data.get("snapshot"):
            self.bids, self.asks = {}, {}
        elif prev is not None and not prev <= self.height < message["height"]:
            raise ValueError(f"have {self.height}, got {message['height']} after {prev}")
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            side.update((px, (sz, n)) for px, sz, n in levels if n)
            for px in [px for px, _, n in levels if not n]:
                del side[px]
        self.height = message["height"]
        bids = sorted(self.bids, key=float, reverse=True)[:10]
        best = ((self.bids, bids), (self.asks, sorted(self.asks, key=float)[:10]))
        text = "|".join(",".join("%s:%s:%d" % (px, *side[px]) for px in pxs) for side, pxs in best)
        if zlib.crc32(text.encode()) != data["checksum"]:
            raise ValueError(f"the book is wrong at height {self.height}")


def follow(url, coin, book):
    request = {"method": "subscribe", "subscription": {"type": "bookDelta", "coin": coin}}
    while True:
        try:
            with connect(url, max_size=None) as websocket:
                websocket.send(json.dumps(request))
                for message in map(json.loads, websocket):
                    if message["channel"] == "error":
                        sys.exit(message["data"])
                    if message["channel"] == "bookDelta":  # behind a "gap" comes a new snapshot
                        book.apply(message)
                        yield book
        except (WebSocketException, OSError, ValueError, AssertionError) as error:
            # AssertionError: from websockets 17, where a server closes while connect() is busy
            print("coming back after", error, file=sys.stderr)
            book.height = 0 if isinstance(error, ValueError) else book.height
            time.sleep(1)
        request["resume"] = {"height": book.height} if book.height else None


def main():
    for book in follow(*sys.argv[1:3], Book()):
        bid, ask = max(book.bids, key=float, default="-"), min(book.asks, key=float, default="-")
        print(f"height {book.height}  {bid} / {ask}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main()
