"""Random draws depend on what they are for, never on who draws them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_utils.seeding import BatchRandom, derive_seed


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_a_longer_key_is_another_key(key):
    assert len({derive_seed(*key), derive_seed(*key, 0), derive_seed(*key, 0, 0)}) == 3


@given(st.integers(0, 7), st.integers(1, 8), st.integers(1, 3))
def test_rows_are_those_of_the_whole_batch(start, stop, step):
    whole, rows = BatchRandom((5, 6), 8), slice(start, max(stop, start + 1), step)
    part = BatchRandom((5, 6), 8, rows)
    for draw in (lambda r: r.randn(3), lambda r: r.rand(2, 2), lambda r: r.randint(0, 100, 1)):
        expected = draw(whole)[rows]
        assert torch.equal(draw(part), expected)
    assert len(part) == len(expected)


def test_copies_have_numbers_of_their_own_and_the_rows_of_each():
    rows = slice(2, 6)
    whole, part = BatchRandom((5,), 8, copies=2), BatchRandom((5,), 8, rows, copies=2)
    for draw in (lambda r: r.randn(3), lambda r: r.rand(), lambda r: r.randint(0, 100, 1)):
        first, second = draw(whole).chunk(2)
        assert torch.equal(draw(part), torch.cat([first[rows], second[rows]]))
        assert not torch.equal(first, second)
    assert (len(whole), len(part)) == (16, 8)


def test_a_part_does_not_keep_the_rest_in_memory():
    part = BatchRandom((1,), 64, slice(0, 2)).randn(100)
    assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
