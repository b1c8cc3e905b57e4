"""Questions to a cluster of etcd: which node is asked, for how long, and what if it fails.

A cluster has several nodes, any of which answers for all. One is asked until it fails; then the
next one. A question is asked until somebody answers it or the time is over: while the cluster
elects a leader (one or two seconds), no node answers. So a question may be asked twice though it
was heard the first time, and whoever asks for a change must not mind.

The client is etcd3gw: JSON over HTTP, through *requests*. What it does not do is done here:

* Its time-out is one for connecting and one for each pause in the answer. So an attempt gets half
  of the time that a node may take, and that is the time that is left, shared by the nodes that
  have not been tried in this round.
* A session of *requests* belongs to one thread at a time, so there is a stock of them.
* Its errors are of two libraries, and tell in HTTP's terms what etcd said.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from time import monotonic

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import (
    ConnectionFailedError,
    ConnectionTimeoutError,
    Etcd3Exception,
    InternalServerError,
)

from pyroipc import logs
from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from pyroipc.location import Location

__all__ = ["Cluster", "RefusedError"]

_ROOM: Final = "/v3/"  # of the API, since etcd 3.4; earlier versions are no longer maintained
_LEAST_SECONDS: Final = 0.05  # an attempt that has less time is none
_PAUSE_SECONDS: Final = 0.1  # after all nodes failed, such as during an election
_PASSING = (  # it may be different in a moment, or at another node
    ConnectionFailedError, ConnectionTimeoutError, InternalServerError, requests.RequestException
)  # fmt: skip


class RefusedError(Exception):
    """The cluster has understood a question, and says no."""


class Cluster:
    """The nodes of a cluster, and the connections to them. Any thread may ask.

    Args:
        nodes: where they listen for clients.
        timeout: seconds that deadlines usually allow; for the texts of errors.
    """

    def __init__(self, nodes: Sequence[Location], timeout: float) -> None:
        self._nodes = tuple(nodes)
        self._timeout = timeout
        self._preferred = 0  # the number of the node that answered last
        self._stock: tuple[deque[Etcd3Client], ...] = tuple(deque() for _ in self._nodes)
        self._closed = threading.Event()

    def __str__(self) -> str:
        return f"etcd:{','.join(map(str, self._nodes))}"

    def ask(self, path: str, question: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Ask one question; any node may answer it.

        Args:
            path: what is asked for, such as ``kv/range``.
            question: the JSON that etcd's documentation describes.
            deadline: absolute, by the monotonic clock.

        Raises:
            NamingError: nobody answered in time, or the storage is closed.
            RefusedError: the cluster says no.
        """
        failures: dict[int, str] = {}
        while True:
            first = self._preferred
            for turn in range(len(self._nodes)):
                number = (first + turn) % len(self._nodes)
                left = deadline - monotonic()
                if left < _LEAST_SECONDS:
                    raise NamingError(self._silence(failures))
                share = left / (len(self._nodes) - turn) / 2
                try:
                    answer = self._ask_node(number, path, question, share)
                except _PASSING as error:
                    failures[number] = _said(error)  # its traceback would hold the socket
                else:
                    self._prefer(number, failures)
                    return answer
            self._closed.wait(min(_PAUSE_SECONDS, max(0.0, deadline - monotonic())))

    def close(self) -> None:
        """Close all connections that nobody uses; the others when they are given back."""
        self._closed.set()
        for stock in self._stock:
            while stock:
                stock.pop().session.close()

    def _ask_node(
        self, number: int, path: str, question: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        if self._closed.is_set():
            raise NamingError(f"the storage {self} is closed; open it again")
        try:
            client = self._stock[number].pop()
        except IndexError:
            client = self._connected(self._nodes[number])
        client.timeout = seconds
        try:
            answer: dict[str, Any] = client.post(client.get_url(path), json=question)
        except _PASSING:
            client.session.close()
            raise
        except Etcd3Exception as error:
            self._give_back(number, client)
            raise RefusedError(_said(error)) from error
        except BaseException:
            client.session.close()
            raise
        self._give_back(number, client)
        return answer

    def _connected(self, node: Location) -> Etcd3Client:
        client = Etcd3Client(node.host or "", node.port or 0, api_path=_ROOM)
        client.session.trust_env = False  # a proxy for the web does not lead to the cluster
        return client

    def _give_back(self, number: int, client: Etcd3Client) -> None:
        self._stock[number].append(client)
        if self._closed.is_set():
            self.close()

    def _prefer(self, number: int, failures: dict[int, str]) -> None:
        former = self._preferred
        if number != former and former in failures:  # else another thread has changed it
            self._preferred = number
            logs.get("naming").warning(
                "etcd at %s does not answer; %s is asked from now on: %s",
                self._nodes[former],
                self._nodes[number],
                failures[former],
            )

    def _silence(self, failures: dict[int, str]) -> str:
        reasons = "; ".join(
            f"{self._nodes[number]}: {reason}" for number, reason in sorted(failures.items())
        )
        return (
            f"the storage {self} did not answer within {self._timeout:g} s; "
            f"look whether most of its nodes run and reach each other ({reasons or 'not tried'})"
        )


def _said(error: Exception) -> str:
    """Return what etcd said, or what happened on the way to it."""
    detail = getattr(error, "detail_text", None)
    if detail:
        try:
            return str(json.loads(detail)["error"])[:500]
        except (ValueError, KeyError, TypeError):
            return str(detail)[:500]
    return f"{error}"[:500] or type(error).__name__
