"""Datasets: what they serve, what they refuse, and batches that depend on the seed and the image counter alone."""

import contextlib
import gc
import io
import itertools
import json
import logging
import multiprocessing
import pickle
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UserError
from images import decoding
from images.datasets.batches import TrainingBatches
from images.datasets.dataset import ImageDataset
from images.decoding import UnreadableImageError
from images.files import ImageFiles
from tests.support.processes import warm_context

SIZE = 16


def png(pixels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def random_pixels(seed, shape=(SIZE, SIZE, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def random_files(count=10):
    return {f"{index % 2:02d}/img{index}.png": png(random_pixels(index)) for index in range(count)}


def write_zip(path, files, metadata=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if metadata is not None:
            archive.writestr("dataset.json", json.dumps(metadata))
    return path


def write_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def archive(tmp_path):
    files = random_files()
    return write_zip(tmp_path / "data.zip", files, {"labels": [[name, int(name[-5])] for name in files]})


def assert_sentence(error, *parts):
    text = str(error)
    assert "\n" not in text and "Traceback" not in text, text
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"


def assert_same(first, second):
    for name in ("images", "degraded", "labels"):
        left, right = getattr(first, name), getattr(second, name)
        assert (left is None and right is None) or torch.equal(left, right), name


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_folder_and_zip_serve_the_same_images_in_sorted_order(tmp_path, archive):
    files = random_files()
    folder = ImageDataset(write_folder(tmp_path / "folder", files))
    zipped = ImageDataset(archive)
    assert (zipped.name, zipped.resolution, zipped.channels, zipped.label_dim) == ("data", SIZE, 3, 0)
    for index, name in enumerate(sorted(files)):
        expected = np.asarray(PIL.Image.open(io.BytesIO(files[name]))).transpose(2, 0, 1)
        for dataset in (folder, zipped):
            assert dataset.image(index).flags.c_contiguous
            np.testing.assert_array_equal(dataset.image(index), expected)


def test_second_half_is_mirrored(archive):
    dataset = ImageDataset(archive, mirror=True, use_labels=True)
    assert len(dataset) == 2 * dataset.num_images == 20
    for index in range(10):
        np.testing.assert_array_equal(dataset.image(index + 10), dataset.image(index)[:, :, ::-1])
        np.testing.assert_array_equal(dataset.label(index + 10), dataset.label(index))


def test_gray_images_keep_one_channel(tmp_path):
    pixels = random_pixels(0, (SIZE, SIZE))
    dataset = ImageDataset(write_zip(tmp_path / "gray.zip", {"a.png": png(pixels)}))
    assert dataset.channels == 1
    np.testing.assert_array_equal(dataset.image(0), pixels[np.newaxis])


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 3)])
def test_both_png_decoders_agree(tmp_path, monkeypatch, shape):
    pytest.importorskip("pyspng")
    files = ImageFiles(write_folder(tmp_path, {"a.png": png(random_pixels(1, shape))}))
    fast = files.pixels("a.png")
    monkeypatch.setattr(decoding, "pyspng", None)
    np.testing.assert_array_equal(files.pixels("a.png"), fast)


def test_hidden_files_are_no_images(tmp_path):
    files = {"a.png": png(random_pixels(0)), ".b.png": b"", "__MACOSX/._a.png": b"", "notes.txt": b""}
    assert ImageFiles(write_zip(tmp_path / "data.zip", files)).names == ["a.png"]


def test_subsets_are_ordered_nested_and_depend_on_the_seed(archive):
    def chosen(subset, seed):
        dataset = ImageDataset(archive, subset=subset, seed=seed, use_labels=True)
        assert len(dataset) == subset and dataset.label_dim == 10
        return [
            dataset.files.names.index(f"{n % 2:02d}/img{n}.png")
            for n in map(np.argmax, map(dataset.label, range(subset)))
        ]

    for seed in range(3):
        small, large = chosen(4, seed), chosen(7, seed)
        assert small == sorted(small) == chosen(4, seed) and set(small) < set(large)
    assert len({tuple(chosen(4, seed)) for seed in range(5)}) > 1


def test_pair_depends_on_the_key_alone(archive):
    dataset = ImageDataset(archive, mirror=True, degradation="mixture")
    sharp, degraded = dataset.pair(13, (0, 1, 7))
    np.testing.assert_array_equal(sharp, dataset.image(13))
    assert degraded.shape == sharp.shape and degraded.dtype == np.uint8 and (degraded != sharp).any()
    np.testing.assert_array_equal(dataset.pair(13, (0, 1, 7))[1], degraded)
    assert (dataset.pair(13, (0, 1, 8))[1] != degraded).any()


def test_integer_labels_are_one_hot(archive):
    dataset = ImageDataset(archive, use_labels=True)
    labels = np.stack([dataset.label(index) for index in range(10)])
    expected = np.eye(10, dtype=np.float32)[[0, 2, 4, 6, 8, 1, 3, 5, 7, 9]]
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, expected)


