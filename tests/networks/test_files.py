"""Network files and training states: equal after the round trip, whole or refused, replaced in one step, never code."""

import dataclasses
import errno
import functools
import json
import os
import pickle
import stat
import struct

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from dnnlib.errors import UserError
from dnnlib.files import replace_file, write_text
from networks.files import (
    ImageFormat,
    build_discriminator,
    build_generator,
    load_discriminator,
    load_generator,
    save_network,
)
from networks.generators import qc_stylegan, stylegan2
from tests.support.networks import SMALL, SMALL_D, quality_generator
from torch_utils import checkpoint
from torch_utils.checkpoint import load_state, load_tensors, read_header, save_state, save_tensors

RGB = ImageFormat(resolution=16, channels=3, c_dim=0)
PROVENANCE = {"kimg": 12.5, "mode": "base", "licence": "CC BY 4.0", "data": {"name": "cats", "images": 7}}


def randomized(network):
    """Give every parameter and buffer a value of its own, as training would."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape))
    return network


def discriminator(images=RGB):
    return randomized(build_discriminator(SMALL_D, images))


NETWORKS = {
    "base": (RGB, None),
    "gray": (dataclasses.replace(RGB, channels=1), None),
    "conditional": (dataclasses.replace(RGB, c_dim=3), None),
    "paper": (RGB, "paper"),
    "released": (RGB, "released"),
    "adain": (RGB, "adain"),
    "conditional paper": (dataclasses.replace(RGB, c_dim=3), "paper"),
}


def generator(name):
    images, variant = NETWORKS[name]
    quality = None if variant is None else quality_generator(variant).config.quality
    return randomized(build_generator(dataclasses.replace(SMALL, quality=quality), images)).eval()


@pytest.fixture(scope="module")
def network_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    save_network(path, generator("paper"), {"sharp": discriminator(), "degraded": discriminator()}, PROVENANCE)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, network_bytes):
    """A folder with a whole network file in it."""
    path = tmp_path / "network.safetensors"
    path.write_bytes(network_bytes)
    return path


READERS = {
    "generator": load_generator,
    "sharp": lambda path: load_discriminator(path, "sharp"),
    "degraded": lambda path: load_discriminator(path, "degraded"),
}


def refusal(reader, path):
    """Return the message of a reader's UserError: one line that names the file."""
    with pytest.raises(UserError) as caught:
        reader(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def refusals(path):
    return [refusal(reader, path) for reader in READERS.values()]


def assert_same_tensors(network, other):
    ours, theirs = network.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_survive_their_file_bit_for_bit(name, tmp_path):
    images, variant = NETWORKS[name]
    G, D = generator(name), discriminator(images)
    save_network(tmp_path / "n.safetensors", G, {"sharp": D}, PROVENANCE)
    loaded, _ = load_generator(tmp_path / "n.safetensors")
    assert_same_tensors(G, loaded)
    assert_same_tensors(D, load_discriminator(tmp_path / "n.safetensors", "sharp"))
    assert type(loaded) is (stylegan2 if variant is None else qc_stylegan).Generator
    assert loaded.config == G.config and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    z, c = torch.randn(2, 16), torch.eye(3)[:2] if images.c_dim else None
    quality = {} if variant is None else {"q": torch.randn(2, 4)}
    ours, theirs = (network(z, c, noise_mode="const", **quality) for network in (G, loaded))
    assert ours.shape == (2, images.channels, 16, 16) and torch.equal(ours, theirs)


def test_each_stream_has_its_discriminator_and_the_sharp_one_stands_in(tmp_path):
    sharp, degraded = discriminator(), discriminator()
    save_network(tmp_path / "qc.safetensors", generator("paper"), {"sharp": sharp, "degraded": degraded}, {})
    save_network(tmp_path / "base.safetensors", generator("base"), {"sharp": sharp}, {})
    assert_same_tensors(degraded, load_discriminator(tmp_path / "qc.safetensors", "degraded"))
    assert_same_tensors(sharp, load_discriminator(tmp_path / "qc.safetensors", "sharp"))
    assert_same_tensors(sharp, load_discriminator(tmp_path / "base.safetensors", "degraded"))


def test_loaded_discriminator_can_be_trained_with_its_own_frozen_layers(tmp_path):
    D = build_discriminator(dataclasses.replace(SMALL_D, freeze_layers=2), RGB)
    save_network(tmp_path / "n.safetensors", generator("base"), {"sharp": D}, {})
    loaded = load_discriminator(tmp_path / "n.safetensors", "sharp")
    assert loaded.trainable_parameters().keys() == D.trainable_parameters().keys()


def test_header_tells_all_that_a_reader_needs(path):
    header = read_header(path)
    assert header == load_generator(path)[1]
    assert header["format_version"] == checkpoint.FORMAT_VERSION == 1
    assert header["images"] == {"resolution": 16, "channels": 3, "c_dim": 0}
    assert header["generator"]["quality"]["variant"] == "paper" and header["generator"]["w_dim"] == 16
    assert header["discriminator"]["channel_max"] == 16
    assert "[-1, 1]" in header["preprocessing"] and "127.5" in header["preprocessing"]
    assert {name: header[name] for name in PROVENANCE} == PROVENANCE


def test_file_is_plain_safetensors(path):
    tensors = safetensors.torch.load_file(path)
    assert {name.partition(".")[0] for name in tensors} == {"G_ema", "D_sharp", "D_degraded"}
    assert "G_ema.synthesis.b4.const" in tensors and "D_sharp.b4.out.weight" in tensors
    assert load_tensors(path, "D_sharp.b4.out.").keys() == {"weight", "bias"}


def test_others_may_read_what_the_system_lets_them(tmp_path):
    """A network is for a group and for servers, too, and not for its writer alone."""
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(1)}, {})
    save_state(tmp_path / "x.pt", {"x": torch.zeros(1)})
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(set(rights.values())) == 1, rights


