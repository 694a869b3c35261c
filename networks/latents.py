"""The codes of images: what encoders and the projector return, and what generators turn into images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Latents:
    """The codes of N images; in every field the first axis counts images.

    The operations below go through all fields, so that a new field takes part in each of them.

    Attributes:
        ws: `[N, num_ws, w_dim]`, the content.
        q: `[N, q_dim]`, the quality; None or zero: sharp.
    """

    ws: Tensor
    q: Tensor | None = None

    def __post_init__(self) -> None:
        assert self.ws.ndim == 3, f"ws has shape {list(self.ws.shape)}, not [N, num_ws, w_dim]"
        if self.q is not None:
            assert self.q.ndim == 2 and len(self.q) == len(self.ws), f"q has shape {list(self.q.shape)}"

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Latents":
        """Return the codes whose fields are in `tensors` by name; other tensors are ignored. KeyError without `ws`."""
        optional = {name: tensors.get(name) for name in FIELDS if name != "ws"}
        return cls(ws=tensors["ws"], **optional)

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields that are there, by name."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> "Latents":
        """Return the codes with `function` applied to every field that is there."""
        return Latents(**{name: function(value) for name, value in self.tensors().items()})

    def __len__(self) -> int:
        return len(self.ws)

    def __getitem__(self, rows: slice) -> "Latents":
        return self.map(lambda value: value[rows])

    def row(self, index: int) -> "Latents":
        """Return the codes of image number `index`, as a batch of one."""
        return self[index : index + 1]

    def rows(self) -> list["Latents"]:
        """Return the codes of each image."""
        return [self.row(index) for index in range(len(self))]

    def repeat(self, count: int) -> "Latents":
        """Return the codes of one image `count` times."""
        assert len(self) == 1, f"{len(self)} images are to be repeated, not 1"
        return self.map(lambda value: value.expand(count, *value.shape[1:]))

    def to(self, device: torch.device | str) -> "Latents":
        """Return the codes on a device."""
        return self.map(lambda value: value.to(device))

    def detach(self) -> "Latents":
        """Return the codes without their history."""
        return self.map(Tensor.detach)

    def lerp(self, other: "Latents", share: float) -> "Latents":
        """Return the codes at `share` of the way to `other`, from 0 to 1; a field that only one has is zero there."""
        ours, theirs = self.tensors(), other.tensors()
        both = ours.keys() | theirs.keys()
        ends = {name: (_or_zeros(ours, theirs, name), _or_zeros(theirs, ours, name)) for name in both}
        return Latents(**{name: start.lerp(end, share) for name, (start, end) in ends.items()})

    def sharp(self) -> "Latents":
        """Return the same content without any degradation: restoring is this (paper, section 3.5)."""
        return dataclasses.replace(self, q=None)


FIELDS = tuple(field.name for field in dataclasses.fields(Latents))


def join(parts: Sequence[Latents]) -> Latents:
    """Return the codes of all images of `parts` in one batch; every part must have the same fields."""
    tensors = [part.tensors() for part in parts]
    names = tensors[0].keys()
    assert all(part.keys() == names for part in tensors), f"fields differ: {[list(part) for part in tensors]}"
    return Latents(**{name: torch.cat([part[name] for part in tensors]) for name in names})


def _or_zeros(own: Mapping[str, Tensor], other: Mapping[str, Tensor], name: str) -> Tensor:
    return own[name] if name in own else torch.zeros_like(other[name])
