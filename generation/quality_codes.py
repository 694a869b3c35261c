"""Quality codes by name: what people type, and the codes that it means for each seed."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.arrays import read_array, read_arrays
from dnnlib.errors import UserError, counted, one_line, unknown_name
from dnnlib.limits import VECTOR_BYTES
from dnnlib.parsing import existing, floats
from dnnlib.reading import UnreadableError, open_file, read_json, read_text

MAX_SEED = 2**32 - 1  # largest seed of numpy.random.RandomState
_DIGITS = 20  # most digits of a seed with zeros before it; Python reads no numbers of more than some thousand
CURE = "give a file of numbers, a code a line"


@dataclass(frozen=True)
class Quality:
    """One way to see every image.

    Attributes:
        label: short name, for file names and figures.
        codes: float32 `[S, q_dim]`, one row a seed, finite; None: sharp.
    """

    label: str
    codes: np.ndarray | None

    def rows(self, rows: slice) -> np.ndarray | None:
        """Return the codes of some seeds, `[N, q_dim]`; None for sharp images."""
        return None if self.codes is None else self.codes[rows]

    @property
    def is_sharp(self) -> bool:
        """Whether this is the sharp image by name, with no code at all."""
        return self.codes is None


SHARP = Quality("sharp", None)


def is_seed(text: str) -> bool:
    """Whether a text is a number that NumPy takes as a seed."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= MAX_SEED


def seed_code(seed: int, q_dim: int) -> np.ndarray:
    """Return quality code number `seed`, `RandomState(seed).randn(1, q_dim)`, float32 `[1, q_dim]`."""
    return np.random.RandomState(seed).randn(1, q_dim).astype(np.float32)


def random_code(seed: int, q_dim: int, index: int = 0) -> np.ndarray:
    """Return degradation `index` of image number `seed`: `RandomState([seed, index]).randn(1, q_dim)`, float32.

    NumPy seeds from a list in another way than from a number, so the code is independent of the image's z.
    """
    return np.random.RandomState([seed, index]).randn(1, q_dim).astype(np.float32)


def random_quality(seeds: Sequence[int], q_dim: int, index: int = 0, label: str = "random") -> Quality:
    """Return degradation `index` of each seed."""
    return Quality(label, np.concatenate([random_code(seed, q_dim, index) for seed in seeds]))


def parse_qualities(
    texts: Sequence[str], seeds: Sequence[int], q_dim: int, degradations: int = 0, scale: float = 1.0
) -> list[Quality]:
    """Return what `texts` ask for, then `degradations` random codes a seed; labels are made unique.

    Args:
        texts: each `sharp`, `random`, `seed:5`, a file, or q_dim numbers.
        seeds: seeds of the images.
        q_dim: width of the code; 0 for a plain network, which knows `sharp` alone.
        degradations: how many random codes each seed gets besides, labelled random0, random1, ...
        scale: factor of every code; 0 gives sharp images.

    Raises UserError for anything else, for a file that does not hold one code or one a seed, for a code that is not
    finite, and for a degraded quality where q_dim is 0.
    """
    if q_dim == 0 and (degradations or any(text != "sharp" for text in texts)):
        asked = next((f"--quality={text}" for text in texts if text != "sharp"), f"--degradations={degradations}")
        raise UserError(f"{asked} needs a QC network, and this one is plain, so that it has only --quality=sharp")
    qualities = [_parse(text, seeds, q_dim) for text in texts]
    qualities += [random_quality(seeds, q_dim, index, f"random{index}") for index in range(degradations)]
    return _with_unique_labels([_scaled(quality, scale) for quality in qualities])


