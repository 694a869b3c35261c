"""Networks as other programs take them: tensors in, tensors out, any batch, and no decision that depends on data."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dnnlib.errors import UserError
from dnnlib.files import sha256
from networks.files import load_generator, with_precision
from networks.generators.interface import Generator
from networks.latents import Latents

GRAPH_PARTS = ("synthesis", "mapping")
TOLERANCE = 1e-4  # of an exported network, as a share of the largest value where that is above 1
BATCHES = (1, 2, 5)
STRENGTHS = (0.0, 1.0, 3.0)  # of the quality codes that are checked


@dataclass(frozen=True)
class ExportRequest:
    """What is exported.

    Attributes:
        network: its file.
        part: one of the exporter's `PARTS`.
        noise_mode: of the synthesis network, `const` or `none`.
        truncation_psi: of the mapping network.
    """

    network: str
    part: str
    noise_mode: str = "const"
    truncation_psi: float = 1.0

    def facts(self) -> dict[str, str]:
        """Return what an exported file says about itself."""
        _, header = load_generator(self.network)
        facts = {
            "part": self.part,
            "resolution": header["images"]["resolution"],
            "preprocessing": header.get("preprocessing", ""),
            "licence": header.get("licence") or "",
            "kimg": header.get("kimg", ""),
            "source_sha256": sha256(self.network),
        }
        facts |= {"noise_mode": self.noise_mode} if self.part == "synthesis" else {}
        facts |= {"truncation_psi": self.truncation_psi} if self.part == "mapping" else {}
        return {f"qc_stylegan.{name}": str(value) for name, value in facts.items()}


@dataclass(frozen=True)
class Exportable:
    """A part of a generator, ready for export.

    Attributes:
        module: takes the inputs in their order, in fp32.
        inputs: widths behind the batch, by name.
        output: its name.
        reference: the network as this program runs it, on the same inputs.
        draw: (batch, strength of q) to random inputs by name.
    """

    module: nn.Module
    inputs: dict[str, list[int]]
    output: str
    reference: Callable[..., Tensor]
    draw: Callable[[int, float], dict[str, Tensor]] = field(repr=False)


def exportable(request: ExportRequest) -> Exportable:
    """Return the part of a network's generator that a request names."""
    G, _ = load_generator(request.network)
    G = with_precision(G, "fp32")
    return _mapping(G, request) if request.part == "mapping" else _synthesis(G, request)


def traced(part: Exportable) -> torch.export.ExportedProgram:
    """Return the graph of a part, for any batch."""
    batch = torch.export.Dim("batch", min=1)
    inputs = tuple(part.draw(2, 1.0).values())
    shapes = tuple({0: batch} for _ in inputs)
    with quiet(), torch.no_grad():
        program = torch.export.export(part.module, inputs, dynamic_shapes=(shapes,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    return program


def largest_error(part: Exportable, exported: Callable[[dict[str, Tensor]], Tensor]) -> float:
    """Return how far `exported` is from the network, over batches, codes (q = 0 among them) and truncated ws.

    The error is absolute where values are below 1, and a share of the largest above. Raises UserError where it is
    beyond the tolerance.
    """
    worst = 0.0
    for batch in BATCHES:
        for strength in STRENGTHS if "q" in part.inputs else STRENGTHS[:1]:
            inputs = part.draw(batch, strength)
            with torch.no_grad():
                expected = part.reference(*inputs.values())
            actual = exported(inputs)
            if actual.shape != expected.shape:
                raise UserError(f"the exported network gives {tuple(actual.shape)} instead of {tuple(expected.shape)}")
            error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1)
            worst = max(worst, error.nan_to_num(nan=torch.inf).item())
    if worst > TOLERANCE:
        raise UserError(f"the exported network is off by {worst:.1e}, may be by {TOLERANCE:g}; nothing was written")
    return worst


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's own notes on exporting from a person."""
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
    """Return what a person is told about an exported graph."""
    size = os.path.getsize(path)
    return f"{path}: {request.part}, {size:,} bytes, differs by at most {error:.1e} (bound {TOLERANCE:g})"


class _Plain(nn.Module):
    def __init__(self, G: Generator, noise_mode: str):
        super().__init__()
        self.synthesis = G.synthesis.traceable()
        self.noise_mode = noise_mode

    def forward(self, ws: Tensor) -> Tensor:
        noise = self.synthesis.make_noise(self.noise_mode, ws.shape[0])
        return self.synthesis.image(self.synthesis.content(Latents(ws), noise))


class _Quality(_Plain):
    """Runs the DegradBlocks whatever `q` is; what they add is zero where `q` is."""

    def forward(self, ws: Tensor, q: Tensor) -> Tensor:
        noise = self.synthesis.make_noise(self.noise_mode, ws.shape[0])
        noise = [[layer if layer is None else layer.expand(ws.shape[0], -1, -1, -1) for layer in row] for row in noise]
        return self.synthesis.image(self.synthesis.content(Latents(ws), noise), q)


class _Mapping(nn.Module):
    def __init__(self, G: Generator, truncation_psi: float):
        super().__init__()
        self.mapping, self.truncation_psi = G.mapping, truncation_psi

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.mapping(z, c, truncation_psi=self.truncation_psi)


class _AllInputs(nn.Module):
    """Takes the inputs of a part in one tuple, whatever their number: so they can be given shapes alike."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.part(*inputs)


def _synthesis(G, request):
    q_dim = G.q_dim
    inputs: dict[str, list[int]] = {"ws": [G.num_ws, G.w_dim]}
    if q_dim:
        inputs["q"] = [q_dim]

    def reference(ws, q=None):
        return G.synthesis(ws, noise_mode=request.noise_mode, **({"q": q} if q_dim else {}))

    def draw(batch, strength):
        rng = torch.Generator().manual_seed(batch)
        z = torch.randn(batch, G.z_dim, generator=rng)
        psi = 0.7 if batch > 1 else 1.0
        with torch.no_grad():
            drawn = {"ws": G.mapping(z, G.labels_in_turn(batch), truncation_psi=psi).contiguous()}
        if q_dim:
            drawn["q"] = strength * torch.randn(batch, q_dim, generator=rng)
        return drawn

    module = (_Quality if q_dim else _Plain)(G, request.noise_mode)
    return Exportable(_AllInputs(module).eval(), inputs, "images", reference, draw)


def _mapping(G, request):
    inputs: dict[str, list[int]] = {"z": [G.z_dim]}
    if G.c_dim:
        inputs["c"] = [G.c_dim]

    def reference(z, c=None):
        return G.mapping(z, c, truncation_psi=request.truncation_psi)

    def draw(batch, strength):
        drawn = {"z": torch.randn(batch, G.z_dim, generator=torch.Generator().manual_seed(batch))}
        return drawn | ({"c": G.labels_in_turn(batch)} if G.c_dim else {})

    return Exportable(_AllInputs(_Mapping(G, request.truncation_psi)).eval(), inputs, "ws", reference, draw)
