"""IR-SE-50, the backbone of pSp; it may begin with the published weights of ArcFace."""

from dnnlib.config import require
from dnnlib.errors import UserError
from metrics.backbones.imagenet import read_tensors
from metrics.backbones.ir_se50 import STAGES, IrSe50Body
from metrics.weights.directory import WeightsDirectory


class Backbone(IrSe50Body):
    """IR-SE-50 whose `maps` are the outputs of the last three stages, with 1/4, 1/8 and 1/16 of the image's side."""

    channels = tuple(channels for channels, _ in STAGES[1:])


def build_backbone(in_channels: int, width: float, published: WeightsDirectory | None = None) -> Backbone:
    """Return the backbone, with ArcFace's weights from the directory `published` where that is given.

    Raises UserError for another width than 1, which published weights do not have, and for weights that are missing or
    do not fit.
    """
    require(width == 1, "encoder width", width, "1 with the backbone ir_se50; resnet34 has others")
    if published is None:
        return Backbone(in_channels)
    if in_channels != 3:
        raise UserError("the published ArcFace weights are for RGB; leave out --arcface for gray images")
    path = published.path("arcface")
    backbone = Backbone(in_channels)
    shapes = {k: v.shape for k, v in backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    backbone.load_state_dict(read_tensors(path, shapes, "ArcFace with IR-SE-50"), strict=False)
    return backbone
