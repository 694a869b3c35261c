"""One page of pictures: `index.html`, and the same pictures in one image, `overview.png`.

python -m images.page out --picture="Restored photos=out/restored/strips/*.png" --picture="Samples=out/grid.png"
"""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import real_path, write_text
from dnnlib.flags import PATH, SETTINGS
from images.photos import read_photo
from images.sheets import save_png

OVERVIEW = "overview.png"
WIDTH = 960  # pixels of the overview
MARGIN = 12  # pixels around each picture
TITLE = 18  # pixels of a title's letters
ENLARGE_BELOW = 480  # pixels of width; narrower pictures are doubled
PAPER, INK = "white", "black"

STYLE = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;line-height:1.4}"
    "img{max-width:100%;image-rendering:pixelated;margin:.3em 0;display:block}"
    "code{background:#eee;padding:.1em .3em;display:block;margin:.3em 0;white-space:pre-wrap}"
)


@dataclass(frozen=True)
class Section:
    """Pictures under a title.

    Attributes:
        title: title in words.
        files: paths of the pictures.
    """

    title: str
    files: tuple[Path, ...]


@click.command(context_settings=SETTINGS)
@click.argument("folder", type=PATH)
@click.option("--title", default="Pictures", help="Title of the page.")
@click.option(
    "--picture", "pictures", multiple=True, required=True, metavar="TITLE=PATTERN", help="Pictures and their title."
)
@click.option("--next", "commands", multiple=True, metavar="COMMAND", help="Command to go on with, shown at the end.")
@one_sentence_errors
def main(folder: str, title: str, pictures: tuple[str, ...], commands: tuple[str, ...]) -> None:
    """Write FOLDER/index.html and FOLDER/overview.png."""
    write_page(Path(folder), title, pictures, commands)


def write_page(folder: Path, title: str, pictures: Sequence[str], commands: Sequence[str]) -> None:
    """Write the page and the overview of pictures, each `TITLE=PATTERN`, and say where they are."""
    sections = [parse_section(text, folder) for text in pictures]
    write_text(folder / "index.html", page(title, sections, commands, folder))
    save_png(folder / OVERVIEW, overview(sections))
    click.echo(f"{folder / 'index.html'} and {folder / OVERVIEW} show all of it.")
    for command in commands:
        click.echo(f"    {command}")


def parse_section(text: str, folder: Path) -> Section:
    """Return the section that `TITLE=PATTERN` describes; raise UserError where no file fits.

    The overview that an earlier call has written to the page's folder is no picture of the page.
    """
    title, separator, pattern = text.partition("=")
    if not separator:
        raise UserError(f"--picture={text} has no pattern; write --picture=TITLE=PATTERN")
    pattern = os.path.expanduser(pattern)
    found = Path().glob(pattern) if not Path(pattern).is_absolute() else _glob_absolute(pattern)
    files = tuple(sorted(file for file in found if real_path(file) != real_path(folder / OVERVIEW)))
    if not files:
        raise UserError(f"no picture fits {pattern}; check the pattern of --picture={title}=...")
    return Section(title, files)


def page(title: str, sections: Sequence[Section], commands: Sequence[str], folder: Path) -> str:
    """Return a page of HTML, whose pictures are linked relative to `folder`."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        for file in section.files:
            source = html.escape(_relative(file, folder))
            parts.append(f'<img src="{source}" alt="{html.escape(section.title)}: {html.escape(file.stem)}">')
    if commands:
        parts.append("<h2>To go on</h2>")
        parts += [f"<code>{html.escape(command)}</code>" for command in commands]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def overview(sections: Sequence[Section]) -> np.ndarray:
    """Return all pictures below each other with their titles, uint8 `[H, WIDTH, 3]`."""
    font = ImageFont.load_default(size=TITLE)
    strips = []
    for section in sections:
        label = Image.new("RGB", (WIDTH, 2 * TITLE), PAPER)
        ImageDraw.Draw(label).text((MARGIN, TITLE), section.title, fill=INK, font=font, anchor="lm")
        strips.append(np.asarray(label))
        strips += [_fit(Image.fromarray(read_photo(file))) for file in section.files]
    return np.concatenate(strips)


def _fit(picture: Image.Image) -> np.ndarray:
    """Return a picture on paper of WIDTH pixels: small ones are doubled, large ones shrunk."""
    if picture.width < ENLARGE_BELOW:
        picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    room = WIDTH - 2 * MARGIN
    if picture.width > room:
        height = max(1, round(picture.height * room / picture.width))
        picture = picture.resize((room, height), Image.Resampling.LANCZOS)
    paper = Image.new("RGB", (WIDTH, picture.height + MARGIN), PAPER)
    paper.paste(picture, (MARGIN, 0))
    return np.asarray(paper)


def _glob_absolute(pattern: str) -> list[Path]:
    path = Path(pattern)
    return list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _relative(file: Path, folder: Path) -> str:
    """Return a link from a page in `folder` to a file; an absolute one where the file lies elsewhere."""
    file, folder = real_path(file), real_path(folder)
    return quote(bytes(file.relative_to(folder))) if file.is_relative_to(folder) else file.as_uri()


if __name__ == "__main__":
    main()
