"""A network with all that can be done with it, by the code of the commands."""

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from dnnlib.errors import UserError, unknown_name
from dnnlib.remote.locations import locate
from generation.quality_codes import MAX_SEED, Quality, parse_qualities
from generation.rendering import synthesize
from generation.sampling import Sampling, check_class, generate
from images.photos import from_network
from inversion.commands.building import make_direction, make_inverter
from inversion.commands.options import InverterFlags, TuningFlags
from inversion.commands.restore import restored_images
from inversion.directions.direction import AnyDirection, Direction
from inversion.directions.editing import edited_images
from inversion.directions.following import YIELDING
from inversion.directions.search import Search, find_directions
from inversion.encoders.files import read_encoder_header
from inversion.inverter import Inverter
from inversion.photos.notes import notes_on, subject_of
from inversion.photos.reader import LARGEST, PreparedPhoto
from inversion.quality.requality import copy_quality
from inversion.tuned_weights import Inversion
from networks.files import load as load_network
from networks.latents import Latents, join
from qc_stylegan.conversion import Form, to_form
from qc_stylegan.photos import BATCH, Faces, Finished, Parts, in_groups, made_of, prepare_all, results_in_the_form_of
from qc_stylegan.wording import errors_in_python
from torch_utils.checkpoint import read_header
from torch_utils.distributed import best_device

Seeds = int | Sequence[int]
Images = Any  # what `qc_stylegan.conversion.pixels_of` takes: paths, PIL images, arrays, tensors, lists of these
NoiseMode = Literal["const", "random", "none"]


