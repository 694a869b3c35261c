"""The page of pictures: what it links, what it shows, what it refuses."""

import os

import numpy as np
import pytest
from click.testing import CliRunner

from images.page import MARGIN, WIDTH, main, overview, parse_section
from images.photos import read_photo
from images.sheets import save_png


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, side, level in [("a", 40, 10), ("b", 600, 120), ("c", 2000, 200)]:
        save_png(tmp_path / "out" / f"{name}.png", np.full((side, side, 3), level, np.uint8))
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def _made(tmp_path):
    (tmp_path / "out").mkdir()


def test_links_are_relative_and_texts_are_escaped(folder):
    arguments = [str(folder), "--title=<Cats & more>", "--picture=A & B=out/[ab].png", "--next=run <this>"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    text = (folder / "index.html").read_text()
    assert 'src="a.png"' in text and 'src="b.png"' in text and "c.png" not in text
    assert "&lt;Cats &amp; more&gt;" in text and "A &amp; B" in text and "run &lt;this&gt;" in text
    assert "<Cats" not in text and result.output.splitlines()[-1] == "    run <this>"


def test_small_pictures_are_doubled_and_large_ones_fit(folder):
    image = overview([parse_section("all=out/*.png", folder)])
    assert image.shape[1] == WIDTH
    rows = {level: np.flatnonzero((image[:, MARGIN] == level).all(1)) for level in (10, 120, 200)}
    assert {level: len(found) for level, found in rows.items()} == {10: 80, 120: 600, 200: WIDTH - 2 * MARGIN}
    assert rows[10].max() < rows[120].min() < rows[120].max() < rows[200].min()
    assert np.array_equal(read_photo(folder / "a.png")[0, 0], [10, 10, 10])


def test_pictures_of_any_name_and_proportion(folder):
    """Links are quoted, and a picture 3 pixels high has at least one of them left."""
    names = ["50%.png", "a#b?.png", os.fsdecode(b"\xff.png")]
    for name in names:
        save_png(folder / name, np.zeros((3, 20_000, 3), np.uint8))
    result = CliRunner().invoke(main, [str(folder), *(f"--picture=x=out/{name}" for name in ["5*", "a#*", "\udcff*"])])
    assert result.exit_code == 0, result.output
    text = (folder / "index.html").read_text()
    assert all(f'src="{quoted}.png"' in text for quoted in ("50%25", "a%23b%3F", "%FF"))


def test_a_folder_that_links_to_itself_is_one_sentence(folder):
    (folder / "loop").symlink_to("loop")
    result = CliRunner().invoke(main, [str(folder / "loop"), "--picture=x=out/a.png"])
    assert result.exit_code == 1 and result.output.startswith("Error: cannot write ") and result.output.count("\n") == 1


def test_the_overview_of_an_earlier_call_is_no_picture(folder):
    """Also where its folder is named in another way."""
    for _ in range(2):
        assert CliRunner().invoke(main, [str(folder), "--picture=all=out/*.png"]).exit_code == 0
        assert "overview.png" not in (folder / "index.html").read_text()
    assert parse_section(f"all={folder}/../out/o*.png", folder.parent).files


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("no pattern", "--picture=no pattern has no pattern; write --picture=TITLE=PATTERN"),
        ("A=x/*.png", "no picture fits x/*.png"),
    ],
)
def test_bad_pictures_are_one_sentence(folder, picture, sentence):
    result = CliRunner().invoke(main, [str(folder), f"--picture={picture}"])
    assert result.exit_code == 1 and sentence in result.output and result.output.count("\n") == 1
    assert not (folder / "index.html").exists()
