"""From a file's tensors to networks: every tensor has its place and shape, or the file is refused."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dnnlib.config import from_dict, to_dict
from dnnlib.errors import UserError
from networks.config import DiscriminatorConfig, GeneratorConfig
from networks.discriminator import Discriminator
from networks.files import ImageFormat, build_discriminator, build_generator
from networks.generators.interface import Generator
from networks.layers import RESAMPLE_TAPS
from networks.published.architecture import discriminator_architecture, generator_architecture
from networks.published.contents import NetworkContent, Published, shown
from networks.published.creps_architecture import creps_architecture, is_creps
from torch_utils.loading import Allowance
from torch_utils.ops.upfirdn2d import setup_filter
from torch_utils.purposes import FOR_AVERAGE
from torch_utils.seeding import BatchRandom

MOST_CHANNELS = 1 << 20  # bound of channel_base and channel_max, as files may say anything
AVERAGE_SAMPLES = 10_000  # samples of w, where a file lacks its mean


AnyConfig = TypeVar("AnyConfig", GeneratorConfig, DiscriminatorConfig)


def assemble(published: Published) -> tuple[Generator, dict[str, Discriminator]]:
    """Return a file's generator, and its discriminators by stream, in evaluation mode on the CPU.

    Raises UserError, a sentence without its subject, for a tensor too many, too few, or of another shape, and for
    options that do not fit.
    """
    describe = creps_architecture if is_creps(published.G.tensors) else generator_architecture
    config, images = describe(published.G.tensors)
    config = _with_settings(config, published.G.settings)
    tensors = dict(published.G.tensors)
    has_average = "mapping.w_avg" in tensors
    tensors.setdefault("mapping.w_avg", torch.zeros(config.w_dim))
    G = _filled(lambda: build_generator(config, images), tensors)
    if not has_average:
        G.mapping.w_avg.copy_(_average_w(G))
    discriminators = {}
    for stream, content in published.discriminators.items():
        discriminators[stream] = _discriminator(content, images)
    if len({D.config for D in discriminators.values()}) > 1:
        raise UserError("has two discriminators of different architecture, which one network file cannot hold")
    return G, discriminators


def _discriminator(content: NetworkContent, images: ImageFormat) -> Discriminator:
    config, shown_to = discriminator_architecture(content.tensors)
    if shown_to != images:
        raise UserError(f"has a discriminator for {shown_to}, and a generator of {images}; they do not fit together")
    config = _with_settings(config, content.settings)
    return _filled(lambda: build_discriminator(config, images), content.tensors)


def _with_settings(config: AnyConfig, settings: Mapping[str, Any]) -> AnyConfig:
    """Return `config` with fields replaced, given by dotted name."""
    values = to_dict(config)
    for path, value in settings.items():
        *parents, name = path.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node[name] = value
    config = from_dict(type(config), values)
    if max(config.channel_base, config.channel_max) > MOST_CHANNELS:
        raise UserError(f"has a network of up to {config.channel_max} channels, none has more than {MOST_CHANNELS}")
    return config


def _filled(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor]) -> Any:
    """Return a network with the given tensors; the resampling filter may be left out, it is always the same."""
    with Allowance({name: tuple(tensor.shape) for name, tensor in tensors.items()}):
        network = build()
    expected = network.state_dict()
    resampling = setup_filter(RESAMPLE_TAPS)
    given = {name: resampling.clone() for name in expected if name.endswith("resample_filter")} | dict(tensors)
    for name, tensor in given.items():
        if name not in expected and ".degrade." in name:
            raise UserError(
                f"has the tensor {shown(name)} of a DegradBlock, and a state dict does not say of which variant",
                "use the .safetensors file that it was exported from",
            )
        if name not in expected:
            raise UserError(f"has the tensor {shown(name)}, which this program's networks do not have")
        if name.endswith("resample_filter") and not _is_close(tensor, resampling):
            raise UserError(f"resamples with another filter than {list(RESAMPLE_TAPS)} in {name}")
    for name, tensor in expected.items():
        if name not in given:
            raise UserError(f"lacks the tensor {name}, which a network of its kind needs")
        if given[name].shape != tensor.shape:
            actual, wanted = list(given[name].shape), list(tensor.shape)
            raise UserError(f"has the tensor {name} in the shape {actual}, a network of its kind needs {wanted}")
    network.load_state_dict({name: given[name].contiguous() for name in expected}, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _is_close(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape and torch.allclose(tensor, other, atol=1e-6)


@torch.no_grad()
def _average_w(G: Generator) -> Tensor:
    """Return the mean of w `[w_dim]` over random latents, as training would have tracked it."""
    z = BatchRandom(FOR_AVERAGE, AVERAGE_SAMPLES).randn(G.z_dim)
    return G.mapping(z, None)[:, 0].mean(0)
