"""Section 4.8 of the paper: how much of the content a quality code changes, for networks that inject it differently."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.config import require
from dnnlib.errors import UserError, counted
from dnnlib.files import sha256
from evaluation.inverted_photos import quantize
from evaluation.tables.table import Table, number
from generation.quality_codes import seed_code
from generation.sampling import ws_of_seeds
from metrics.distances.content import content_correlation, strongly_blurred
from metrics.pairs import load_measure
from metrics.weights.directory import WeightsDirectory
from networks.describe import quality_of
from networks.files import load
from torch_utils.distributed import World
from torch_utils.precision import with_float64

COLUMNS = ("distance of twins", "of two seeds", "correlation of twins", "of two seeds")


@dataclass(frozen=True)
class MismatchOptions:
    """The content of the table.

    Attributes:
        seeds: number of images, each seen through a code of its own.
        measure: name of the perceptual distance.
        weights: directory of its weights.
        batch: images at once.
    """

    seeds: int
    measure: str
    weights: WeightsDirectory
    batch: int = 16

    def __post_init__(self) -> None:
        require(self.seeds >= 2, "--seeds", self.seeds, "at least 2")


def content_mismatch_table(world: World, networks: Sequence[str], options: MismatchOptions) -> Table:
    """Return the table, a row for each network; raise UserError for a plain one.

    Twins `G(w, 0)` and `G(w, q)` are compared behind the same strong blur, where degradations of one image are alike.
    The same of images of two seeds says what a distance of no common content is.
    """
    found = {network: _measure(world, network, options) for network in networks}
    rows = [
        [each["name"], each["injection"], *(number(value, 3) for value in each["values"])] for each in found.values()
    ]
    return Table(
        name="content-mismatch",
        title="Section 4.8. Content that a quality code changes",
        columns=["network", "injection", *COLUMNS],
        rows=rows,
        notes=[
            f"{counted(options.seeds, 'image')}, each with a quality code of its own; "
            f"{options.measure} behind a strong blur."
        ],
        numbers={"networks": list(found.values()), "measure": options.measure, "seeds": options.seeds},
    )


@torch.no_grad()
def _measure(world: World, network: str, options: MismatchOptions) -> dict[str, Any]:
    G = load(network, world.device)
    quality = quality_of(G)
    if quality is None or G.config.quality is None:
        raise UserError(f"--network={network} is plain, without the quality code that this needs; give a QC network")
    compare = load_measure(options.measure, options.weights, with_float64(world.device)).compare
    sharp, degraded = [], []
    for first in range(0, options.seeds, options.batch):
        seeds = range(first, min(first + options.batch, options.seeds))
        codes = [torch.as_tensor(seed_code(seed, G.q_dim), dtype=torch.float32).reshape(1, -1) for seed in seeds]
        ws, q = ws_of_seeds(G, seeds), torch.cat(codes).to(world.device)
        sharp.append(quantize(G.synthesis(ws, noise_mode="const")))
        degraded.append(quantize(G.synthesis(ws, q, noise_mode="const")))
    a, b = torch.cat(sharp), torch.cat(degraded)  # uint8 [seeds, C, R, R]
    pairs = {"twins": b, "others": b.roll(1, 0)}
    near, far = (strongly_blurred(each) for each in pairs.values())
    blurred = strongly_blurred(a)
    distances = [compare(blurred, other).mean().item() for other in (near, far)]
    correlations = [content_correlation(a, other).mean().item() for other in pairs.values()]
    return {
        "name": network,
        "sha256": sha256(network),
        "injection": G.config.quality.injection,
        "values": [*distances, *correlations],
    }
