"""QC-StyleGAN from Python: `import qc_stylegan as qc; net = qc.load("cats")`; and the command `qc-stylegan`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qc_stylegan.place import make_importable

make_importable()

from dnnlib.errors import UserError  # noqa: E402 - found by what stands above
from dnnlib.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from qc_stylegan.network import Network

__all__ = ["UserError", "__version__", "load"]


def load(
    location: str | os.PathLike,
    device: str | None = None,
    encoder: str | os.PathLike | None = None,
    tuning_steps: int | None = None,
) -> Network:
    """Return a network; see `qc_stylegan.network.Network` for the arguments and for what it can do.

    Raises UserError, one sentence, where there is none.
    """
    from qc_stylegan.network import Network
    from qc_stylegan.wording import errors_in_python

    chosen = None if encoder is None else os.fspath(encoder)
    return errors_in_python(Network)(os.fspath(location), device, chosen, tuning_steps)
