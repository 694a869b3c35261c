"""Train the embedded detector: `python -m metrics.backbones.train_cifar --train=cifar10-train.zip --test=...zip`."""

import time
from dataclasses import dataclass

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS
from images.datasets.labels import read_labels
from images.files import ImageFiles
from metrics.backbones.cifar import CLASSES, CifarNetwork, load_stored, predict
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory
from torch_utils.precision import fastest_dtype

SIDE = 32  # px, side of CIFAR-10's images

# Settings of the second paper named in metrics.backbones.cifar, for batches of 1024; its rates are for summed losses.
BATCH = 1024
LR = 1.5
MOMENTUM = 0.85
WEIGHT_DECAY = 1.33e-3
MEAN_LR_FACTOR = 64  # factor of the learning rate of the learned means of normalisation
LABEL_SMOOTHING = 0.2
GRAY = 120  # pixel value of blanked squares
CALIBRATION = 2000  # images that whitening is computed from
PEAK = 0.23  # share of the training after which the learning rate is highest
LR_AT_START, LR_AT_END = 0.2, 0.07  # learning rate at either end, as shares of the highest
LOOKAHEAD_STEPS, LOOKAHEAD_DECAY = 5, 0.95  # how often the weights are drawn to their average, and how far at most
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Settings:
    """How the classifier is trained; each is a flag of the command.

    Attributes:
        epochs: number of passes over the images.
        peak_lr: factor of the highest learning rate.
        batch: images in each step.
        reach: largest shift of an image in pixels.
        cutout: side of the square that is blanked in each image, in pixels.
    """

    epochs: int
    peak_lr: float
    batch: int
    reach: int
    cutout: int


@click.command(context_settings=SETTINGS)
@click.option(
    "--train", "train_path", type=PATH, required=True, help="Labelled images, as dataset_tool.py writes CIFAR-10."
)
@click.option("--test", "test_path", type=PATH, required=True, help="Labelled images to measure the accuracy with.")
@click.option("-o", "--output", type=PATH, default="cifar10.safetensors", help="File of the classifier.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, help="Number of passes over the images.")
@click.option("--init-from", type=PATH, metavar="FILE", help="Stored classifier to train further.")
@click.option("--peak-lr", type=float, default=1.0, help="Factor of the learning rate; less suits a second round.")
@click.option(
    "--batch", type=click.IntRange(min=2), default=BATCH, help="Images in a step; the learning rate scales with it."
)
@click.option("--reach", type=click.IntRange(0, 8), default=2, help="Largest shift of an image, in pixels.")
@click.option("--cutout", type=click.IntRange(0, 16), default=0, help="Side of the square that is blanked.")
@click.option("--seed", type=int, default=0, help="Seed of all random numbers.")
@click.option("--device", help="Device: cuda or cpu.  [default: the best there is]")
@one_sentence_errors
def main(
    train_path: str,
    test_path: str,
    output: str,
    epochs: int,
    init_from: str | None,
    peak_lr: float,
    batch: int,
    reach: int,
    cutout: int,
    seed: int,
    device: str | None,
) -> None:
    """Train the classifier and store it, in half precision, with the accuracy that the stored weights have."""
    keep_freed_memory()
    torch.manual_seed(seed)
    chosen = best_device(device)
    images, labels = (tensor.to(chosen) for tensor in read_labelled(train_path))
    network = CifarNetwork(normalised=True)
    some = images[torch.randperm(len(images))[:CALIBRATION]].float().cpu()  # files may be in the order of classes
    network.set_whitening(some)
    epochs_before = 0
    if init_from is not None:
        network.unfold(load_stored(CifarNetwork(), load_tensors(init_from)), some)
        epochs_before = read_header(init_from)["epochs"]
    network.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    train(network, images, labels, Settings(epochs, peak_lr, min(batch, len(images)), reach, cutout))
    stored = {name: tensor.half() for name, tensor in network.fold().state_dict().items()}
    accuracy = test_accuracy(stored, test_path)
    header = {"classes": CLASSES, **accuracy, "data": "CIFAR-10", "epochs": epochs_before + epochs}
    save_tensors(output, stored, header)
    click.echo(f"{output}: {', '.join(f'{name} {value:.2%}' for name, value in accuracy.items())}")


def train(network: CifarNetwork, images: Tensor, labels: Tensor, settings: Settings) -> None:
    """Train on images uint8 `[N, 3, 32, 32]` and class numbers int64 `[N]`; print a line for each epoch."""
    device, batch = images.device, settings.batch
    steps = len(images) // batch  # steps of an epoch
    total_steps = settings.epochs * steps
    optimizer = new_optimizer(network, settings.peak_lr * batch / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(step / total_steps))
    average = Average(network, total_steps)
    for epoch in range(settings.epochs):
        start, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(images), device=device)[: steps * batch].split(batch):
            inputs = blank_square(mirror_half(shift(images[rows], settings.reach), epoch, rows), settings.cutout)
            inputs = inputs.float().contiguous(memory_format=torch.channels_last)  # [batch, 3, 32, 32]
            with torch.autocast(device.type, DTYPES[fastest_dtype(device)]):
                logits = network(inputs)  # [batch, 10]
            loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.step()
            total += loss.item()
        click.echo(f"epoch {epoch + 1}: loss {total / steps:.3f}, {time.perf_counter() - start:.0f} s")
    average.adopt()


