"""TorchScript files: networks open and compute the same; nothing else opens, and nothing in it runs."""

import math
import os
import pickle
import struct
import zipfile

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnnlib.errors import UserError
from metrics.detector import load_detector
from metrics.weights.directory import WeightsDirectory
from tests.support.tolerance import assert_close
from torch_utils.untrusted import torchscript
from torch_utils.untrusted.torchscript import load_torchscript, run_exactly
from torch_utils.untrusted.torchscript_operators import ATEN, PRIM, is_operator, is_plain

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
CPU = torch.device("cpu")
SENTENCE = "could touch files or run other things; only plain networks are opened"


def opened(path):
    return load_torchscript(path, CPU)


def parts_of(path):
    """Return the parts of an archive by their names below its one folder."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def write_parts(path, parts, folder="network", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(f"{folder}/{name}", content)


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture
def written(tmp_path):
    """Return a writer: the file of an identity whose `forward` does something else before."""
    torch.jit.script(Identity()).save(tmp_path / "identity.pt")
    parts = parts_of(tmp_path / "identity.pt")

    def write(*lines):
        name = next(name for name in parts if name.endswith(".py"))
        text = parts[name].decode().replace("    return x", "\n".join(f"    {line}" for line in [*lines, "return x"]))
        write_parts(tmp_path / "written.pt", parts | {name: text.encode()})
        return tmp_path / "written.pt"

    return write


# Networks that open.


def small_network():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)]
    return nn.Sequential(*layers, nn.Dropout(), nn.Softmax(1)).eval()


class Branches(nn.Module):
    """Control flow, containers, optional values, text, and resampling as detectors have it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect") for _ in range(2)])
        self.norm = nn.GroupNorm(1, 3)
        self.register_buffer("mean", torch.rand(3))
        self.names = {"first": 1, "second": 2}

    def forward(self, x: Tensor, size: int | None = None, text: str = "none") -> tuple[Tensor, list[int]]:
        assert x.shape[1] == 3, f"{x.shape[1]} channels — not 3"
        x = x.to(torch.float32) / 127.5 - self.mean[None, :, None, None]
        if size is not None:
            x = F.interpolate(x, size=[size, size], mode="bilinear", align_corners=False)
        outputs = []
        for i, layer in enumerate(self.layers):
            x = F.leaky_relu(self.norm(layer(x)), 0.2)
            if i < 3 and text != "first":
                outputs.append(x.square().mean(dim=[2, 3]).sqrt())
        theta = torch.eye(2, 3, device=x.device)[None].repeat(len(x), 1, 1)
        x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
        steps = 0
        while steps < 3 and bool(x.mean() > 0):
            x, steps = x - math.pi * 0.01, steps + 1
        counts = [int(value) * 2 for value in self.names.values()] + [steps]
        if text not in ("none", "first"):
            raise ValueError(f"unknown {text}")
        return torch.cat([x.amax((2, 3))] + outputs, dim=1), counts


def test_a_traced_network_gives_the_same(tmp_path):
    images = torch.rand(2, 3, 8, 8)
    network = small_network()
    torch.jit.trace(network, images).save(tmp_path / "traced.pt")
    module = opened(tmp_path / "traced.pt")
    assert torch.equal(module(images), network(images))
    assert not module.training and not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_scripted_network_gives_the_same(tmp_path, frozen):
    images = torch.rand(2, 3, 9, 7) * 255
    network = torch.jit.script(Branches().eval())
    (torch.jit.freeze(network) if frozen else network).save(tmp_path / "scripted.pt")
    module = opened(tmp_path / "scripted.pt")
    for arguments in ({}, {"size": 5}, {"text": "first"}):
        actual, expected = module(images, **arguments), network(images, **arguments)
        assert torch.equal(actual[0], expected[0]) and actual[1] == expected[1]
    with pytest.raises(torch.jit.Error, match="unknown other"):
        module(images, text="other")


