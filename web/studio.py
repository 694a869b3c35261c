"""The network behind the page: photos to codes once, then codes to images as often as somebody moves a slider.

Nothing here belongs to a user: what was found for a photo is handed out, and comes back with each request.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dnnlib.config import require
from generation.rendering import synthesize
from images.photos import from_network
from inversion.commands.building import make_direction, make_inverter, make_reader
from inversion.commands.options import InverterFlags
from inversion.directions.direction import AnyDirection
from inversion.directions.editing import edit
from inversion.directions.search import Search, find_directions
from inversion.familiarity import usual_detail
from inversion.fidelity.blend import blend
from inversion.inverter import OnStep
from inversion.photos.notes import STAYS, notes_on, subject_of
from inversion.photos.reader import ALL, PreparedPhoto
from inversion.quality.requality import interpolate_quality, scale_quality
from inversion.tuned_weights import Inversion
from networks.frozen import FrozenSynthesis
from networks.latents import Latents, join
from torch_utils.checkpoint import read_header
from web.limits import Deadline, Limits
from web.open_photo import OpenPhoto, kept_of
from web.samples import Sample, Wish, sample_images
from web.uploads import read_upload

MOST_QUALITY = 2.0  # factor of a photo's own degradation
MOST_STRENGTH = 4.0  # largest strength of an edit, in standard deviations
SAMPLED_W = 4096  # w that the unit of a direction's strength is measured on


@dataclass(frozen=True)
class Look:
    """How a photo is shown.

    Attributes:
        fidelity: how much is kept of the photo, from 0 to 1; see `inversion.fidelity.blend`.
        quality: factor of its degradation; 0: restored.
        strengths: strengths of the edits, one for each direction of the studio; fewer mean none along the others.
        reference: codes of another photo, whose degradation takes the place of the photo's own; None: there is none.
        share: how far it does, from 0 to 1.
    """

    fidelity: float
    quality: float = 0.0
    strengths: tuple[float, ...] = ()
    reference: Latents | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.fidelity <= 1, "the fidelity", self.fidelity, "from 0 to 1")
        require(0 <= self.quality <= MOST_QUALITY, "the degradation", self.quality, f"from 0 to {MOST_QUALITY:g}")
        require(0 <= self.share <= 1, "the share", self.share, "from 0 to 1")
        for strength in self.strengths:
            is_fine = math.isfinite(strength) and abs(strength) <= MOST_STRENGTH
            require(is_fine, "the strength of an edit", strength, f"from {-MOST_STRENGTH:g} to {MOST_STRENGTH:g}")

    @property
    def is_restored(self) -> bool:
        """Whether this is what `invert.py restore` shows."""
        return self.quality == 0 and not any(self.strengths)


class Studio:
    """One network, its encoder and its directions; it does one thing at a time.

    Args:
        inverting: how photos are inverted.
        align: detector of the faces that are cut out; None: the middle square.
        directions: files of directions to edit along.
        sefa: number of directions that are found in the network itself, and come first.
        limits: bounds of photos, and of the time that a request takes.
        faces: faces that are cut out with `align`: `all` of a photo, or the `largest`.

    Raises UserError as the commands of invert.py do.
    """

    def __init__(
        self,
        inverting: InverterFlags,
        align: str | None = None,
        directions: Sequence[str] = (),
        sefa: int = 4,
        limits: Limits | None = None,
        faces: str = ALL,
    ) -> None:
        self.limits = limits or Limits()
        self.inverter = make_inverter(inverting, None, needs_quality=True)
        self.G = self.inverter.G
        self.frozen = FrozenSynthesis(self.G)  # for images of one photo after the other
        self.reader = make_reader(align, self.inverter, faces)
        self.header = read_header(inverting.network)
        self.directions: list[AnyDirection] = []
        if sefa:
            search = Search(count=sefa, samples=SAMPLED_W)
            self.directions += [found.to(self.inverter.device) for found in find_directions(self.G, "sefa", search)]
        self.directions += [make_direction(path, self.inverter) for path in directions]
        self._lock = threading.Lock()

    @property
    def subject(self) -> str:
        """What the network knows, in words."""
        return subject_of(self.header)

    @contextmanager
    def _turn(self, on_step: OnStep | None = None) -> Iterator[OnStep]:
        """Wait until nothing else is being done; yield `on_step` that raises UserError once the time is over."""
        with self._lock:
            deadline = Deadline(self.limits.seconds)

            def checked_step(stage: str, done: int, total: int) -> None:
                deadline.check()
                if on_step is not None:
                    on_step(stage, done, total)

            yield checked_step

    def open(self, path: Path, on_step: OnStep) -> OpenPhoto:
        """Return a photo as soon as it can be seen restored: without `q`, where the search for it follows the encoder.

        Raises UserError as `web.uploads.read_upload` does, and when it takes too long.
        """
        with self._turn(on_step) as checked_step:
            parts = read_upload(path, self.reader, self.limits)
            checked_step("read", 1, 1)
            found = [self._first_codes(part.target.to(self.inverter.device), checked_step) for part in parts]
            return OpenPhoto(path.name, kept_of(parts, path.name), join(found).detach().to("cpu"))

    def complete(self, photo: OpenPhoto, on_step: OnStep) -> OpenPhoto:
        """Return a photo with all its codes, those that `invert.py restore` finds without tuning, and with notes.

        Raises UserError when it takes too long.
        """
        with self._turn(on_step) as checked_step:
            rows = [
                self._all_codes(*pair, checked_step) for pair in zip(photo.parts, photo.latents.rows(), strict=True)
            ]
            notes: list[str] = []
            left: list[int] = []
            for number, (part, row) in enumerate(zip(photo.parts, rows, strict=True), start=1):
                found = notes_on(self.inverter, Inversion(row), part, self.subject)
                of_face = [*found.sentences, *([STAYS] if found.leaves(number) else [])]
                left += [number - 1] if found.leaves(number) else []
                notes += of_face if len(rows) == 1 else [f"face {number}: {note}" for note in of_face]
                if len(rows) > 1:
                    checked_step("faces", number, len(rows))
            return replace(photo, latents=join(rows), notes=tuple(notes), left=tuple(left))

    def picture(self, photo: OpenPhoto, look: Look) -> np.ndarray:
        """Return how a photo looks, uint8 `[R, R, 3]`; one with several faces whole, uint8 `[H, W, 3]`.

        The network's image `G(w, s q)` with the photo's own degradation is mixed with the photo by the fidelity, which
        at s = 0 is what `invert.py restore` shows. Edits and another photo's degradation change that by as much as they
        change the network's image; of what the photo tells beyond that image, the share of the other degradation is
        left out, since it is about its own. So at fidelity 0 all images are the network's, as those of `invert.py edit`
        and `degrade` are. Faces are pasted back as by `--paste-back`.
        """
        with self._turn() as checked_step, torch.no_grad():
            images: list[np.ndarray | None] = []
            for number, (part, row) in enumerate(zip(photo.parts, photo.latents.rows(), strict=True)):
                images.append(None if number in photo.left else self._part_picture(part, row, look))
                checked_step("faces", number + 1, len(photo.parts))
            return photo.with_results(images)

    def _part_picture(self, part: PreparedPhoto, row: Latents, look: Look) -> np.ndarray:
        """Return how a part of a photo looks, uint8 `[R, R, 3]`."""
        target, latents = part.target.to(self.inverter.device), row.to(self.inverter.device)
        shown = self._image(scale_quality(latents, look.quality))
        detail = usual_detail(self.inverter.encoder_header, self.G.img_resolution)
        kept = blend(target, shown, look.fidelity, detail).clamp(-1, 1)
        share = 0.0 if look.reference is None else look.share
        if share == 0 and not any(look.strengths):
            return from_network(kept)[0]
        told = (1 - share) * (kept - shown)
        return from_network(self._image(self._changed(latents, look)) + told)[0]

    def samples(self, wish: Wish, on_step: OnStep) -> list[Sample]:
        """Return images of seeds, sharp and degraded; raise UserError when it takes too long."""
        with self._turn(on_step) as checked_step:
            samples = []
            for sample in sample_images(self.G, wish):
                samples.append(sample)
                checked_step("images", len(samples), len(wish.seeds))
            return samples

    def _first_codes(self, target: Tensor, on_step: OnStep) -> Latents:
        """Return what the encoder finds, where a search for `q` is all that follows it; else all codes."""
        if self.inverter.encoder is None or not self.inverter.fits_quality:
            return self.inverter.codes(target, on_step)
        with torch.no_grad():
            return self.inverter.encoder(target)

    def _all_codes(self, part: PreparedPhoto, row: Latents, on_step: OnStep) -> Latents:
        """Return the codes of a part, after those that were found first."""
        if row.q is not None:
            return row
        device = self.inverter.device
        return self.inverter.codes(part.target.to(device), on_step, row.to(device)).detach().to("cpu")

    def _image(self, latents: Latents) -> Tensor:
        return synthesize(self.G, latents, frozen=self.frozen).clamp(-1, 1)  # [1, C, R, R]

    def _changed(self, latents: Latents, look: Look) -> Latents:
        """Return the codes of a photo with another's degradation, and edited."""
        codes = latents
        if look.reference is not None:
            codes = interpolate_quality(latents, latents, look.reference.to(latents.ws.device), look.share)
        codes = scale_quality(codes, look.quality)
        for direction, strength in zip(self.directions, look.strengths, strict=False):
            codes = edit(self.G, codes, direction, strength) if strength else codes
        return codes
