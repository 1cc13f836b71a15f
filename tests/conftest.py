"""What all tests share."""

import os
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "suite",
    max_examples=100,
    deadline=None,  # a timing is never an assertion
    derandomize=True,  # the suite is deterministic; `--hypothesis-profile=explore` looks further
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "explore", parent=settings.get_profile("suite"), derandomize=False, max_examples=2000
)
settings.register_profile(  # a failure is a failure: it need not be a small one
    "mutants", parent=settings.get_profile("suite"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("suite")

# Else each process that a test starts compiles the whole product anew, which takes half a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def captured() -> Path:
    """The captured mainnet blocks, which are not part of the project."""
    path = SHARED / "fixtures" / "hyperliquid" / "btc-2026-05-05"
    if not path.is_dir():
        pytest.skip("the captured Hyperliquid files (../shared/fixtures) are not here")
    return path


@pytest.fixture(scope="session")
def captured_data(captured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captured blocks, unpacked: a node's data directory."""
    directory = tmp_path_factory.mktemp("captured")
    (archive,) = captured.glob("by_block*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 has it
        tar.extractall(directory)
    return directory / "hl" / "data"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run as the product does."""
    return "asyncio", {"use_uvloop": True}
