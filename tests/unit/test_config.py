"""Settings: file, environment, flags; every error names its key."""

from pathlib import Path

import pytest

from sidecar.config import keys, load_settings
from sidecar.errors import ConfigInvalid
from sidecar.settings import Settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sidecar.toml"
    path.write_text(text)
    return path


def test_defaults_are_valid() -> None:
    assert load_settings(None, {}, {}) == Settings()


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nport = 1\nhost = "file"\n[source]\npath = "file"\n')
    environment = {"SIDECAR_SERVER_PORT": "2", "SIDECAR_SERVER_HOST": "env"}
    settings = load_settings(path, environment, {"server.port": "3"})
    assert (settings.server.port, settings.server.host) == (3, "env")
    assert settings.source.path == "file"


def test_every_key_can_be_set_from_text(tmp_path: Path) -> None:
    texts = {bool: "true", int: "7", float: "0.5", str: "x"}
    for key in keys():
        text = key.choices[-1] if key.choices else texts[key.type]
        text = {"skip_rules": "band,margin", "trusted_proxies": "10.0.0.0/8,unix", "cpus": "1"}.get(
            key.name, text
        )
        settings = load_settings(None, {key.environment: text}, {})
        value = getattr(getattr(settings, key.section), key.name)
        assert str(value).lower() == text
        assert key.description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[orders]\nskip_rules = "bandd"\n', "orders: skip_rules: there is no 'bandd'; there are"),
        (
            '[server]\ntrusted_proxies = "10.0.0.300"\n',
            "server: trusted_proxies: '10.0.0.300'",
        ),
        ("[server]\nport = 70000\n", "server.port: Expected `int` <= 65535"),
        (
            "[server]\nprt = 1\nhots = 2\n",
            "is server.host meant?; there is no setting server.prt; is server.port meant?",
        ),
        ("port = 1\n", "there is no setting port; is server.port meant?"),
        ('[source]\nkind = "eth"\n', "source.kind: Invalid enum value 'eth'"),
        ("[source\n", "sidecar.toml: "),
        ('[server]\nport = "x"\n', "server.port: Expected `int`, got `str`"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(write(tmp_path, text), {}, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        (
            {"SIDECAR_SERVER_TOKEN_FILE": "x"},
            {},
            "no setting SIDECAR_SERVER_TOKEN_FILE; is SIDECAR_SERVER_TOKENS_FILE meant?",
        ),
        ({"SIDECAR_SERVER_PORT": "x"}, {}, "SIDECAR_SERVER_PORT: server.port is a number, not 'x'"),
        (
            {},
            {"source.busy_poll": "maybe"},
            "--source-busy-poll: source.busy_poll is true or false",
        ),
        ({}, {"server.connections_max": "0"}, "server.connections_max: Expected `int` >= 1"),
    ],
)
def test_errors_name_the_flag_or_variable(
    environment: dict[str, str], flags: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(None, environment, flags)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"nowhere\.toml: no such config file"):
        load_settings(tmp_path / "nowhere.toml", {}, {})


def test_systemds_state_directory_holds_the_checkpoints_unless_another_is_set() -> None:
    def directory(environment: dict[str, str], flags: dict[str, str]) -> str | None:
        return load_settings(None, environment, flags).checkpoint.directory

    systemd = {"STATE_DIRECTORY": "/var/lib/sidecar:/var/lib/other"}
    assert directory(systemd, {}) == "/var/lib/sidecar/checkpoints"
    assert directory(systemd, {"checkpoint.directory": "/srv"}) == "/srv"
    assert directory(systemd, {"checkpoint.directory": ""}) == ""
    assert directory({}, {}) is None


def test_a_checkpoint_key_that_is_no_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="checkpoint: Expected `object`"):
        load_settings(write(tmp_path, "checkpoint = 1\n"), {"STATE_DIRECTORY": "/x"}, {})


def test_two_ports_that_are_one_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match=r"server\.port and operator\.port are both 8011"):
        load_settings(None, {}, {"server.port": "8011"})
    load_settings(None, {}, {"server.port": "8011", "operator.host": "127.0.0.2"})
    load_settings(None, {}, {"server.port": "0", "operator.port": "0"})
