"""The command line, before any command runs."""

import subprocess
import sys

import pytest

from sidecar.cli.main import main


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (("serve", "--server-prt", "1"), "--server-prt 1; is --server-port meant?"),
        (("doctor", "--chekpoint-directory=/x"), "=/x; is --checkpoint-directory meant?"),
        (("watch", "--dept", "3", "--cuont=3"), "--cuont=3; is --count meant?"),
        (("status", "--qwertz"), "unrecognized arguments: --qwertz"),
    ],
)
def test_a_misspelt_flag_is_named_with_the_one_that_may_be_meant(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], end: str
) -> None:
    assert said(capsys, *arguments)[-1].endswith(end)


def test_the_flags_of_all_settings_do_not_bury_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(said(capsys, "serve", "--qwertz")) == 2


def test_a_command_loads_what_it_needs_alone() -> None:
    """So that `sidecar status` of a monitor or a shell answers at once."""
    code = (
        "import sys; from sidecar.cli.main import main\n"
        "try: main(['status', '--help'])\n"
        "finally: print('sidecar.app' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"