def test_saving_leaves_the_network_alone_and_takes_any_memory_layout(tmp_path):
    G = generator("base").to(memory_format=torch.channels_last)
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    save_network(tmp_path / "n.safetensors", G, {"sharp": discriminator()}, {})
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())
    assert_same_tensors(G, load_generator(tmp_path / "n.safetensors")[0])


def header_length(data):
    return struct.unpack("<Q", data[:8])[0]


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path, data):
    path = tmp_path / "random.safetensors"
    path.write_bytes(data)
    refusals(path)


@settings(max_examples=60)
@given(data=st.data())
def test_file_with_a_damaged_header_loads_or_is_refused(path, network_bytes, data):
    size = 8 + header_length(network_bytes)
    ours = network_bytes.index(checkpoint.HEADER.encode())
    position = data.draw(st.integers(0, size - 1) | st.integers(ours, ours + 1500))
    byte = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789{}[]:,"x'))
    path.write_bytes(network_bytes[:position] + bytes([byte]) + network_bytes[position + 1 :])
    for reader in READERS.values():
        try:
            reader(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


# Ways to spoil the file of a network.


def cut(part):
    """Return a function that shortens a file to a place in some part of it."""

    def spoil(path):
        data = path.read_bytes()
        header = 8 + header_length(data)
        sizes = {"nothing": 0, "length": 5, "brace": 9, "header": header // 2, "all of the header": header}
        sizes |= {"tensors": (header + len(data)) // 2, "last byte": len(data) - 1}
        path.write_bytes(data[: sizes[part]])

    return spoil


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"more")


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def replace_by_another_programs(metadata):
    return lambda path: safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata=metadata)


def with_description(text):
    return lambda path: safetensors.torch.save_file(
        safetensors.torch.load_file(path), path, metadata={checkpoint.HEADER: text}
    )


def write_newer_format(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 2)
        save_network(path, generator("base"), {"sharp": discriminator()}, {})
        load_generator(path)


def with_header(change):
    """Return a function that writes the network again with a header that `change` has edited."""

    def spoil(path):
        header = read_header(path)
        change(header)
        save_tensors(path, load_tensors(path), header)

    return spoil


def with_part(part, value):
    return with_header(lambda header: header.update({part: value}))


def without_part(part):
    return with_header(lambda header: header.pop(part))


TRUNCATED = "{path} is truncated or no safetensors file; copy or download it again"
DAMAGED = "the header of {path} is damaged; copy or download it again"
OF_ANOTHER_PROGRAM = "{path} is a safetensors file, but none of this program's networks"
NO_NETWORK = "the header of {path} describes no network"
CUTS = ["nothing", "length", "brace", "header", "all of the header", "tensors", "last byte"]
DESCRIPTIONS = ["", "{", "[1]", "null", "7", "{}", '{"format_version": "1"}', '{"format_version": null}']
PARTS = [
    ("generator", None),
    ("generator", "small"),
    ("generator", {"z_dim": "many"}),
    ("generator", {"depth": 3}),
    ("discriminator", [1]),
    ("discriminator", {"architecture": "resnet50"}),
    ("images", None),
    ("images", {"resolution": 16, "channels": 3}),
    ("images", {"resolution": 12, "channels": 3, "c_dim": 0}),
    ("images", {"resolution": -16, "channels": 3, "c_dim": 0}),
    ("images", {"resolution": 16, "channels": 0, "c_dim": 0}),
    ("images", {"resolution": 4, "channels": 3, "c_dim": 0}),
]
# How a whole file is spoilt, and how each reader's sentence begins.
REFUSALS = [
    *[pytest.param(cut(part), TRUNCATED, id=f"cut: {part}") for part in CUTS],
    pytest.param(lengthen, "", id="longer"),
    pytest.param(lambda path: path.unlink(), "network {path} does not exist; check the path", id="missing"),
    pytest.param(replace_by_folder, "{path} is a folder; give one of the networks in it", id="a folder"),
    pytest.param(
        write_newer_format, "{path} has format version 2, this program reads up to 1; update the program", id="newer"
    ),
    *[
        pytest.param(replace_by_another_programs(metadata), OF_ANOTHER_PROGRAM, id=f"of another program: {metadata}")
        for metadata in (None, {}, {"format": "pt"})
    ],
    *[pytest.param(with_description(text), DAMAGED, id=f"description: {text}") for text in DESCRIPTIONS],
    *[pytest.param(with_part(part, value), NO_NETWORK, id=f"{part}: {value}") for part, value in PARTS],
    *[pytest.param(without_part(part), "", id=f"no {part}") for part in ("generator", "discriminator", "images")],
]


@pytest.mark.parametrize(("spoil", "beginning"), REFUSALS)
def test_refusals(path, spoil, beginning):
    """Each with one cure, that of the file: not with those of its parts, such as flags of training."""
    spoil(path)
    for sentence in refusals(path):
        assert sentence.startswith(beginning.format(path=path))
        assert not any(cure in sentence for cure in ("--set", "enlarge the images", "add it"))


def test_an_unreadable_file_is_refused(path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint, "safe_open", denied)
    assert "Permission denied" in refusals(path)[0]


@pytest.mark.parametrize(
    ("part", "field", "value", "reader"),
    [
        ("generator", "z_dim", 17, "generator"),
        ("generator", "channel_max", 8, "generator"),
        ("generator", "quality", None, "generator"),
        ("generator", "architecture", "resnet", "generator"),
        ("images", "c_dim", 3, "generator"),
        ("images", "resolution", 32, "generator"),
        ("images", "resolution", 8, "sharp"),
        ("images", "channels", 1, "sharp"),
        ("discriminator", "architecture", "skip", "sharp"),
        ("discriminator", "channel_base", 128, "degraded"),
        ("discriminator", "mbstd_channels", 0, "degraded"),
    ],
)
def test_header_that_disagrees_with_the_tensors_is_refused(path, part, field, value, reader):
    with_header(lambda header: header[part].update({field: value}))(path)
    assert refusal(READERS[reader], path).startswith(f"{path} does not hold what its header says (")


def test_tensors_that_are_missing_or_too_many_are_refused(path):
    header, tensors = read_header(path), load_tensors(path)
    for changed in (
        {name: tensor for name, tensor in tensors.items() if name != "G_ema.synthesis.b4.const"},
        tensors | {"G_ema.synthesis.b4.another": torch.zeros(3)},
    ):
        save_tensors(path, changed, header)
        assert "does not hold what its header says" in refusal(load_generator, path)


def listing(folder):
    return sorted(item.name for item in folder.iterdir())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_writer(*_, **__):
    raise SafetensorError("Error while serializing: IoError")


def write_network(path):
    save_network(path, generator("base"), {"sharp": discriminator()}, {})


def write_state(path):
    save_state(path, {"weights": torch.zeros(1000)})


@pytest.mark.parametrize(
    ("write", "place", "failure"),
    [
        (write_network, "torch_utils.checkpoint.save_file", full_disk),
        (write_network, "torch_utils.checkpoint.save_file", failing_writer),
        (write_network, "os.replace", full_disk),
        (write_network, "os.fsync", full_disk),
        (write_state, "torch.save", full_disk),
        (write_state, "os.replace", full_disk),
        (lambda path: write_text(path, "new"), "pathlib.Path.write_text", full_disk),
    ],
)
def test_failing_write_is_a_sentence_and_leaves_the_old_file(path, monkeypatch, write, place, failure):
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(place, failure)
        with pytest.raises(UserError) as caught:
            write(path)
    assert str(caught.value).startswith(f"cannot write {path}: ") and "\n" not in str(caught.value)
    assert str(caught.value).endswith("what was there before is untouched")
    if failure is full_disk:
        assert "the disk is full; free some space" in str(caught.value)
    assert path.read_bytes() == before and listing(path.parent) == [path.name]
    write(path)
    assert path.read_bytes() != before and listing(path.parent) == [path.name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("write", [write_network, write_state])
def test_device_that_takes_only_a_part_leaves_the_old_file(path, write):
    """The libraries' own failures, not simulated ones: no file may grow beyond 2 KB."""
    import resource

    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(UserError) as caught:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"cannot write {path}: ") and "\n" not in str(caught.value)
    assert path.read_bytes() == before and listing(path.parent) == [path.name]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_interrupted_write_leaves_the_old_file(path, interruption):
    before = path.read_bytes()
    with pytest.raises(interruption), replace_file(path) as temporary:
        temporary.write_text("half")
        raise interruption
    assert path.read_bytes() == before and listing(path.parent) == [path.name]


def test_names_may_be_of_any_bytes(tmp_path, path):
    """The library of safetensors reads names of UTF-8 alone."""
    other = tmp_path / os.fsdecode(b"\xff.safetensors")
    try:
        other.write_bytes(path.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert read_header(other) == read_header(path)
    loaded = load_tensors(path)
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in load_tensors(other).items())


def test_a_folder_in_the_place_of_a_file_is_found_before_anything_is_written(tmp_path):
    (tmp_path / "n.zip").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*n.zip: Is a directory"), replace_file(tmp_path / "n.zip"):
        pytest.fail("the work begins")


def test_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot write .*No such file or directory"):
        write_network(tmp_path / "none" / "n.safetensors")


def test_files_have_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "note.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == 0o640


def test_threads_that_write_leave_the_umask_alone(tmp_path, monkeypatch):
    """The umask belongs to the process: while one thread reads it by changing it, another would read the change."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("changed the umask"))
    write_text(tmp_path / "note.txt", "x")


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "\U0001f431" * 63])
def test_any_name_that_the_file_system_takes_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "x")
    assert listing(tmp_path) == [name]


STATE = {
    "images_seen": 2**40,
    "name": "ä",
    "ratio": 0.1,
    "nothing": None,
    "flag": True,
    "list": [1, [2.5, "x"], {}],
    "tensors": {"half": torch.randn(3, 2).half(), "long": torch.arange(4), "scalar": torch.tensor(1.5)},
}


def test_state_survives_its_file(tmp_path):
    save_state(tmp_path / "state.pt", STATE)
    loaded = load_state(tmp_path / "state.pt")
    tensors, expected = loaded.pop("tensors"), STATE["tensors"]
    assert loaded == {name: value for name, value in STATE.items() if name != "tensors"}
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"mkdir {self.path}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("layout", ["zip", "legacy", "bare"])
def test_state_that_would_run_a_command_is_refused_without_running_it(tmp_path, layout):
    path, trap = tmp_path / "state.pt", tmp_path / "trap"
    hostile = {"trainer": {"weights": torch.zeros(3), "steps": Hostile(trap)}}
    if layout == "bare":
        path.write_bytes(pickle.dumps(hostile["trainer"]["steps"]))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(UserError, match="is damaged or no training state"):
        load_state(path)
    assert not trap.exists()


@given(share=st.floats(0, 1, exclude_max=True), size=st.sampled_from([10, 100_000]))
def test_truncated_state_is_refused(tmp_path, share, size):
    path = tmp_path / "state.pt"
    save_state(path, STATE | {"weights": torch.zeros(size)})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert refusal(load_state, path) == f"{path} is damaged or no training state; delete it to start the run anew"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(data=st.binary(max_size=100), prefix=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x04\x95"]))
def test_random_bytes_are_no_state(tmp_path, data, prefix):
    (tmp_path / "state.pt").write_bytes(prefix + data + b"\x00")
    refusal(load_state, tmp_path / "state.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=200)
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), legacy=st.booleans())
def test_state_with_a_damaged_byte_loads_or_is_refused(tmp_path, position, byte, legacy):
    path = tmp_path / "state.pt"
    torch.save({"weights": torch.zeros(3), "steps": [1, "x"]}, path, _use_new_zipfile_serialization=not legacy)
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] = byte
    path.write_bytes(data)
    try:
        assert isinstance(load_state(path), dict)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        *[
            (functools.partial(torch.save, content), "no training state")
            for content in ([1, 2], "x", 7, torch.zeros(2))
        ],
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "it is a folder"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path, write, words):
    write(tmp_path / "state.pt")
    assert words in refusal(load_state, tmp_path / "state.pt")


def test_header_is_readable_without_the_program(path, network_bytes):
    """The first bytes of the file are a length and JSON, as the safetensors format has it."""
    header = json.loads(network_bytes[8 : 8 + header_length(network_bytes)])
    assert json.loads(header["__metadata__"][checkpoint.HEADER]) == read_header(path)
