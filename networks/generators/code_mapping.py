"""From a quality code to the code that a DegradBlock is linear in."""

from torch import Tensor, nn

from networks.layers import perceptron

LAYERS = 3
WIDTH = 64  # of the hidden layers


class CodeMapping(nn.Module):
    """e = u + |u| m(u) for codes u of the length sqrt(D_q); the small network m begins as zero.

    What is linear in a code is absent for hardly any, and the negative of a code that blurs would sharpen. Photos are
    otherwise: many have no noise at all, and none are sharpened by what degrades them.

    Args:
        q_dim: D_q.
    """

    def __init__(self, q_dim: int):
        super().__init__()
        self.layers = perceptron([q_dim, *[WIDTH] * (LAYERS - 1), q_dim])
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, u: Tensor) -> Tensor:
        """Return e `[N, D_q]` of `u [N, D_q]`; zero for zero."""
        return u + u.norm(dim=1, keepdim=True) * self.layers(u)
