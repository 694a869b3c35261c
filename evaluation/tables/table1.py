"""Table 1 of the paper: distances of sharp and degraded images; and Table 4 of the supplement: ablations."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dnnlib.errors import UserError
from evaluation.choices import QUALITIES
from evaluation.job import Job, measure
from evaluation.tables.table import Table, number
from torch_utils.checkpoint import read_header
from torch_utils.distributed import World

# FID of (SG2-Ada, Ours); for degraded images SG2-Ada is another network, trained on them.
PAPER = {
    "FFHQ": {"sharp": (3.48, 3.65), "degraded": (4.38, 3.23)},
    "AFHQ Cat": {"sharp": (3.55, 3.56), "degraded": (4.70, 3.91)},
    "LSUN Church": {"sharp": (3.86, 3.61), "degraded": (5.16, 4.58)},
}
# FID on FFHQ of (sharp, degraded); the full method is Table 1's.
PAPER_ABLATIONS = {
    "A": ("no distillation, nothing frozen", 11.32, 26.91),
    "B": ("no distillation", 33.45, 82.11),
    "C": ("M = 1", 6.38, 7.59),
    "D": ("P = 5", 4.02, 4.68),
    "E": ("D_q = 8, L = 64", 4.54, 5.69),
    "F": ("AdaIN-style DegradBlock", 4.41, 5.28),
}

Distances = dict[str, float | None]  # distances by quality
Log = list[dict[str, Any]]  # records of results


def distances(world: World, job: Job, network: str | None, qualities: tuple[str, ...], log: Log) -> Distances:
    """Return a network's distances by quality, and append their records to `log`; {} where `network` is None."""
    if network is None:
        return {}
    results = measure(world, replace(job, network=network, qualities=qualities))
    log += [result.record for result in results]
    return {result.record["quality"]: next(iter(result.values.values())) for result in results}


def table1(world: World, job: Job, base: str, qc: str, degraded_base: str | None) -> Table:
    """Return Table 1; only the first process's table has numbers.

    Args:
        world: the processes that share the work.
        job: the measurement, with one request and the data.
        base: file of the plain network.
        qc: file of the QC network trained from it.
        degraded_base: file of a plain network trained on degraded images, or None.

    Raises UserError for a `degraded_base` that was trained on others than the QC network, or on sharp ones.
    """
    log: Log = []
    if degraded_base is not None:
        _check_degraded_base(degraded_base, qc, job)
    plain = distances(world, job, base, ("sharp",), log)
    if degraded_base is not None:
        recipe = job.degradation or read_header(qc).get("degradation")  # both are compared with the same images
        against = replace(job, real_quality="degraded", degradation=recipe)
        plain["degraded"] = distances(world, against, degraded_base, ("sharp",), log).get("sharp")
    ours = distances(world, job, qc, QUALITIES, log)
    metric = job.requests[0].name
    columns = [metric, "base", "qc"]
    rows = [[quality, number(plain.get(quality)), number(ours.get(quality))] for quality in QUALITIES]
    for data, values in PAPER.items():
        columns += [f"paper, {data}: SG2-Ada", "Ours"]
        for row, quality in zip(rows, QUALITIES, strict=True):
            row += [number(value) for value in values[quality]]
    title = "Table 1. Distance of generated to real images, sharp and degraded; the paper's numbers are FID"
    numbers = {"metric": metric, "base": plain, "qc": ours, "paper": PAPER, "records": log}
    return Table("table1", title, columns, rows, _notes(log), numbers)


def _check_degraded_base(network: str, qc: str, job: Job) -> None:
    header = read_header(network)
    recipe, wanted = header.get("degradation"), job.degradation or read_header(qc).get("degradation")
    if (header.get("generator") or {}).get("quality") is not None:
        raise UserError(f"--degraded-base={network} has a quality code; give a plain network")
    if recipe is None:
        raise UserError(
            f"--degraded-base={network} was trained on sharp images, as its header says; give one of "
            f"`train.py --mode=base --degradation={wanted}`"
        )
    if recipe != wanted:
        raise UserError(
            f"--degraded-base={network} was trained on images degraded by {recipe}, and {qc} by {wanted}; give "
            "networks of the same recipe"
        )


def table4(world: World, job: Job, qc: str, ablations: Mapping[str, str]) -> Table:
    """Return Table 4 of the supplement; only the first process's table has numbers.

    Args:
        world: the processes that share the work.
        job: the measurement, with one request and the data.
        qc: file of the network of the full method.
        ablations: files of the networks trained with `--ablation=A` to `F`, by letter.
    """
    log: Log = []
    metric = job.requests[0].name
    full = PAPER["FFHQ"]
    rows, networks = [], {}
    for name, network in {"full": qc, **ablations}.items():
        ours = networks[name] = distances(world, job, network, QUALITIES, log)
        what, *paper = PAPER_ABLATIONS.get(name, ("the full method", full["sharp"][1], full["degraded"][1]))
        cells = [*(number(ours.get(quality)) for quality in QUALITIES), *map(number, paper)]
        rows.append([f"{name}: {what}", *cells])
    columns = ["", f"{metric}, sharp", "degraded", "paper, FFHQ, FID: sharp", "degraded"]
    title = "Table 4 of the supplement. Ablations"
    numbers = {"metric": metric, "networks": networks, "paper": PAPER_ABLATIONS, "records": log}
    return Table("table4", title, columns, rows, _notes(log), numbers)


def _notes(log: Log) -> list[str]:
    """Return notes on the numbers: how they were measured, and each warning once."""
    if not log:
        return []
    first = log[0]
    sizes = f"{first['num_fakes']} generated against {first['num_reals']} real images"
    warnings = dict.fromkeys(note for record in log for note in record["notes"])
    return [f"{sizes}, detector {first['detector']['name']}.", *warnings]