LAYERS = [
    nn.Conv1d(3, 3, 3, padding="same"),
    nn.ConvTranspose2d(3, 3, 3),
    nn.InstanceNorm2d(3, affine=True),
    nn.LayerNorm(3),
    nn.LocalResponseNorm(2),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    nn.LPPool2d(2, 2),
    nn.Upsample(scale_factor=2, mode="bicubic"),
    nn.PReLU(),
    nn.GELU(),
    nn.Hardswish(),
    nn.PixelShuffle(2),
    nn.ReflectionPad2d(1),
    nn.CosineSimilarity(),
    nn.Embedding(3, 3),
    nn.LSTM(3, 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_the_usual_layers_open(tmp_path, layer):
    torch.jit.script(layer).save(tmp_path / "layer.pt")
    module = opened(tmp_path / "layer.pt")
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in layer.state_dict().items())


def test_listed_operators_exist_and_those_with_side_effects_are_not_listed():
    assert [name for name in sorted(ATEN) if not is_operator(name)] == []
    assert [name for name in sorted(PRIM) if not torch._C._jit_get_schemas_for_operator(f"prim::{name}")] == []
    assert is_plain("add_") and is_plain("softmax") and not is_plain("nothing")
    for name in ("save", "from_file", "manual_seed", "as_strided", "set_", "fbgemm_linear_fp16_weight", "wait"):
        assert is_operator(name) and not is_plain(name)


def test_no_listed_operator_takes_the_name_of_a_file():
    schemas = [schema for name in ATEN for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}")]
    arguments = {argument.name for schema in schemas for argument in schema.arguments if "str" in str(argument.type)}
    assert not [name for name in arguments if any(part in name for part in ("file", "path", "name", "url"))]


# Files that do not.


class SavesInForward(nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return x


class ReadsInForward(SavesInForward):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.path, True, 4, dtype=torch.float32)


class SavesWhenOpened(SavesInForward):
    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(3), self.path)


@pytest.mark.parametrize("kind", [SavesInForward, ReadsInForward, SavesWhenOpened], ids=lambda kind: kind.__name__)
def test_networks_that_touch_files_stay_closed(tmp_path, kind):
    touched = tmp_path / "touched"
    torch.jit.script(kind(str(touched))).save(tmp_path / "hostile.pt")
    with pytest.raises(UserError, match=f"hostile.pt asks for `(aten::save|aten::from_file|__setstate__)`.*{SENTENCE}"):
        opened(tmp_path / "hostile.pt")
    assert not touched.exists()
    module = torch.jit.load(tmp_path / "hostile.pt")  # torch alone opens it, and the file is touched
    if kind is not SavesWhenOpened:
        module(torch.zeros(4))
    assert touched.exists()


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (['torch.save(x, "TOUCHED")'], "aten::save"),
        (['ops.aten.save(x, "TOUCHED")'], "aten::save"),
        (['getattr(torch, "save")(x, "TOUCHED")'], "aten::save"),
        (['getattr(ops.aten, "save")(x, "TOUCHED")'], "aten::save"),
        (['getattr(torch, "channels_last")'], "torch"),
        (["f = torch.save", 'f(x, "TOUCHED")'], "aten::save"),
        (["t = torch", 't.save(x, "TOUCHED")'], "torch"),
        (["o = ops.aten", 'o.save(x, "TOUCHED")'], "aten"),
        (["o = ops", 'o.aten.save(x, "TOUCHED")'], "ops"),
        (['x.save("TOUCHED")'], "aten::save"),
        (["x.as_strided([9], [9])"], "aten::as_strided"),
        (['getattr(x, "as_strided")([9], [9])'], "aten::as_strided"),
        (["torch = x"], "torch"),
        (["getattr = x"], "getattr"),
        (["y = getattr"], "getattr"),
        (['getattr(x, "T", 0)'], "getattr"),
        (['ops.prim.rpc_async("worker", x)'], "prim::rpc_async"),
        (["ops.quantized.linear(x, x, 1., 1)"], "quantized::linear"),
        (["ops.mine.run(x)"], "mine::run"),
        (['rpc_async("worker", x)'], "rpc_async"),
        (["fork(x)"], "fork"),
        (['open("TOUCHED")'], "open"),
        (["y = __torch__.torch.classes.mine.Thing()"], "__torch__.torch.classes.mine.Thing"),
        (["c = __torch__.torch.classes", "y = c.mine.Thing()"], "__torch__.torch.classes"),
        (["import os"], "the statement Import"),
        (["y = lambda: 3"], "the statement Lambda"),
        (["with x:", "  pass"], "the statement With"),
        (['y = f"{x}"'], "the statement JoinedStr"),
        (["y = b'bytes'"], "the constant b'bytes'"),
    ],
)
def test_no_way_to_other_operators(tmp_path, written, lines, what):
    path = written(*[line.replace("TOUCHED", str(tmp_path / "touched")) for line in lines])
    with pytest.raises(UserError) as error:
        opened(path)
    assert str(error.value) == f"{path} asks for `{what}`, which {SENTENCE}"
    assert not (tmp_path / "touched").exists()


