"""Generators and encoders in a form for exporters (ONNX, torch.export): tensors to tensors, any batch."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.framing import Framing
from generation.rendering import synthesize
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import load_encoder
from networks.files import load_generator, with_precision
from networks.generators.coordinates import Coordinates
from networks.generators.interface import Generator
from networks.latents import Latents

GRAPH_PARTS = ("synthesis", "mapping", "encoder")
TOLERANCE = 1e-4  # largest error of an exported network, as a share of the largest value where that is above 1
BATCHES = (1, 2, 5)  # batch sizes that are checked
STRENGTHS = (0.0, 1.0, 3.0)  # factors of the quality codes that are checked

Outputs = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class ExportRequest:
    """The part of a network that is exported.

    Attributes:
        network: file of the network.
        part: name of the part, one of the exporter's `PARTS`.
        noise_mode: noise of the synthesis network, `const` or `none`.
        truncation_psi: truncation of the mapping network.
        encoder: file of the encoder that is exported, or whose codes the synthesis network takes; None: `ws` and `q`.
        framing: what the images of a synthesis network without a grid show; None: as trained.
    """

    network: str
    part: str
    noise_mode: str = "const"
    truncation_psi: float = 1.0
    encoder: str | None = None
    framing: Framing | None = None

    def facts(self) -> dict[str, str]:
        """Return the facts that an exported file contains."""
        _, header = load_generator(self.network)
        facts: dict[str, object] = {
            "part": self.part,
            "resolution": header["images"]["resolution"],
            "preprocessing": header.get("preprocessing", ""),
            "licence": header.get("licence") or "",
            "kimg": header.get("kimg", ""),
            "source_sha256": sha256(self.network),
        }
        facts |= {"noise_mode": self.noise_mode} if self.part == "synthesis" else {}
        facts |= {} if self.framing is None else {"framing": json.dumps(asdict(self.framing))}
        facts |= {"truncation_psi": self.truncation_psi} if self.part == "mapping" else {}
        facts |= {"encoder_sha256": sha256(self.encoder)} if self.encoder is not None else {}
        return {f"qc_stylegan.{name}": str(value) for name, value in facts.items()}


@dataclass(frozen=True)
class Exportable:
    """A part of a generator, ready for export.

    Attributes:
        module: module that takes the inputs in their order, in fp32.
        inputs: sizes of each input without the batch axis, by name.
        outputs: names of the outputs.
        reference: the network as this program runs it, a function of the same inputs; of several outputs a tuple.
        draw: function of batch size and strength of q to random inputs by name.
    """

    module: nn.Module
    inputs: dict[str, list[int]]
    outputs: list[str]
    reference: Callable[..., Outputs]
    draw: Callable[[int, float], dict[str, Tensor]] = field(repr=False)


def exportable(request: ExportRequest) -> Exportable:
    """Return the part of a network's generator that a request names."""
    G, _ = load_generator(request.network)
    G.require_own_codes(request.network)
    G = with_precision(G, "fp32")
    encoder = None if request.encoder is None else load_encoder(request.encoder, request.network, G)
    if request.part == "encoder":
        assert encoder is not None, "the part encoder comes with a file"
        return _encoder(encoder, G)
    return _mapping(G, request) if request.part == "mapping" else _synthesis(G, request, encoder)


