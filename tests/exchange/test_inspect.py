"""A look inside files and folders."""

import functools
import json

import pytest
import torch

from dnnlib.files import sha256
from dnnlib.running.lock import FolderLock
from exchange.inspect import main, table
from inversion.tuned_weights import Inversion, save_inversion
from networks.describe import describe, results_beside, snapshots
from networks.files import ImageFormat, build_discriminator
from tests.support import commands
from tests.support.codes import full_codes
from tests.support.networks import SMALL_D, quality_generator, small_generator, write_network
from torch_utils.checkpoint import save_tensors

output, refused = functools.partial(commands.done, main), functools.partial(commands.refused, main)


def write_plain(path, kimg=3.5):
    return write_network(path, small_generator(), kimg=kimg)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_table_counts_every_parameter_once(tmp_path, variant):
    G = quality_generator(variant)
    facts = describe(write_network(tmp_path / "qc.safetensors", G, ("sharp", "degraded")))
    assert sum(row["parameters"] for row in facts["architecture"]) == facts["generator"]["parameters"]
    assert facts["generator"]["parameters"] == sum(parameter.numel() for parameter in G.parameters())
    D = build_discriminator(SMALL_D, ImageFormat(16, 3, 0))
    size = sum(parameter.numel() for parameter in D.parameters())
    assert facts["discriminators"] == {"D_sharp": size, "D_degraded": size}
    assert [row["degrades"] for row in facts["architecture"]] == [False, False, True, True]
    assert [row["resolution"] for row in facts["architecture"]] == [None, 4, 8, 16]
    assert (facts["mode"], facts["quality"]["variant"], facts["quality"]["q_dim"]) == ("qc", variant, 4)


def test_a_network_as_text(tmp_path):
    facts = {"licence": "CC0", "kimg": 3.5, "data": {"name": "cats", "images": 7}}
    path = write_network(tmp_path / "qc.safetensors", **facts)
    text = output(path)
    for part in ("QC, variant paper, q_dim 4, last 2 blocks", "3.5 kimg", "CC0", "name cats, images 7", sha256(path)):
        assert part in text
    assert f"{path.stat().st_size:,} bytes" in text and "D_sharp" in text and "num_ws 6" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["b16"][1:4] == ["16", "16", "2"] and rows["b16"][-1] == "yes" and rows["b4"][-1] == "float32"


def test_a_plain_network_as_json(tmp_path):
    facts = json.loads(output(write_plain(tmp_path / "plain.safetensors"), "--json"))
    assert facts["mode"] == "plain" and facts["quality"] is None and facts["kind"] == "network"
    assert facts["images"] == {"resolution": 16, "channels": 3, "c_dim": 0} and facts["header"]["kimg"] == 3.5


def test_a_file_of_codes_shows_what_it_holds(tmp_path):
    G = quality_generator(resolution=32)
    path = write_network(tmp_path / "qc.safetensors", G)
    save_inversion(tmp_path / "codes.safetensors", Inversion(full_codes(G, 1), photo="cat.png"), path)
    text = output(tmp_path / "codes.safetensors")
    assert text.startswith("codes.safetensors: inversion, ") and "cat.png" in text
    held = "ws [8, 16], q [4], padding of const b4.conv1 b8.conv1 b16.conv1 b32.conv1, features of layer 3 [16, 8, 8]"
    assert f"{held}, of images 1" in text
    codes = json.loads(output(tmp_path / "codes.safetensors", "--json"))["codes"]
    assert codes["features of layer 3"] == "[16, 8, 8]"
    seen = {"features.3.in_image": torch.zeros(1, 16, 8, 8), "ws": torch.zeros(7, 8, 16)}
    save_tensors(tmp_path / "clip.safetensors", seen, {"kind": "clip"})
    assert "ws [8, 16], features of layer 3 [16, 8, 8] in_image, of images 7" in output(tmp_path / "clip.safetensors")


@pytest.mark.parametrize("tensors", [{}, {"ws": torch.zeros([])}, {"features.x": torch.zeros([]), "q": torch.ones(2)}])
def test_damaged_codes_are_shown_as_they_are(tmp_path, tensors):
    save_tensors(tmp_path / "codes.safetensors", tensors, {"kind": "inversion"})
    assert "codes" in output(tmp_path / "codes.safetensors")


