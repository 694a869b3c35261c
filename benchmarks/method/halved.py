"""A network of half the side: the blocks below the last of a base network, fitted to its images halved.

python -m benchmarks.method.halved --network=cats64-base --output=base32.safetensors

It is for experiments on a CPU, which take a fraction of the time there; 600 steps take a few minutes.
"""

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from networks.files import ImageFormat, build_generator, load_generator, save_network
from networks.generators.interface import Generator
from torch_utils.seeding import BatchRandom

BATCH = 16
LEARNING_RATE = 0.003


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="Plain network whose images are halved.")
@click.option("--output", type=PATH, required=True, help="Network to write, without discriminators.")
@click.option("--steps", default=600, help="Steps of the fit.")
@one_sentence_errors
def main(network: str, output: str, steps: int) -> None:
    """Write a network of half the side, and print how far its images are from the halved ones."""
    teacher, header = load_generator(network)
    if teacher.config.kind != "stylegan2" or teacher.config.architecture != "skip" or teacher.q_dim > 0:
        raise UserError(f"{network} is no plain StyleGAN2 of architecture skip; give such a network")
    student = below_last_block(teacher)
    student.synthesis.requires_grad_(True)
    optimizer = torch.optim.Adam(student.synthesis.parameters(), lr=LEARNING_RATE, betas=(0.0, 0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        loss = distance(teacher, student, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            click.echo(f"step {step}: mean square {loss.item():.4f}")
    facts = {"mode": "base", **{name: header.get(name) for name in ("kimg", "licence", "subject")}}
    save_network(output, student, {}, facts)


def below_last_block(teacher: Generator) -> Generator:
    """Return a generator of half the side with the weights that the teacher has there."""
    images = ImageFormat(teacher.img_resolution // 2, teacher.img_channels, teacher.c_dim)
    student = build_generator(teacher.config, images).requires_grad_(False)
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[name] for name in student.state_dict()})
    return student


def distance(teacher: Generator, student: Generator, step: int) -> Tensor:
    """Return the mean square of the student's images less the teacher's at half the side, for random latents."""
    with torch.no_grad():
        z = BatchRandom((step,), BATCH).randn(teacher.z_dim)
        c = teacher.labels_in_turn(BATCH)
        halved = F.avg_pool2d(teacher.synthesis(teacher.mapping(z, c), noise_mode="const"), 2)
        ws = student.mapping(z, c)
    return (student.synthesis(ws, noise_mode="const") - halved).square().mean()


if __name__ == "__main__":
    main()
