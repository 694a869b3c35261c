"""Check that a network in TorchScript is the published one: NVIDIA's Inception-v3 and VGG16."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dnnlib.errors import UserError


@torch.no_grad()
def check_outputs(
    path: Path,
    what: str,
    outputs: Mapping[str, Callable[[Tensor], Tensor]],
    shapes: Mapping[str, list[int]],
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the outputs for a gray image; raise UserError unless they have the shapes of the published network's.

    Args:
        path: file of the network, for messages.
        what: name of the published network, for messages.
        outputs: functions of images `[1, 3, 32, 32]`, by name.
        shapes: shape of each output, by name.
        device: device of the network.
    """
    images = torch.full([1, 3, 32, 32], 128.0, device=device)
    try:
        answers = {name: output(images) for name, output in outputs.items()}
    except (RuntimeError, IndexError) as error:  # TorchScript has no other error for a wrong signature
        raise UserError(f"{path} is another network than {what}; fetch that again") from error
    if any(list(answers[name].shape) != shape for name, shape in shapes.items()):
        given = " and ".join(f"{name} {list(answer.shape)}" for name, answer in answers.items())
        expected = " and ".join(str(shape) for shape in shapes.values())
        raise UserError(f"{path} gives {given} instead of {expected}; fetch the published file again")
    return answers
