"""Directions: what the methods find, and the files that hold them."""

import json
import logging
import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from dnnlib.errors import UserError
from generation.rendering import synthesize
from generation.sampling import noise_of_seeds
from inversion.commands.directions import directions_command
from inversion.directions.direction import Direction, load_direction, normalise, parse_layers, save_direction
from inversion.directions.editing import edit, edited_images
from inversion.directions.methods.interfacegan import boundary, project_out, score_seeds
from inversion.directions.methods.sefa import style_weights
from inversion.directions.scorers import descriptions, load_scorer
from inversion.directions.search import METHODS, Search, find_directions
from inversion.directions.seed_labels import SeedLabels, read_labels, write_labels
from inversion.directions.w_samples import draw_w, sample_w, std_along
from networks.generators import stylegan2
from networks.latents import Latents
from tests.support.networks import SMALL, quality_generator, small_generator, write_network
from tests.support.tolerance import assert_close
from torch_utils.linear_classifier import LinearClassifier

CPU = torch.device("cpu")


class PlantedMapping(nn.Module):
    """`w = z A^T`, of covariance `A A^T`."""

    def __init__(self, A, num_ws):
        super().__init__()
        self.A, self.num_ws = A, num_ws

    def forward(self, z, c=None):
        return (z @ self.A.T)[:, None].expand(-1, self.num_ws, -1)


def planted_generator(deviations):
    """Return a generator, and the axes `[w_dim, w_dim]` along which its w has the given deviations."""
    G = small_generator()
    axes = torch.linalg.qr(torch.randn(G.w_dim, G.w_dim)).Q
    G.mapping = PlantedMapping(axes * deviations, G.num_ws)
    return G, axes


def random_unit(width=16):
    return normalise(torch.randn(width))


# SeFa


def style_changes(G, change, layers):
    """Return the squared change of all styles when `change` is added to the `ws` of `layers`, as hooks see it."""
    seen = []
    affines = [module.affine for module in G.modules() if hasattr(module, "affine")]
    handles = [layer.register_forward_hook(lambda *call: seen.append(call[2].double())) for layer in affines]
    ws = torch.randn(1, G.num_ws, G.w_dim)
    moved = ws.clone()
    moved[:, layers] += change
    with torch.no_grad():
        G.synthesis(ws, noise_mode="none")
        G.synthesis(moved, noise_mode="none")
    for handle in handles:
        handle.remove()
    half = len(seen) // 2
    assert half == len(affines)
    return sum((after - before).square().sum().item() for before, after in zip(seen[:half], seen[half:], strict=True))


@pytest.mark.parametrize("layers", [None, (0,), (1, 2), (5,)])
@pytest.mark.parametrize("make", [quality_generator, lambda: quality_generator("released", architecture="resnet")])
def test_sefa_looks_at_all_styles_that_the_layers_drive(make, layers):
    G = make()
    change = torch.randn(G.w_dim)
    expected = style_changes(G, change, list(range(G.num_ws) if layers is None else layers))
    assert (style_weights(G, layers) @ change).square().sum().item() == pytest.approx(expected, rel=1e-4)


def test_sefa_finds_what_power_iteration_finds():
    G = small_generator()
    found = find_directions(G, "sefa", Search(count=3, layers=(1, 2), samples=100))
    A = style_weights(G, (1, 2)).detach().double()
    previous = []
    for direction in found:
        n = torch.randn(G.w_dim, dtype=torch.float64)
        for _ in range(1500):
            n = A.T @ (A @ n)
            n = n - sum((n @ other) * other for other in previous)
            n = n / n.norm()
        previous.append(n)
        assert abs(direction.vector.double() @ n) > 1 - 1e-4
        assert direction.details["gain"] == pytest.approx((A @ n).norm().item(), rel=1e-4)
    assert found[0].details["gain"] >= max((A @ random_unit().double()).norm() for _ in range(100))


@pytest.mark.parametrize("method", ["sefa", "pca"])
def test_directions_are_orthonormal_and_repeatable(method):
    G = small_generator()
    search = Search(count=16, layers=(0, 3), samples=200)
    vectors = torch.stack([direction.vector for direction in find_directions(G, method, search)])
    assert_close(vectors @ vectors.T, torch.eye(16))
    again = find_directions(G, method, search)
    assert all(torch.equal(vector, direction.vector) for vector, direction in zip(vectors, again, strict=True))
    assert all(direction.layers == (0, 3) for direction in again)


