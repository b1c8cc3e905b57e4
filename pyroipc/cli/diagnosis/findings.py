"""What an examination found: one finding for each step, and the exit status of all of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyroipc.errors import PyroError

OK = "ok"
WARNING = "warning"
FAILED = "failed"

WELL = 0
"""Calls work, though there may be warnings."""
WRONG_HERE = 1
"""The URI or the settings of this end are wrong."""
NOT_REACHED = 3
"""Nobody can be reached at the address, or there is no such address."""
NO_CONVERSATION = 4
"""Something answers, but does not talk to us."""
NO_CALLS = 5
"""The daemon talks to us, but the object cannot be called."""

_LONGEST = 600


class Finding:
    """What was found at one step.

    Args:
        step: the name of the step.
        status: ``"ok"``, ``"warning"`` or ``"failed"``.
        text: what was found.
        advice: what can be done about it.
        facts: the same as data, for programs; plain values that JSON has.
    """

    __slots__ = ("advice", "facts", "status", "step", "text")

    def __init__(
        self,
        step: str,
        status: str,
        text: str,
        advice: Iterable[str],
        facts: dict[str, Any],
    ) -> None:
        self.step = step
        self.status = status
        self.text = harmless(text)
        self.advice = [harmless(line) for line in advice if line]
        self.facts = facts

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            name: getattr(self, name) for name in ("step", "status", "text", "advice", "facts")
        }


class Findings:
    """What an examination has found so far.

    Args:
        subject: the text of the URI that is examined; None: none is, but what URIs need.
    """

    def __init__(self, subject: str | None) -> None:
        self.subject = subject
        self.found: list[Finding] = []
        self.exit_status = WELL
        """What the command ends with."""
        self.by_hand: list[str] = []
        """What one end cannot find out, for people to look at."""

    def add(self, finding: Finding, exit_status: int) -> None:
        """Add a finding of another examination.

        Args:
            finding: what was found.
            exit_status: what the command ends with, if that is a failure and the first one.
        """
        self.found.append(finding)
        if finding.status == FAILED:
            self.exit_status = self.exit_status or exit_status

    def ok(self, step: str, text: str, **facts: Any) -> None:
        """Note that a step went well."""
        self.found.append(Finding(step, OK, text, (), facts))

    def warn(self, step: str, text: str, *advice: str, **facts: Any) -> None:
        """Note that a step went well here and now, but not everywhere or for ever."""
        self.found.append(Finding(step, WARNING, text, advice, facts))

    def fail(self, step: str, exit_status: int, text: str, *advice: str, **facts: Any) -> None:
        """Note that a step failed. The first failure decides about the exit status."""
        self.found.append(Finding(step, FAILED, text, advice, facts))
        self.exit_status = self.exit_status or exit_status

    def fail_by(
        self, step: str, exit_status: int, error: Exception, *advice: str, **facts: Any
    ) -> None:
        """Note that a step failed with an error of ours; its text says why."""
        text, hint = told(error)
        self.fail(step, exit_status, text, hint, *advice, error=type(error).__name__, **facts)

    def check_by_hand(self, *lines: str) -> None:
        """Add what people should look at."""
        self.by_hand += [harmless(line) for line in lines]

    @property
    def n_warnings(self) -> int:
        """How many warnings there are."""
        return sum(finding.status == WARNING for finding in self.found)

    @property
    def status(self) -> str:
        """The worst of all."""
        if self.exit_status:
            return FAILED
        return WARNING if self.n_warnings else OK

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "uri": self.subject,
            "status": self.status,
            "exit_status": self.exit_status,
            "steps": [finding.as_dict() for finding in self.found],
            "check_by_hand": list(self.by_hand),
        }


def told(error: PyroError | Exception) -> tuple[str, str]:
    """Take the text of an error apart: what happened, and what can be done about it."""
    text, _, advice = (str(error) or type(error).__name__).partition("; ")
    return text, advice


def harmless(text: str) -> str:
    """Return a text that can be printed: what the other end sends must not steer a terminal."""
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text[: 2 * _LONGEST]
    )
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
