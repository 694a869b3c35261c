"""Published weights: found, listed, fetched on request, and read without running anything."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from dnnlib.errors import UserError
from dnnlib.files import sha256
from metrics.weights import command, published
from metrics.weights.command import weights
from metrics.weights.directory import VARIABLE, WeightsDirectory
from metrics.weights.published import PUBLISHED, published_file
from torch_utils.untrusted.state_dicts import load_state_dict

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


# Finding.


def test_the_flag_goes_before_the_variable_and_that_before_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert WeightsDirectory.find().directory == tmp_path / ".cache" / "qc-stylegan" / "weights"
    monkeypatch.setenv(VARIABLE, "~/elsewhere")
    assert WeightsDirectory.find().directory == tmp_path / "elsewhere"
    assert WeightsDirectory.find("given").directory == Path("given")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_missing_file_is_named_with_its_place_and_cure(tmp_path, name):
    directory = WeightsDirectory(tmp_path)
    assert not directory.has(name) and not WeightsDirectory(None).has(name)
    with pytest.raises(UserError) as error:
        directory.path(name)
    entry = PUBLISHED[name]
    for part in (entry.filenames[0], str(tmp_path), f"calc_metrics.py weights --fetch={name}", entry.instead):
        assert part in str(error.value)
    with pytest.raises(UserError, match="not in any directory"):
        WeightsDirectory(None).sha256(name)


def test_every_file_name_of_an_entry_is_found_and_the_usual_one_first(tmp_path):
    directory = WeightsDirectory(tmp_path)
    for filename in reversed(PUBLISHED["niqe"].filenames):
        (tmp_path / filename).write_bytes(b"x")
        assert directory.path("niqe") == tmp_path / filename and directory.has("niqe")


def test_hashes_follow_the_content(tmp_path):
    path = tmp_path / "vgg16.pt"
    for content in (b"one", b"three"):
        path.write_bytes(content)
        assert WeightsDirectory(tmp_path).sha256("vgg16_nvidia") == {"vgg16.pt": hashlib.sha256(content).hexdigest()}


def test_hashes_are_computed_once(tmp_path, monkeypatch):
    (tmp_path / "vgg16.pt").write_bytes(b"same")
    first = WeightsDirectory(tmp_path).sha256("vgg16_nvidia")
    monkeypatch.setattr("builtins.open", lambda *arguments: pytest.fail("read again"))
    assert WeightsDirectory(tmp_path).sha256("vgg16_nvidia") == first


def test_the_table_is_consistent():
    filenames = [filename for entry in PUBLISHED.values() for filename in entry.filenames]
    assert len(filenames) == len(set(filenames))
    for name, entry in PUBLISHED.items():
        assert name == entry.name and (entry.url or entry.page) and entry.licence and entry.purpose
        assert not entry.url or entry.url.startswith("https://")
        stated = re.search(r"-([0-9a-f]{8})\.pth$", entry.filenames[0])  # as torchvision names its files
        assert entry.sha256_prefix == (stated[1] if stated else "")


def test_sizes_in_words():
    assert published_file("vgg16").size == "553,433,881 bytes"
    assert published_file("inception").size == "about 96 MB" and published_file("niqe").size == "about 12 kB"


# Reading.


def test_state_dicts_come_back_from_both_kinds_of_files(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "a.pth")
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "wrapped.pth")
    for name in ("a.safetensors", "a.pth", "wrapped.pth"):
        read = load_state_dict(tmp_path / name)
        assert set(read) == set(STATE) and all(torch.equal(read[key], STATE[key]) for key in STATE)


ONE = torch.zeros(1)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_does_not_run(tmp_path):
    torch.save({"a": Hostile(tmp_path / "touched")}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        load_state_dict(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def holding(content):
    return lambda path: torch.save(content, path)


def spoilt(spoil):
    """Return a writer of a whole file, of the kind that its ending says, whose bytes a function has spoilt."""

    def write(path):
        save_file(STATE, path) if path.suffix == ".safetensors" else torch.save(STATE, path)
        path.write_bytes(spoil(path.read_bytes()))

    return write


OTHER_CONTENTS = [{}, [ONE], {"a": 1}, {"a": {"b": ONE}}, {1: ONE}, {"state_dict": {}}, 5]
SPOILT = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"plain text",
    "half": lambda whole: whole[: len(whole) // 2],
    "cut": lambda whole: whole[:-10],
}
REFUSALS = [
    *[
        pytest.param("a.pth", holding(each), "something else than tensors by name", id=f"{each}")
        for each in OTHER_CONTENTS
    ],
    *[
        pytest.param(f"a{ending}", spoilt(spoil), "truncated or ", id=f"{name} {ending}")
        for ending in (".pth", ".safetensors")
        for name, spoil in SPOILT.items()
    ],
    pytest.param("a.pth", lambda path: None, "cannot read", id="missing .pth"),
    pytest.param("a.safetensors", lambda path: None, "cannot read", id="missing .safetensors"),
]


@pytest.mark.parametrize(("name", "write", "words"), REFUSALS)
def test_refusals(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(UserError, match=words):
        load_state_dict(tmp_path / name)


def test_other_names_and_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="did you mean 'alexnet'"):
        WeightsDirectory(tmp_path).path("alexnt")
    with pytest.raises(UserError, match="cannot read"):
        sha256(tmp_path / "missing")


# The command.


@pytest.fixture
def downloads(monkeypatch):
    """Record what would be downloaded; each file arrives as one byte."""
    calls = []

    def download(url, path, sha256, label):
        calls.append((url, path.name, sha256))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    monkeypatch.setattr(command, "download", download)
    return calls


def run(tmp_path, *arguments):
    return CliRunner().invoke(weights, [f"--weights-dir={tmp_path}", *arguments])


def test_the_list_downloads_nothing(tmp_path, downloads):
    (tmp_path / "vgg16.pt").write_bytes(b"there")
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"half a file")
    result = run(tmp_path)
    assert result.exit_code == 0 and downloads == []
    lines = {line.split()[0]: line for line in result.output.splitlines() if line[:1].strip()}
    assert set(PUBLISHED) <= set(lines)
    digest = hashlib.sha256(b"there").hexdigest()[:16]
    assert lines["vgg16_nvidia"].endswith(f"vgg16.pt, there, 5 bytes, sha256 {digest}")
    assert "DAMAGED" in lines["alexnet"] and lines["inception"].endswith("missing, about 96 MB")
    for entry in PUBLISHED.values():
        assert entry.licence in result.output and entry.purpose in result.output


def test_fetch_gets_what_is_named_once(tmp_path, downloads):
    result = run(tmp_path / "new", "--fetch=niqe", "--fetch=alexnet", "--fetch=niqe")
    assert result.exit_code == 0
    assert [call[1:] for call in downloads] == [
        ("niqe_pris_params.npz", ""),
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
    ]


def test_fetch_leaves_right_files_and_replaces_wrong_ones(tmp_path, downloads):
    (tmp_path / "vgg16.pt").write_bytes(b"there")
    assert "there already" in run(tmp_path, "--fetch=vgg16_nvidia").output and downloads == []
    right = hashlib.sha256(b"there").hexdigest()
    run(tmp_path, "--fetch=vgg16_nvidia", f"--sha256={right.upper()}")
    assert downloads == []
    run(tmp_path, "--fetch=vgg16_nvidia", "--sha256=0123")
    assert [call[2] for call in downloads] == ["0123"]


def test_fetch_all_says_what_is_to_be_got_by_hand(tmp_path, downloads):
    result = run(tmp_path, "--fetch=all")
    assert result.exit_code == 0 and "get model_ir_se50.pth by hand from https://" in result.output
    assert {call[0] for call in downloads} == {entry.url for entry in PUBLISHED.values() if entry.url}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fetch=alexnt"], "did you mean 'alexnet'"),
        (["--fetch=niqe", "--fetch=alexnt"], "did you mean 'alexnet'"),
        (["--fetch=arcface"], "by hand from https://"),
        (["--sha256=00"], "exactly one --fetch"),
        (["--sha256=00", "--fetch=all"], "exactly one --fetch"),
        (["--sha256=00", "--fetch=niqe", "--fetch=vgg16"], "exactly one --fetch"),
    ],
)
def test_wrong_flags_download_nothing(tmp_path, downloads, arguments, sentence):
    result = run(tmp_path, *arguments)
    assert result.exit_code == 1 and sentence in result.output and downloads == []


def test_entries_are_found_under_the_name_that_a_download_gets():
    with pytest.raises(AssertionError, match="not found again"):
        replace(published.PUBLISHED["niqe"], saved_as="other.npz")
