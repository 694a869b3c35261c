"""The lines of the log about ticks: short, with a legend, and with the numbers that matter most."""

import json

import pytest
import torch

from inversion.encoders.run import ENCODER_TICKS
from tests.support.runs import ROOT
from training.report import NETWORK_TICKS, WIDTH, Report
from training.run_directory import RunDirectory

QC = {
    "Loss/D/degraded": 0.76767,
    "Loss/D/sharp": 0.71411,
    "Loss/G/degraded": 1.85542,
    "Loss/G/distillation": 0.02103,
    "Loss/G/sharp": 2.03727,
    "Loss/path_penalty/sharp": 0.00123,
    "Loss/r1_penalty/degraded": 2.44363,
    "Loss/r1_penalty/sharp": 2.62971,
    "Loss/scores/fake/degraded": -1.52662,
    "Progress/augment/sharp": 0.06768,
    "Progress/augment/degraded": 0.01296,
    "Timing/sec_per_kimg": 79.89731,
    "Resources/peak_memory_gb": 0.56974,
}
LINE = "kimg 25.0  79.9 s/kimg  G 2.04/1.86  D 0.71/0.77  aug 0.068/0.013  KD 0.021  r1 2.63/2.44  pl 0.0012"
MEASURED = {
    "afhqcat64-base": NETWORK_TICKS,
    "afhqcat64-qc": NETWORK_TICKS,
    "afhqcat128-base": NETWORK_TICKS,
    "afhqcat128-qc": NETWORK_TICKS,
    "afhqcat128-encoder": ENCODER_TICKS,
}


def test_sharp_and_degraded_stand_beside_each_other():
    assert NETWORK_TICKS(25000, QC) == LINE
    assert NETWORK_TICKS(25_000_000, QC) == LINE.replace("25.0", "25000.0").removesuffix("  pl 0.0012") + "  0.6 GB"


def test_what_there_is_not_is_left_out():
    means = {"Loss/G/sharp": 12.34, "Timing/sec_per_kimg": 1.0, "Resources/peak_memory_gb": 1.93, "Loss/D/sharp": 2e-5}
    assert NETWORK_TICKS(4000, means) == "kimg 4.0  1.0 s/kimg  G 12.34  D 2e-05  1.9 GB"


def test_the_terms_of_an_encoder_by_their_images():
    means = {"Loss/own/w": 1.165, "Loss/degraded/l2": 0.05, "Loss/sharp/l2": 0.0725, "Loss/sharp/perceptual": 2.84}
    means |= {"Loss/total": 2.464, "Progress/lr": 1e-5, "Timing/sec_per_kimg": 1.35, "Resources/peak_memory_gb": 2.94}
    expected = "kimg 90.0  1.4 s/kimg  total 2.46  l2 0.072/0.05  perceptual 2.84  own/w 1.17  2.9 GB"
    assert ENCODER_TICKS(90048, means) == expected


@pytest.mark.parametrize("name", MEASURED)
def test_lines_of_runs_of_any_length_are_short_and_keep_the_losses(name):
    ticks = MEASURED[name]
    assert len(ticks.legend) <= WIDTH + 5
    for text in (ROOT / "docs" / f"{name}.jsonl").read_text().splitlines():
        means = json.loads(text)
        if "Timing/sec_per_kimg" not in means:
            continue
        for images_seen in (4_000, 25_000_000):
            line = ticks(images_seen, means)
            assert len(line) <= WIDTH and f"kimg {images_seen / 1000:.1f}" in line
            assert ("total" if ticks is ENCODER_TICKS else "  D ") in line


def test_the_legend_stands_above_the_first_tick_alone(tmp_path, capsys):
    report = Report(RunDirectory(tmp_path), 1.0, 0, NETWORK_TICKS)
    for images_seen in (4, 8):
        report.tick(images_seen, {"Loss/G/sharp": 1.0}, torch.device("cpu"))
    report.close()
    legend, *ticks = (tmp_path / "log.txt").read_text().splitlines()
    assert legend == NETWORK_TICKS.legend and [line.split()[:2] for line in ticks] == [["kimg", "0.0"]] * 2
    stats = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["Loss/G/sharp"] for row in stats] == [1.0, 1.0]
