"""Names that no setting has: each with the one that may be meant."""

import pytest

from sidecar.config import keys
from sidecar.misspelt import misspelt_keys, misspelt_variables, nearest

KEYS = [key.dotted for key in keys()]
VARIABLES = [key.environment for key in keys()]


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"server": {"prt": 1}}, [("server.prt", "server.port")]),
        ({"servr": {"port": 1}}, [("servr.port", "server.port")]),
        ({"port": 1}, [("port", "server.port")]),
        ({"server": {"kind": "native"}}, [("server.kind", "source.kind")]),
        ({"checkpoints": {"directory": "/"}}, [("checkpoints.directory", "checkpoint.directory")]),
        ({"xyz": {"qwertz": 1}}, [("xyz.qwertz", None)]),
        ({"sauce": {}}, [("sauce", None)]),
        ({"server": 1}, []),  # it is known; that it is no section is said elsewhere
        ({"server": {"port": 1, "host": "x"}, "orders": {}}, []),
        ({"server": {"z": 1, "a": {"b": 1}}}, [("server.a", None), ("server.z", None)]),
    ],
)
def test_keys_of_a_file(tree: dict[str, object], told: list[tuple[str, str | None]]) -> None:
    assert misspelt_keys(tree, KEYS) == told


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SIDECAR_SERVER_PRT", "SIDECAR_SERVER_PORT"),
        ("SIDECAR_TOKENS_FILE", "SIDECAR_SERVER_TOKENS_FILE"),
        ("SIDECAR_SERVER_TOKENSFILE", "SIDECAR_SERVER_TOKENS_FILE"),
        ("SIDECAR_X", None),
    ],
)
def test_variables(name: str, near: str | None) -> None:
    environment = dict.fromkeys((*VARIABLES, "PATH", "MY_SIDECAR_X", name), "1")
    assert misspelt_variables(environment, VARIABLES) == [(name, near)]


def test_what_kubernetes_tells_of_a_service_is_no_setting_of_ours() -> None:
    told = {
        "SIDECAR_SERVICE_HOST": "10.0.0.11",
        "SIDECAR_SERVICE_PORT": "8010",
        "SIDECAR_SERVICE_PORT_HTTP": "8010",
        "SIDECAR_PORT": "tcp://10.0.0.11:8010",
        "SIDECAR_PORT_8010_TCP": "tcp://10.0.0.11:8010",
        "SIDECAR_PORT_8010_TCP_PROTO": "tcp",
        "SIDECAR_PORT_8010_TCP_PORT": "8010",
        "SIDECAR_PORT_8010_TCP_ADDR": "10.0.0.11",
    }
    assert not misspelt_variables(told, VARIABLES)


def test_what_is_said() -> None:
    told = misspelt_keys({"server": {"prt": 1}, "qwertz": {"xyzzy": 1}}, KEYS)
    assert list(map(str, told)) == [
        "there is no setting qwertz.xyzzy; sidecar serve --help lists all",
        "there is no setting server.prt; is server.port meant?",
    ]


def test_nothing_is_near_to_nothing() -> None:
    assert nearest("--server-prt", ["--server-port", "--log-level"]) == "--server-port"
    assert nearest("--qq", ["--server-port"]) is None