def test_another_kind_of_file_shows_its_header(tmp_path):
    header = {"kind": "encoder", "encoder": {"backbone": "resnet34"}, "kimg": 12, "licence": None}
    save_tensors(tmp_path / "encoder.safetensors", {"a": torch.zeros(2)}, header)
    text = output(tmp_path / "encoder.safetensors")
    assert text.startswith("encoder.safetensors: encoder, ") and "backbone resnet34" in text
    assert json.loads(output(tmp_path / "encoder.safetensors", "--json"))["header"]["kimg"] == 12


def test_a_folder_lists_its_snapshots_with_what_was_measured(tmp_path):
    first = write_plain(tmp_path / "network-snapshot-000001.safetensors", kimg=1)
    second = write_plain(tmp_path / "network-snapshot-000002.safetensors", kimg=2)
    (tmp_path / "other.safetensors").write_bytes(b"no network")
    records = [
        {"network": first.name, "quality": "sharp", "values": {"fid": 9.0}},
        {"network": first.name, "quality": "sharp", "values": {"fid": 8.0}},
        {"network": {"file": "elsewhere", "sha256": sha256(second)}, "quality": "degraded", "values": {"fid": 7.5}},
    ]
    lines = "\n".join(json.dumps(record) for record in records)
    (tmp_path / "metric-fid.jsonl").write_text(f'{lines}\n{{"network": "cut')
    rows = snapshots(tmp_path)
    assert [row["metrics"] for row in rows] == [{"fid sharp": 8.0}, {"fid degraded": 7.5}]
    assert [row["kimg"] for row in json.loads(output(tmp_path, "--json"))] == [1, 2]
    heading, *lines = output(tmp_path).splitlines()
    assert heading.endswith("fid degraded  fid sharp") and len(lines) == 2
    assert lines[0].split()[-2:] == ["-", "8"] and sha256(first)[:12] in lines[0]
    assert results_beside(second) == {"fid degraded": 7.5}


def test_numbers_stand_at_the_right():
    assert table(["a", "bb"], [["x", 1], ["yy", 1000], ["z", None]]) == "a      bb\nx       1\nyy  1,000\nz       -"


def test_what_is_no_network_is_one_sentence(tmp_path):
    assert "holds no networks and no runs; give a network-snapshot" in refused(tmp_path)
    assert refused(tmp_path / "no.safetensors").endswith("does not exist; check the path")
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    assert "is truncated or no safetensors file" in refused(tmp_path / "cut.safetensors")


def write_run(folder, images, kimg=2.0, **config):
    """Write what the table of runs reads."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**config, "run": {"kimg": kimg}}))
    lines = [{"images_seen": seen, "Timing/sec_per_kimg": 30.5} for seen in images]
    (folder / "stats.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_the_runs_of_a_folder_with_their_state_and_best_network(tmp_path):
    base = write_run(tmp_path / "base", [1000, 2000], mode="base")
    best = {"metric": "fd5k_cifar", "quality": "sharp", "value": 60.90512}
    write_network(base / "network-snapshot-best.safetensors", small_generator(), best=best)
    encoder = write_run(tmp_path / "encoder", [500], encoder={})
    write_run(tmp_path / "qc", [], mode="qc")
    (tmp_path / "notes").mkdir()
    with FolderLock(encoder):
        header, *rows = output(tmp_path).splitlines()
        facts = json.loads(output(tmp_path, "--json"))
    assert header.split() == ["run", "trains", "state", "kimg", "of", "s/kimg", "best", "network"]
    assert [row.split() for row in rows] == [
        ["base", "base", "done", "2", "2", "30.5", "fd5k_cifar", "sharp", "60.905"],
        ["encoder", "encoder", "running", "0.5", "2", "30.5", "-"],
        ["qc", "qc", "stopped", "0", "2", "-", "-"],
    ]
    assert [run["state"] for run in facts] == ["done", "running", "stopped"]
    assert "network-snapshot-best" in output(base)


def test_a_damaged_run_is_listed_with_what_is_known(tmp_path):
    run = write_run(tmp_path / "run", [1000])
    for text in ("no JSON", "[]", '{"run": 3}'):
        (run / "config.json").write_text(text)
        assert output(tmp_path).splitlines()[1].split() == ["run", "-", "stopped", "1", "-", "30.5", "-"]
