"""The option ``-k`` of Pyro4's programs into an HMAC key, which is a poor way to give it."""

from __future__ import annotations

from pyroipc.settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["WARNING", "add_option", "chosen"]

WARNING = "Warning: HMAC key not set. Anyone can connect to this server!"
"""What servers without a key print."""


def add_option(parser: ArgumentParser, *names: str) -> None:
    """Add the option to a command line."""
    parser.add_argument(
        *(names or ("-k", "--key")),
        dest="key",
        help="the HMAC key to use (deprecated: set the environment variable PYRO_HMAC_KEY)",
    )


def chosen(options: Namespace) -> str | None:
    """Return the key that the option or the environment gives; None: neither.

    Raises:
        SystemExit: both do.
    """
    key: str | None = options.key
    if key is None:
        return config.HMAC_KEY or None
    import warnings

    warnings.warn(
        "giving the HMAC key with -k is deprecated, because everybody on this machine can read "
        "the command line; set the environment variable PYRO_HMAC_KEY instead",
        FutureWarning,
        stacklevel=3,
    )
    if config.HMAC_KEY:
        raise SystemExit("error: don't use -k and PYRO_HMAC_KEY at the same time")
    return key
