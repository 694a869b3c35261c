"""Drawn faces of cats and owls: training data that needs no download and no licence."""

import colorsys
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

KINDS = ("cat", "owl")
SUPERSAMPLING = 4  # pixels of the canvas along a side of a pixel of the result
INK = (38, 28, 34)


def draw_face(seed: int, size: int) -> tuple[np.ndarray, int]:
    """Draw face number `seed`; return uint8 RGB `[size, size, 3]` and the index of its kind in `KINDS`.

    The same seed gives the same face at every size. Stripes, strands and whiskers are about a pixel wide at 32 px, so
    that blur, noise and compression remove some of them.
    """
    rng = np.random.default_rng(seed)
    kind = int(rng.integers(len(KINDS)))
    canvas = Canvas(size * SUPERSAMPLING)
    _background(canvas, rng)
    canvas.place(rng.uniform(-0.08, 0.08, 2), rng.uniform(0.88, 1.06), rng.normal(0, 0.09))
    (_cat, _owl)[kind](canvas, rng)
    return np.asarray(canvas.image.reduce(SUPERSAMPLING)), kind


class Canvas:
    """A square RGB image with coordinates of -1..1 (x to the right, y down), which `place` moves, scales and turns."""

    def __init__(self, side: int):
        self.side = side
        self.image = PIL.Image.new("RGB", (side, side))
        self._draw = PIL.ImageDraw.Draw(self.image)
        self._offset: Sequence[float] | np.ndarray = (0.0, 0.0)
        self._scale = 1.0
        self._turn = (1.0, 0.0)  # cosine and sine

    def place(self, offset: Sequence[float] | np.ndarray, scale: float, angle: float) -> None:
        """Set the coordinates of all later shapes: position of the origin, length of a unit, angle in radians."""
        self._offset = offset
        self._scale = scale
        self._turn = (math.cos(angle), math.sin(angle))

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._pixel(point) for point in points], fill=colour)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Fill an ellipse around (x, y)."""
        self.polygon(ellipse_points(x, y, radius_x, radius_y), colour)

    def line(self, points: Iterable[Point], width: float, colour: Colour) -> None:
        """Draw a line through points; `width` is in units, at least one pixel."""
        pixels = max(1, round(width * self.side / 2))
        self._draw.line([self._pixel(point) for point in points], fill=colour, width=pixels, joint="curve")

    def clip(self, outlines: Iterable[Iterable[Point]], paint: Callable[["Canvas"], None]) -> None:
        """Let `paint` draw, restricted to the inside of the outlines."""
        inside = PIL.Image.new("L", self.image.size)
        draw = PIL.ImageDraw.Draw(inside)
        for outline in outlines:
            draw.polygon([self._pixel(point) for point in outline], fill=255)
        before = self.image.copy()
        paint(self)
        self.image.paste(before, mask=inside.point(lambda value: 255 - value))

    def _pixel(self, point: Point) -> Point:
        (cosine, sine), (x, y) = self._turn, point
        x, y = self._scale * (cosine * x - sine * y), self._scale * (sine * x + cosine * y)
        return (x + self._offset[0] + 1) * self.side / 2, (y + self._offset[1] + 1) * self.side / 2


def ellipse_points(x: float, y: float, radius_x: float, radius_y: float, count: int = 48) -> list[Point]:
    """Return the corners of a polygon that approximates an ellipse."""
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return [(x + radius_x * math.cos(angle), y + radius_y * math.sin(angle)) for angle in angles]


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    clipped = [min(max(level, 0.0), 1.0) for level in (saturation, value)]
    red, green, blue = (round(255 * level) for level in colorsys.hsv_to_rgb(hue % 1, *clipped))
    return red, green, blue


def _mix(first: Colour, second: Colour, amount: float) -> Colour:
    """Return a colour between the two: `first` at amount 0, `second` at 1."""
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _background(canvas: Canvas, rng: np.random.Generator) -> None:
    hue = rng.uniform()
    light, dark = _hsv(hue, rng.uniform(0.15, 0.5), 0.95), _hsv(hue + 0.08, rng.uniform(0.3, 0.7), 0.7)
    for y in np.linspace(-1, 1, 65)[:-1]:
        canvas.polygon([(-1, y), (1, y), (1, y + 0.04), (-1, y + 0.04)], _mix(light, dark, (y + 1) / 2))
    pattern, step = rng.choice(["plain", "bars", "dots", "checks"]), rng.uniform(0.18, 0.34)
    positions = np.arange(-1.2, 1.3, step)
    if pattern == "bars":
        lean = rng.uniform(-0.6, 0.6)
        for x in positions:
            canvas.line([(x - lean, -1), (x + lean, 1)], step / 3, _mix(light, dark, 0.8))
    elif pattern == "dots":
        for row, y in enumerate(positions):
            for x in positions + row % 2 * step / 2:
                canvas.ellipse(x, y, step / 5, step / 5, _mix(light, (255, 255, 255), 0.6))
    elif pattern == "checks":
        for row, y in enumerate(positions):
            for x in positions[row % 2 :: 2]:
                canvas.polygon([(x, y), (x + step, y), (x + step, y + step), (x, y + step)], _mix(light, dark, 0.35))


def _coat(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colour of the coat and that of its markings."""
    hue = rng.choice([0.07, 0.09, 0.11, 0.6, 0.04]) + rng.normal(0, 0.015)
    most = 0.3 if hue > 0.5 else 0.75  # bluish cats are gray
    base = _hsv(hue, rng.uniform(0.05, most), rng.uniform(0.4, 0.97))
    return base, _mix(base, INK, rng.uniform(0.35, 0.65))


