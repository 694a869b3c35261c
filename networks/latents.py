"""The codes of images: what encoders and the projector return, and what generators turn into images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Padding:
    """What surrounds the features of a generator, and what it starts from (Bai et al. 2022, the padding space).

    Attributes:
        const: `[N, C, 4, 4]`, in place of the learned constant; None: the learned one.
        rings: `[N, C, P]` by the name of the layer, such as `b8.conv1`, in place of the zeros around its features: the
            pixels of a frame of width 1, row by row (`torch_utils.ops.rings`).
    """

    const: Tensor | None = None
    rings: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Padding":
        """Return the padding that has these tensors, named as `tensors` names them."""
        return cls(tensors.get("const"), {name: value for name, value in tensors.items() if name != "const"})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name: `const`, and the names of layers."""
        return {**({} if self.const is None else {"const": self.const}), **self.rings}


@dataclass(frozen=True, eq=False)
class Features:
    """Features that take the place of what a generator's first layers make (Yao et al. 2022, feature-style encoder).

    Attributes:
        values: `[N, C, S, S]`.
        layer: number K of the layer whose output they replace; styled 3x3 convolutions count from 1, at 4x4.
        in_image: whether the image layer of the same resolution sees them, too; in the published networks it still sees
            the generator's own, and only layer K + 1 reads these.
    """

    values: Tensor
    layer: int
    in_image: bool = False

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Features":
        """Return the features that have this one tensor, named as `tensors` names it."""
        [(name, values)] = tensors.items()
        layer, _, suffix = name.partition(".")
        return cls(values, int(layer), suffix == "in_image")

    def tensors(self) -> dict[str, Tensor]:
        """Return the one tensor by its name: `5`, or `5.in_image`."""
        return {f"{self.layer}.in_image" if self.in_image else f"{self.layer}": self.values}


@dataclass(frozen=True, eq=False)
class Latents:
    """The codes of N images; in every tensor the first axis counts images.

    The operations below go through all tensors, so that a new field takes part in each of them.

    Attributes:
        ws: `[N, num_ws, w_dim]`, the content.
        q: `[N, q_dim]`, the quality; None or zero: sharp.
        padding: what surrounds features; None: zeros.
        features: what replaces the features of the first layers; None: nothing.
    """

    ws: Tensor
    _: KW_ONLY
    q: Tensor | None = None
    padding: Padding | None = None
    features: Features | None = None

    def __post_init__(self) -> None:
        assert self.ws.ndim == 3, f"ws has shape {list(self.ws.shape)}, not [N, num_ws, w_dim]"
        assert self.q is None or self.q.ndim == 2, f"q has shape {list(self.q.shape)}"
        for name, value in self.tensors().items():
            # Not by `len`, which exporters take as a promise that the number of rows never changes.
            rows = self.ws.shape[0]
            is_fitting = value.ndim > 0 and value.shape[0] == rows
            assert is_fitting, f"{name} has shape {list(value.shape)}, not {rows} rows"

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Latents":
        """Return the codes whose tensors are in `tensors` by name; others are ignored. KeyError without `ws`."""
        padding, features = (_below(part, tensors) for part in ("padding", "features"))
        return cls(
            tensors["ws"],
            q=tensors.get("q"),
            padding=Padding.from_tensors(padding) if padding else None,
            features=Features.from_tensors(features) if features else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name: `ws`, `q`, `padding.const`, `padding.b8.conv1`, `features.5`."""
        tensors = {"ws": self.ws} if self.q is None else {"ws": self.ws, "q": self.q}
        for part in ("padding", "features"):
            value: Padding | Features | None = getattr(self, part)
            if value is not None:
                tensors |= {f"{part}.{name}": tensor for name, tensor in value.tensors().items()}
        return tensors

    def map(self, function: Callable[[Tensor], Tensor]) -> "Latents":
        """Return the codes with `function` applied to every tensor that is there."""
        return Latents.from_tensors({name: function(value) for name, value in self.tensors().items()})

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
        """Return the codes at `share` of the way to `other`, from 0 to 1.

        A quality code or a ring that only one of them has is zero in the other; all else both must have.
        """
        ours, theirs = self.tensors(), other.tensors()
        both = sorted(ours.keys() | theirs.keys())
        ends = {name: (_or_zeros(ours, theirs, name), _or_zeros(theirs, ours, name)) for name in both}
        return Latents.from_tensors({name: start.lerp(end, share) for name, (start, end) in ends.items()})

    def sharp(self) -> "Latents":
        """Return the same content without any degradation: restoring is this (paper, section 3.5)."""
        return dataclasses.replace(self, q=None)

    def bare(self) -> "Latents":
        """Return `ws` and `q` alone, which codes of other content can be made from."""
        return Latents(self.ws, q=self.q)


def join(parts: Sequence[Latents]) -> Latents:
    """Return the codes of all images of `parts` in one batch; every part must have the same tensors."""
    tensors = [part.tensors() for part in parts]
    names = tensors[0].keys()
    assert all(part.keys() == names for part in tensors), f"fields differ: {[list(part) for part in tensors]}"
    return Latents.from_tensors({name: torch.cat([part[name] for part in tensors]) for name in names})


def is_code(name: str) -> bool:
    """Return whether `Latents.from_tensors` takes up a tensor of this name."""
    return name in ("ws", "q") or name.startswith(("padding.", "features."))


def _below(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `part` and a dot, by the rest of their names."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _or_zeros(own: Mapping[str, Tensor], other: Mapping[str, Tensor], name: str) -> Tensor:
    if name in own:
        return own[name]
    can_be_zero = name == "q" or (name.startswith("padding.") and name != "padding.const")
    assert can_be_zero, f"only one of two codes has {name}"
    return torch.zeros_like(other[name])