# PCA


def test_pca_finds_planted_axes():
    deviations = 0.7 ** torch.arange(16.0)
    G, axes = planted_generator(deviations)
    found = find_directions(G, "pca", Search(count=3, samples=4000))
    variances = deviations.square()
    for index, direction in enumerate(found):
        assert abs(direction.vector @ axes[:, index]) > 0.97
        assert direction.std == pytest.approx(deviations[index].item(), rel=0.05)
        assert direction.details["explained"] == pytest.approx((variances[index] / variances.sum()).item(), rel=0.1)


# InterFaceGAN


@pytest.mark.parametrize("binary", [False, True])
def test_interfacegan_finds_a_planted_direction(binary):
    G, _ = planted_generator(torch.linspace(2, 0.5, 16))
    planted = random_unit()
    seeds = list(range(1500))
    w = sample_w(G, seeds)
    scores = 5 + 2 * w @ planted
    if binary:
        scores = (scores > 5).float()
    search = Search(labels={"tail": SeedLabels(seeds, scores.tolist())}, layers=(1,))
    [found] = find_directions(G, "interfacegan", search)
    assert found.vector @ planted > 0.95
    assert found.details["accuracy"] > 0.95
    assert (found.name, found.method, found.layers) == ("tail", "interfacegan", (1,))
    assert found.std == pytest.approx(std_along(planted, w), rel=0.1)


def test_a_score_that_w_knows_nothing_of_is_found_by_chance():
    w = torch.randn(4000, 16)
    _, accuracy = boundary(w, torch.rand(4000, dtype=torch.float64), 0.3, "chance")
    assert 0.4 < accuracy < 0.6


def test_editing_along_the_direction_moves_the_score():
    G = quality_generator(noise=0.0)
    brightness = dict([load_scorer("brightness", CPU)])
    [found] = find_directions(G, "interfacegan", Search(scorers=brightness, samples=600))
    ws = sample_w(G, range(1000, 1032))[:, None].expand(-1, G.num_ws, -1)
    latents = Latents(ws, q=torch.randn(32, G.q_dim) * 0.1)
    means = [
        [brightness["brightness"](images).mean().item() for images in edited_images(G, latents, found, strength)]
        for strength in (-2.0, 0.0, 2.0)
    ]
    for low, middle, high in zip(*means, strict=True):  # degraded, sharp
        assert low < middle < high


def test_scores_belong_to_seeds_not_to_batches():
    G = small_generator()
    scorers = dict([load_scorer("warmth", CPU)])
    found = score_seeds(G, scorers, range(3, 10), batch=3)["warmth"]
    assert found.seeds == list(range(3, 10))
    ws = sample_w(G, [8])[:, None].expand(-1, G.num_ws, -1)
    image = synthesize(G, Latents(ws), noise_of_seeds(G, [8]))
    assert found.scores[5] == pytest.approx(scorers["warmth"](image).item(), rel=1e-4)


def test_conditioning_leaves_a_unit_vector_orthogonal_to_the_others():
    vector, a, b = random_unit(), random_unit(), random_unit()
    rest = project_out(vector, [a, b, a])
    assert max(abs(rest @ a), abs(rest @ b)) < 1e-6
    assert rest.norm().item() == pytest.approx(1, abs=1e-6)
    # What is lost lies in the span of the others.
    assert torch.linalg.lstsq(torch.stack([rest, a, b], 1), vector[:, None]).solution[0] > 0
    assert torch.linalg.matrix_rank(torch.stack([vector, rest, a, b]), rtol=1e-5) == 3
    assert torch.equal(project_out(vector, []), vector)


def test_a_conditional_direction_does_not_move_the_other_score():
    G, _ = planted_generator(torch.ones(16))
    seeds = list(range(1000))
    first, second = random_unit(), random_unit()
    scores = sample_w(G, seeds) @ first
    other = Direction(second, 1.0, "ears", "given")
    search = Search(labels={"tail": SeedLabels(seeds, scores.tolist())}, without=(other,))
    [found] = find_directions(G, "interfacegan", search)
    latents = Latents(torch.randn(1, G.num_ws, G.w_dim))
    change = (edit(G, latents, found, 3.0).ws - latents.ws)[0, 0]
    assert abs(change @ second) < 1e-5 < change @ first
    assert found.name == "tail-without-ears" and found.details["without"] == ["ears"]


