"""The flag `--yielding`, of all commands that edit photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dnnlib.errors import UserError
from inversion.commands.options import check_finite

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from networks.latents import Latents

yielding_option = click.option(
    "--yielding",
    type=click.FloatRange(min=0),
    callback=check_finite,
    help="How far an encoder's features yield to the network's own where an edit moves what they show; 0: not at all, "
    "as published.  [default: 1]",
)


def yielding_of(value: float | None, inverter: Inverter, codes: str | None = None) -> float:
    """Return how far features yield; raise UserError for a value that nothing has features for.

    `codes` is a folder of stored codes, which may have features that the inverter does not find; `require_features`
    looks at those.
    """
    from inversion.directions.following import YIELDING

    if value is not None and inverter.kind != "feature-style" and codes is None:
        raise _no_features(value)
    return YIELDING if value is None else value


def require_features(value: float | None, latents: Latents) -> None:
    """Raise UserError for a value with codes that have no features."""
    if value is not None and latents.features is None:
        raise _no_features(value)


def _no_features(value: float) -> UserError:
    return UserError(
        f"--yielding={value:g} has no effect, as there are no features to yield; leave it out, or give an encoder of "
        "kind feature-style"
    )
