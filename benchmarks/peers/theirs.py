"""The peer's side: its networks, in a step arranged after the papers (StyleGAN2 and ADA; two streams in QC-StyleGAN).

A script that imports nothing of this program, since a peer's packages have the names of ours. What it takes of the peer
is what published checkpoints name: the classes `Generator` and `Discriminator` of `training.networks`, the arguments
of their constructors, `G.mapping(z, c)`, `G.synthesis(ws)` and `D(img, c)`; and q where the signatures have it.
"""

import contextlib
import importlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MODULES = ("training.networks", "training.networks_stylegan2")
Phases = dict[str, Callable[[], object]]


def serve(make_phases: Callable[[dict[str, Any]], tuple[dict[str, Any], Phases]]) -> None:
    """Read settings, then names of phases, from standard input, and answer each line with one of JSON.

    The answer to the settings are facts; that to a phase the processor time of a call and the process's peak memory in
    bytes. What a phase or a module prints goes to standard error. A failure is answered as `error`.
    """
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        try:
            facts, phases = make_phases(json.loads(sys.stdin.readline()))
            print(json.dumps(facts | {"phases": list(phases)}), file=answers, flush=True)
            for line in sys.stdin:
                start = time.process_time()
                phases[line.strip()]()
                unit = 1 if sys.platform == "darwin" else 1024
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
                reply = {"seconds": time.process_time() - start, "peak_memory": peak}
                print(json.dumps(reply), file=answers, flush=True)
        except Exception as error:  # whatever a stranger's code raises
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)


def phases_of(settings: dict[str, Any]) -> tuple[dict[str, Any], Phases]:
    """Return facts about the peer, and the phases of a step of its networks."""
    torch.set_num_threads(settings["threads"])
    sys.path.insert(0, settings["folder"])
    networks = _networks()
    step = Step(networks, settings)
    phases: Phases = {
        "G": step.train_generator,
        "G_reg": step.regularize_generator,
        "D": step.train_discriminators,
        "D_reg": step.regularize_discriminators,
    }
    phases |= {f"generate {count}": partial(step.generate, count) for count in settings["generate"]}
    return {"module": networks.__name__, "quality": step.has_quality}, phases


class Step:
    """Networks with optimizers, one discriminator a stream, and the phases that train them on random images."""

    def __init__(self, networks: Any, settings: dict[str, Any]):
        torch.manual_seed(0)
        self.batch, side = settings["batch"], settings["resolution"]
        widths = {"channel_base": settings["channel_base"], "channel_max": settings["channel_max"], "num_fp16_res": 0}
        common = {"c_dim": 0, "img_resolution": side, "img_channels": 3}
        mapping = {"num_layers": settings["mapping_layers"]}
        arguments = {"z_dim": 512, "w_dim": 512, "mapping_kwargs": mapping, **common}
        if _takes(networks.Generator.__init__, "q_dim"):
            arguments["q_dim"] = settings["q_dim"]
        arguments |= {"synthesis_kwargs": widths} if _takes(networks.Generator.__init__, "synthesis_kwargs") else widths
        self.G = networks.Generator(**arguments)
        self.has_quality = _takes(self.G.synthesis.forward, "q")
        self.q_dim = settings["q_dim"]
        group = {"mbstd_group_size": min(4, self.batch)}
        streams = 2 if self.has_quality else 1
        made = [networks.Discriminator(**common, **widths, epilogue_kwargs=group) for _ in range(streams)]
        self.discriminators = [D.train() for D in made]
        self.reals = [torch.rand(self.batch, 3, side, side) * 2 - 1 for _ in made]
        modules = [self.G, *made]
        self.optimizers = {id(module): torch.optim.Adam(module.parameters(), 0.0025, (0.0, 0.99)) for module in modules}
        self.path_mean = torch.zeros([])

    def images(self, ws: Tensor) -> list[Tensor]:
        """Return the images of each stream, `[N, 3, R, R]`."""
        if not self.has_quality:
            return [self.G.synthesis(ws)]
        codes = torch.zeros(len(ws), self.q_dim), torch.randn(len(ws), self.q_dim)
        return [self.G.synthesis(ws, q=q) for q in codes]

    def latents(self, count: int) -> Tensor:
        """Return random `ws [N, num_ws, w_dim]`."""
        return self.G.mapping(torch.randn(count, 512), torch.zeros(count, 0))

    def train_generator(self) -> None:
        """Adversarial loss of the generator in each stream."""
        with self.training(self.G):
            images = self.images(self.latents(self.batch))
            torch.stack([F.softplus(-logits).mean() for logits in self.logits(images)]).sum().backward()

    def regularize_generator(self) -> None:
        """Path lengths of half the batch, of each stream."""
        with self.training(self.G):
            ws = self.latents(max(1, self.batch // 2))
            total = torch.zeros([])
            for images in self.images(ws):
                noise = torch.randn_like(images) / images.shape[-1]
                [gradient] = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
                lengths = gradient.square().sum(2).mean(1).sqrt()
                self.path_mean = self.path_mean.lerp(lengths.mean().detach(), 0.01)
                total = total + (lengths - self.path_mean).square().mean()
            total.backward()

    def train_discriminators(self) -> None:
        """Fakes for all streams, then each discriminator."""
        with torch.no_grad():
            fakes = self.images(self.latents(self.batch))
        c = torch.zeros(self.batch, 0)
        for D, fake, real in zip(self.discriminators, fakes, self.reals, strict=True):
            with self.training(D):
                F.softplus(D(fake, c)).mean().backward()
                F.softplus(-D(real, c)).mean().backward()

    def regularize_discriminators(self) -> None:
        """R1 of each discriminator."""
        for D, real in zip(self.discriminators, self.reals, strict=True):
            with self.training(D):
                images = real.clone().requires_grad_()
                [gradient] = torch.autograd.grad(D(images, torch.zeros(self.batch, 0)).sum(), images, create_graph=True)
                gradient.square().sum([1, 2, 3]).mean().backward()

    @torch.no_grad()
    def generate(self, count: int) -> None:
        """Images of the last stream: degraded ones where there are any."""
        ws = self.latents(count)
        quality = {"q": torch.randn(count, self.q_dim)} if self.has_quality else {}
        self.G.synthesis(ws, noise_mode="const", **quality)

    def logits(self, images: list[Tensor]) -> list[Tensor]:
        """Return each discriminator's opinion of its images."""
        c = torch.zeros(self.batch, 0)
        return [D(image, c) for D, image in zip(self.discriminators, images, strict=True)]

    @contextlib.contextmanager
    def training(self, network: torch.nn.Module) -> Any:
        """Within, this network alone takes gradients; afterwards its optimizer makes a step."""
        for module in (self.G, *self.discriminators):
            module.requires_grad_(module is network)
        optimizer = self.optimizers[id(network)]
        optimizer.zero_grad(set_to_none=True)
        yield
        optimizer.step()


def _networks() -> Any:
    """Return the peer's module of networks."""
    for name in MODULES:
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.partition(".")[0]):
                raise
            continue
        if hasattr(found, "Generator") and hasattr(found, "Discriminator"):
            return found
    raise LookupError(f"no {' or '.join(MODULES)} with a Generator and a Discriminator")


def _takes(function: Callable[..., object], name: str) -> bool:
    """Whether a function names an argument; what it takes under any name does not count."""
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.kind is not inspect.Parameter.VAR_KEYWORD


if __name__ == "__main__":
    serve(phases_of)
