"""The pristine model of NIQE, a Gaussian over the features of sharp photos: fit, read and write it."""

import io
import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dnnlib.arrays import read_arrays
from dnnlib.errors import UserError, counted
from dnnlib.files import replace_file
from dnnlib.limits import NIQE_BYTES
from dnnlib.reading import open_file, read_bytes
from metrics.niqe.statistics import NUM_FEATURES, PUBLISHED_BLOCK, SMALLEST_BLOCK, block_features, check_block

SHARP_SHARE = 0.75  # T of the paper: blocks are used above this share of the image's greatest sharpness
LEAST_BLOCKS = NUM_FEATURES + 1  # fewer blocks have a singular covariance
# Names of mean and covariance: our own, those of the authors' .mat, and those of files of other programs.
NAMES = (
    ("mean", "covariance"),
    ("mu_prisparam", "cov_prisparam"),
    ("pop_mu", "pop_cov"),
    ("mu_pris_param", "cov_pris_param"),
)

Arrays = Mapping[str, np.ndarray]  # arrays by name


@dataclass(frozen=True, eq=False)
class PristineModel:
    """A Gaussian over the features of blocks.

    Attributes:
        mean: mean of the features, float64 `[36]`, on the CPU.
        covariance: covariance of the features, float64 `[36, 36]`, symmetric.
        block: side of the blocks in pixels; images are measured in blocks of this size.
        source: origin of the model, for the record of a result.
    """

    mean: Tensor
    covariance: Tensor
    block: int
    source: str

    def __post_init__(self) -> None:
        assert self.mean.shape == (NUM_FEATURES,), f"mean of shape {list(self.mean.shape)}"
        assert self.covariance.shape == (NUM_FEATURES, NUM_FEATURES), f"covariance {list(self.covariance.shape)}"
        assert self.mean.dtype == self.covariance.dtype == torch.float64, "a model is in double precision"