def test_vector_labels_are_served_as_they_are(tmp_path):
    files = random_files(2)
    labels = [["00/img0.png", [0.5, -1, 2]], ["01/img1.png", [0, 0, 7.25]]]
    dataset = ImageDataset(write_zip(tmp_path / "data.zip", files, {"labels": labels}), use_labels=True)
    assert dataset.label_dim == 3
    np.testing.assert_array_equal([dataset.label(0), dataset.label(1)], [[0.5, -1, 2], [0, 0, 7.25]])


def with_labels(*labels):
    """Return a writer of two images, 00/img0.png and 01/img1.png, with these labels."""
    return lambda path: write_zip(path, random_files(2), {"labels": labels or None})


def with_values(first, second):
    return with_labels(["00/img0.png", first], ["01/img1.png", second])


def with_second(*shape, dtype=np.uint8):
    """Return a writer of a first image that fits, a.png, and another, b.png."""
    pixels = random_pixels(0, shape).astype(dtype)
    return lambda path: write_zip(path, {"a.png": png(random_pixels(1)), "b.png": png(pixels)})


def write_archive(path):
    write_zip(path, random_files())


def write_nothing_readable(path):
    write_folder(path, {"a.png": b"", "b.png": b"x"})


TOOL = "python dataset_tool.py --input="
# What writes the data, options of the dataset, and parts of the sentence.
REFUSALS = [
    (with_labels(), {"use_labels": True}, ["holds no labels", "--labels=folders"]),
    (with_labels(["00/img0.png", 0]), {"use_labels": True}, ["no label for 01/img1.png", "1 of 2"]),
    (with_values(0, -1), {"use_labels": True}, ["01/img1.png", "-1", "0..99999"]),
    (with_values(10**9, 0), {"use_labels": True}, ["00/img0.png", "1000000000", "0..99999"]),
    (with_values(0, [1.0]), {"use_labels": True}, ["01/img1.png", "[1.0]"]),
    (with_values([1, 2], [1]), {"use_labels": True}, ["01/img1.png", "2 finite numbers"]),
    (with_values([1, 2], [1, float("nan")]), {"use_labels": True}, ["01/img1.png", "finite"]),
    (with_values(True, 0), {"use_labels": True}, ["00/img0.png", "True"]),
    (with_labels(3, 4), {"use_labels": True}, ["not a list of pairs"]),
    (with_second(8, 8, 3), {}, ["b.png", "8x8", "a.png", "16x16", TOOL]),
    (with_second(16, 12, 3), {}, ["b.png", "12x16", "not a square", TOOL]),
    (with_second(24, 24, 3), {}, ["b.png", "24x24", "power of two", "--resolution=16", TOOL]),
    (with_second(16, 16), {}, ["b.png", "mode L", "mode RGB", TOOL]),
    (with_second(16, 16, 4), {}, ["b.png", "mode RGBA", TOOL]),
    (with_second(16, 16, dtype=np.uint16), {}, ["b.png", "mode I;16", TOOL]),
    (write_archive, {"resolution": 32}, ["16", "not 32", "--resolution=32"]),
    (write_archive, {"subset": 0}, ["a subset of 0 of the 10 images"]),
    (write_archive, {"subset": 11}, ["a subset of 11 of the 10 images"]),
    (write_archive, {"degradation": "mixtur"}, ["did you mean 'mixture'"]),
    (write_nothing_readable, {"on_bad_image": "skip"}, ["none of the images"]),
    (lambda path: path.mkdir(), {}, ["data.zip", "no images"]),
    (lambda path: None, {}, ["data.zip", "does not exist"]),
    (lambda path: path.write_text("no archive"), {}, ["data.zip", "zip archive"]),
]


@pytest.mark.parametrize(("write", "options", "parts"), REFUSALS, ids=[", ".join(parts) for *_, parts in REFUSALS])
def test_refusals(tmp_path, write, options, parts):
    write(tmp_path / "data.zip")
    with pytest.raises(UserError) as caught:
        ImageDataset(tmp_path / "data.zip", **options)
    assert_sentence(caught.value, *parts)


