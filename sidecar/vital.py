"""Tasks without which the process is of no use: one that fails, or just returns, ends it, and says
which it was.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from sidecar.errors import SidecarError
from sidecar.telemetry.logs import get_log

_log = get_log("app")


class VitalTasks:
    """Starts them in a task group, which a failure cancels."""

    def __init__(self) -> None:
        self.deaths: Counter[str] = Counter()  # by name

    def start(
        self,
        group: TaskGroup,
        name: str,
        run: Callable[..., Awaitable[object]],
        *arguments: object,
    ) -> None:
        """`name` is what logs and metrics call it. Its deaths are counted from 0, so that the first
        one shows.
        """
        self.deaths[name] += 0
        group.start_soon(self._run, name, run, arguments, name=name)

    async def _run(
        self, name: str, run: Callable[..., Awaitable[object]], arguments: tuple[object, ...]
    ) -> None:
        try:
            await run(*arguments)
            raise RuntimeError(f"the task {name} ended by itself")  # noqa: TRY301 - told below
        except SidecarError:
            self.deaths[name] += 1
            raise  # it has a message for the operator, which the process ends with
        except Exception as error:
            self.deaths[name] += 1
            _log.error("task died", task=name, reason=f"{type(error).__name__}: {error}")
            raise