def test_the_writer_of_hostile_files_also_writes_good_ones(written):
    module = opened(written("y = torch.add(x, 1)", 'print("quoted \\" \\\\ text")', "# a comment"))
    assert torch.equal(module(torch.ones(2)), torch.ones(2))


def test_what_python_takes_for_a_comment_reaches_no_other_reader(tmp_path, written):
    """torch gets the text that was checked, not the text of the file."""
    seen = []
    path = written("y = torch.add(x, 1)  # torch.save(x)")
    load = torchscript.torch.jit.load

    def spy(copy, **options):
        seen.extend(parts_of(copy).items())
        return load(copy, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchscript.torch.jit, "load", spy)
        opened(path)
    text = b"".join(content for name, content in seen if name.endswith(".py"))
    assert b"torch.add" in text and b"save" not in text
    assert {name.partition("/")[0] for name, _ in seen} <= {"code", "data.pkl", "constants.pkl", "version", "byteorder"}


DEEP = ["y = " + "(" * 500, "y = " + "-" * 20000 + "1", "y = x" + ".a" * 3000]


@pytest.mark.parametrize("line", ["y = 'a\rb'", "y = 1 # \x0c", "y = 'é'", "y = (", *DEEP], ids=lambda line: line[:9])
def test_text_that_torch_does_not_write_is_refused(written, line):
    with pytest.raises(UserError, match="written.pt is damaged, or its code is not what torch.jit.save writes"):
        opened(written(line))


# Files that are damaged, of another kind, or made to harm.


def linear_parts(folder, side=10):
    """Write a network of one layer; return the parts of its file."""
    torch.jit.script(nn.Linear(side, side)).save(folder / "linear.pt")
    return parts_of(folder / "linear.pt")


def with_content(content):
    return lambda path: path.write_bytes(content)


def with_parts(change):
    """Return a writer of the network's file with its parts changed."""
    return lambda path: write_parts(path, change(linear_parts(path.parent)))


def without(ending):
    return with_parts(lambda parts: {name: parts[name] for name in parts if not name.endswith(ending)})


def with_short_storage(parts):
    shortened = next(name for name, content in parts.items() if len(content) == 400)  # 10 x 10 float32
    return parts | {shortened: bytes(396)}


def with_longer_shape(parts):
    shape, stretched = (b"(K\nK\nt", b"(K\x0bK\nt")  # the size [10, 10], and [11, 10]
    assert parts["data.pkl"].count(shape) == 1
    return parts | {"data.pkl": parts["data.pkl"].replace(shape, stretched)}


def write_in_two_folders(path):
    write_parts(path, linear_parts(path.parent))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"")


def write_with_other_weights(path):
    """Exchange the numbers themselves, so that their checksum is wrong."""
    stored = next(content for content in linear_parts(path.parent).values() if len(content) == 400)
    whole, others = (path.parent / "linear.pt").read_bytes(), torch.randn(100).numpy().tobytes()
    assert whole.count(stored) == 1
    path.write_bytes(whole.replace(stored, others))


