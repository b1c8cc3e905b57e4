"""What parent and child have in common before the child exists: two pairs and the first call."""

from __future__ import annotations

from time import monotonic

from pyroipc.client.session import Session
from pyroipc.client.sharing import open_channel
from pyroipc.process import lifeline
from pyroipc.protocol.calls import read_refusal
from pyroipc.protocol.remote_errors import load_error
from pyroipc.server.daemon import DAEMON_NAME
from pyroipc.transports import descriptors
from pyroipc.transports.trust import own_pair_peer
from pyroipc.wire.message import ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.process.child import Recipe
    from pyroipc.settings import Settings


class Order:
    """The first call to a child: ``start`` of its daemon makes the object.

    It goes its own way because it may be sent before there is a child, and because it is pickled
    whatever calls will use: it carries a class.

    Args:
        session: the session to the child, over which nothing was sent yet.
    """

    __slots__ = ("_codec", "_request_id", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self._codec = session.codecs.get("pickle")
        self._request_id = 0

    def send(self, *recipe: Any, deadline: float | None = None) -> None:
        """Send the call.

        Args:
            recipe: what the child is to call, and with what; nothing if it knows.
            deadline: absolute, for the sending.

        Raises:
            SerializeError: the recipe cannot be pickled.
            MessageTooLargeError: it is too large.
            ConnectionClosedError: the child has ended.
            TimeoutError: the deadline passed.
        """
        session, codec = self.session, self._codec
        self._request_id = session.next_id()
        payload = codec.dumps_call(DAEMON_NAME, "start", recipe, None)
        data = codec.request(self._request_id, payload)
        session.check_size(data)
        session.post(data, deadline)

    def result(self, recipe: Recipe, timeout: float | None) -> dict[str, Any]:
        """Wait until the object is made; return its id and its metadata.

        Args:
            recipe: what to send if nothing was sent yet.
            timeout: in seconds; None: as long as the making of the object takes.

        Raises:
            PyroError: the child cannot be reached or died, or did not answer in time, or the
                recipe cannot be sent.
            Exception: what the making of the object raised; it has a ``_pyroTraceback``.
        """
        session, codec = self.session, self._codec
        deadline = None if timeout is None else monotonic() + timeout
        session.open(deadline)
        if not self._request_id:
            self.send(*recipe, deadline=deadline)
        channel = session.channel
        # Looking for the answer would only take the CPU from the child, which has a lot to do.
        spin, channel.spin = channel.spin, None
        try:
            answer = session.exchange(self._request_id, [], deadline)
        finally:
            channel.spin = spin
        if answer.flags & ERROR:
            refused = not answer.serializer_id
            error = read_refusal(answer.payload) if refused else None
            raise error or load_error(answer.payload, codec.serializer)
        facts: dict[str, Any] = codec.serializer.loads(answer.payload)  # type: ignore[assignment]
        return facts


class Birth:
    """The pairs of a child that is about to be started, and the parent's session over one of them.

    A context manager, held from the making of the pairs until the child has its ends: then the
    parent's copies are closed, and no fork in another thread came in between. If the child could
    not be started, the parent's ends are closed as well.

    As much as possible is made before the child, and what it is to read is sent already. After a
    fork every page of memory that is written to has to be copied first.
    """

    __slots__ = ("far", "life", "near", "order", "our_life", "session")

    def __init__(self, settings: Settings) -> None:
        self.near, self.far = descriptors.make_pair()
        try:
            self.our_life, self.life = descriptors.make_pair()
            try:
                lifeline.prepare(self.life)
                channel = open_channel(self.near, own_pair_peer(), settings, owned=True)
                self.session = Session(channel, settings)
                self.order = Order(self.session)
            except BaseException:
                self.life.close()
                descriptors.close(self.our_life)
                raise
        except BaseException:
            self.far.close()
            descriptors.close(self.near)
            raise

    def theirs(self) -> list[socket.socket]:
        """Return the ends of the child."""
        return [self.far, self.life]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.far.close()
        self.life.close()
        if exc_type is not None:
            descriptors.close(self.near)
            descriptors.close(self.our_life)
