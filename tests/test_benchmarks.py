"""The benchmarks run, and count what they say they count; what they measure is left to them."""

import json
import tarfile
import timeit
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from benchmarks import creps, data, generate, gpu, inversion, machine, metrics, ops, train_step, twins
from benchmarks.machine import Operations
from benchmarks.method import floor, grain, halved
from benchmarks.training import configs, launches, steps, textbook
from inversion.tuning_options import TuningOptions
from networks.files import load_generator
from networks.latents import Latents
from tests.support.commands import done, refused
from tests.support.networks import quality_generator, small_creps, write_network
from tests.support.runs import ALONE, IMAGES, tiny_config, train
from tests.support.tolerance import assert_close
from torch_utils.ops.epilogue import add_noise
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter
from training.trainer import Trainer


@pytest.fixture(autouse=True)
def _no_large_convolution(monkeypatch):
    """Let the rate that is printed beside the numbers be that of a small one."""
    monkeypatch.setattr(machine, "LARGE_ON_CPU", (1, 8, 8))


@pytest.mark.parametrize("groups", [1, 3])
def test_operations_counts_a_convolution_and_its_derivatives(groups):
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    w = torch.randn(6, 3 // groups, 3, 3, requires_grad=True)
    with Operations() as counter:
        y = F.conv2d(x, w, padding=1, groups=groups)
    forward = 2 * y.numel() * 9 * 3 // groups
    assert counter.count == forward
    with Operations() as counter:
        y.sum().backward()
    assert counter.count == 2 * forward


def test_train_step(tmp_path, monkeypatch):
    path, profile, profiled = tmp_path / "numbers.json", tmp_path / "profile.txt", []
    profile.write_text("of an earlier call")
    monkeypatch.setattr(train_step, "profile_steps", lambda trainer, *table: profiled.append(table))
    monkeypatch.setattr(train_step, "seconds", lambda phase, *_: timeit.timeit(phase, number=1))  # without a warm-up
    flags = [*gpu.TINY_TRAIN_STEP, "--textbook", f"--json={path}", f"--profile={profile}"]
    result = CliRunner().invoke(train_step.main, flags, catch_exceptions=False)
    for phase in ("G_reg", "fakes", "D_degraded_reg", "average step", "whole step", "base, textbook", "base, plain"):
        assert phase in result.output
    report = json.loads(path.read_text())
    assert [record["mode"] for record in report["records"]] == ["base", "qc, paper block"]
    for record in report["records"]:
        times, intervals = record["phases"], {"G_reg": 4, "D_sharp_reg": 16, "D_degraded_reg": 16}
        average = sum(time / intervals.get(name, 1) for name, time in times.items())
        assert record["average_step"] == pytest.approx(average)
        assert record["images_per_second"] == pytest.approx(report["batch"] / record["seconds"])
        assert 0 < record["host_seconds"] <= record["seconds"] and record["peak_memory_gb"] > 0
        assert record["plain"]["gflop"] == pytest.approx(record["gflop"])
        assert record["gflop"] > 0 and len(times) == (5 if record["mode"] == "base" else 7)
    assert profiled == [(str(profile), f"{record['mode']}, fp32") for record in report["records"]]
    assert profile.read_text() == ""


def test_train_step_counts_a_graphed_step_as_an_eager_one(monkeypatch):
    """What is replayed, no counter sees."""
    asked = []
    monkeypatch.setattr(train_step, "Trainer", lambda config, images, world: config)
    monkeypatch.setattr(
        train_step, "_measure", lambda *arguments: asked.append(arguments) or {"seconds": 1, "operations": {"G": 5}}
    )
    config = configs.step_config(16, "fp32", "demo", 4, 64, 8, None, "none")
    others = ["with shared fakes", "compiled", "with graphs", "with phases as graphs"]
    list(train_step._compare("base", config, IMAGES, torch.device("cpu"), 1.0, others, 1, None, None))
    assert [arguments[5:] for arguments in asked] == [(), (None,), (None,), ({"G": 5},), ({"G": 5},)]
    own, *others = [arguments[1] for arguments in asked]
    changed = [(each.loss.share_fakes, each.run.compile, each.run.cuda_graphs) for each in others]
    assert changed == [(True, False, "none"), (False, True, "none"), (False, False, "passes"), (False, False, "phases")]
    assert (own.loss.share_fakes, own.run.compile, own.run.cuda_graphs) == (False, False, "none")


def test_a_step_with_shared_fakes_has_no_phase_that_draws_them(run_files):
    config = tiny_config(run_files[0], loss={"share_fakes": True})
    unshared = tiny_config(run_files[0])
    names = [set(steps.phases(Trainer(each, IMAGES, ALONE))) for each in (unshared, config)]
    assert names[0] - names[1] == {"fakes"} and names[1] < names[0]


@pytest.mark.parametrize(("mode", "names"), [("base", ["base"]), ("qc", ["qc, paper block", "qc, adain block"])])
def test_train_step_of_one_mode(tmp_path, mode, names):
    config = configs.step_config(16, "fp32", "demo", 4, 64, 8, None, "none")
    modes = configs.by_mode(config, IMAGES, [mode], ["paper", "adain"], tmp_path, torch.device("cpu"))
    assert list(modes) == names and {config.mode for config in modes.values()} == {mode}


def test_whole_steps_have_each_phase_as_often_as_training_does(run_files, monkeypatch, tmp_path):
    """One that warms up, all that are timed, and two of a profile, which begin with path lengths."""
    trainer, found = Trainer(tiny_config(run_files[0]), IMAGES, ALONE), []
    monkeypatch.setattr(trainer, "step", lambda batch: found.append((trainer.steps, (batch.images + 1).shape)))
    timing = steps.time_steps(trainer, 16)
    assert len(found) == 1 + 16 and set(found) == {(0, (8, 3, 16, 16))}
    assert 0 < timing.host_seconds <= timing.seconds
    steps.profile_steps(trainer, str(tmp_path / "profile.txt"), "title")
    assert (tmp_path / "profile.txt").read_text().startswith("title: two steps")
    assert "aten::add" in (tmp_path / "profile.txt").read_text()
    assert found[-1][0] == trainer.config.loss.pl_interval and len(found) == 1 + 16 + 2


def test_train_step_of_a_preset():
    config = configs.step_config(256, "tf32", "paper256", 16, None, None, None, "none")
    widths = config.generator.channel_base, config.discriminator.channel_base, config.generator.mapping.num_layers
    assert (*widths, config.batch) == (16384, 16384, 8, 16)
    assert config.generator.precision.dtype == "fp32" and config.run.tf32
    assert not configs.step_config(256, "fp32", None, 8, None, 64, None, "none").run.tf32


def test_generate(tmp_path):
    path = tmp_path / "numbers.json"
    CliRunner().invoke(generate.main, [*gpu.TINY_GENERATE, f"--json={path}"], catch_exceptions=False)
    records = json.loads(path.read_text())["records"]
    parts = ["mapping", "sharp", "degraded", "pair"]
    assert [(record["precision"], record["part"]) for record in records] == [
        (precision, part) for precision in ("fp32", "bf16") for part in parts
    ]
    assert all(record["per_second"] == pytest.approx(record["batch"] / record["seconds"]) for record in records)


def test_generate_times_what_it_says():
    """A pair is the sharp image, then the degraded one."""
    G = quality_generator()
    parts = {name: run() for name, run in generate._parts(G, 3, torch.device("cpu")).items()}
    assert parts["mapping"].shape == (3, G.num_ws, G.w_dim)
    sharp, degraded = parts["pair"].chunk(2)
    assert_close(sharp, parts["sharp"])
    assert_close(degraded, parts["degraded"])
    assert not torch.allclose(sharp, degraded)


def test_creps_times_the_parts_that_make_an_image(tmp_path):
    path = tmp_path / "numbers.json"
    network = write_network(tmp_path / "creps.safetensors", small_creps())
    flags = [f"--network={network}", "--scale=1", "--scale=2", "--repeats=1", "--device=cpu", f"--json={path}"]
    CliRunner().invoke(creps.main, flags, catch_exceptions=False)
    records = json.loads(path.read_text())["records"]
    assert [(record["side"], record["part"]) for record in records] == [
        (side, part) for side in (16, 32) for part in ("lines", "composition", "refinement", "all, in strips")
    ]
    for first in (0, 4):  # no operation is missing; strips make styles once for rows and once for columns
        operations = [record["operations"] for record in records[first : first + 4]]
        assert sum(operations[:3]) == pytest.approx(operations[3], rel=0.01)
    lines, composed = ([records[index + at]["operations"] for index in (0, 4)] for at in (0, 1))
    assert lines[1] < 2.1 * lines[0] and composed[1] > 3.9 * composed[0]  # lines grow with the side, maps with the area
    refused = CliRunner().invoke(creps.main, [f"--network={write_network(tmp_path / 'qc.safetensors')}"])
    assert "is of kind stylegan2; give a network that was trained with --generator=creps" in refused.output


def test_gpu_goes_on_when_a_part_fails(tmp_path, monkeypatch):
    code = "import sys; print('argument', sys.argv[1])"
    parts = [
        gpu.Part("bad", 60, ["-c", "print('oh'); raise SystemExit(3)"], writes_json=False),
        gpu.Part("slow", 2, ["-c", "import time; print('so far', flush=True); time.sleep(60)"], writes_json=False),
        gpu.Part("good", 60, ["-c", code], ["large"], ["small"], writes_json=False),
        gpu.Part("large", 60, ["-c", code], smoke=None),
    ]
    monkeypatch.setattr(gpu, "parts", lambda: parts)
    result = CliRunner().invoke(gpu.main, [f"--outdir={tmp_path}", "--smoke"])
    assert result.exit_code == 1
    summary = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert [(part["name"], part["outcome"], part["last_line"]) for part in summary] == [
        ("bad", "failed with exit code 3", "oh"),
        ("slow", "stopped after 2 s", "so far"),
        ("good", "done", "argument small"),
    ]
    assert (tmp_path / "good.txt").read_text() == "argument small\n"
    with tarfile.open(tmp_path / gpu.ARCHIVE) as archive:
        assert archive.getnames() == ["bad.txt", "good.txt", "slow.txt", "summary.json"]
        assert archive.extractfile("slow.txt").read() == b"so far\n"
        assert archive.extractfile("summary.json").read() == (tmp_path / "summary.json").read_bytes()
    none = CliRunner().invoke(gpu.main, [f"--outdir={tmp_path}", "--smoke", "--budget=0", "--only=good"])
    assert none.exit_code == 1 and "left out: no time" in none.output
    unknown = CliRunner().invoke(gpu.main, [f"--outdir={tmp_path}", "--smoke", "--only=god"])
    assert unknown.exit_code == 1 and "unknown part 'god'; did you mean 'good'?" in unknown.output


def test_gpu_runs_chosen_parts_in_the_order_in_which_they_were_named():
    """Time may be over before the last."""
    names = [part.name for part in gpu._chosen(("ops", "doctor"), smoke=False)]
    assert names == ["ops", "doctor"] and len(gpu._chosen((), smoke=False)) == len(gpu.parts())


def test_gpu_packs_tables_and_numbers_alone(tmp_path, monkeypatch):
    code = "import sys, pathlib; [pathlib.Path(path).write_text('1') for path in sys.argv[1:]]"
    files = ["OUTDIR/made.txt", "OUTDIR/made.json", "OUTDIR/made.zip", "SCRATCH/data.zip"]
    monkeypatch.setattr(gpu, "parts", lambda: [gpu.Part("part", 60, ["-c", code, *files], writes_json=False)])
    result = CliRunner().invoke(gpu.main, [f"--outdir={tmp_path}", "--smoke"], catch_exceptions=False)
    assert result.exit_code == 0 and not list(tmp_path.rglob("data.zip"))
    with tarfile.open(tmp_path / gpu.ARCHIVE) as archive:
        assert archive.getnames() == ["made.json", "made.txt", "part.txt", "summary.json"]


def test_gpu_runs_commands_that_there_are():
    """Every part's module takes the flags that it is given, in either size, and its tests exist."""
    known = {"benchmarks.train_step": train_step.main, "benchmarks.generate": generate.main}
    known |= {"benchmarks.ops": ops.main, "benchmarks.data": data.main}
    checked = 0
    for part in gpu.parts():
        for smoke in (False, True):
            flags = part.command(Path("out"), Path("tmp"), smoke)[3:] if part.smoke is not None or not smoke else []
            if part.arguments[1] in known:
                known[part.arguments[1]].make_context(part.name, flags)
                checked += 1
        tests = [argument for argument in part.arguments if argument.startswith("tests/")]
        assert all((gpu.ROOT / path).is_file() for path in tests) and bool(tests) == part.name.startswith("test_")
    assert checked >= 8


def test_small_inputs_take_turns_so_that_no_cache_holds_them():
    inputs = (torch.randn(4, 4).t(), torch.randn(3))
    sets = launches.input_sets(inputs, moved=100, calls=50, l2_size=1000)
    assert len(sets) == 20 and len({tensor.data_ptr() for pair in sets for tensor in pair}) == 40
    for pair in sets:
        assert all(
            torch.equal(*both) and both[0].stride() == both[1].stride() for both in zip(pair, inputs, strict=True)
        )
    assert len(launches.input_sets(inputs, moved=1900, calls=50, l2_size=1000)) == 3
    assert len(launches.input_sets(inputs, moved=100, calls=5, l2_size=1000)) == 5
    assert launches.input_sets(inputs, moved=2000, calls=50, l2_size=1000) == [inputs]


def test_calls_go_through_the_sets_in_turn():
    seen = []
    launches._in_turn(lambda x: seen.append(x) or x, [("a",), ("b",), ("c",)], calls=7)
    assert "".join(seen) == "abcabca"


@pytest.mark.parametrize("up,down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_textbook_convolution_is_the_same_map(up, down, demodulate):
    x, w, s, f = torch.randn(2, 4, 8, 8), torch.randn(3, 4, 3, 3), torch.randn(2, 4), setup_filter([1, 3, 3, 1])
    arguments = {"up": up, "down": down, "padding": 1, "resample_filter": f, "demodulate": demodulate, "gain": 1.5}
    ours, theirs = (conv(x, w, s, **arguments) for conv in (modulated_conv2d, textbook.modulated_conv2d))
    assert_close(add_noise(*theirs, None), add_noise(*ours, None))


@pytest.mark.parametrize("pl_weight", [0.0, 2.0])
@pytest.mark.parametrize("mode", ["base", "qc"])
def test_textbook_step_has_the_same_gradients(run_files, mode, pl_weight):
    """Those of the last phase of each network: adversarial or path lengths for G, R1 for D."""
    (images, base), still = run_files, {"lr": 1e-12}
    base = base if mode == "qc" else None
    config = tiny_config(
        images, base, augment={"mode": "none"}, optimizer_g=still, optimizer_d=still, loss={"pl_weight": pl_weight}
    )
    ours = train(Trainer(config, IMAGES, ALONE), 1)
    with textbook.arranged_as_usual():
        usual = train(textbook.TextbookTrainer(config, IMAGES, ALONE), 1)
    for phase, network in ours.networks().items():
        others = usual.networks()[phase].trainable_parameters()
        for name, parameter in network.trainable_parameters().items():
            if parameter.grad is None:
                assert others[name].grad is None
            else:
                assert_close(parameter.grad, others[name].grad, rtol=1e-3, what=f"{phase} {name}")


def test_halved_networks_come_closer_to_halved_images(network_files, tmp_path):
    network, output = str(network_files / "plain.safetensors"), str(tmp_path / "half.safetensors")
    printed = done(halved.main, f"--network={network}", f"--output={output}", "--steps=8").splitlines()
    assert float(printed[-1].split()[-1]) < float(printed[0].split()[-1])
    half, _ = load_generator(output)
    assert half.img_resolution == 8 and half(torch.randn(2, half.z_dim)).shape == (2, 3, 8, 8)
    qc = str(network_files / "qc.safetensors")
    assert "is no plain StyleGAN2" in refused(halved.main, f"--network={qc}", f"--output={output}")


def test_twins(network_files):
    flags = ["--network", str(network_files / "qc.safetensors"), "--seeds", "4", "--codes", "2"]
    assert "content correlation: twins" in CliRunner().invoke(twins.main, flags, catch_exceptions=False).output
    same = CliRunner().invoke(twins.main, [*flags, "--quality-scale", "0"], catch_exceptions=False).output
    assert "twins 1.00" in same and "min 1.00, quartiles 1.00, 1.00, 1.00, max 1.00" in same


def test_floor_finds_no_change_where_degrad_blocks_have_learned_nothing(run_files, network_files, tmp_path):
    sharp = write_network(tmp_path / "sharp.safetensors", quality_generator(zero_start=True))
    flags = [f"--data={run_files[0]}", "--recipe=noise", "--images=6"]
    numbers = [
        [float(line.split()[-1]) for line in done(floor.main, f"--network={network}", *flags).splitlines()[1:]]
        for network in (sharp, network_files / "qc.safetensors")
    ]
    (perfect, nothing), (_, learned) = numbers
    assert nothing == 0 < perfect and learned > 0, "change of content: of noise, and of each network's blocks"


@pytest.mark.parametrize("fakes", ["qc network", "base network", "stand-ins"])
def test_metrics_times_what_a_measurement_does(run_files, network_files, tmp_path, fakes):
    """The stages, one after the other, find the very numbers that evaluate() finds, with either cache."""
    flags, path = [f"--data={run_files[0]}", "--device=cpu"], tmp_path / "numbers.json"
    if fakes != "stand-ins":
        flags.append(f"--network={network_files / ('qc' if fakes == 'qc network' else 'plain')}.safetensors")
    flags += ["--images=10", "--batch=4", "--workers=0", f"--json={path}"]
    result = CliRunner().invoke(metrics.main, flags, catch_exceptions=False)
    assert "evaluate(), full cache" in result.output
    records = json.loads(path.read_text())["records"]
    assert [record["quality"] for record in records] == ["sharp"] + ["degraded"] * (fakes != "base network")
    for record in records:
        assert [(stage["name"], stage["images"]) for stage in record["stages"] + record["whole"]] == [
            ("reading stand-ins" if fakes == "stand-ins" else "generating", 10),
            ("reading" if record["quality"] == "sharp" else "reading and degrading", 10),
            *[("features", 20), ("fd10_cifar", 20), ("kd10_cifar", 20), ("pr10_cifar", 20)],
            *[("evaluate(), empty cache", 20), ("evaluate(), full cache", 10)],
        ]
        values = record["values"]
        assert values["stages"] == values["empty cache"] == values["full cache"]
        is_same_set = fakes == "stand-ins" and record["quality"] == "sharp"
        assert (values["stages"]["fd10_cifar"] < 1e-6) == is_same_set


def test_data(run_files, tmp_path):
    path = tmp_path / "numbers.json"
    flags = [f"--data={run_files[0]}", "--images=10", "--batch=4", "--workers=1"]
    flags += ["--recipe=mixture", "--recipe=jpeg", "--device=cpu", f"--json={path}"]
    result = CliRunner().invoke(data.main, flags, catch_exceptions=False)
    stages = json.loads(path.read_text())["stages"]
    assert [(stage["name"], stage["recipe"], stage["images"]) for stage in stages] == [
        ("read", None, 10),
        *[(f"degrade {how}", name, 10) for name in ("mixture", "jpeg") for how in ("as workers do", "on cpu")],
        ("deliver", None, 12),
        *[(f"deliver, {who}", "mixture", 12) for who in ("workers degrade", "cpu degrades")],
    ]
    assert all(stage["seconds"] > 0 for stage in stages) and "deliver, cpu degrades, mixture" in result.output


@pytest.mark.parametrize("with_data", [True, False])
def test_inversion(run_files, network_files, tmp_path, with_data):
    path = tmp_path / "numbers.json"
    flags = [
        "--network",
        str(network_files / "qc.safetensors"),
        f"--photos={1 + with_data}",
        "--device=cpu",
        "--json",
        str(path),
    ]
    flags += ["--projector-steps=2", "--tuning-steps=3", "--measured-steps=2"]
    flags += [f"--data={run_files[0]}"] if with_data else []
    result = CliRunner().invoke(inversion.main, flags, catch_exceptions=False)
    assert "plain baseline, fp32 *" in result.output
    records = {record["stage"]: record for record in json.loads(path.read_text())["records"]}
    assert [records[name]["steps"] for name in ("projector", "tuning", "plain baseline, fp32")] == [2, 3, 500]
    assert all(record["seconds_per_step"] > 0 for record in records.values())


def test_inversion_baseline_tunes_nothing_of_the_network_itself():
    G = quality_generator().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    latents, targets = Latents(torch.randn(1, G.num_ws, G.w_dim), q=torch.randn(1, G.q_dim)), torch.rand(1, 3, 16, 16)
    inversion._plain(G, latents, targets, inversion._perceptual(targets), TuningOptions(steps=2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())


# What is refused: the benchmark, its flags, and words of the sentence. NETWORK and DATA stand for paths.
REFUSALS = [
    (generate, ["--network=NETWORK", "--device=cpu"], "give a QC network"),
    (inversion, ["--network=NETWORK", "--device=cpu"], "has no quality code"),
    (twins, ["--network=NETWORK"], "has no quality code"),
    (grain, ["--network=NETWORK", "--data=DATA"], "has no quality code"),
    (floor, ["--network=NETWORK", "--data=DATA", "--images=4"], "has no quality code"),
    (metrics, ["--data=DATA", "--detector=nobody", "--device=cpu"], "unknown detector 'nobody'"),
    (data, ["--data=DATA", "--images=10", "--recipe=mixtur", "--device=cpu"], "did you mean 'mixture'"),
    (data, ["--data=DATA", "--images=13", "--device=cpu"], "more than the 12 of"),
]


@pytest.mark.parametrize(("benchmark", "flags", "words"), REFUSALS)
def test_refusals(run_files, network_files, benchmark, flags, words):
    paths = {"NETWORK": str(network_files / "plain.safetensors"), "DATA": str(run_files[0])}
    for name, path in paths.items():
        flags = [flag.replace(name, path) for flag in flags]
    result = CliRunner().invoke(benchmark.main, flags)
    assert result.exit_code == 1 and words in result.output
