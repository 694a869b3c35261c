"""A bare state dict of a StyleGAN2 generator, as torch.save wrote it (the teacher of the released QC-StyleGAN)."""

from typing import Any

from networks.published.contents import NetworkContent, Published, as_tensors
from torch_utils.untrusted.torch_files import InertFile

DESCRIPTION = "state dict of a StyleGAN2 generator"


def recognises(content: Any) -> bool:
    """Whether this is a state dict with the names of StyleGAN2-ADA, or one within a dict."""
    return isinstance(content, dict) and "synthesis.b4.const" in _state(content)


def read(file: InertFile) -> Published:
    """Return the generator. Shapes tell all but the multiplier of the mapping's learning rate, which is the usual."""
    return Published(NetworkContent(as_tensors(_state(file.content).items(), file.size)))


def _state(content: dict[str, Any]) -> dict[str, Any]:
    inner = content.get("state_dict")
    return inner if isinstance(inner, dict) else content