def test_resolution_that_was_asked_for(archive):
    assert ImageDataset(archive, resolution=SIZE).resolution == SIZE


def test_record_of_the_tool_replaces_the_look_at_every_header(tmp_path, monkeypatch):
    record = {"tool": "dataset_tool", "format_version": 1, "resolution": SIZE, "channels": 3, "num_images": 10}
    path = write_zip(tmp_path / "data.zip", random_files(), {"labels": None, "source": record})
    monkeypatch.setattr(ImageFiles, "header", lambda *_: pytest.fail("a header is read"))
    assert ImageDataset(path).resolution == SIZE


def test_false_record_is_noticed_when_an_image_is_read(tmp_path):
    record = {"tool": "dataset_tool", "format_version": 1, "resolution": 32, "channels": 3, "num_images": 10}
    dataset = ImageDataset(write_zip(tmp_path / "data.zip", random_files(), {"source": record}))
    with pytest.raises(UserError, match="img6.png"):
        dataset.image(3)


@pytest.fixture
def damaged(tmp_path):
    """Ten labelled images, of which file 3 (img6) has no end and file 4 (img8) has no beginning."""
    files = random_files()
    files["00/img6.png"] = files["00/img6.png"][:300]
    files["00/img8.png"] = b"not a png"
    return write_zip(tmp_path / "data.zip", files, {"labels": [[name, int(name[-5])] for name in files]})


def without_second_damage(path):
    files = {name: ImageFiles(path).read(name) for name in ImageFiles(path).names if "img8" not in name}
    return write_zip(path.with_name("once.zip"), files, {"labels": [[name, int(name[-5])] for name in files]})


def test_unreadable_header_is_named_at_opening(damaged):
    with pytest.raises(UnreadableImageError) as caught:
        ImageDataset(damaged)
    assert_sentence(caught.value, str(damaged), "00/img8.png", "--on-bad-image=skip")


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_file_is_named_also_from_a_worker(damaged, workers):
    path = without_second_damage(damaged)
    dataset = ImageDataset(path)
    with pytest.raises(UserError) as caught:
        take(TrainingBatches(dataset, 9, slice(0, 9), seed=0, workers=workers), 1)
    assert_sentence(caught.value, str(path), "00/img6.png", "--on-bad-image=skip")


def test_nothing_keeps_the_workers_after_an_error(damaged):
    dataset = ImageDataset(without_second_damage(damaged))
    before = set(multiprocessing.active_children())
    gc.disable()
    try:
        with contextlib.suppress(UserError):
            take(TrainingBatches(dataset, 9, slice(0, 9), seed=0, workers=1), 1)
        assert set(multiprocessing.active_children()) <= before
    finally:
        gc.enable()


