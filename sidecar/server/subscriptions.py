"""The topics that one client reads."""

from sidecar.api.messages import Reply
from sidecar.api.requests import Subscribe, Unsubscribe
from sidecar.api.topics import Topic
from sidecar.errors import Limited, RequestInvalid
from sidecar.limits import TOPICS_MAX
from sidecar.server.outgoing import Outgoing
from sidecar.server.resumptions import Resumptions
from sidecar.server.services import Services


class Subscriptions:
    """Of one connection."""

    def __init__(self, services: Services, outgoing: Outgoing) -> None:
        self._services = services
        self._outgoing = outgoing
        self._topics: dict[Topic, None] = {}
        self._resumptions = Resumptions(services, outgoing)

    def end(self) -> None:
        """The client has gone."""
        self._resumptions.cancel_all()
        for topic in self._topics:
            self._leave(topic)
        self._topics.clear()
        self._outgoing.end()

    def subscribe(self, request: Subscribe) -> None:
        """Answers, sends what the topic begins with, and what comes from then on. Raises
        `RequestInvalid`.
        """
        services = self._services
        topic = services.channels.resolve(request.subscription)
        limit = services.settings.subscriptions_per_connection
        if topic in self._topics:
            raise RequestInvalid(f"already subscribed: {topic.name}")
        if len(self._topics) >= limit:
            raise RequestInvalid(f"a connection may have {limit} subscriptions")
        self._check_room(topic)
        resume = request.resume if topic.resumable else None
        try:
            services.unread_snapshots.check(self._outgoing.address)
            if resume is not None:
                services.query_time.check(self._outgoing.address, comes_back=True)
                self._take(topic, request)
                self._resumptions.resume(topic, resume.height)
                return
            with services.query_time.of(self._outgoing.address):
                self._take(topic, request)
                services.hub.subscribe(self._outgoing, topic)
                self._outgoing.send_snapshot(topic)
        except Limited as error:
            raise RequestInvalid(f"{error} Try again later: {topic.name}") from None

    def _check_room(self, topic: Topic) -> None:
        """What every client needs is had by all, whatever others have asked for."""
        hub = self._services.hub
        if hub.uncommon >= TOPICS_MAX and not topic.common and not hub.reads(topic):
            raise RequestInvalid("this server has too many distinct subscriptions; try again later")

    def _take(self, topic: Topic, request: Subscribe) -> None:
        services, address = self._services, self._outgoing.address
        services.topic_shares.take(address, topic, services.settings.topics_per_ip)
        self._topics[topic] = None
        self._respond("subscribe", topic, request.subscription)

    def unsubscribe(self, request: Unsubscribe) -> None:
        """Answers; what waits of the topic is dropped. Raises `RequestInvalid`."""
        topic = self._services.channels.resolve(request.subscription)
        if topic not in self._topics:
            raise RequestInvalid(f"not subscribed: {topic.name}")
        del self._topics[topic]
        self._resumptions.cancel(topic)
        self._leave(topic)
        self._outgoing.drop(topic)
        self._respond("unsubscribe", topic, request.subscription)

    def _leave(self, topic: Topic) -> None:
        self._services.hub.unsubscribe(self._outgoing, topic)
        self._services.topic_shares.give_back(self._outgoing.address, topic)

    def _respond(self, method: str, topic: Topic, asked: dict[str, object]) -> None:
        """Echoes what was asked for, as far as it means something."""
        known = ("type", *topic.channel.parameters.__struct_encode_fields__)
        subscription = {name: asked[name] for name in known if name in asked}
        response = {"method": method, "subscription": subscription}
        self._outgoing.reply(Reply("subscriptionResponse", response))
