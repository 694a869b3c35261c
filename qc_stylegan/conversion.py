"""Images as people have them - paths, PIL, numpy, torch - to 8-bit pixels, and results back in the same form."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import PIL.Image
import torch

from dnnlib.errors import UserError
from images.convert import gray_or_rgb_pixels
from images.photos import network_input, read_photo
from images.ranges import to_uint8

Form = Literal["pil", "numpy", "tensor"]
Given = TypeVar("Given")

RANGES = (
    "give a path, a PIL image, a uint8 array [H, W, 3] or [N, H, W, 3], a float tensor [3, H, W] or [N, 3, H, W] in "
    "[-1, 1], or a list of these"
)
OVERSHOOT = 0.5  # of [-1, 1], as networks and filters have it


def pixels_of(given: Any) -> list[np.ndarray]:
    """Return images as uint8 `[H, W, 3]` each; raise UserError for what is none, and for values out of range.

    Args:
        given: path, PIL image, array, tensor, or a list of these.
    """
    if isinstance(given, (list, tuple)):
        return [pixels for item in given for pixels in pixels_of(item)]
    if isinstance(given, (str, os.PathLike)):
        return [read_photo(Path(given))]
    if isinstance(given, PIL.Image.Image):
        return [_rgb(gray_or_rgb_pixels(given))]
    if isinstance(given, np.ndarray):
        return _of_array(given)
    if isinstance(given, torch.Tensor):
        return _of_tensor(given)
    raise UserError(f"{type(given).__name__} is no image", RANGES)


def in_the_form_of(given: Given, results: Sequence[np.ndarray]) -> Given:
    """Return results uint8 `[H, W, 3]`, one for each of `pixels_of(given)`, in the form of `given`; paths become PIL.

    Tensors keep their device, and are float32.
    """
    return _to_form_of(given, iter(results))


def groups_in_the_form_of(given: Any, groups: Sequence[Sequence[np.ndarray]]) -> Any:
    """Return several results uint8 `[R, R, 3]` for each of `pixels_of(given)`: a list, an array or a tensor of them.

    Those of a batch `[N, ...]` are a list of N, as photos may have different numbers of them.
    """
    return _grouped(given, iter(groups))


def to_form(results: Sequence[np.ndarray], form: Form, device: torch.device | None = None) -> Any:
    """Return results uint8 `[H, W, 3]` as a list of PIL images, an array `[N, H, W, 3]`, or a tensor `[N, 3, H, W]`."""
    if form not in get_args(Form):
        raise UserError(f"form={form!r} is none of {', '.join(get_args(Form))}; choose one of them")
    if form == "pil":
        return [PIL.Image.fromarray(image) for image in results]
    if form == "numpy":
        return np.stack(results)
    return torch.cat([network_input(image) for image in results]).to(device or "cpu")


def _to_form_of(given: Any, results: Iterator[np.ndarray]) -> Any:
    if isinstance(given, (list, tuple)):
        return [_to_form_of(item, results) for item in given]
    if isinstance(given, np.ndarray):
        return np.stack([next(results) for _ in given]) if given.ndim == 4 else next(results)
    if isinstance(given, torch.Tensor):
        images = [next(results) for _ in given] if given.ndim == 4 else [next(results)]
        tensor = to_form(images, "tensor", given.device)
        return tensor if given.ndim == 4 else tensor[0]
    return PIL.Image.fromarray(next(results))


def _grouped(given: Any, groups: Iterator[Sequence[np.ndarray]]) -> Any:
    if isinstance(given, (list, tuple)):
        return [_grouped(item, groups) for item in given]
    if isinstance(given, (np.ndarray, torch.Tensor)):
        form: Form = "numpy" if isinstance(given, np.ndarray) else "tensor"
        device = None if isinstance(given, np.ndarray) else given.device
        parts = [to_form(next(groups), form, device) for _ in range(len(given) if given.ndim == 4 else 1)]
        return parts if given.ndim == 4 else parts[0]
    return to_form(next(groups), "pil")


def _of_array(given: np.ndarray) -> list[np.ndarray]:
    images = given[..., None] if given.ndim == 2 else given
    images = images if images.ndim == 4 else images[None]
    if given.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or images.size == 0:
        raise UserError(f"the array is {given.dtype} {list(given.shape)}", RANGES)
    return [_rgb(image) for image in images]


def _of_tensor(given: torch.Tensor) -> list[np.ndarray]:
    images = given.detach() if given.ndim == 4 else given.detach()[None]
    is_odd = images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0
    if is_odd or not images.is_floating_point():
        raise UserError(f"the tensor is {str(given.dtype).removeprefix('torch.')} {list(given.shape)}", RANGES)
    largest = images.abs().max().item()
    if not largest <= 1 + OVERSHOOT:
        raise UserError(f"the tensor has values up to {largest:g}, must be in [-1, 1]; divide 0..255 by 127.5, less 1")
    return [_rgb(image) for image in to_uint8(images)]


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 `[H, W, 1 or 3]` as `[H, W, 3]`."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)