def test_skipping_serves_the_next_readable_image_and_its_label(damaged):
    dataset = ImageDataset(damaged, on_bad_image="skip", use_labels=True, mirror=True)
    for index in (3, 4, 13, 14):
        np.testing.assert_array_equal(dataset.image(index), dataset.image(5 + index // 10 * 10))
        np.testing.assert_array_equal(dataset.label(index), dataset.label(5))


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_warns_once_for_each_file(damaged, workers, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = ImageDataset(damaged, on_bad_image="skip")
        take(TrainingBatches(dataset, 5, slice(0, 5), seed=0, workers=workers), 6)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2 and "img8" in texts[0] and "img6" in texts[1]


@settings(max_examples=40)
@given(kept=st.floats(0, 1, exclude_max=True), plain_pillow=st.booleans())
def test_a_cut_file_is_unreadable_or_complete(tmp_path, kept, plain_pillow):
    pixels = random_pixels(5)
    data = png(pixels)
    write_folder(tmp_path, {"a.png": data[: int(kept * len(data))]})
    with pytest.MonkeyPatch.context() as patch:
        if plain_pillow:
            patch.setattr(decoding, "pyspng", None)
        try:
            np.testing.assert_array_equal(ImageFiles(tmp_path).pixels("a.png"), pixels)
        except UnreadableImageError as error:
            assert_sentence(error, "a.png")


def checksum(dataset, index):
    return int(dataset.image(index).astype(np.int64).sum())


def test_forked_processes_open_the_archive_for_themselves(archive):
    dataset = ImageDataset(archive)
    expected = [checksum(dataset, index) for index in range(10)]
    parents_handle = dataset.files._containers[0]._archive

    def child(connection):
        sums = [checksum(dataset, index) for _ in range(20) for index in range(10)]
        connection.send((sums, dataset.files._containers[0]._archive is parents_handle))

    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(3)]
    children = [context.Process(target=child, args=(there,)) for _, there in pipes]
    for process in children:
        process.start()
    answers = [here.recv() for here, _ in pipes]
    for process in children:
        process.join()
    assert answers == [(expected * 20, False)] * 3
    assert [checksum(dataset, index) for index in range(10)] == expected


def test_process_that_is_no_fork_gets_a_copy_without_the_handle(archive):
    dataset = ImageDataset(archive)
    expected = checksum(dataset, 0)
    assert (
        dataset.files._containers[0]._archive is not None
        and pickle.loads(pickle.dumps(dataset)).files._containers[0]._archive is None
    )
    with warm_context().Pool(1) as pool:
        assert pool.apply(checksum, (dataset, 0)) == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_the_same_for_any_number_of_workers(archive, workers):
    dataset = ImageDataset(archive, mirror=True, use_labels=True, degradation="mixture")
    alone = take(TrainingBatches(dataset, 6, slice(0, 6), seed=3), 7)
    helped = take(TrainingBatches(dataset, 6, slice(0, 6), seed=3, workers=workers), 7)
    assert alone[0].degraded is not None and (alone[0].degraded != alone[0].images).any()
    for first, second in zip(alone, helped, strict=True):
        assert first.images.dtype == torch.uint8 and first.images.shape == (6, 3, SIZE, SIZE)
        assert_same(first, second)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), batch_size=st.integers(1, 12), split=st.floats(0, 1), skipped=st.integers(0, 5))
def test_rows_and_start_cut_one_stream(archive, seed, batch_size, split, skipped):
    dataset = ImageDataset(archive, use_labels=True, mirror=True)
    whole = take(TrainingBatches(dataset, batch_size, slice(0, batch_size), seed), skipped + 2)[skipped:]
    middle = int(split * batch_size) or 1
    start = skipped * batch_size
    upper = TrainingBatches(dataset, batch_size, slice(0, middle), seed, start)
    for batch, part in zip(whole, upper, strict=False):
        assert torch.equal(batch.images[:middle], part.images) and torch.equal(batch.labels[:middle], part.labels)
    if middle < batch_size:
        lower = TrainingBatches(dataset, batch_size, slice(middle, batch_size), seed, start)
        for batch, part in zip(whole, lower, strict=False):
            assert torch.equal(batch.images[middle:], part.images)


def test_resumed_degradations_are_those_of_the_uninterrupted_run(archive):
    dataset = ImageDataset(archive, degradation="mixture")
    whole = take(TrainingBatches(dataset, 4, slice(0, 4), seed=1), 5)
    resumed = take(TrainingBatches(dataset, 4, slice(0, 4), seed=1, start=12), 2)
    for first, second in zip(whole[3:], resumed, strict=True):
        assert_same(first, second)


def test_every_round_serves_every_image_once_in_another_order(archive):
    dataset = ImageDataset(archive, use_labels=True)
    batches = take(TrainingBatches(dataset, 4, slice(0, 4), seed=0), 10)
    classes = torch.cat([batch.labels for batch in batches]).argmax(1).reshape(4, 10)
    assert (classes.sort(1).values == torch.arange(10)).all()
    assert len({tuple(order.tolist()) for order in classes}) == 4


def test_seeds_give_other_orders_and_unlabelled_batches_have_no_label_columns(archive):
    dataset = ImageDataset(archive)
    first, second = (take(TrainingBatches(dataset, 10, slice(0, 10), seed), 1)[0] for seed in (0, 1))
    assert first.labels.shape == (10, 0) and first.degraded is None
    assert not torch.equal(first.images, second.images)


@pytest.mark.parametrize("workers", [0, 1])
def test_iterating_draws_nothing_from_the_global_generator(archive, workers):
    before = torch.get_rng_state()
    take(TrainingBatches(ImageDataset(archive), 4, slice(0, 4), seed=0, workers=workers), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_iteration_begins_at_the_start(archive):
    batches = TrainingBatches(ImageDataset(archive), 4, slice(0, 4), seed=0, start=8, workers=1)
    for first, second in zip(take(batches, 3), take(batches, 3), strict=True):
        assert_same(first, second)
