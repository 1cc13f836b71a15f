"""The pages of an operator port, as `sidecar status` reads them."""

import pytest

from sidecar.cli.operator_client import OperatorClient, Sample, parse_metrics
from sidecar.cli.status_view import describe
from sidecar.errors import ConfigInvalid

PAGE = r"""# HELP sidecar_connections open connections
# TYPE sidecar_connections gauge
sidecar_connections{kind="websocket"} 7.0
sidecar_connections{kind="http"} 1.0
sidecar_subscribers{channel="l2Book"} 5
sidecar_subscribers{channel="trades"} 0
sidecar_orders_total{outcome="refused_by_chain"} 2.0
sidecar_checkpoint_age_seconds 61.2
sidecar_checkpoint_bytes 1.048576e+06
sidecar_log_lines_lost_total 3.0
sidecar_build_info{python="3.11.7",version="a \"b\""} 1
"""
READY = {"ready": True, "height": 7, "feed": {"state": "live", "reason": ""}}


def test_samples_are_read_by_name() -> None:
    found = parse_metrics(PAGE)
    assert found["sidecar_connections"] == [
        Sample({"kind": "websocket"}, 7.0),
        Sample({"kind": "http"}, 1.0),
    ]
    assert found["sidecar_checkpoint_bytes"] == [Sample({}, 1 << 20)]
    assert "HELP" not in str(found)


def test_what_was_counted_is_shown() -> None:
    assert list(describe(READY, parse_metrics(PAGE)))[4:] == [
        "clients      7 websocket, 1 http; 5 subscriptions",
        "             5 l2Book",
        "orders       2 refused by chain",
        "written      61 s ago, 1.0 MiB",
        "log          3 lines could not be written",
        r"version      a \"b\", Python 3.11.7",
    ]


def test_what_is_withheld_is_shown_with_its_reason() -> None:
    told = READY | {
        "markets": {"served": 4, "withheld": {"SONY": "another size"}},
        "accounts": {"withheld": 2},
    }
    lines = list(describe(told, {}))
    assert "markets      4 served" in lines
    assert "             SONY is withheld: another size" in lines
    assert "accounts     2 withheld" in lines


@pytest.mark.parametrize("place", ["8011", "host:", ":8011", "host:port"])
def test_a_place_is_host_and_port_or_a_path(place: str) -> None:
    with pytest.raises(ConfigInvalid, match="HOST:PORT or unix:PATH"):
        OperatorClient(place)