def find_by_scores(*scores):
    labels = {"tail": SeedLabels(list(range(len(scores))), list(scores))}
    return find_directions(small_generator(), "interfacegan", Search(labels=labels))


UNIT = torch.eye(16)[0]
REFUSED_SEARCHES = {
    "^-k is 8, must be at most 4, by the width of w and by --samples": lambda: find_directions(
        small_generator(), "pca", Search(samples=5)
    ),
    "^the direction lies wholly in those": lambda: project_out(UNIT, [torch.eye(16)[1], UNIT]),
    "^the scores of tail hardly differ from each other": lambda: find_by_scores(*[1.0] * 50),
    "^tail has 5 samples at one end, needs at least 10; take more samples": lambda: find_by_scores(
        *[0.0] * 45, *[1.0] * 5
    ),
    "^the scores of tail are none, or not all finite": find_by_scores,
    "^--layers=0-6 names 6, must be from 0 to 5, or all": lambda: parse_layers("0-6", 6),
    r"^unknown scorer 'warmh'; did you mean 'warmth'\?": lambda: load_scorer("warmh", CPU),
}


@pytest.mark.parametrize("sentence", REFUSED_SEARCHES)
def test_searches_that_cannot_be_are_refused(sentence):
    with pytest.raises(UserError, match=sentence):
        REFUSED_SEARCHES[sentence]()


def test_the_classifier_gives_the_gradient_of_its_scores():
    features, labels = torch.randn(200, 5) * torch.tensor([1, 2, 3, 4, 5.0]), torch.arange(200) % 3
    classifier = LinearClassifier(features, labels, 3)
    x = torch.randn(5, requires_grad=True)
    rows = [torch.autograd.grad(classifier.scores(x)[row], x)[0] for row in range(3)]
    assert_close(classifier.normals(), torch.stack(rows))


# Sampled w


def test_sampled_w_is_that_of_the_seeds():
    G = small_generator()
    z = torch.from_numpy(np.random.RandomState(7).randn(1, G.z_dim)).float()
    assert_close(sample_w(G, [3, 7])[1:], G.mapping(z, None)[:, 0])


def test_classes_of_sampled_w_take_turns():
    G = stylegan2.Generator(SMALL, 3, 16, 3)
    mixed = sample_w(G, range(6))
    for row in range(6):
        assert_close(mixed[row], sample_w(G, [row], row % 3)[0])
    assert (sample_w(G, [0], 1) - mixed[0]).abs().max() > 1e-3


def test_drawn_w_is_always_the_same_and_distributed_as_that_of_seeds():
    G, axes = planted_generator(torch.linspace(2, 0.5, 16))
    w = draw_w(G, 2500)
    assert torch.equal(w, draw_w(G, 2500))
    deviations = (w @ axes).std(0)
    assert_close(deviations, torch.linspace(2, 0.5, 16), 0.05)


def test_std_along_rows_is_the_mean_square_of_theirs():
    w, vector = torch.randn(500, 16), random_unit()
    assert std_along(vector, w) == pytest.approx((w @ vector).std().item(), rel=1e-5)
    assert std_along(vector.expand(6, -1), w) == pytest.approx(std_along(vector, w), rel=1e-6)
    assert std_along(torch.stack([vector, -vector]), w) == pytest.approx(std_along(vector, w), rel=1e-6)


# Files


def test_files_round_trip(tmp_path):
    G = quality_generator()
    for vector, layers in ((random_unit(), None), (random_unit(), (0, 2)), (torch.randn(6, 16), (5,))):
        saved = Direction(vector, 1.25, "tail", "sefa", layers, "ab" * 32, {"gain": 2.5, "without": ["ears"]})
        save_direction(tmp_path / "tail.safetensors", saved)
        loaded = load_direction(tmp_path / "tail.safetensors", G, "ab" * 32)
        assert torch.equal(loaded.vector, vector)
        for name in ("std", "name", "method", "layers", "network", "details"):
            assert getattr(loaded, name) == getattr(saved, name)


