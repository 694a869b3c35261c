"""Moments of a run in the names of files: the thousands of images seen, with as many digits as ticks need."""

from pathlib import Path

THOUSAND = 1000  # images in a kimg
DIGITS = 3  # most digits behind the point: then a unit is one image


def digits_needed(kimg: float, kimg_per_tick: float, batch: int) -> int:
    """Return the fewest digits behind the point with which no two ticks of a run have one name.

    Args:
        kimg: length of the run, where its last file is written.
        kimg_per_tick: length of a tick.
        batch: images a step; ticks end with steps.
    """
    total, tick = int(kimg * THOUSAND), max(batch, int(kimg_per_tick * THOUSAND))
    for digits in range(DIGITS):
        unit = THOUSAND // 10**digits
        are_apart = tick % unit == 0 or unit <= tick // batch * batch
        if are_apart and (total % unit == 0 or total <= tick):
            return digits
    return DIGITS


def moment_name(images_seen: int, digits: int) -> str:
    """Return `000012` or `000012.25`: the thousands of images, cut after so many digits behind the point."""
    whole, rest = divmod(images_seen, THOUSAND)
    return f"{whole:06d}" + (f".{rest:03d}"[: 1 + digits] if digits else "")


def by_moment(path: Path) -> float:
    """Return the moment in a file's name, `NAME-MOMENT.ENDING`, to sort by; 0 where there is none."""
    try:
        return float(path.stem.rpartition("-")[2])
    except ValueError:
        return 0.0
