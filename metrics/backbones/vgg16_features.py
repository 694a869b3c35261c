"""VGG16 up to its second fully connected layer, for precision and recall without NVIDIA's file."""

import torch.nn.functional as F
from torch import Tensor, nn

from images.ranges import from_levels
from metrics.backbones.imagenet import Vgg16
from metrics.backbones.lpips import SCALE, SHIFT

SIDE = 224  # px, side of the images after resizing
WIDTH = 4096  # numbers of a feature vector


class Vgg16Features(Vgg16):
    """Activations `[N, 4096]` after fc2; the names are those of torchvision's published weights."""

    def __init__(self) -> None:
        super().__init__()
        wide = self.channels[-1] * (SIDE // 32) ** 2
        self.classifier = nn.Sequential(
            nn.Linear(wide, WIDTH), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB images `[N, 3, H, W]`, float in 0..255, to features; resizes them to 224x224, bilinearly."""
        x = F.interpolate(images, size=SIDE, mode="bilinear", align_corners=False)
        shift, scale = (x.new_tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        maps = self.maps((from_levels(x) - shift) / scale)
        return self.classifier(F.max_pool2d(maps[-1], 2).flatten(1))  # [N, 4096]
