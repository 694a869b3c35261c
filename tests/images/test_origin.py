"""What the program writes beside or below its input never becomes input: marks in PNG files, and who minds them."""

import zipfile

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import dataset_tool
from degradations.__main__ import main as degrade
from generation.output import ImageWriter
from images.datasets.dataset import ImageDataset
from images.files import ImageFiles
from images.origin import DERIVED, GENERATED, PHOTO, distance, made_of_others, read_head
from images.photos import photo_files
from images.sheets import save_png
from inversion.photos.jobs import run_job

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(PIXELS).save(path)
    return path


def degraded(path, *options):
    """Degrade a photo as somebody does who works in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        result = CliRunner().invoke(degrade, [str(path), *map(str, options)])
    assert result.exit_code == 0, result.output


def zipped(folder, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def test_marks_leave_pixels_and_tell_the_distance(tmp_path):
    for path, written in [(tmp_path / "default.png", None), (tmp_path / "12.png", 12)]:
        save_png(path, PIXELS, *([] if written is None else [written]))
        assert distance(read_head(path)) == (written or DERIVED)
        assert np.array_equal(np.array(PIL.Image.open(path)), PIXELS)
    with ImageWriter() as writer:
        writer.write(tmp_path / "g.png", PIXELS[:, :, :1])
    assert distance(read_head(tmp_path / "g.png")) == GENERATED
    assert distance(read_head(photo(tmp_path / "photo.png"))) == PHOTO
    assert read_head(tmp_path / "none.png") == b"" and read_head(tmp_path) == b""


@pytest.mark.parametrize(
    ("distances", "own"),
    [({}, []), ({"a": 0, "b": 0}, []), ({"a": 0, "b": 1, "c": 2}, ["b", "c"]), ({"a": 2, "b": 2}, [])],
)
def test_only_the_nearest_are_meant(distances, own):
    assert made_of_others(distances) == own


@pytest.mark.parametrize("options", [[], ["--primitive=jpeg", "--seed=7"], ["-o", "OTHER.PNG"], ["-o", "sub/x.png"]])
def test_degraded_photos_beside_or_below_photos_are_no_input(tmp_path, caplog, options):
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.png"):
        photo(photos / name)
    degraded(photos / "b.png", *(str(photos / text) if "." in text and "-" not in text else text for text in options))
    assert photo_files(photos) == [photos / "a.jpg", photos / "b.png"]
    archives = [zipped(photos, tmp_path / f"{kind}.zip", kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    for source in (photos, *archives):
        assert ImageFiles(source).names == ["a.jpg", "b.png"]
        assert len(ImageDataset(source)) == 2
    assert f"{photos}: skipped the image " in caplog.text and "read where there are no others" in caplog.text


def test_degraded_images_beside_generated_or_restored_ones_are_no_input(tmp_path):
    """Also in a folder that the program has filled itself, and of what was degraded before."""
    for far in (GENERATED, DERIVED):
        folder = tmp_path / str(far)
        folder.mkdir()
        save_png(folder / "x.png", PIXELS, far)
        degraded(folder / "x.png", "-o", folder / "y.png")
        degraded(folder / "y.png", "-o", folder / "z.png")
        assert photo_files(folder) == [folder / "x.png"]
        (folder / "x.png").unlink()
        assert photo_files(folder) == [folder / "y.png"]
        (folder / "y.png").unlink()
        assert photo_files(folder) == [folder / "z.png"], "alone it is what is meant"
        assert photo_files(folder / "z.png") == [folder / "z.png"]


def test_the_next_commands_see_the_photos_alone(tmp_path, capsys):
    photos = tmp_path / "photos"
    photo(photos / "a.png")
    degraded(photos / "a.png")
    degraded(photos / "a.png", "--seed=1")
    assert dataset_tool.main([f"--input={photos}", f"--output={tmp_path / 'data.zip'}"]) == 0
    assert "1 image of 16x16" in capsys.readouterr().out
    seen = []

    def copy(tasks, items):
        seen.extend(task.name for task in tasks)
        return [[] for _ in tasks]

    run_job("restore", [photos], tmp_path / "out", lambda task: task.name, copy, {})
    assert seen == ["a.png"]


def test_a_picture_beside_the_images_of_a_data_set_is_seen(tmp_path):
    photo(tmp_path / "photo.png")
    assert dataset_tool.main([f"--input={tmp_path / 'photo.png'}", f"--output={tmp_path / 'data'}"]) == 1
    assert dataset_tool.main([f"--input={tmp_path}", f"--output={tmp_path / 'data'}"]) == 0
    degraded(tmp_path / "data" / "00000" / "img00000000.png")
    assert ImageFiles(tmp_path / "data").names == ["00000/img00000000.png"]
    assert len(ImageDataset(tmp_path / "data")) == 1
