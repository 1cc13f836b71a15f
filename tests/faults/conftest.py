"""What the faults share: one recording and its clean runs, and the stages of each family."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.recording import Recording
from tests.faults.stages import Clean, Stages


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return Recording(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="session")
def clean(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Clean]:
    """The clean run beside a kind of node, made when it is first asked for."""
    runs: dict[str, Clean] = {}

    def of(kind: str) -> Clean:
        if kind not in runs:
            runs[kind] = Clean(kind, recording, tmp_path_factory.mktemp(f"clean-{kind}"))
        return runs[kind]

    return of


@pytest.fixture(scope="module")
def stages(
    recording: Recording,
    clean: Callable[[str], Clean],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stages]:
    made = Stages(clean, recording, tmp_path_factory.mktemp("stages"))
    yield made
    made.close()