def _fur(canvas: Canvas, rng: np.random.Generator, base: Colour, strands: int = 420) -> None:
    """Cover the canvas with short strands that point away from the middle of the face."""
    canvas.ellipse(0, 0, 2, 2, base)
    for _ in range(strands):
        x, y = rng.uniform(-0.95, 0.95, 2)
        length = 0.09 / max(math.hypot(x, y), 0.2)
        shade = _mix(base, INK if rng.uniform() < 0.5 else (255, 255, 255), rng.uniform(0.08, 0.3))
        canvas.line([(x, y), (x * (1 + length), y * (1 + length) + 0.02)], 0.022, shade)


def _eyes(canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, pupil_width: float) -> None:
    iris = _hsv(rng.choice([0.12, 0.17, 0.33, 0.55]) + rng.normal(0, 0.02), 0.75, 0.92)
    gaze = rng.uniform(-0.03, 0.03)
    for side in (-1, 1):
        middle = side * x
        canvas.ellipse(middle, y, radius * 1.12, radius * 1.08, INK)
        canvas.ellipse(middle, y, radius, radius * 0.95, iris)
        canvas.ellipse(middle, y + radius * 0.25, radius * 0.75, radius * 0.6, _mix(iris, (255, 255, 255), 0.3))
        canvas.ellipse(middle + gaze, y, radius * pupil_width, radius * 0.8, (12, 10, 14))
        canvas.ellipse(middle + gaze + radius * 0.3, y - radius * 0.35, radius * 0.24, radius * 0.24, (255, 255, 255))


def _cat(canvas: Canvas, rng: np.random.Generator) -> None:
    base, marking = _coat(rng)
    pale = _mix(base, (255, 250, 244), rng.uniform(0.5, 0.9))
    width, height = rng.uniform(0.64, 0.74), rng.uniform(0.54, 0.62)
    tip_x, tip_y = rng.uniform(0.48, 0.66), rng.uniform(-0.92, -0.8)
    ears = [[(s * 0.14, -0.42), (s * tip_x, tip_y), (s * (width - 0.02), -0.02)] for s in (-1, 1)]
    head = ellipse_points(0, 0.1, width, height)
    tabby = rng.uniform() < 0.7

    def coat(canvas: Canvas) -> None:
        _fur(canvas, rng, base)
        if tabby:
            _tabby_stripes(canvas, rng, marking, width)
        for side in (-1, 1):
            canvas.ellipse(side * 0.15, 0.42, 0.22, 0.17, pale)
        canvas.ellipse(0, 0.62, 0.2, 0.14, pale)

    for ear in [*ears, head]:
        canvas.line([*ear, ear[0], ear[1]], 0.05, INK)
    canvas.clip([*ears, head], coat)
    for s in (-1, 1):
        inner = [(s * 0.27, -0.44), (s * (tip_x - 0.03), tip_y + 0.14), (s * (width - 0.14), -0.2)]
        canvas.polygon(inner, _mix((240, 150, 150), base, 0.25))
        canvas.line([(s * 0.36, -0.35), (s * (tip_x - 0.05), tip_y + 0.26)], 0.03, pale)
    _eyes(canvas, rng, rng.uniform(0.28, 0.33), 0.05, rng.uniform(0.14, 0.18), rng.uniform(0.22, 0.7))
    _muzzle(canvas, rng)