def fit_gaussian(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit one Gaussian to each `[B, D]` of `[..., B, D]`, whose rows are samples.

    As in the authors' program, the mean of a feature is that of its values without NaN, and only rows without any NaN
    enter the covariance, which is divided by their number less one. One such row has covariance zero.

    Returns: mean `[..., D]` (NaN where there is no number), covariance `[..., D, D]`, complete rows `[...]`.
    """
    complete = ~features.isnan().any(-1, keepdim=True)  # [..., B, 1]
    count = complete.sum(-2)  # [..., 1]
    rows = torch.where(complete, features, 0.0)  # [..., B, D]
    centered = torch.where(complete, rows - (rows.sum(-2) / count.clamp(min=1)).unsqueeze(-2), 0.0)
    covariance = centered.mT @ centered / (count - 1).clamp(min=1).unsqueeze(-1)  # [..., D, D]
    return features.nanmean(-2), covariance, count.squeeze(-1)


def fit_pristine(
    image_batches: Iterable[Tensor], block: int = PUBLISHED_BLOCK, source: str = "fitted"
) -> PristineModel:
    """Fit a model to sharp, undistorted photos, of which only the blocks in focus are used.

    Args:
        image_batches: batches of photos, uint8 `[N, C, H, W]`, gray or RGB; sizes may differ between batches. Only the
            36 features of each block stay in memory.
        block: side of a block in pixels, even and at least 16.
        source: origin of the photos.

    Raises UserError when the images are smaller than a block, or have too few blocks in all.
    """
    check_block(block)
    rows, num_images = [torch.empty(0, NUM_FEATURES, dtype=torch.float64)], 0
    for images in image_batches:
        features, sharpness = block_features(images, block)  # [N, B, 36], [N, B]
        in_focus = sharpness > SHARP_SHARE * sharpness.amax(1, keepdim=True)
        rows.append(features[in_focus].cpu())
        num_images += len(images)
    mean, covariance, count = fit_gaussian(torch.cat(rows))
    if count < LEAST_BLOCKS:
        raise UserError(
            f"there are {counted(int(count), 'sharp block')} of {block}x{block} px in {counted(num_images, 'image')}, "
            f"a pristine model needs {LEAST_BLOCKS}; give more or larger photos, or a smaller --block"
        )
    return PristineModel(mean, covariance, block, source)


def read_pristine(path: str | os.PathLike) -> PristineModel:
    """Read a model that `write_pristine` wrote, or a published one, whose blocks are 96 px.

    Published models are the authors' `.mat` (`mu_prisparam`, `cov_prisparam`), another `.mat` (`pop_mu`, `pop_cov`) and
    an `.npz` (`mu_pris_param`, `cov_pris_param`); what an array is, its name tells in either. No code in a file is run.

    Raises UserError for a file that is missing, damaged, or anything else.
    """
    path = Path(path)
    arrays = _load(path, _reader(path))
    names = next((names for names in NAMES if any(name in arrays for name in names)), None)
    if names is None:
        raise UserError(f"{path} holds no pristine model; give one that was fitted here, or NIQE's published one")
    mean = _numbers(path, arrays, names[0], NUM_FEATURES)
    covariance = _numbers(path, arrays, names[1], NUM_FEATURES * NUM_FEATURES).unflatten(0, (NUM_FEATURES, -1))
    _check_covariance(path, covariance)
    return PristineModel(mean, covariance, _block(path, arrays), _source(path, arrays))


def write_pristine(path: str | os.PathLike, model: PristineModel) -> None:
    """Write a model as `.npz`, in one step; raise UserError for another suffix, or when it cannot be written."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise UserError(f"a pristine model cannot be written to {path}; choose a name that ends in .npz")
    with replace_file(path) as temporary, open(temporary, "wb") as file:  # numpy would add .npz to a path
        np.savez(
            file,
            mean=model.mean.numpy(),
            covariance=model.covariance.numpy(),
            block=np.int64(model.block),
            source=np.str_(model.source),
        )


def _reader(path: Path) -> Callable[[Path], Arrays]:
    readers = {".npz": _read_npz, ".mat": _read_mat}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no pristine model; give a file that ends in .npz or .mat")
    return readers[path.suffix.lower()]


def _read_npz(path: Path) -> Arrays:
    return read_arrays(path, NIQE_BYTES)


def _read_mat(path: Path) -> Arrays:
    from scipy.io import loadmat  # here, since every command would wait for its import

    return loadmat(io.BytesIO(read_bytes(path, NIQE_BYTES)), variable_names=list(itertools.chain(*NAMES)))


def _load(path: Path, read: Callable[[Path], Arrays]) -> Arrays:
    open_file(path, NIQE_BYTES, "check the path").close()
    try:
        return read(path)
    except Exception as error:  # damaged archives raise nearly anything
        raise UserError(f"{path} is damaged or no pristine model; copy or download it again") from error


def _numbers(path: Path, arrays: Arrays, name: str, count: int) -> Tensor:
    """Return a named array as float64 `[count]`."""
    array = arrays.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.size != count:
        raise UserError(f"{name} in {path} is not {count} plain numbers; give NIQE's pristine model, of 36 features")
    numbers = torch.from_numpy(array.astype(np.float64).flatten())
    if not numbers.isfinite().all():
        raise UserError(f"{name} in {path} holds NaN or infinity; copy or download the file again")
    return numbers


def _check_covariance(path: Path, covariance: Tensor) -> None:
    tolerance = 1e-6 * covariance.abs().max()
    if (covariance - covariance.mT).abs().max() > tolerance or torch.linalg.eigvalsh(covariance)[0] < -tolerance:
        raise UserError(f"the covariance in {path} is not symmetric and positive; copy or download the file again")


def _block(path: Path, arrays: Arrays) -> int:
    block = arrays.get("block", np.array(PUBLISHED_BLOCK))
    if block.dtype.kind not in "iu" or block.size != 1 or block.item() < SMALLEST_BLOCK or block.item() % 2:
        raise UserError(f"block in {path} is no even number from {SMALLEST_BLOCK} on; copy or download the file again")
    return block.item()


def _source(path: Path, arrays: Arrays) -> str:
    source = arrays.get("source")
    return str(source) if source is not None and source.dtype.kind == "U" else path.name