class Network:
    """A network, plain or with quality codes; made by `qc_stylegan.load`.

    Images go in as paths, PIL images, uint8 arrays `[H, W, 3]` or `[N, H, W, 3]`, float tensors `[3, H, W]` or
    `[N, 3, H, W]` in [-1, 1], or lists of these, and come back in the same form; paths come back as PIL images.
    Photos that do not look like what the network knows, or lose by its size, are said by `warnings`. Errors are
    `UserError`s of one sentence.

    Methods on photos use the middle square of each, or with `align`, which is `cat`, `human` or a YuNet file, its
    `largest` face, or `all` of them: then several squares come back for each photo, the largest face first: a list of
    PIL images, `[F, R, R, 3]` or `[F, 3, R, R]`. With `whole` whole photos come back with the results in them; there,
    of several faces, those stay as they are that the encoder does not know, but for the largest.

    Args:
        location: name of a network that comes with the program, path, https://... or hf://owner/name.
        device: `cuda`, `mps` or `cpu`; None: the best there is.
        encoder: encoder for this network; None: the one in its folder.
        tuning_steps: most steps of pivotal tuning; None: as the commands have it, none to restore, and 100 to edit and
            degrade.
    """

    def __init__(
        self, location: str, device: str | None = None, encoder: str | None = None, tuning_steps: int | None = None
    ) -> None:
        self.path = locate(location)
        self.device = best_device(device)
        self.encoder = None if encoder is None else locate(encoder)
        self.tuning_steps = tuning_steps
        if self.encoder is not None:
            read_encoder_header(self.encoder)  # at once, where it is none; the rest is read when it is first used
        self.G = load_network(self.path, self.device)
        self.header = read_header(self.path)

    def __repr__(self) -> str:
        quality = f"quality codes of {self.G.q_dim} numbers" if self.G.q_dim else "no quality codes"
        return f"<Network of {self.subject}, {self.resolution}x{self.resolution} pixels, {quality}, on {self.device}>"

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""
        return self.G.img_resolution

    @property
    def subject(self) -> str:
        """What its images show, as far as its file says."""
        return subject_of(self.header)

    @errors_in_python
    def generate(
        self,
        seeds: Seeds,
        quality: Any = "sharp",
        truncation: float = 1.0,
        *,
        strength: float = 1.0,
        class_index: int | None = None,
        noise_mode: NoiseMode = "const",
        form: Form = "pil",
    ) -> Any:
        """Return the images of seeds, as `qc-stylegan generate` makes them: a list, or the image of a single seed.

        Args:
            seeds: number or numbers of images.
            quality: `sharp`, `random` (each seed's own), `seed:5`, a file, or codes `[q_dim]` or `[N, q_dim]`.
            truncation: psi; below 1: closer to the mean, less varied.
            strength: factor of the quality code; 0: sharp.
            class_index: class of the images, for a conditional network.
            noise_mode: noise of the network.
            form: `pil`; `numpy`: uint8 `[N, R, R, 3]`; or `tensor`: float32 `[N, 3, R, R]` in [-1, 1].
        """
        numbers = _numbers(seeds)
        check_class(self.G, class_index)
        if noise_mode not in get_args(NoiseMode):
            raise unknown_name("noise_mode", noise_mode, get_args(NoiseMode))
        for name, value in {"truncation": truncation, "strength": strength}.items():
            if not math.isfinite(value):
                raise UserError(f"{name}={value} must be finite; write for example {name}=0.7")
        sampling = Sampling(class_index, truncation, noise_mode, BATCH)
        code = self._quality(quality, numbers, strength)
        images = [image for views in generate(self.G, numbers, [code], sampling) for image in views.images[0]]
        results = to_form([_rgb(image) for image in images], form, self.device)
        return results[0] if isinstance(seeds, (int, np.integer)) else results

    @errors_in_python
    def restore(
        self,
        images: Images,
        *,
        fidelity: float | None = None,
        align: str | None = None,
        faces: Faces = LARGEST,
        whole: bool = False,
    ) -> Any:
        """Return restored images, as `qc-stylegan restore` does: their content without the degradation.

        Args:
            images: bad photos.
            fidelity: how much is kept of the photo, from 0 (the network's image) to 1; None: 0.5.
            align: detector of the faces that are cut out; None: the middle square.
            faces: which faces of a photo: `largest` or `all`.
            whole: return whole photos.
        """
        parts = Parts(align, faces, whole)
        inverter = self._restorer if fidelity is None else _with_options(self._restorer, fidelity=fidelity)

        def finished(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> np.ndarray:
            return restored_images(inverter, inversion, photo)["restored"]

        return self._finished(images, inverter, finished, parts)

    @errors_in_python
    def degrade(
        self,
        images: Images | Seeds,
        to: Any = "seed:0",
        strength: float = 1.0,
        *,
        align: str | None = None,
        faces: Faces = LARGEST,
        whole: bool = False,
    ) -> Any:
        """Return images with another degradation, as `qc-stylegan degrade` gives it to photos.

        Args:
            images: photos; or seeds, whose images are made with this degradation.
            to: `seed:5`, `sharp`, codes `[q_dim]`, or a photo to copy the degradation from.
            strength: factor of the degradation.
            align: detector of the faces that are cut out, also of the photo `to`; None: the middle square.
            faces: which faces of a photo: `largest` or `all`.
            whole: return whole photos.
        """
        parts = Parts(align, faces, whole)
        if _are_seeds(images):
            if parts != Parts():
                raise UserError("align, faces and whole are for photos, and images of seeds have no use for them")
            return self.generate(images, to, strength=strength)
        end = self._reference(to, align)

        def finished(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> np.ndarray:
            latents = inversion.latents.to(inverter.device)
            return from_network(inverter.images(inversion, copy_quality(latents, end, strength)))[0]

        return self._finished(images, self._inverter, finished, parts)

    @errors_in_python
    def edit(
        self,
        images: Images,
        direction: str | AnyDirection,
        strength: float = 2.0,
        *,
        is_sharp: bool = False,
        yielding: float = YIELDING,
        align: str | None = None,
        faces: Faces = LARGEST,
        whole: bool = False,
    ) -> Any:
        """Return images edited along a direction with their quality kept, as `qc-stylegan edit` does.

        Args:
            images: photos.
            direction: file of a direction, or one that `directions` has found.
            strength: 1 is a standard deviation of sampled w; negative: the other way.
            is_sharp: return them sharp instead.
            yielding: how far features of an encoder yield to the network's own where the edit moves what they show; 0:
                not at all, as published.
            align: detector of the faces that are cut out; None: the middle square.
            faces: which faces of a photo: `largest` or `all`.
            whole: return whole photos.
        """
        parts = Parts(align, faces, whole)
        inverter = self._inverter
        chosen = make_direction(direction, inverter) if isinstance(direction, str) else direction

        def finished(inverter: Inverter, inversion: Inversion, photo: PreparedPhoto) -> np.ndarray:
            with inverter.tuned(inversion) as G:
                kept, sharp = edited_images(
                    G, inversion.latents.to(inverter.device), chosen, strength, yielding=yielding
                )
            return from_network(sharp if is_sharp else kept)[0]

        return self._finished(images, inverter, finished, parts)

    @errors_in_python
    def encode(self, images: Images, *, align: str | None = None, faces: Faces = LARGEST) -> Latents | list[Latents]:
        """Return the codes of images, `ws [N, num_ws, w_dim]` and `q [N, q_dim]`, without tuning.

        Args:
            images: photos.
            align: detector of the faces that are cut out; None: the middle square.
            faces: which faces of a photo: `largest`, or `all`: then a list of the codes of each photo's faces.
        """
        photos, codes = self._codes(images, Parts(align, faces))
        parts = [part for found in photos for part in found]
        notes = [
            notes_on(self._restorer, Inversion(row), part, self.subject, has_result=False)
            for part, row in zip(parts, codes.rows(), strict=True)
        ]
        _warn((sentence for note in notes for sentence in note.sentences), 1)
        return codes if faces == LARGEST else [join(rows) for rows in in_groups(codes.rows(), photos)]

    @errors_in_python
    def show(self, codes: Latents, form: Form = "pil") -> Any:
        """Return the images of codes, such as those of `encode`; `codes.sharp()` shows them without degradation."""
        with torch.no_grad():
            images = from_network(synthesize(self.G, codes.to(self.device)))
        return to_form(list(images), form, self.device)

    @errors_in_python
    def directions(self, count: int = 3, method: Literal["sefa", "pca"] = "sefa") -> list[Direction]:
        """Return directions for `edit`, the strongest first; see `qc-stylegan directions`."""
        return find_directions(self.G, method, Search(count=count))

    @functools.cached_property
    def _inverter(self) -> Inverter:
        flags = InverterFlags(self.path, self.encoder, device=str(self.device))
        inverter = make_inverter(flags, TuningFlags(tuning_steps=self.tuning_steps), needs_quality=False)
        self.G = inverter.G  # the same network, which need not be in memory twice
        return inverter

    @property
    def _restorer(self) -> Inverter:
        """The inverter as `qc-stylegan restore` has it: after an encoder nothing is tuned, unless that is asked for."""
        inverter = self._inverter
        if self.G.q_dim == 0:
            raise UserError(f"{self.path} is plain, without the quality code that this needs; give a QC network")
        if inverter.encoder is None or self.tuning_steps is not None:
            return inverter
        return _with_options(inverter, tuning=None)

    def _finished(self, images: Images, inverter: Inverter, finished: Finished, parts: Parts) -> Any:
        """Return in their form what `finished` makes of the parts of images; warn of what somebody should know."""
        made = made_of(images, parts.reader(inverter.G), inverter, finished, self.subject)
        _warn((sentence for found in made for face in found for sentence in face.notes.sentences), 2)
        return results_in_the_form_of(images, made, parts)

    def _codes(self, images: Images, parts: Parts) -> tuple[list[list[PreparedPhoto]], Latents]:
        """Return the parts of each image, and the codes of all of them, without tuning."""
        inverter = self._restorer
        photos = prepare_all(images, parts.reader(inverter.G))
        targets = torch.cat([part.target for found in photos for part in found])
        return photos, inverter.codes(targets.to(self.device))

    def _quality(self, quality: Any, seeds: Sequence[int], strength: float) -> Quality:
        """Return what a quality means for each seed; codes may be given as numbers."""
        if isinstance(quality, str):
            return parse_qualities([quality], seeds, self.G.q_dim, scale=strength)[0]
        codes = np.atleast_2d(torch.as_tensor(quality).detach().cpu().numpy().astype(np.float32))
        if codes.shape not in ((1, self.G.q_dim), (len(seeds), self.G.q_dim)) or not np.isfinite(codes).all():
            raise UserError(
                f"quality has shape {list(np.shape(quality))}, or is not finite; give [{self.G.q_dim}] or "
                f"[{len(seeds)}, {self.G.q_dim}] numbers"
            )
        return Quality("given", np.broadcast_to(codes * np.float32(strength), (len(seeds), self.G.q_dim)))

    def _reference(self, to: Any, align: str | None) -> Latents:
        """Return codes of one image with the degradation that `to` names, or shows: its largest face with `align`."""
        is_name = isinstance(to, str) and (to == "sharp" or to.startswith("seed:"))
        is_code = isinstance(to, (np.ndarray, torch.Tensor, list, tuple)) and np.shape(to) == (self.G.q_dim,)
        if not (is_name or is_code):
            return self._codes(to, Parts(align))[1]
        codes = self._quality(to, [0], 1.0).codes
        ws = self.G.mapping.w_avg.expand(1, self.G.num_ws, -1)
        return Latents(ws, q=None if codes is None else torch.tensor(codes, device=ws.device))


def _with_options(inverter: Inverter, **changes: Any) -> Inverter:
    """Return the same inverter with other options."""
    other = copy.copy(inverter)
    other.options = dataclasses.replace(inverter.options, **changes)
    return other


def _warn(sentences: Iterable[str], depth: int) -> None:
    """Warn of what somebody should know; each sentence is said once.

    Args:
        sentences: the sentences.
        depth: calls between this one and that of the method of `Network`, at which the warnings point.
    """
    for sentence in dict.fromkeys(sentences):
        warnings.warn(sentence, stacklevel=depth + 3)  # this call, that of the method, and its decorator's


def _are_seeds(images: Any) -> bool:
    return isinstance(images, (int, np.integer, range)) or (
        isinstance(images, (list, tuple))
        and bool(images)
        and all(isinstance(image, (int, np.integer)) for image in images)
    )


def _numbers(seeds: Seeds) -> list[int]:
    numbers = [int(seeds)] if isinstance(seeds, (int, np.integer)) else [int(seed) for seed in seeds]
    wrong = next((seed for seed in numbers if not 0 <= seed <= MAX_SEED), None)
    if wrong is not None or not numbers:
        what = "are none" if wrong is None else f"hold {wrong}"
        raise UserError(f"the seeds {what}, must be numbers from 0 to {MAX_SEED}; give for example range(8)")
    return numbers


def _rgb(image: np.ndarray) -> np.ndarray:
    """Return uint8 `[R, R, 1 or 3]` as `[R, R, 3]`."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