def new_optimizer(network: CifarNetwork, factor: float) -> torch.optim.SGD:
    """Return SGD for all that is learned, the means of normalisation with a rate of their own."""
    lr = LR * factor
    means = [convolution.norm.bias for convolution in network.convolutions()]
    others = [p for p in network.parameters() if p.requires_grad and not any(p is mean for mean in means)]
    groups = [
        {"params": others, "lr": lr, "weight_decay": WEIGHT_DECAY},
        {"params": means, "lr": lr * MEAN_LR_FACTOR, "weight_decay": WEIGHT_DECAY / MEAN_LR_FACTOR},
    ]
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)


def lr_share(done: float) -> float:
    """Return the learning rate as a share of the highest, which rises and then falls.

    Args:
        done: share of the training that is over, 0..1.
    """
    if done < PEAK:
        return LR_AT_START + (1 - LR_AT_START) * done / PEAK
    return LR_AT_END + (1 - LR_AT_END) * max(1 - done, 0) / (1 - PEAK)


class Average:
    """Lookahead (Zhang et al. 2019): every few steps the weights are drawn to their moving average.

    The average moves less, the later the step.

    Args:
        network: network whose weights are averaged.
        total: number of steps of the training.
    """

    def __init__(self, network: CifarNetwork, total: int) -> None:
        self.tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.slow = [tensor.clone() for tensor in self.tensors]
        self.total = total
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Count a step; after every few, move the average and set the weights to it."""
        self.steps += 1
        if self.steps % LOOKAHEAD_STEPS == 0:
            decay = LOOKAHEAD_DECAY**LOOKAHEAD_STEPS * (self.steps / self.total) ** 3
            torch._foreach_lerp_(self.slow, self.tensors, 1 - decay)
            torch._foreach_copy_(self.tensors, self.slow)

    @torch.no_grad()
    def adopt(self) -> None:
        """Set the weights to the average."""
        torch._foreach_copy_(self.tensors, self.slow)


def read_labelled(path: str) -> tuple[Tensor, Tensor]:
    """Return images uint8 `[N, 3, 32, 32]` and class numbers int64 `[N]`."""
    files = ImageFiles(path)
    labels = read_labels(files, files.metadata())
    if not all(isinstance(label, int) and label < len(CLASSES) for label in labels):
        raise UserError(f"{path} has other labels than the {len(CLASSES)} class numbers of CIFAR-10; give that data")
    images = [files.pixels(name) for name in files.names]
    if {image.shape for image in images} != {(SIDE, SIDE, 3)}:
        raise UserError(f"{path} has other images than the {SIDE}x{SIDE} RGB ones of CIFAR-10; give that data")
    pixels = np.stack(images)  # [N, H, W, C]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def shift(images: Tensor, reach: int) -> Tensor:
    """Shift each image by up to `reach` pixels each way, at random, its edge reflected."""
    n, _, height, width = images.shape
    padded = F.pad(images.float(), [reach] * 4, mode="reflect").to(images.dtype)  # [N, 3, H + 2 reach, W + 2 reach]
    y, x = torch.randint(0, 2 * reach + 1, (2, n, 1), device=images.device)
    rows, columns = torch.arange(height, device=images.device) + y, torch.arange(width, device=images.device) + x
    index = torch.arange(n, device=images.device)[:, None, None]
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirror_half(images: Tensor, epoch: int, rows: Tensor) -> Tensor:
    """Mirror half of the images, in every epoch those that were not in the one before."""
    flip = (rows * 2654435761 % 2**32 < 2**31) ^ (epoch % 2 == 1)  # a fixed half of all images, then the other
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def blank_square(images: Tensor, side: int) -> Tensor:
    """Blank a square of each image at a random place (cutout, DeVries and Taylor 2017)."""
    n, _, height, width = images.shape
    y, x = torch.randint(0, height, (n, 1), device=images.device), torch.randint(0, width, (n, 1), device=images.device)
    rows = (torch.arange(height, device=images.device) - y + side // 2) % height < side
    columns = (torch.arange(width, device=images.device) - x + side // 2) % width < side
    hole = rows[:, None, :, None] & columns[:, None, None, :]  # [N, 1, H, W]
    return images.masked_fill(hole, GRAY)


def test_accuracy(stored: dict[str, Tensor], path: str) -> dict[str, float]:
    """Return the share of images classified correctly by the stored weights, with and without the mirror image."""
    network = load_stored(CifarNetwork(), {name: tensor.cpu() for name, tensor in stored.items()})
    images, labels = read_labelled(path)
    answers = {"test_accuracy": predict(network, images), "test_accuracy_unmirrored": predict(network, images, False)}
    return {name: (classes == labels).float().mean().item() for name, classes in answers.items()}


if __name__ == "__main__":
    main()