def trace(part: Exportable) -> torch.export.ExportedProgram:
    """Return the graph of a part, for any batch size."""
    batch = torch.export.Dim("batch", min=1)
    inputs = tuple(part.draw(2, 1.0).values())
    shapes = tuple({0: batch} for _ in inputs)
    with quiet(), torch.no_grad():
        program = torch.export.export(part.module, inputs, dynamic_shapes=(shapes,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    return program


def largest_error(part: Exportable, exported: Callable[[dict[str, Tensor]], Outputs]) -> float:
    """Return the largest error of `exported`, over outputs, batch sizes, codes (q = 0 among them) and truncated ws.

    The error is absolute where values are below 1, and else a share of the largest value. Raises UserError where it
    exceeds the tolerance.
    """
    worst = 0.0
    for batch in BATCHES:
        for strength in STRENGTHS if "q" in part.inputs else STRENGTHS[:1]:
            inputs = part.draw(batch, strength)
            with torch.no_grad():
                expected = part.reference(*inputs.values())
            for wanted, actual in zip(_all(expected), _all(exported(inputs)), strict=True):
                worst = max(worst, _error(actual, wanted))
    if worst > TOLERANCE:
        raise UserError(f"the exported network is off by {worst:.1e}, may be by {TOLERANCE:g}; nothing was written")
    return worst


def _all(outputs: Outputs) -> Sequence[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs


def _error(actual: Tensor, expected: Tensor) -> float:
    """Return the largest error of an output; raise UserError where its shape differs."""
    if actual.shape != expected.shape:
        raise UserError(f"the exported network gives {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1)
    return error.nan_to_num(nan=torch.inf).item()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress torch's own messages about exporting."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def report(path: str | os.PathLike, request: ExportRequest, error: float) -> str:
    """Return the line that is printed about an exported graph."""
    size = os.path.getsize(path)
    return f"{path}: {request.part}, {size:,} bytes, differs by at most {error:.1e} (bound {TOLERANCE:g})"


class _Synthesis(nn.Module):
    """The synthesis of a generator: codes, in the order of their names in `Latents`, to images `[N, C, R, R]`.

    With `q` the DegradBlocks run for every `q`; where it is zero, so is what they add.
    """

    def __init__(self, G: Generator, noise_mode: str, names: list[str], coords: Coordinates | None) -> None:
        super().__init__()
        self.synthesis = G.synthesis.traceable()
        self.noise_mode = noise_mode
        self.names = names
        self.placed: dict[str, Any] = {} if coords is None else {"coords": coords}

    def forward(self, *codes: Tensor) -> Tensor:
        latents = Latents.from_tensors(dict(zip(self.names, codes, strict=True)))
        batch = latents.ws.shape[0]
        noise = self.synthesis.make_noise(self.noise_mode, batch)
        if latents.q is not None:
            noise = [[layer if layer is None else layer.expand(batch, -1, -1, -1) for layer in row] for row in noise]
        return self.synthesis.image(self.synthesis.content(latents, noise, **self.placed), latents.q)


class _Encoder(nn.Module):
    """An encoder, images `[N, C, S, S]` of its side to codes in the order of their names in `Latents`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Outputs:
        codes = tuple(self.encoder(images).tensors().values())
        return codes if len(codes) > 1 else codes[0]


class _Mapping(nn.Module):
    """The mapping of a generator, `z [N, z_dim]` and `c [N, c_dim]` to `ws [N, num_ws, w_dim]`."""

    def __init__(self, G: Generator, truncation_psi: float) -> None:
        super().__init__()
        self.mapping = G.mapping
        self.truncation_psi = truncation_psi

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.mapping(z, c, truncation_psi=self.truncation_psi)


class _AllInputs(nn.Module):
    """A part that takes any number of inputs in one tuple, so that the shapes of all parts are given alike."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *inputs: Tensor) -> Outputs:
        return self.part(*inputs)


def _synthesis(G: Generator, request: ExportRequest, encoder: Encoder | None) -> Exportable:
    shapes = G.code_shapes()
    names = ["ws", "q"] if G.q_dim else ["ws"]
    if encoder is not None:
        names += [name for name in _codes_of(encoder, G) if name not in names]

    coords = None if request.framing is None else request.framing.coordinates(G, is_sharp=G.q_dim == 0)

    def reference(*codes: Tensor) -> Tensor:
        latents = Latents.from_tensors(dict(zip(names, codes, strict=True)))
        noise = G.synthesis.make_noise(request.noise_mode, len(latents))
        return synthesize(G, latents, noise, coords)

    def draw(batch: int, strength: float) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(batch)
        z = torch.randn(batch, G.z_dim, generator=rng)
        psi = 0.7 if batch > 1 else 1.0
        with torch.no_grad():
            values = {"ws": G.mapping(z, G.labels_in_turn(batch), truncation_psi=psi).contiguous()}
        if G.q_dim:
            values["q"] = strength * torch.randn(batch, G.q_dim, generator=rng)
        others = names[len(values) :]
        return values | {name: torch.randn(batch, *_shape_of(name, shapes), generator=rng) for name in others}

    inputs = {name: list(_shape_of(name, shapes)) for name in names}
    module = _AllInputs(_Synthesis(G, request.noise_mode, names, coords)).eval()
    return Exportable(module, inputs, ["images"], reference, draw)


def _encoder(encoder: Encoder, G: Generator) -> Exportable:
    side = encoder.side

    def draw(batch: int, strength: float) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(batch)
        return {"images": 2 * torch.rand(batch, G.img_channels, side, side, generator=rng) - 1}

    module = _AllInputs(_Encoder(encoder)).eval()
    return Exportable(module, {"images": [G.img_channels, side, side]}, _codes_of(encoder, G), module.part, draw)


def _codes_of(encoder: Encoder, G: Generator) -> list[str]:
    """Return the names of the codes that an encoder gives."""
    with torch.no_grad():
        return list(encoder(torch.zeros(1, G.img_channels, encoder.side, encoder.side)).tensors())


def _shape_of(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    return shapes[name.removesuffix(".in_image")]


def _mapping(G: Generator, request: ExportRequest) -> Exportable:
    inputs: dict[str, list[int]] = {"z": [G.z_dim]}
    if G.c_dim:
        inputs["c"] = [G.c_dim]

    def reference(z: Tensor, c: Tensor | None = None) -> Tensor:
        return G.mapping(z, c, truncation_psi=request.truncation_psi)

    def draw(batch: int, strength: float) -> dict[str, Tensor]:
        values = {"z": torch.randn(batch, G.z_dim, generator=torch.Generator().manual_seed(batch))}
        labels = G.labels_in_turn(batch)
        return values if labels is None else values | {"c": labels}

    return Exportable(_AllInputs(_Mapping(G, request.truncation_psi)).eval(), inputs, ["ws"], reference, draw)
