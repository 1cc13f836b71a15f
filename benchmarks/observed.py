"""What being looked at costs: the time from the node's write to a client's read, without anybody
who scrapes metrics and with ten scrapes a second, alternating in the same run.

    python benchmarks/observed.py [--rounds 6] [--blocks 150] [--clients 1]

Also what one scrape takes of the event loop, as the time from request to answer of an idle sidecar
holds it, and how many series there are. Ratios are what to quote.
"""

import argparse
import http.client
import multiprocessing
import socket
import statistics
import time
from multiprocessing.synchronize import Event

from latency import measure
from sidecar.app import App
from sidecar.settings import Settings
from sidecar.telemetry.metrics import render

_context = multiprocessing.get_context("spawn")
_INTERVAL_S = 0.1


def scrape(port: int, stop: Event) -> None:
    """Ten times a second, until told."""
    due = time.monotonic()
    while not stop.is_set():
        due += _INTERVAL_S
        time.sleep(max(due - time.monotonic(), 0))
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/metrics")
            assert connection.getresponse().read()
            connection.close()
        except OSError:
            continue  # not there yet, or gone


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def latencies(clients: int, blocks: int, *, scraped: bool) -> list[float]:
    """Of each block, in us."""
    port = free_port()
    stop = _context.Event()
    scraper = _context.Process(target=scrape, args=(port, stop), daemon=True)
    if scraped:
        scraper.start()
    try:
        return measure(clients, blocks, busy_poll=False, operator_port=port)[0]
    finally:
        stop.set()
        if scraped:
            scraper.join()


def rendering_ms() -> tuple[float, int]:
    """What a page takes, and its series."""
    samples = App(Settings()).parts.samples
    for _ in range(20):
        page, _ = render(samples(), "text/plain")
    began = time.perf_counter()
    for _ in range(200):
        page, _ = render(samples(), "text/plain")
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    return (time.perf_counter() - began) / 200 * 1e3, series


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=150)
    parser.add_argument("--clients", type=int, default=1)
    options = parser.parse_args()
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(options.rounds):
        for scraped in (False, True) if turn % 2 else (True, False):
            times[scraped] += latencies(options.clients, options.blocks, scraped=scraped)
    cuts = {one: statistics.quantiles(times[one], n=100, method="inclusive") for one in times}
    for name, at in (("p50", 49), ("p99", 98)):
        alone, watched = cuts[False][at], cuts[True][at]
        print(
            f"{name}: {alone:.0f} us alone, {watched:.0f} us with 10 scrapes a second: "
            f"{watched / alone:.2f}"
        )
    ms, series = rendering_ms()
    print(f"a page of {series} series: {ms:.2f} ms")


if __name__ == "__main__":
    main()
