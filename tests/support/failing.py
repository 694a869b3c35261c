"""What a fresh process does that fails, in a module of its own, which is all that the fresh process then imports."""

import torch

from dnnlib.errors import UserError


def fail_in_one(world):
    """Raise a UserError in all processes but the first, which waits for them."""
    if not world.is_first:
        raise UserError("process 1 has had enough; give it another batch")
    world.sum(torch.zeros(1))
