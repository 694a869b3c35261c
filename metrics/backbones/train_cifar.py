"""Train the embedded detector: `python -m metrics.backbones.train_cifar --train=cifar10-train.zip --test=...zip`."""

import time

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from images.datasets.labels import read_labels
from images.files import ImageFiles
from metrics.backbones.cifar import CLASSES, CifarNetwork, Convolution, load_stored, predict
from torch_utils.checkpoint import load_tensors, read_header, save_tensors
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory
from torch_utils.precision import fastest_dtype

SIDE = 32  # of the images of CIFAR-10


# Of the second paper named in metrics.backbones.cifar, for batches of 1024; learning rates there count in sums.
BATCH, LR, MOMENTUM, WEIGHT_DECAY = 1024, 1.5, 0.85, 1.33e-3
MEAN_LR_FACTOR = 64  # of the learned means of normalisation
LABEL_SMOOTHING = 0.2
GRAY = 120  # of blanked squares
CALIBRATION = 2000  # images that whitening is made for
PEAK, LR_AT_START, LR_AT_END = 0.23, 0.2, 0.07  # where the learning rate is highest; its shares there and there
LOOKAHEAD_STEPS, LOOKAHEAD_DECAY = 5, 0.95  # how often the weights are drawn to their average, and how far at most
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@click.command(context_settings={"show_default": True})
@click.option("--train", "train_path", required=True, help="Labelled images, as dataset_tool.py writes CIFAR-10.")
@click.option("--test", "test_path", required=True, help="The same, to measure the accuracy.")
@click.option("-o", "--output", default="cifar10.safetensors")
@click.option("--epochs", type=click.IntRange(min=1), default=10)
@click.option("--init-from", metavar="FILE", help="A stored classifier to train further.")
@click.option("--peak-lr", type=float, default=1.0, help="Factor of the learning rate; less suits a second round.")
@click.option("--batch", type=click.IntRange(min=2), default=BATCH, help="The learning rate scales with it.")
@click.option("--reach", type=click.IntRange(0, 8), default=2, help="Pixels that an image is moved by at most.")
@click.option("--cutout", type=click.IntRange(0, 16), default=0, help="Side of the square that is blanked.")
@click.option("--seed", type=int, default=0)
@click.option("--device", help="cuda or cpu.  [default: the best there is]")
@one_sentence_errors
def main(train_path, test_path, output, epochs, init_from, peak_lr, batch, reach, cutout, seed, device):
    """Train the classifier and store it, in half precision, with the accuracy that the stored weights have."""
    keep_freed_memory()
    torch.manual_seed(seed)
    device = best_device(device)
    images, labels = (tensor.to(device) for tensor in read_labelled(train_path))
    batch = min(batch, len(images))
    network = CifarNetwork(normalised=True)
    some = images[torch.randperm(len(images))[:CALIBRATION]].float().cpu()  # files may be in the order of classes
    network.set_whitening(some)
    epochs_before = 0
    if init_from is not None:
        network.unfold(load_stored(CifarNetwork(), load_tensors(init_from)), some)
        epochs_before = read_header(init_from)["epochs"]
    network.to(device, memory_format=torch.channels_last)
    steps = len(images) // batch
    optimizer = new_optimizer(network, peak_lr * batch / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(step / (epochs * steps)))
    average = Average(network, epochs * steps)
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(images), device=device)[: steps * batch].split(batch):
            inputs = blanked(mirrored(moved(images[rows], reach), epoch, rows), cutout)
            inputs = inputs.float().contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, DTYPES[fastest_dtype(device)]):
                logits = network(inputs)
            loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.step()
            total += loss.item()
        click.echo(f"epoch {epoch + 1}: loss {total / steps:.3f}, {time.perf_counter() - start:.0f} s")
    average.adopt()
    stored = {name: tensor.half() for name, tensor in network.folded().state_dict().items()}
    accuracy = test_accuracy(stored, test_path)
    header = {"classes": CLASSES, **accuracy, "data": "CIFAR-10", "epochs": epochs_before + epochs}
    save_tensors(output, stored, header)
    click.echo(f"{output}: {', '.join(f'{name} {value:.2%}' for name, value in accuracy.items())}")