def test_a_direction_of_another_network_is_taken_with_a_warning(tmp_path, caplog):
    G = quality_generator()
    save_direction(tmp_path / "tail.safetensors", Direction(random_unit(), 1.0, "tail", "sefa", None, "ab" * 32))
    with caplog.at_level(logging.WARNING):
        load_direction(tmp_path / "tail.safetensors", G, "ab" * 32)
        load_direction(tmp_path / "tail.safetensors", G)
        assert not caplog.records
        load_direction(tmp_path / "tail.safetensors", G, "cd" * 32)
    assert "direction tail was found in another network (abababab.. instead of cdcdcdcd..)" in caplog.text


@pytest.mark.parametrize("shape", [(16,), (1, 16), (1, 6, 16), (6, 16)])
@pytest.mark.parametrize("ending", [".npy", ".npz", ".pt"])
def test_plain_vectors_are_taken(tmp_path, ending, shape):
    G = quality_generator()
    vector, path = 7 * torch.randn(shape), tmp_path / f"smile{ending}"
    writers = {
        ".npy": lambda: np.save(path, vector.numpy()),
        ".npz": lambda: np.savez(path, boundary=vector.numpy()),
        ".pt": lambda: torch.save(vector, path),
    }
    writers[ending]()
    found = load_direction(path, G)
    rows = vector.reshape(-1, 16)
    assert_close(found.vector.reshape(-1, 16), rows / rows.square().sum(1).mean().sqrt())
    assert found.name == "smile" and found.layers is None
    assert found.std == pytest.approx(std_along(found.vector, draw_w(G, 4096)), rel=1e-6)


def test_vectors_in_another_order_of_bytes_are_taken(tmp_path):
    G, vector = quality_generator(), np.arange(1, 17)
    for name, kind in (("little", "<f4"), ("big", ">f4"), ("many", ">f8")):
        np.save(tmp_path / f"{name}.npy", vector.astype(kind))
    little, *others = (load_direction(tmp_path / f"{name}.npy", G).vector for name in ("little", "big", "many"))
    assert all(torch.equal(little, other) for other in others)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".pt"])
def test_files_that_would_run_code_are_refused(tmp_path, ending):
    touched, path = tmp_path / "touched", tmp_path / f"hostile{ending}"
    thing = Hostile(str(touched))
    if ending == ".pt":
        torch.save({"vector": thing}, path)
    elif ending == ".npy":
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (16,)})
            pickle.dump(thing, file)
    else:
        with open(path, "wb") as file:
            np.savez(file, vector=np.array([thing] * 16, dtype=object))
    with pytest.raises(UserError, match="is damaged or holds more than a vector of numbers; it is not opened as it is"):
        load_direction(path, quality_generator())
    assert not touched.exists()


def write_cut_archive(path):
    np.savez(path, a=np.ones(16))
    path.write_bytes(path.read_bytes()[:100])


def write_array(values):
    return lambda path: np.save(path, values)


NO_DIRECTIONS = [
    ("none.npy", lambda path: None, r"none.npy does not exist; check the path$"),
    (
        "text.safetensors",
        lambda path: path.write_text("no"),
        r"^.*text.safetensors holds no direction \(.*truncated.*\)",
    ),
    ("network.safetensors", write_network, r"network.safetensors holds no direction \(unknown field"),
    (
        "narrow.safetensors",
        lambda path: save_direction(path, Direction(random_unit(8), 1.0, "tail", "sefa")),
        "^direction tail has 8 numbers, and this network's w has 16",
    ),
    (
        "two.npz",
        lambda path: np.savez(path, a=np.ones(16), b=np.ones(16)),
        r"two.npz holds 2 arrays \(a, b\), must be one; store the direction alone",
    ),
    ("cut.npz", write_cut_archive, "is damaged or holds more than a vector"),
    ("zero.npy", write_array(np.zeros(16)), r"^.*zero.npy: the direction has length 0, must be finite and above 0"),
    ("nan.npy", write_array(np.full(16, np.nan)), "length nan, must be finite"),
    ("wide.npy", write_array(np.ones(8)), "^direction wide has 8 numbers, and this network's w has 16"),
    ("cube.npy", write_array(np.ones((2, 6, 16))), "holds 2 x 6 x 16, must be a vector or one for each of the ws"),
    ("words.npy", write_array(np.array(["a", "b"])), "is damaged or holds more than a vector"),
]


