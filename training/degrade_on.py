"""Where the real images of a run are degraded: by the data workers, or on the device (GPU) that trains."""

from typing import Any

import torch

from training.config import DataConfig

# Ticks after which "auto" stays where it is. The first may hold what happens only once, such as choosing algorithms.
TRIAL_TICKS = 3


class DegradeOn:
    """The place that `data.degrade_on` chooses.

    `auto` means the workers, until a GPU has waited for them for too large a part of one of the first ticks.

    Attributes:
        bound: share of a tick that `auto` lets a GPU wait for images.
        place: "workers" or "device".
        ticks_left: number of ticks that may still change the place.
    """

    def __init__(self, config: DataConfig, device: torch.device):
        self.bound = config.degrade_wait
        self.place = "device" if config.degrade_on == "device" else "workers"
        self.ticks_left = TRIAL_TICKS if config.degrade_on == "auto" and device.type == "cuda" else 0

    def tick(self, waited_too_long: bool) -> bool:
        """Take note of a tick; return whether the device takes over."""
        moves = self.ticks_left > 0 and waited_too_long
        self.ticks_left = 0 if moves else max(self.ticks_left - 1, 0)
        if moves:
            self.place = "device"
        return moves

    def state_dict(self) -> dict[str, Any]:
        """Return the choice so far, for a run that continues."""
        return {"place": self.place, "ticks_left": self.ticks_left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the choice of a saved state."""
        self.place = state["place"]
        self.ticks_left = state["ticks_left"]