def write_with_a_lie(path):
    """Say 10 bytes of a part that holds 1 MiB: 10 bytes are read, whose checksum is wrong."""
    size = 1_234_567
    write_parts(path, linear_parts(path.parent) | {"data/9": bytes(size)}, compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    assert content.count(struct.pack("<I", size)) == 2  # before the part, and in the directory
    path.write_bytes(content.replace(struct.pack("<I", size), struct.pack("<I", 10)))


NO_FILE = "is damaged or no TorchScript file; download it again"
DAMAGED = "is damaged; copy or download it again"
REFUSALS = {
    "missing": (lambda path: None, "cannot read"),
    "a folder": (lambda path: path.mkdir(), "cannot read"),
    "empty": (with_content(b""), NO_FILE),
    "text": (with_content(b"plain text"), NO_FILE),
    "the start of a zip": (with_content(b"PK\x03\x04" + bytes(50)), NO_FILE),
    "a pickle": (with_content(b"\x80\x02}q\x00."), NO_FILE),
    "a state dict": (
        lambda path: torch.save({"a": torch.zeros(3)}, path),
        "is no TorchScript file, perhaps a state dict",
    ),
    "no objects": (with_parts(lambda parts: parts | {"data.pkl": b""}), DAMAGED),
    "a pickle that begins": (with_parts(lambda parts: parts | {"data.pkl": b"\x80\x02"}), DAMAGED),
    "a pickle without its end": (with_parts(lambda parts: parts | {"data.pkl": b"\x80\x02}q\x00"}), DAMAGED),
    "a pickle of a pair": (with_parts(lambda parts: parts | {"data.pkl": b"\x80\x02K\x01K\x02\x86R."}), DAMAGED),
    "a tensor beyond its storage": (with_parts(with_short_storage), DAMAGED),
    "a shape beyond its storage": (with_parts(with_longer_shape), DAMAGED),
    "other weights": (write_with_other_weights, "damaged"),
    "a size that lies": (write_with_a_lie, "damaged"),
    "no version": (without("version"), "is damaged"),
    "no code": (without(".py"), r"asks for `__torch__\.torch\.nn\.modules\.linear"),
    "a part in other letters": (
        with_parts(lambda parts: parts | {"DATA.pkl": parts["data.pkl"]}),
        "parts of the same name",
    ),
    "a part in another folder": (write_in_two_folders, "parts of the same name"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(tmp_path, case):
    write, sentence = REFUSALS[case]
    write(tmp_path / "refused.pt")
    with pytest.raises(UserError, match=rf"refused\.pt.*{sentence}|{sentence}.*refused\.pt"):
        opened(tmp_path / "refused.pt")


def test_the_writers_of_refused_files_begin_with_one_that_opens(tmp_path):
    linear_parts(tmp_path)
    assert opened(tmp_path / "linear.pt").weight.shape == (10, 10)


def test_files_cut_anywhere_are_damaged(tmp_path):
    linear_parts(tmp_path)
    whole = (tmp_path / "linear.pt").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged or no TorchScript file"):
            opened(tmp_path / "cut.pt")


class Shell:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_objects_with_code_stay_closed(tmp_path, protocol):
    content = pickle.dumps(Shell(f"touch {tmp_path}/touched"), protocol=protocol)
    with_parts(lambda parts: parts | {"data.pkl": content})(tmp_path / "objects.pt")
    with pytest.raises(UserError, match=r"asks for `posix.system`|holds other objects than a network has"):
        opened(tmp_path / "objects.pt")
    (tmp_path / "bare.pt").write_bytes(content)
    with pytest.raises(UserError, match="damaged or no TorchScript file"):
        opened(tmp_path / "bare.pt")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("limit", "value", "part", "size", "sentence"),
    [
        ("LARGEST_TEXT", 1 << 16, "code/__torch__/more.py", 1 << 17, "more code than any network"),
        ("LARGEST_FILE", 1 << 20, "data/9", 1 << 20, "expands to more than any network"),
        ("MOST_PARTS", 3, "data/9", 1, "expands to more than any network"),
    ],
)
def test_bombs_are_not_expanded(tmp_path, monkeypatch, limit, value, part, size, sentence):
    monkeypatch.setattr(torchscript, limit, value)
    write_parts(tmp_path / "bomb.pt", linear_parts(tmp_path) | {part: bytes(size)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=sentence):
        opened(tmp_path / "bomb.pt")


# The detectors that come in such files.


class InceptionStandIn(nn.Module):
    """Answers as the published Inception does, from the channels' means."""

    def __init__(self, features: int = 2048, scale: float = 1.0):
        super().__init__()
        self.features, self.scale = features, scale
        self.register_buffer("weight", torch.linspace(-1, 1, 3 * 1008).reshape(3, 1008))
        self.register_buffer("bias", torch.ones(1008))

    def forward(self, img: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        means = img.to(torch.float32).mean([2, 3])
        if return_features:
            return means.repeat(1, 1 + self.features // 3)[:, : self.features]
        logits = means / 255 @ self.weight
        if not no_output_bias:
            logits = logits + self.bias
        return logits.softmax(dim=1) * self.scale


class VGGStandIn(nn.Module):
    """Answers as the published VGG16 does, from the channels' means."""

    def forward(
        self, img: Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> Tensor:
        means = img.to(torch.float32).mean([2, 3])
        if return_lpips:
            return means if not resize_images else means * 0
        return means.repeat(1, 1366)[:, :4096]


FILES = {"inception": "inception-2015-12-05.pt", "vgg16": "vgg16.pt"}


@pytest.fixture
def detector(tmp_path):
    def load(name, module):
        torch.jit.script(module).save(tmp_path / FILES[name])
        return load_detector(name, WeightsDirectory(tmp_path), CPU)

    return load


def test_inception_gives_features_and_probabilities(detector):
    loaded = detector("inception", InceptionStandIn())
    images = torch.randint(0, 256, (3, 3, 8, 6), dtype=torch.uint8)
    features, probabilities = loaded.features(images), loaded.probabilities(images)
    means = images.float().mean((2, 3))
    assert features.shape == (3, 2048) and torch.equal(features[:, :3], means)
    assert_close(probabilities, (means / 255 @ InceptionStandIn().weight).softmax(1))
    assert torch.equal(loaded.features(images[:, :1]), loaded.features(images[:, :1].repeat(1, 3, 1, 1)))
    assert loaded.name == "inception" and list(loaded.sha256) == [FILES["inception"]] and loaded.distances is None


@pytest.mark.parametrize(
    ("name", "module", "sentence"),
    [
        ("inception", InceptionStandIn(features=2049), r"features \[1, 2049\]"),
        ("inception", InceptionStandIn(scale=2.0), "do not add up to 1"),
        ("inception", VGGStandIn(), "another network than Inception-v3"),
        ("vgg16", InceptionStandIn(), "is another network than NVIDIA's VGG16"),
    ],
)
def test_another_network_under_the_name_of_a_detector_is_refused(detector, name, module, sentence):
    with pytest.raises(UserError, match=f"{FILES[name]}.*{sentence}"):
        detector(name, module)


def test_vgg16_gives_features_and_distances(detector):
    loaded = detector("vgg16", VGGStandIn())
    a, b = torch.randint(0, 256, (2, 4, 3, 8, 6), dtype=torch.uint8)
    means_a, means_b = a.float().mean((2, 3)), b.float().mean((2, 3))
    assert loaded.features(a).shape == (4, 4096) and torch.equal(loaded.features(a)[:, :3], means_a)
    assert_close(loaded.distances(a, b), (means_a - means_b).square().sum(1))
    assert loaded.distances(a, a).tolist() == [0, 0, 0, 0]
    assert list(loaded.sha256) == [FILES["vgg16"]] and loaded.probabilities is None


def test_distances_have_gradients(detector):
    a, b = torch.rand(2, 1, 3, 4, 4)
    a.requires_grad_()
    detector("vgg16", VGGStandIn()).distances(a, b).sum().backward()
    expected = 2 * (a.detach().mean((2, 3)) - b.mean((2, 3))) / 16  # [N, 3]
    assert_close(a.grad, expected[:, :, None, None].expand_as(a))


@pytest.mark.parametrize("name", sorted(FILES))
def test_detectors_without_their_file_say_what_to_do(tmp_path, name):
    with pytest.raises(UserError, match=f"{FILES[name]} is not in .* --fetch="):
        load_detector(name, WeightsDirectory(tmp_path), CPU)


def test_networks_run_without_tensorfloat_and_leave_the_setting_alone(monkeypatch):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        assert run_exactly(lambda: (matmul.allow_tf32, cudnn.allow_tf32)) == (False, False)
        with pytest.raises(ZeroDivisionError):
            run_exactly(lambda: 1 / 0)
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