@pytest.mark.parametrize(("name", "write", "sentence"), NO_DIRECTIONS, ids=[name for name, *_ in NO_DIRECTIONS])
def test_files_that_hold_no_direction_are_refused(tmp_path, name, write, sentence):
    write(tmp_path / name)
    with pytest.raises(UserError, match=sentence):
        load_direction(tmp_path / name, quality_generator())


def test_layers_by_number():
    assert parse_layers("all", 6) is None
    assert parse_layers("3,0-1,1", 6) == (0, 1, 3)


# Labels


def test_labels_round_trip_and_other_forms(tmp_path):
    labels = SeedLabels([3, 10, 4], [0.25, -1.5, 1e-7])
    write_labels(tmp_path / "scores.csv", labels)
    assert read_labels(tmp_path / "scores.csv") == labels
    (tmp_path / "bare.csv").write_text("3,0.25\n10,-1.5\n\n4,1e-7\n")
    assert read_labels(tmp_path / "bare.csv") == labels
    (tmp_path / "labels.json").write_text(json.dumps({"3": 0.25, "10": -1.5, "4": 1e-7}))
    assert read_labels(tmp_path / "labels.json") == labels
    (tmp_path / "smile.json").write_text('{"0": true, "1": false}')
    assert read_labels(tmp_path / "smile.json") == SeedLabels([0, 1], [1.0, 0.0])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "1,2\n1,3\n", "a.csv name seed 1 twice; name it once"),
        ("a.json", '{"1": 2, "1": 3}', "a.json name seed 1 twice; name it once"),
        ("a.csv", "1,smiles\n", "a.csv have 'smiles' for seed 1, must be a finite number"),
        ("a.csv", "1,inf\n", "a.csv have 'inf' for seed 1, must be a finite number"),
        ("a.csv", "-1,2\n", "a.csv have '-1' for a seed, must be a number from 0"),
        ("a.csv", "1,2,3\n", r"a.csv are damaged or of another format \(line '1,2,3' has 3 columns\)"),
        ("a.json", "[1, 2]", r"a.json are damaged or of another format \(no object of seeds\)"),
        ("a.json", "{", "a.json are damaged or of another format"),
        ("a.txt", "1,2\n", "a.txt have none of the endings .json, .csv; convert them"),
    ],
)
def test_labels_that_are_none(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_labels(tmp_path / name)


# Scorers


def flat(red, green, blue, side=16):
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, side, side)


@pytest.mark.parametrize("name", sorted(descriptions()))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_scorer_gives_a_number_an_image_whatever_the_batch(name, channels):
    images = torch.rand(3, channels, 64, 64) * 2 - 1
    known, scorer = load_scorer(name, CPU)
    scores = scorer(images)
    assert known == name and scores.shape == (3,) and torch.isfinite(scores).all()
    assert_close(scores[1:2], scorer(images[1:2]), 1e-4)


def test_scorers_by_value():
    def score(name, images):
        return load_scorer(name, CPU)[1](images).item()

    assert score("brightness", flat(1.0, 1, 1)) == pytest.approx(1)
    assert score("brightness", flat(1.0, -1, -1)) == pytest.approx(0.299)
    assert score("warmth", flat(1.0, 0, -1)) == pytest.approx(1) and score("warmth", flat(5.0, 0, 1)) == 0
    assert score("saturation", flat(0.5, 0.1, -0.5)) == pytest.approx(0.5)
    stripes = torch.tensor([1.0, -1]).repeat(8).expand(1, 3, 16, 16)
    assert score("contrast", stripes) == pytest.approx(0.5) and score("contrast", flat(0.3, 0, 1)) < 1e-6
    assert score("detail", stripes) == pytest.approx(0.5) and score("detail", flat(0.3, 0, 1)) == 0


