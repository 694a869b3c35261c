"""A bare state dict of a CREPS generator, as torch.save wrote it."""

from typing import Any

from networks.published.contents import Published, as_tensors
from networks.published.creps_architecture import creps_content, is_creps
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "state dict of a CREPS generator"
_WITHIN = ("G_ema", "g_ema", "state_dict")


def recognises(content: Any) -> bool:
    """Whether this is a state dict with the names of CREPS, or one within a dict."""
    return isinstance(content, dict) and is_creps(_state(content))


def read(file: InertFile) -> Published:
    """Return the generator; shapes tell all but the multiplier of the mapping's learning rate, which is the usual."""
    return Published(creps_content(as_tensors(_state(file.content).items(), file.size), {}))


def _state(content: dict[str, Any]) -> dict[str, Any]:
    inner = next((content[name] for name in _WITHIN if name in content), None)
    return inner if isinstance(inner, dict) else content
