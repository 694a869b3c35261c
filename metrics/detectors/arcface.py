"""ArcFace (Deng et al. 2019): features of faces whose cosine tells whether two are the same person."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.errors import UserError
from images.ranges import from_levels
from metrics.backbones.imagenet import load_published
from metrics.backbones.ir_se50 import INPUT_SIDE, IrSe50
from metrics.detector import Detector, to_rgb
from metrics.distances.layers import cosine_distance
from metrics.weights.directory import WeightsDirectory

# The crop of a face aligned as in FFHQ that pSp's identity loss compares (Richardson et al. 2021).
REFERENCE_SIDE, TOP, LEFT, CROP = 256, 35, 32, 188  # px


def load(weights: WeightsDirectory, device: torch.device) -> Detector:
    """Return the detector: features are embeddings `[N, 512]` of length 1; distances are those of five layers.

    The layers are the ends of the four stages and the embedding (Yao et al. 2022, Eq. 6). Gradients go to the images.

    Raises UserError when the weights are missing or of another network.
    """
    network = load_published(IrSe50(), weights.path("arcface"), "ArcFace with IR-SE-50").to(device)
    return Detector(
        name="arcface",
        resize=(
            f"rows {TOP}..{TOP + CROP} and columns {LEFT}..{LEFT + CROP} of {REFERENCE_SIDE}, scaled with the side, to "
            f"{INPUT_SIDE}x{INPUT_SIDE} by area; images of {INPUT_SIDE}x{INPUT_SIDE} as they are"
        ),
        sha256=weights.sha256("arcface"),
        features=lambda images: network(_prepare(images)),
        distances=lambda a, b: cosine_distance(network.layers(_prepare(a)), network.layers(_prepare(b))),
    )


def _prepare(images: Tensor) -> Tensor:
    return from_levels(face_region(to_rgb(images)))


def face_region(images: Tensor) -> Tensor:
    """Return the part `[N, C, 112, 112]` of aligned faces `[N, C, S, S]` that identifies them.

    Images of 112 px are returned as they are. Raises UserError for images that are not square.
    """
    height, width = images.shape[2:]
    if height != width:
        raise UserError(
            f"ArcFace needs aligned, square faces, not {width}x{height} pixels; crop them, for instance with "
            "dataset_tool.py --crop=center"
        )
    if width == INPUT_SIDE:
        return images
    top, left, side = (round(length * width / REFERENCE_SIDE) for length in (TOP, LEFT, CROP))
    return F.interpolate(images[:, :, top : top + side, left : left + side], size=INPUT_SIDE, mode="area")