class Corners(nn.Module):
    def forward(self, images):
        return images[:, :, 0, 0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_in_torchscript_is_a_scorer(tmp_path):
    path = tmp_path / "corner.pt"
    torch.jit.script(Corners()).save(path)
    images = torch.randn(4, 3, 8, 8)
    name, scorer = load_scorer(f"{path}#2", CPU)
    assert name == "corner-2" and torch.equal(scorer(images), images[:, 2, 0, 0])
    for text in (f"{path}", f"{path}#3"):
        with pytest.raises(UserError, match=r"gives \[4, 3\] for 4 images; choose one score an image"):
            load_scorer(text, CPU)[1](images)
    torch.save({"state": torch.ones(1)}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="is no TorchScript file"):
        load_scorer(f"{tmp_path / 'state.pt'}", CPU)


# The command


@pytest.fixture(scope="module")
def network(network_files):
    return str(network_files / "qc.safetensors")


def call(*arguments):
    return CliRunner().invoke(directions_command, [str(argument) for argument in arguments])


@pytest.mark.parametrize("method", METHODS.names())
def test_the_command_writes_directions_and_previews(tmp_path, network, method):
    extra = ["--scorer=brightness", "--scorer=warmth"] if method == "interfacegan" else ["-k", 2]
    common = [f"--network={network}", "--samples=200", "--seeds=0-1", "--device=cpu"]
    result = call(*common, f"--method={method}", "--layers=0-3", "-o", tmp_path / "found", *extra)
    assert result.exit_code == 0, result.output
    names = ["brightness", "warmth"] if method == "interfacegan" else [f"{method}-0", f"{method}-1"]
    pictures = ["preview-degraded.png", "preview.png"]
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == sorted(
        [f"{name}.safetensors" for name in names] + pictures
    )
    for name in names:
        direction = load_direction(tmp_path / "found" / f"{name}.safetensors", quality_generator())
        assert direction.method == method and direction.layers == (0, 1, 2, 3) and len(direction.network) == 64
        assert direction.details["licence"] == "CC0"
    sharp, degraded = (np.asarray(Image.open(tmp_path / "found" / name)) for name in reversed(pictures))
    assert sharp.shape == degraded.shape and (sharp != degraded).any()
    assert sharp.shape[0] > 4 * 96 and sharp.shape[1] > 7 * 96


def test_the_command_conditions_on_other_directions(tmp_path, network):
    common = [f"--network={network}", "--samples=200", "--seeds=0", "-o", tmp_path, "--device=cpu"]
    assert call(*common, "--method=sefa", "-k", 1).exit_code == 0
    other = tmp_path / "sefa-0.safetensors"
    result = call(*common, "--method=interfacegan", "--scorer=warmth", "--without", other)
    assert result.exit_code == 0, result.output
    G = quality_generator()
    found = load_direction(tmp_path / "warmth-without-sefa-0.safetensors", G)
    assert abs(found.vector @ load_direction(other, G).vector) < 1e-6


def test_the_command_takes_labels(tmp_path, network):
    write_labels(tmp_path / "smile.csv", SeedLabels(list(range(100)), [float(seed % 2) for seed in range(100)]))
    common = [f"--network={network}", "--seeds=0", "--device=cpu", "-o", tmp_path]
    result = call(*common, "--method=interfacegan", "--labels", tmp_path / "smile.csv")
    assert result.exit_code == 0, result.output
    assert load_direction(tmp_path / "smile.safetensors", quality_generator()).details["samples"] == 100


def test_the_command_lists_scorers():
    result = call("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(descriptions())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method=sefa", "--scorer=warmth"], "--scorer has no effect with --method=sefa"),
        (["--method=interfacegan"], "needs to know what to look for; add --scorer=warmth or --labels"),
        (["--method=interfacegan", "--scorer=warmth", "-k", "3"], "-k has no effect with --method=interfacegan"),
        (["--method=interfacegan", "--scorer=warmt"], "Error: unknown scorer 'warmt'; did you mean 'warmth'?"),
        (["--method=sefa", "-k", "17"], "Error: -k is 17, must be at most 16, the width of this network's w"),
        (["--method=sefa", "--layers=9"], "Error: --layers=9 names 9, must be from 0 to 5, or all"),
        (["--method=interfacegan", "--scorer=warmth", "--ends=0.7"], "Error: --ends is 0.7, must be above 0"),
        (["--method=sefa", "--seeds=0-999"], "Error: a figure of 8000 rows"),
        (["--method=sefa", "--class=1"], "Error: --class=1 is given, and this network has no classes"),
        (["--method=pca", "-k", 1, "--samples=100", "-o", "file/found"], "Error: cannot make folder"),
    ],
)
def test_wrong_use_of_the_command_is_a_sentence(tmp_path, network, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("here")
    result = call(f"--network={network}", "-o", "found", "--device=cpu", *arguments)
    assert result.exit_code == 1 and sentence in result.output
    assert not list(tmp_path.glob("found/*.safetensors"))
