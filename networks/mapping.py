"""The mapping network, from latents and labels to `w`."""

import torch
from torch import Tensor, nn

from networks.layers import (
    FullyConnected,
    normalize_second_moment,
)


class MappingNetwork(nn.Module):
    """M_0: latents and classes to `w`.

    Args:
        z_dim: width of the latent; 0: none (the discriminator's class embedding).
        c_dim: number of classes, or width of the label; 0: none.
        w_dim: width of the output.
        num_ws: copies of `w` that are returned; None: one, without the extra axis.
        num_layers: number of fully connected layers.
        lr_multiplier: learning rate of these layers, relative to the other networks'.
        w_avg_beta: share of `w_avg` that one step keeps; None: there is no `w_avg`.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
    ):
        super().__init__()
        self.num_layers = num_layers
        self.num_ws = num_ws
        self.w_avg_beta = w_avg_beta
        self.c_dim = c_dim
        self.z_dim = z_dim
        self.w_avg: Tensor
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, w_dim)
        width = input_width(z_dim, c_dim, w_dim)
        for index in range(num_layers):
            layer = FullyConnected(width if index == 0 else w_dim, w_dim, act="lrelu", lr_multiplier=lr_multiplier)
            self.add_module(f"fc{index}", layer)
        if w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self, z: Tensor | None, c: Tensor | None, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """Map `z [N, z_dim]` and `c [N, c_dim]` to `ws [N, num_ws, w_dim]`, drawn towards `w_avg` by psi < 1."""
        x = self.inputs(z, c)
        for index in range(self.num_layers):
            x = getattr(self, f"fc{index}")(x)
        if self.num_ws is None:
            return x
        ws = x[:, None].expand(-1, self.num_ws, -1)  # [N, num_ws, w_dim]
        if truncation_psi == 1:
            return ws
        truncated = self.w_avg.lerp(ws, truncation_psi)
        if truncation_cutoff is None:
            return truncated
        return torch.cat([truncated[:, :truncation_cutoff], ws[:, truncation_cutoff:]], dim=1)

    def inputs(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        """Return what the first layer sees: `z` and the embedded `c`, each of mean square one, `[N, input_width]`."""
        parts = []
        if self.z_dim > 0:
            assert z is not None and z.shape[1] == self.z_dim, f"z is {_shape(z)}, needs [N, {self.z_dim}]"
            parts.append(normalize_second_moment(z.float()))
        if self.c_dim > 0:
            assert c is not None and c.shape[1] == self.c_dim, f"c is {_shape(c)}, needs [N, {self.c_dim}]"
            parts.append(normalize_second_moment(self.embed(c.float())))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def track_average(self, mean_w: Tensor) -> None:
        """Move `w_avg` towards the mean `[w_dim]` of a batch."""
        assert self.w_avg_beta is not None, "this mapping network has no average"
        self.w_avg.lerp_(mean_w, 1 - self.w_avg_beta)


def input_width(z_dim: int, c_dim: int, w_dim: int) -> int:
    """Return how many numbers the first layer of a mapping network sees."""
    return z_dim + (w_dim if c_dim > 0 else 0)


def _shape(x: Tensor | None) -> tuple[int, ...] | None:
    return None if x is None else tuple(x.shape)
