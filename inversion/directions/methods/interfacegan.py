"""InterFaceGAN (Shen et al., Interpreting the Latent Space of GANs for Semantic Face Editing, CVPR 2020)."""

from collections.abc import Callable, Mapping, Sequence

import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError
from generation.rendering import synthesize
from generation.sampling import noise_of_seeds
from inversion.directions.direction import Direction, normalise
from inversion.directions.search import Search
from inversion.directions.seed_labels import SeedLabels
from inversion.directions.w_samples import sample_w, std_along
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.linear_classifier import LinearClassifier

FEWEST = 10  # least number of samples at either end
HELD_OUT = 0.3  # share of the ends on which the boundary's accuracy is measured


def find(G: Generator, search: Search) -> list[Direction]:
    """Return for each scorer and each file of labels the normal of the boundary between the ends of its scores.

    The normal points to higher scores. `details["accuracy"]` is the boundary's accuracy on ends that it was not fitted
    to, 0.5 by chance.

    Raises UserError where there are too few samples, or all have the same score.
    """
    if not (search.scorers or search.labels):
        raise UserError("InterFaceGAN needs to know what to look for; give --scorer=NAME or --labels=FILE")
    labels = dict(search.labels)
    if search.scorers:
        labels |= score_seeds(G, search.scorers, range(search.samples), search.class_index, search.batch)
    return [_direction(G, name, scores, search) for name, scores in labels.items()]


@torch.no_grad()
def score_seeds(
    G: Generator,
    scorers: Mapping[str, Callable[[Tensor], Tensor]],
    seeds: range,
    class_index: int | None = None,
    batch: int = 32,
) -> dict[str, SeedLabels]:
    """Return the scores of the sharp images of seeds, by scorer."""
    scores: dict[str, list[float]] = {name: [] for name in scorers}
    for start in tqdm.tqdm(range(0, len(seeds), batch), desc="scores", unit="batch", disable=None):
        part = seeds[start : start + batch]
        ws = sample_w(G, part, class_index)[:, None].expand(-1, G.num_ws, -1)
        images = synthesize(G, Latents(ws), noise_of_seeds(G, part))
        for name, scorer in scorers.items():
            scores[name] += scorer(images).tolist()
    return {name: SeedLabels(list(seeds), values) for name, values in scores.items()}


def boundary(w: Tensor, scores: Tensor, ends: float, name: str) -> tuple[Tensor, float]:
    """Return the unit normal `[w_dim]` of the boundary between low and high scores, and its accuracy.

    Args:
        w: sampled w, float32 `[N, w_dim]`, on the CPU.
        scores: scores `[N]`. If they have only two values, these are the classes, and all samples are used.
        ends: share of the samples at either end.
        name: name of the scores, for errors.
    """
    low, high = (scores.quantile(share).item() for share in (ends, 1 - ends))
    if len(scores.unique()) == 2:
        low, high = scores.min().item(), scores.max().item()
    if low == high:
        raise UserError(
            f"the scores of {name} hardly differ from each other; choose another scorer, or a larger --ends"
        )
    is_end = (scores <= low) | (scores >= high)  # [N]
    w = w[is_end]  # [ends, w_dim]
    labels = (scores[is_end] >= high).long()  # [ends]
    fewest = min(labels.sum().item(), (1 - labels).sum().item())
    if fewest < FEWEST:
        raise UserError(f"{name} has {fewest} samples at one end, needs at least {FEWEST}; take more samples")
    held_out = torch.arange(len(w)) % 10 < 10 * HELD_OUT
    classifier = LinearClassifier(w[~held_out], labels[~held_out], 2)
    negative, positive = classifier.normals()
    return normalise(positive - negative), classifier.accuracy(w[held_out], labels[held_out])


def project_out(vector: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return a unit vector `[w_dim]` without its parts along others, so that what they change stays (section 3.2)."""
    if not others:
        return vector
    basis, sizes, _ = torch.linalg.svd(torch.stack(list(others), dim=1).double(), full_matrices=False)
    basis = basis[:, sizes > 1e-6 * sizes[0]]  # [w_dim, rank]
    rest = vector.double() - basis @ (basis.T @ vector.double())  # [w_dim]
    if rest.norm() < 1e-3 * vector.double().norm():
        raise UserError("the direction lies wholly in those that it must be without; leave one of them out")
    return normalise(rest)


def _direction(G: Generator, name: str, labels: SeedLabels, search: Search) -> Direction:
    """Return the direction that changes scores called `name`."""
    scores = torch.tensor(labels.scores, dtype=torch.float64)  # [N]
    if len(scores) == 0 or not torch.isfinite(scores).all():
        raise UserError(f"the scores of {name} are none, or not all finite numbers; choose another scorer")
    w = sample_w(G, labels.seeds, search.class_index).cpu()  # [N, w_dim]
    vector, accuracy = boundary(w, scores, search.ends, name)
    for other in search.without:
        other.check_fits(G)
    vector = project_out(vector, [_vector_in_w(other).cpu() for other in search.without])
    details = {"accuracy": accuracy, "samples": len(scores), "without": [other.name for other in search.without]}
    full_name = "-without-".join([name, *(other.name for other in search.without)])
    return Direction(vector, std_along(vector, w), full_name, "interfacegan", search.layers, details=details)


def _vector_in_w(direction: Direction) -> Tensor:
    """Return the vector `[w_dim]` of a direction in W; raise UserError for a direction in W+."""
    if direction.vector.ndim != 1:
        raise UserError(f"direction {direction.name} has a row for each w, and here it takes one; give one in W")
    return direction.vector
