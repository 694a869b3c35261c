"""Files of weights that others publish (Inception, VGG16, LPIPS, ArcFace, NIQE): names, addresses, purposes."""

from dataclasses import dataclass

from dnnlib.errors import unknown_name

_NVIDIA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics"
_TORCHVISION = "https://download.pytorch.org/models"
_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"
_NVIDIA_LICENCE = "NVIDIA Source Code License, non-commercial"
_LPIPS_LICENCE = "BSD-2-Clause"
_PAIRED_INSTEAD = "measure pd_cifar, which needs no file"
_TORCHVISION_LICENCE = "BSD-3-Clause; trained on ImageNet"


@dataclass(frozen=True)
class PublishedFile:
    """One published file of weights.

    Attributes:
        name: name of the entry, which `--fetch` takes.
        filenames: accepted names of the file, the usual one first.
        size_bytes: size of the file, exact or approximate.
        licence: licence of the weights.
        purpose: the metrics that need the file.
        instead: alternative that needs no file, as the end of a sentence; empty: there is none.
        url: address of the file itself; empty where a person has to fetch it by hand from `page`.
        page: web page of the release, for people.
        sha256_prefix: the first hex digits of the SHA-256, where the publisher states them.
        exact_size: whether `size_bytes` is exact.
        saved_as: name of a downloaded file, one of `filenames`; empty: the first of these.
    """

    name: str
    filenames: tuple[str, ...]
    size_bytes: int
    licence: str
    purpose: str
    instead: str = ""
    url: str = ""
    page: str = ""
    sha256_prefix: str = ""
    exact_size: bool = False
    saved_as: str = ""

    def __post_init__(self) -> None:
        assert self.url or self.page, f"{self.name} lies nowhere"
        if not self.saved_as:
            object.__setattr__(self, "saved_as", self.filenames[0])
        assert self.saved_as in self.filenames, f"{self.name} would be stored as {self.saved_as} and not found again"

    @property
    def size(self) -> str:
        """The size in words: `553,433,881 bytes` or `about 96 MB`."""
        if self.exact_size:
            return f"{self.size_bytes:,} bytes"
        unit, divisor = ("MB", 10**6) if self.size_bytes >= 10**6 else ("kB", 10**3)
        return f"about {self.size_bytes / divisor:.0f} {unit}"


def published_file(name: str) -> PublishedFile:
    """Return the entry called `name`; raise UserError with the nearest known name otherwise."""
    if name not in PUBLISHED:
        raise unknown_name("file of weights", name, PUBLISHED)
    return PUBLISHED[name]


def _lpips_heads(network: str, size_bytes: int) -> PublishedFile:
    return PublishedFile(
        name=f"lpips_{network}",
        filenames=(f"lpips-{network}.pth",),
        url=f"{_LPIPS}/{network}.pth",
        size_bytes=size_bytes,
        licence=_LPIPS_LICENCE,
        purpose=f"LPIPS ({network}), the weights of its layers",
        instead=_PAIRED_INSTEAD,
    )


_ENTRIES = [
    PublishedFile(
        name="inception",
        filenames=("inception-2015-12-05.pt",),
        url=f"{_NVIDIA}/inception-2015-12-05.pt",
        size_bytes=96 * 10**6,
        licence=_NVIDIA_LICENCE,
        purpose="FID, KID and IS with Inception-v3",
        instead="measure fd_cifar or kd_cifar, which need no file",
    ),
    PublishedFile(
        name="vgg16_nvidia",
        filenames=("vgg16.pt",),
        url=f"{_NVIDIA}/vgg16.pt",
        size_bytes=553 * 10**6,
        licence=_NVIDIA_LICENCE,
        purpose="precision and recall (pr50k3), perceptual path length (ppl)",
        instead="measure pr_cifar or ppl_cifar_wend, which need no file",
    ),
    PublishedFile(
        name="vgg16",
        filenames=("vgg16-397923af.pth",),
        url=f"{_TORCHVISION}/vgg16-397923af.pth",
        size_bytes=553_433_881,
        exact_size=True,
        sha256_prefix="397923af",
        licence=_TORCHVISION_LICENCE,
        purpose="LPIPS (vgg)",
        instead=_PAIRED_INSTEAD,
    ),
    PublishedFile(
        name="alexnet",
        filenames=("alexnet-owt-7be5be79.pth",),
        url=f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        size_bytes=244 * 10**6,
        sha256_prefix="7be5be79",
        licence=_TORCHVISION_LICENCE,
        purpose="LPIPS (alex)",
        instead=_PAIRED_INSTEAD,
    ),
    PublishedFile(
        name="squeezenet",
        filenames=("squeezenet1_1-b8a52dc0.pth",),
        url=f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
        size_bytes=5 * 10**6,
        sha256_prefix="b8a52dc0",
        licence=_TORCHVISION_LICENCE,
        purpose="LPIPS (squeeze)",
        instead=_PAIRED_INSTEAD,
    ),
    _lpips_heads("alex", 6_000),
    _lpips_heads("vgg", 7_000),
    _lpips_heads("squeeze", 11_000),
    PublishedFile(
        name="parsing",
        filenames=("79999_iter.pth",),
        page="https://github.com/zllrunning/face-parsing.PyTorch",
        size_bytes=53 * 10**6,
        licence="MIT; trained on CelebAMask-HQ, non-commercial",
        purpose="the parsing term of encoders of faces (feature-style)",
    ),
    PublishedFile(
        name="arcface",
        filenames=("model_ir_se50.pth",),
        page="https://github.com/eladrich/pixel2style2pixel#auxiliary-models",
        size_bytes=175 * 10**6,
        licence="MIT (InsightFace_Pytorch); trained on MS-Celeb-1M",
        purpose="identity similarity of faces",
    ),
    PublishedFile(
        name="niqe",
        filenames=("niqe_modelparameters.mat", "niqe_pris_params.npz", "niqe.npz"),
        saved_as="niqe_pris_params.npz",
        url="https://github.com/xinntao/BasicSR/raw/master/basicsr/metrics/niqe_pris_params.npz",
        page="http://live.ece.utexas.edu/research/quality/niqe_release.zip",
        size_bytes=12_000,
        licence="free for research, LIVE, University of Texas at Austin",
        purpose="NIQE",
        instead="fit a model to sharp photos with `python calc_metrics.py fit-niqe` and give it as --pristine",
    ),
]
PUBLISHED = {entry.name: entry for entry in _ENTRIES}