def new_optimizer(network: CifarNetwork, factor: float) -> torch.optim.SGD:
    """Return SGD for all that is learned, the means of normalisation with a rate of their own."""
    lr = LR * factor
    means = [module.norm.bias for module in network.modules() if isinstance(module, Convolution)]
    others = [p for p in network.parameters() if p.requires_grad and not any(p is mean for mean in means)]
    groups = [
        {"params": others, "lr": lr, "weight_decay": WEIGHT_DECAY},
        {"params": means, "lr": lr * MEAN_LR_FACTOR, "weight_decay": WEIGHT_DECAY / MEAN_LR_FACTOR},
    ]
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)


def lr_share(done: float) -> float:
    """Return the learning rate as a share of the highest, `done` of 1 through the training: up, then down."""
    if done < PEAK:
        return LR_AT_START + (1 - LR_AT_START) * done / PEAK
    return LR_AT_END + (1 - LR_AT_END) * max(1 - done, 0) / (1 - PEAK)


class Average:
    """Lookahead (Zhang et al. 2019): every few steps weights are drawn to their moving average, more so late."""

    def __init__(self, network: CifarNetwork, total: int):
        self.tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.slow = [tensor.clone() for tensor in self.tensors]
        self.total, self.steps = total, 0

    @torch.no_grad()
    def step(self) -> None:
        """Count a step; draw the weights where it is time."""
        self.steps += 1
        if self.steps % LOOKAHEAD_STEPS == 0:
            decay = LOOKAHEAD_DECAY**LOOKAHEAD_STEPS * (self.steps / self.total) ** 3
            torch._foreach_lerp_(self.slow, self.tensors, 1 - decay)
            torch._foreach_copy_(self.tensors, self.slow)

    @torch.no_grad()
    def adopt(self) -> None:
        """Make the average the weights."""
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


def moved(images: Tensor, reach: int) -> Tensor:
    """Move each image by up to `reach` pixels each way, its edge reflected."""
    n, _, height, width = images.shape
    padded = F.pad(images.float(), [reach] * 4, mode="reflect").to(images.dtype)
    y, x = torch.randint(0, 2 * reach + 1, (2, n, 1), device=images.device)
    rows, columns = torch.arange(height, device=images.device) + y, torch.arange(width, device=images.device) + x
    index = torch.arange(n, device=images.device)[:, None, None]
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirrored(images: Tensor, epoch: int, rows: Tensor) -> Tensor:
    """Mirror half of the images, in every epoch those that were not in the one before."""
    turned = (rows * 2654435761 % 2**32 < 2**31) ^ (epoch % 2 == 1)  # a fixed half of all images, then the other
    return torch.where(turned[:, None, None, None], images.flip(3), images)


def blanked(images: Tensor, side: int) -> Tensor:
    """Blank a square of each image at a random place (cutout, DeVries and Taylor 2017)."""
    n, _, height, width = images.shape
    y, x = torch.randint(0, height, (n, 1), device=images.device), torch.randint(0, width, (n, 1), device=images.device)
    rows = (torch.arange(height, device=images.device) - y + side // 2) % height < side
    columns = (torch.arange(width, device=images.device) - x + side // 2) % width < side
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hole, GRAY)


def test_accuracy(stored: dict[str, Tensor], path: str) -> dict[str, float]:
    """Return the share of the images that the stored weights classify correctly, by one look and by two."""
    network = load_stored(CifarNetwork(), {name: tensor.cpu() for name, tensor in stored.items()})
    images, labels = read_labelled(path)
    looks = {"test_accuracy": predict(network, images), "test_accuracy_unmirrored": predict(network, images, False)}
    return {name: (found == labels).float().mean().item() for name, found in looks.items()}


if __name__ == "__main__":
    main()
