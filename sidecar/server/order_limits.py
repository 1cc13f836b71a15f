"""How much may be asked of order entry: a bucket of each address and each account, and how many
actions of theirs may wait for their blocks.
"""

import time

from sidecar.api.orders.admission import Action
from sidecar.api.orders.buckets import Buckets
from sidecar.errors import Limited
from sidecar.limits import ORDERS_BATCH_WEIGHT
from sidecar.server.flights import Flights
from sidecar.settings import OrderSettings


class OrderLimits:
    """Each method raises `Limited` where there is too much, unless it says otherwise."""

    def __init__(self, settings: OrderSettings, flights: Flights) -> None:
        self._settings = settings
        self._flights = flights
        self._by_ip = Buckets(settings.per_s_per_ip, settings.burst_per_ip, "address")
        self._by_account = Buckets(
            settings.per_s_per_account, settings.burst_per_account, "account"
        )

    def adopt(self, settings: OrderSettings) -> None:
        """Other limits; what was used of the old ones stays used."""
        self._settings = settings
        self._by_ip.adopt(settings.per_s_per_ip, settings.burst_per_ip)
        self._by_account.adopt(settings.per_s_per_account, settings.burst_per_account)

    def may_ask(self, address: str, now: float) -> None:
        """Before anything is read: who has nothing left at all is not read."""
        self._by_ip.check(address, now)

    def take_unreadable(self, address: str, now: float) -> None:
        """What can't be read is counted, too."""
        self._by_ip.take(address, 1, now, cancel=True)

    def take_of_address(self, action: Action, address: str, now: float) -> None:
        """Once an action is read."""
        self._by_ip.take(address, _weight(action), now, cancel=action.is_cancel)

    def take_of_account(self, action: Action, account: bytes, now: float) -> None:
        """Once it is known whose it is."""
        self._by_account.take(account, _weight(action), now, cancel=action.is_cancel)

    def charge(self, action: Action, address: str, account: bytes, now: float) -> None:
        """What is sent whatever the limits say is counted, too. Raises nothing."""
        self._by_ip.charge(address, _weight(action), now)
        self._by_account.charge(account, _weight(action), now)

    def may_fly(self, action: Action, address: str, account: bytes) -> None:
        """Before it is sent. Cancels may have as many again on their way."""
        flights, settings = self._flights, self._settings
        for open_, most, whose in (
            (flights.open_by_ip.get(address, 0), settings.in_flight_per_ip, "address"),
            (flights.open_by_account.get(account, 0), settings.in_flight_per_account, "account"),
        ):
            if open_ >= (2 * most if action.is_cancel else most):
                raise Limited(f"{most} actions of this {whose} wait for their blocks.", 0.1)

    def allowance(self, account: bytes) -> tuple[int, int]:
        """Requests that an account has used of its bucket, and the bucket's size."""
        buckets = self._by_account
        return buckets.burst - buckets.left(account, time.monotonic()), buckets.burst


def _weight(action: Action) -> int:
    return 1 + action.size // ORDERS_BATCH_WEIGHT