def read_codes(path: str | Path, q_dim: int) -> np.ndarray:
    """Return the codes of a file, float32 `[N, q_dim]`.

    Formats: .npy; .npz with an array `q`; .json (a list, or an object with `q`); .txt (numbers with commas or white
    space, a code a line). Raises UserError for a damaged file, for codes of another width, and for NaN or infinity.
    """
    path = existing(path, "quality file")
    if path.suffix.lower() not in READERS:
        raise UserError(f"quality file {path} has none of the endings {', '.join(READERS)}; convert it to one of them")
    open_file(path, VECTOR_BYTES).close()
    try:
        codes = np.atleast_1d(np.asarray(READERS[path.suffix.lower()](path), dtype=np.float32))
    except KeyError:
        raise UserError(f"quality file {path} has no entry 'q'; store the codes under that name") from None
    except Exception as error:  # lists of unequal lengths, numbers of 400 digits, and what else a file may hold
        reason = error.__cause__ if isinstance(error, UnreadableError) and error.__cause__ else error
        raise UserError(f"quality file {path} is damaged or holds no numbers ({one_line(reason)})", CURE) from error
    if codes.shape in ((q_dim,), (q_dim, 1)):  # a code, perhaps a number a line
        codes = codes.reshape(1, q_dim)
    if codes.ndim != 2 or codes.shape[1] != q_dim or len(codes) == 0:
        shape = " x ".join(str(size) for size in codes.shape)
        wanted = f"needs {q_dim} for each code of this network"
        raise UserError(f"quality file {path} holds {shape} numbers, {wanted}; give such codes")
    return _finite(codes, f"quality file {path}")


def _parse(text: str, seeds: Sequence[int], q_dim: int) -> Quality:
    if text == "sharp":
        return SHARP
    if text == "random":
        return random_quality(seeds, q_dim)
    if text.startswith("seed:"):
        number = text.removeprefix("seed:")
        if not is_seed(number):
            raise UserError(f"--quality={text} has no seed from 0 to {MAX_SEED}; write for example seed:5")
        return _for_all(f"seed{int(number)}", seed_code(int(number), q_dim), seeds)
    if os.path.isfile(text) or Path(text).suffix.lower() in READERS:
        codes = read_codes(text, q_dim)
        if len(codes) not in (1, len(seeds)):
            wanted = f"1 or {len(seeds)}" if len(seeds) > 1 else "1"
            raise UserError(
                f"quality file {text} holds {counted(len(codes), 'code')} for {counted(len(seeds), 'seed')}; "
                f"give {wanted}"
            )
        return _for_all(re.sub(r"[^\w-]+", "_", Path(text).stem), codes, seeds)
    if re.fullmatch(r"[-+.\d\[(].*|nan.*|inf.*", text.strip(), re.IGNORECASE | re.DOTALL):
        codes = _finite(np.array([floats(text, q_dim, "--quality")], np.float32), f"--quality={text}")
        return _for_all("given", codes, seeds)
    raise unknown_name("quality", text, ["sharp", "random", "seed:5", "FILE", f"{q_dim} numbers"])


def _for_all(label: str, codes: np.ndarray, seeds: Sequence[int]) -> Quality:
    return Quality(label, np.broadcast_to(codes, (len(seeds), codes.shape[1])))


def _scaled(quality: Quality, scale: float) -> Quality:
    if quality.is_sharp or scale == 1:
        return quality
    assert quality.codes is not None, "only a sharp quality has no codes"
    with np.errstate(over="ignore"):
        codes = (quality.codes * np.float32(scale)).astype(np.float32)
    return replace(quality, codes=_finite(codes, f"--quality-scale={scale:g} times {quality.label}"))


def _with_unique_labels(qualities: Sequence[Quality]) -> list[Quality]:
    taken: set[str] = set()
    unique: list[Quality] = []
    for quality in qualities:
        if quality.is_sharp and any(other.is_sharp for other in unique):  # the same image again
            continue
        candidates = [quality.label] + [f"{quality.label}-{number}" for number in range(2, len(qualities) + 1)]
        label = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(label)
        unique.append(replace(quality, label=label))
    return unique


def _finite(codes: np.ndarray, what: str) -> np.ndarray:
    if not np.isfinite(codes).all():
        row, column = np.argwhere(~np.isfinite(codes))[0]
        value = codes[row, column]
        raise UserError(f"{what}: number {column + 1} of code {row + 1} is {value}, must be finite; correct it")
    return codes


def _read_archive(path: Path) -> Any:
    return read_arrays(path)["q"]


def _read_json(path: Path) -> Any:
    values = read_json(path)
    return values["q"] if isinstance(values, dict) else values


def _read_text(path: Path) -> Any:
    lines = [line.replace(",", " ").split() for line in read_text(path).splitlines()]
    return [[float(number) for number in line] for line in lines if line]


READERS = {".npy": read_array, ".npz": _read_archive, ".json": _read_json, ".txt": _read_text}
