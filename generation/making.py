"""What a call of generate.py makes, as a process does its part of it."""

from dataclasses import dataclass, replace
from typing import Literal

from dnnlib.errors import UserError
from dnnlib.files import sha256
from generation.output import write_images
from generation.quality_codes import parse_qualities
from generation.sampling import Sampling, check_class
from generation.walk_files import WalkRequest, write_content_walk, write_quality_walk, write_zoom_walk
from networks.files import load
from torch_utils.checkpoint import read_header
from torch_utils.memory import keep_freed_memory
from torch_utils.processes.sharing import Share

WALKS = {"quality": write_quality_walk, "content": write_content_walk, "zoom": write_zoom_walk}


@dataclass(frozen=True)
class Walk:
    """A walk to write instead of images.

    Attributes:
        kind: key of WALKS.
        steps: number of steps from a quality or seed to the next, or into the window.
        fps: frames a second of videos; None: strips.
    """

    kind: str
    steps: int
    fps: int | None


@dataclass(frozen=True)
class Job:
    """What is to be made; the fields are the flags'.

    Attributes:
        sampling: how seeds become images; `batch` 0 suits the device.
        walk: what is made instead of images; None: images.
    """

    network: str
    seeds: list[int]
    outdir: str
    texts: list[str]
    quality_scale: float
    degradations: int
    grid: bool
    save_codes: bool
    precision: Literal["stored", "fp32", "bf16"]
    sampling: Sampling
    walk: Walk | None


def make(share: Share, job: Job) -> int:
    """Make this process's part of the images, or of the videos of a walk; return the number of files."""
    if share.device.type == "cpu":
        keep_freed_memory()
    G = load(job.network, share.device, job.precision)
    if job.save_codes:
        G.require_own_codes(job.network)
    sampling = replace(job.sampling, batch=job.sampling.batch or (8 if share.device.type == "cpu" else 32))
    check_class(G, sampling.class_index)
    if sampling.noise_mode != "const" and not any(G.synthesis.make_noise("const", 1)):
        raise UserError(
            f"--noise-mode={sampling.noise_mode} is given, and this network has no noise; leave --noise-mode out"
        )
    texts = ["sharp", *job.texts] if job.grid else job.texts
    qualities = parse_qualities(texts, job.seeds, G.q_dim, job.degradations, job.quality_scale)
    if job.walk is not None:
        walk = job.walk
        request = WalkRequest(job.seeds, qualities, sampling, job.outdir, walk.steps, walk.fps, share)
        return WALKS[walk.kind](G, request)
    licence = read_header(job.network).get("licence")
    provenance = {"network": job.network, "sha256": sha256(job.network), "licence": licence}
    return write_images(G, job.seeds, qualities, sampling, job.outdir, provenance, job.grid, job.save_codes, share)
