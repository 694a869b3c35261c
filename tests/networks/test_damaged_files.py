"""Networks from damaged and hostile files: every changed bit is noticed, and no header costs more than its file."""

import json
import math
import pickle
import random
import time

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from dnnlib.errors import UserError
from exchange import inspect
from networks.config import GeneratorConfig
from networks.describe import describe
from networks.files import load_discriminator, load_generator
from tests.support.networks import write_network
from torch_utils import checkpoint
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.loading import load_module


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A network's file."""
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    return write_network(path, kimg=1.5, licence="CC0")


@pytest.fixture
def path(tmp_path, whole):
    """A copy of it to spoil."""
    path = tmp_path / "network.safetensors"
    path.write_bytes(whole.read_bytes())
    return path


def content(path):
    """Return all that a file says: its header and the tensors of its networks."""
    G, header = load_generator(path)
    D = load_discriminator(path, "sharp")
    return header, {**G.state_dict(), **{f"D.{name}": tensor for name, tensor in D.state_dict().items()}}


def same(a, b):
    return a[0] == b[0] and a[1].keys() == b[1].keys() and all(torch.equal(a[1][name], b[1][name]) for name in a[1])


def without_checksums(path):
    """Write a file as earlier versions did."""
    metadata = {checkpoint.HEADER: json.dumps(read_header(path))}
    safetensors.torch.save_file(load_tensors(path), path, metadata=metadata)
    return path


@pytest.mark.parametrize("seed", range(30))
def test_no_changed_bit_goes_unseen(whole, path, seed):
    """Half of them in the header, where the rest of the file is described."""
    rng = random.Random(seed)
    data = bytearray(whole.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice([1, 1, 2, 5])):
        data[rng.randrange(header if seed % 2 else len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        assert same(content(path), content(whole)), "another network, and no word"
    except UserError as error:
        assert str(path) in str(error) and str(error).isprintable()


def test_a_damaged_tensor_is_named(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match=r"^\S+ in .*network.safetensors is damaged, as its checksum tells; copy or"):
        content(path)


def test_a_tensor_that_is_gone_is_noticed(path):
    tensors = load_tensors(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    del tensors["D_sharp.b4.out.bias"]
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    with pytest.raises(UserError, match="D_sharp.b4.out.bias in .* is damaged"):
        load_generator(path)


def test_checksums_do_not_change_what_is_stored(path, tmp_path):
    old = without_checksums(tmp_path / path.rename(tmp_path / "old.safetensors").name)
    header, tensors = read_header(old), load_tensors(old)
    save_tensors(tmp_path / "new.safetensors", tensors, header)
    new = tmp_path / "new.safetensors"
    assert same((header, tensors), (read_header(new), load_tensors(new)))


def test_older_files_load_and_inspect_says_so(whole, path):
    before = content(path)
    assert describe(path)["checksums"] is True
    without_checksums(path)
    assert same(content(path), before) and describe(path)["checksums"] is False
    shown = CliRunner().invoke(inspect.main, [str(path)]).output
    assert "checksums       none: the file is older than they are" in shown
    assert "checksums" not in CliRunner().invoke(inspect.main, [str(whole)]).output


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["G_ema.mapping.w_avg", "G_ema.synthesis.b16.torgb.bias", "D_sharp.b4.out.bias"])
def test_numbers_that_are_none_are_refused(path, name, value):
    tensors = load_tensors(path)
    tensors[name].view(-1)[0] = value
    save_tensors(path, tensors, read_header(path))
    with pytest.raises(
        UserError, match=f"^{name} in .*network.safetensors holds NaN or infinity; give another network"
    ):
        content(path)


# Value of a field of a header that would make its reader ask for terabytes, or build layers for hours.
GREEDY = [
    ("generator.z_dim", 10**9),
    ("generator.w_dim", 10**6),
    ("generator.w_dim", 10**30),
    ("generator.mapping.num_layers", 10**5),
    ("generator.quality.q_dim", 10**9),
    ("generator.quality.depth", 10**10),
    ("generator.quality.channels", 10**9),
    ("images.resolution", 2**13),
    ("images.resolution", 2**40),
    ("images.channels", 10**9),
    ("images.c_dim", 10**9),
    ("discriminator.grid", 10**7),
    ("discriminator.mapping_layers", 10**9),
]


@pytest.mark.parametrize(("field", "value"), GREEDY)
@pytest.mark.parametrize("checked", [True, False], ids=["checksums", "without"])
def test_a_header_cannot_ask_for_more_than_the_file_holds(path, field, value, checked):
    header = read_header(path)
    *groups, name = field.split(".")
    part = header
    for group in groups:
        part = part[group]
    part[name] = value
    if field == "discriminator.mapping_layers":  # which only conditional networks build
        header["images"]["c_dim"] = 3
    save_tensors(path, load_tensors(path), header)
    if not checked:
        without_checksums(path)
    start = time.monotonic()
    with pytest.raises(UserError, match="safetensors (describes no network|does not hold what its header says)"):
        content(path)
    assert time.monotonic() - start < 5


def test_a_module_may_hold_what_is_not_in_its_file(tmp_path):
    """Filters and the like, of up to a million numbers."""
    save_tensors(tmp_path / "a.safetensors", {"x.weight": torch.ones(2, 2), "x.bias": torch.zeros(2)}, {})

    def build():
        module = torch.nn.Linear(2, 2)
        module.register_buffer("filter", torch.ones(1000, 1000), persistent=False)
        return module

    module = load_module(build, tmp_path / "a.safetensors", "x.", "layer")
    assert torch.equal(module.weight, torch.ones(2, 2)) and module.filter.sum() == 1e6


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_a_nested_header_is_one_sentence(path, levels):
    metadata = {checkpoint.HEADER: "[" * levels}
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(UserError, match="the header of .* is damaged; copy or download it again"):
        content(path)


@pytest.mark.parametrize("write", [lambda path: torch.save({}, path), lambda path: path.write_bytes(pickle.dumps({}))])
def test_a_published_network_names_the_command_that_converts_it(path, write):
    write(path)
    sentence = "is a pickle or a file of torch.save, no safetensors file; give a network-snapshot, or convert"
    with pytest.raises(UserError, match=f"{sentence} .*`python -m exchange.import_network {path}`$"):
        content(path)


def test_every_field_of_a_generator_is_bounded_by_its_file():
    """A new field that sizes something belongs into the list of greedy ones."""
    sizes = {field for field, _ in GREEDY if field.startswith("generator.")}
    known = {"generator.channel_base", "generator.channel_max"}  # one bounds the other
    numbers = {f"generator.{name}" for name, value in vars(GeneratorConfig()).items() if type(value) is int}
    assert numbers <= sizes | known


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("I/O error: No space left on device (os error 28)", "the disk is full; free some space and run the same"),
        ("I/O error: Input/output error (os error 5)", "cannot write .*n.safetensors: Input/output error; what was"),
    ],
)
def test_what_a_library_says_of_the_disk_is_understood(tmp_path, monkeypatch, text, sentence):
    def fail(*_, **__):
        raise safetensors.SafetensorError(f"Error while serializing: {text}")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(UserError, match=sentence):
        save_tensors(tmp_path / "n.safetensors", {"a": torch.zeros(1)}, {})
