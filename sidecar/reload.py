"""Which settings a running process can change, on SIGHUP; all others need a restart."""

from typing import Any

import msgspec
from structlog.typing import FilteringBoundLogger

from sidecar.config import keys
from sidecar.settings import Settings
from sidecar.telemetry.logs import get_log

_log = get_log("app")

_SERVER = (
    *("connections_max", "connections_per_ip", "subscriptions_per_connection"),
    *(
        "topics_per_ip",
        "messages_per_minute",
        "query_share_per_ip",
        "outbox_bytes_max",
        "outbox_age_max_s",
        "deflate",
    ),
    *("trusted_proxies", "proxy_protocol", "origins", "tokens_file"),
    *("ping_interval_s", "pong_timeout_s"),
)
_ORDERS = (
    *("skip_rules", "per_s_per_ip", "burst_per_ip", "per_s_per_account", "burst_per_account"),
    *("in_flight_per_ip", "in_flight_per_account"),
)
RELOADABLE = frozenset(
    (
        *(f"server.{name}" for name in _SERVER),
        *(f"orders.{name}" for name in _ORDERS),
        *("log.level", "log.style", "source.stale_after_s", "source.behind_after_s"),
    )
)
"""By section and name."""


def tell_too_late() -> None:
    """The process ends: it takes nothing over any more."""
    _log.error("not reloaded", reason="it is being ended", meaning="all stays as it is")


class Reload(msgspec.Struct, frozen=True):
    """What becomes of settings that were read again."""

    settings: Settings  # that hold from now on
    changed: tuple[str, ...]  # taken over
    left: tuple[str, ...]  # these differ too, but need a restart

    def tell(self, log: FilteringBoundLogger) -> None:
        """A line of what can't be changed, if there is any, and one that it is done."""
        if self.left:
            log.warning("settings not changed", keys=self.left, meaning="they need a restart")
        log.info("reloaded", changed=self.changed)


def reload(before: Settings, read: Settings) -> Reload:
    """What of `read` a process takes over that began with `before`. O(settings)."""
    changed, left = [], []
    sections: dict[str, Any] = msgspec.structs.asdict(before)
    for key in keys():
        new = getattr(getattr(read, key.section), key.name)
        if getattr(getattr(before, key.section), key.name) == new:
            continue
        if key.dotted in RELOADABLE:
            changed.append(key.dotted)
            section = sections[key.section]
            sections[key.section] = msgspec.structs.replace(section, **{key.name: new})
        else:
            left.append(key.dotted)
    return Reload(Settings(**sections), tuple(changed), tuple(left))
