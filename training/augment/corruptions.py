"""Image-space filtering, additive noise and cutout."""

import torch
from torch import Tensor

from training.augment.config import AugmentPipeConfig
from training.augment.draws import Draws, where_active
from training.augment.filters import along_axes, band_matrices, band_power

_BANDS = ("band0", "band1", "band2", "band3")


def augment_spectrum(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Amplify or weaken frequency bands of `images [N, C, H, W]`, keeping their expected power."""
    if config.imgfilter == 0 or not any(config.imgfilter_bands):
        return images
    return where_active(draws.active(_BANDS), equalize, images, _band_gains(draws.some(_BANDS).exp2()))


def equalize(images: Tensor, gains: Tensor) -> Tensor:
    """Scale the four frequency bands of `images [N, C, H, W]` by `gains [N, 4]`, along both axes."""
    height, width = images.shape[2:]
    bands = (band_matrices(size, images.dtype, images.device) for size in (height, width))
    rows, columns = (torch.einsum("nb,bij->nij", gains, matrices).unsqueeze(1) for matrices in bands)
    return along_axes(images, rows, columns)


def augment_noise(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Add white noise of one strength for each of `images [N, C, H, W]`."""
    if config.noise == 0:
        return images
    noise = draws.rng.randn(*images.shape[1:]).to(images)
    return where_active(draws.active(["noise"]), _add_noise, images, draws["noise"], noise)


def augment_cutout(images: Tensor, draws: Draws, config: AugmentPipeConfig) -> Tensor:
    """Set a rectangle in each of `images [N, C, H, W]` to zero; it may reach over the border."""
    if config.cutout == 0:
        return images
    return where_active(draws.active(["cutout"]), cut_out, images, draws.uniform(2), draws["cutout"])


def cut_out(images: Tensor, centre: Tensor, size: Tensor) -> Tensor:
    """Zero what is nearer to `centre [N, 2]` (x, y) than `size [N] / 2` along both axes, the image measuring 1 by 1."""
    height, width = images.shape[2:]
    near_x = _is_near(width, centre[:, 0], size)  # [N, W]
    near_y = _is_near(height, centre[:, 1], size)  # [N, H]
    return images.masked_fill((near_y[:, :, None] & near_x[:, None, :]).unsqueeze(1), 0)


def _band_gains(gains: Tensor) -> Tensor:
    """Return `[N, 4]`: each band is amplified by itself, then all are divided by what this does to the power."""
    shares = band_power(gains.dtype, gains.device)  # the other three bands have gain 1
    power = (1 + shares * (gains.square() - 1)).prod(1, keepdim=True)
    return gains / power.sqrt()


def _add_noise(images: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    return images + sigma.view(-1, 1, 1, 1) * noise


def _is_near(size: int, centre: Tensor, extent: Tensor) -> Tensor:
    position = (torch.arange(size, dtype=centre.dtype, device=centre.device) + 0.5) / size
    return (position - centre[:, None]).abs() < extent[:, None] / 2