def _tabby_stripes(canvas: Canvas, rng: np.random.Generator, marking: Colour, width: float) -> None:
    for x in (-0.2, -0.1, 0, 0.1, 0.2):
        bottom = -0.2 + rng.uniform(-0.04, 0.06) - abs(x) * 0.3
        canvas.line([(x * 1.3, -0.6), (x * 0.7, bottom)], rng.uniform(0.035, 0.06), marking)
    for side in (-1, 1):
        for y in np.arange(0.12, 0.5, 0.13) + rng.uniform(-0.02, 0.02):
            canvas.line([(side * width, y - 0.05), (side * (width - 0.2), y + 0.03)], 0.045, marking)


def _muzzle(canvas: Canvas, rng: np.random.Generator) -> None:
    nose = _hsv(rng.uniform(-0.03, 0.03), rng.uniform(0.35, 0.6), rng.uniform(0.55, 0.95))
    canvas.polygon([(-0.09, 0.26), (0.09, 0.26), (0.02, 0.36), (-0.02, 0.36)], nose)
    canvas.line([(0, 0.35), (0, 0.43)], 0.025, INK)
    smile = rng.uniform(0.04, 0.09)
    for side in (-1, 1):
        canvas.line([(0, 0.43), (side * 0.08, 0.43 + smile), (side * 0.17, 0.42 + smile * 0.6)], 0.025, INK)
        droop = rng.uniform(-0.08, 0.12)
        for strand in (-1, 0, 1):
            end = (side * rng.uniform(0.86, 0.98), 0.4 + strand * 0.13 + droop)
            canvas.line([(side * 0.22, 0.4 + strand * 0.045), end], 0.02, (250, 248, 244))


def _owl(canvas: Canvas, rng: np.random.Generator) -> None:
    base, marking = _coat(rng)
    disc = _mix(base, (255, 246, 230), rng.uniform(0.45, 0.85))
    width, lift = rng.uniform(0.68, 0.8), rng.uniform(0.05, 0.3)
    tufts = [[(s * 0.1, -0.45), (s * (width - 0.06), -0.62 - lift), (s * width, -0.1)] for s in (-1, 1)]
    head = ellipse_points(0, 0.08, width, 0.68)
    eye_x, eye_radius = rng.uniform(0.28, 0.32), rng.uniform(0.17, 0.22)

    def plumage(canvas: Canvas) -> None:
        _fur(canvas, rng, base, strands=200)
        _feather_rows(canvas, marking)
        for side in (-1, 1):
            canvas.ellipse(side * eye_x, 0.02, 0.34, 0.36, disc)
            _rays(canvas, side * eye_x, 0.02, 0.34, _mix(disc, marking, 0.5))

    for part in [*tufts, head]:
        canvas.line([*part, part[0], part[1]], 0.05, INK)
    canvas.clip([*tufts, head], plumage)
    _eyes(canvas, rng, eye_x, 0.02, eye_radius, rng.uniform(0.45, 0.75))
    beak = _hsv(rng.uniform(0.08, 0.14), 0.8, 0.95)
    canvas.polygon([(-0.1, 0.17), (0, 0.1), (0.1, 0.17), (0, 0.42)], INK)
    canvas.polygon([(-0.075, 0.18), (0, 0.12), (0.075, 0.18), (0, 0.38)], beak)


def _feather_rows(canvas: Canvas, marking: Colour) -> None:
    for row, y in enumerate(np.arange(-0.6, 0.85, 0.13)):
        for x in np.arange(-0.9, 0.9, 0.17) + row % 2 * 0.085:
            canvas.line([(x - 0.06, y), (x, y + 0.06), (x + 0.06, y)], 0.028, marking)


def _rays(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    for angle in np.linspace(0, 2 * math.pi, 22, endpoint=False):
        reach = (math.cos(angle), math.sin(angle))
        inner, outer = [(x + reach[0] * radius * part, y + reach[1] * radius * part) for part in (0.6, 0.97)]
        canvas.line([inner, outer], 0.022, colour)
