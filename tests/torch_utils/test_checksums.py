"""Checksums change with every bit, name, type and shape, and with nothing else."""

import pytest
import torch

from torch_utils.checksums import checksum, checksums, find_differing, named_leaves

VALUES = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.float64, torch.uint8])
def test_every_byte_of_a_tensor_counts(dtype):
    tensor = VALUES.to(dtype)
    before = checksum("w", tensor)
    raw = tensor.view(-1).view(torch.uint8)
    for index in range(raw.numel()):
        raw[index] ^= 1
        assert checksum("w", tensor) != before
        raw[index] ^= 1
    assert checksum("w", tensor) == before and len(before) == 32


@pytest.mark.parametrize(
    ("name", "leaf"),
    [
        ("v", VALUES),
        ("w", VALUES.double()),
        ("w", VALUES.reshape(3, 2)),
        ("w", VALUES.reshape(-1)),
        ("w", VALUES.view(torch.int32)),
        ("w", VALUES[:0]),
        ("w", torch.empty(0, 3)[:0].reshape(3, 0)),
    ],
)
def test_name_type_and_shape_count(name, leaf):
    assert checksum(name, leaf) != checksum("w", VALUES)
    assert checksum(name, leaf) == checksum(name, leaf.clone())


def test_numbers_and_texts_count_with_their_type():
    leaves = [1, 1.0, True, "1", b"1", None, "None", 0, -0.0, 0.0, 1e-300, "", b"", torch.tensor(1), "\ud800"]
    assert len({checksum("w", leaf) for leaf in leaves}) == len(leaves)


def test_where_and_how_a_tensor_is_stored_does_not_count():
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    stored = [image.to(memory_format=torch.channels_last), image.clone().requires_grad_(), torch.cat([image] * 2)[:1]]
    assert {checksum("w", tensor) for tensor in stored} == {checksum("w", image)}


def test_an_unknown_object_has_no_checksum():
    with pytest.raises(TypeError, match="^w is a set, which has no checksum$"):
        checksum("w", {1})


def test_changed_missing_and_additional_leaves_are_named():
    leaves = {"a": VALUES, "b": 2, "c": 3}
    recorded = checksums(leaves)
    assert find_differing(leaves, recorded) == []
    assert find_differing({"a": VALUES + 1, "b": 2, "d": 3}, recorded) == ["a", "c", "d"]


def test_leaves_of_nested_content():
    content = {"G": {"w.v": VALUES, "n": []}, "moments": {0: {"step": 3.0}}, "seeds": [1, (2, "x")]}
    assert named_leaves(content) == {
        "G.w.v": VALUES,
        "G.n": "an empty list",
        "moments[0].step": 3.0,
        "seeds[0]": 1,
        "seeds[1][0]": 2,
        "seeds[1][1]": "x",
    }
    with pytest.raises(AssertionError, match="two leaves have one name"):
        named_leaves({"a": {"b": 1}, "a.b": 2})
