"""Files as others publish them, written from this program's networks by stand-ins for their classes.

A stand-in pickles to the same opcodes as the class whose name it bears: the pickler asks only for a name. Conventions
of names and layouts are written down here once more, towards the published side.
"""

import io
import pickle
import re
from collections import OrderedDict

import numpy as np
import torch

PERSISTENT = "torch_utils.persistence", "_reconstruct_persistent_obj"
TF_NETWORK = "dnnlib.tflib.network", "Network"


class Name:
    """Stands for anything that a pickle asks for by module and name."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self, *arguments):
        raise AssertionError("only a pickler calls this")


class EasyDict(dict):
    """Pickled as `dnnlib.util.EasyDict`."""


class Reduced:
    """Pickled as a call of a name with arguments, and a state that follows."""

    def __init__(self, module, name, *arguments, state=None):
        self.reduced = Name(module, name), arguments, state


class Instance:
    """Pickled as an object of a class, made without arguments, with its attributes."""

    def __init__(self, module, name, state):
        self.reduced = Name("copyreg", "__newobj__"), (Name(module, name),), state


class Pickler(pickle._Pickler):
    """Writes stand-ins under the names that they stand for; the pure Python pickler lets names through unimported."""

    def save_name(self, value):
        module, name = value.module, value.name
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(value)

    def save(self, obj, save_persistent_id=True):
        if id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
        elif isinstance(obj, Name):
            self.save_name(obj)
        elif isinstance(obj, EasyDict):
            self.save_call(Name("copyreg", "__newobj__"), (Name("dnnlib.util", "EasyDict"),), obj)
            self._batch_setitems(obj.items()) if self._takes_items_only() else self._batch_setitems(obj.items(), obj)
        elif isinstance(obj, (Reduced, Instance)):
            function, arguments, state = obj.reduced
            self.save_call(function, arguments, obj)
            if state is not None:
                self.save(state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)

    def save_call(self, function, arguments, obj):
        if function.name == "__newobj__":
            self.save(arguments[0])
            self.save(arguments[1:])
            self.write(pickle.NEWOBJ)
        else:
            self.save(function)
            self.save(arguments)
            self.write(pickle.REDUCE)
        self.memoize(obj)

    def _takes_items_only(self):
        return pickle._Pickler._batch_setitems.__code__.co_argcount == 2  # Python 3.14 wants the object too


def write_pickle(path, content, protocol=4):
    path.write_bytes(pickled(content, protocol))
    return path


def pickled(content, protocol=4):
    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(content)
    return buffer.getvalue()


def written(name):
    """A call of a name that runs a command or the like, for hostile files."""
    module, _, function = name.rpartition(".")
    return lambda *arguments: Reduced(module, function, *arguments)


# StyleGAN2-ADA and StyleGAN3's repository.


def persistent(class_name, state):
    meta = {"type": "class", "version": 6, "module_src": "raise SystemExit('source code ran')"}
    return Reduced(*PERSISTENT, {**meta, "class_name": class_name, "state": state})


# What layers hold beside tensors: NumPy's numbers among plain ones.
LAYER = {"use_fp16": False, "up": 2, "block_resolutions": [4, 8], "act_gain": np.sqrt(2), "bias": None}
LAYER |= {"weight_gain": np.float32(0.5), "img_resolution_log2": np.int64(3), "channels_last": np.bool_(False)}


def persistent_network(module, class_name, init_args=(), init_kwargs=None, dtype=None, **attributes):
    """Return a network of this program as an object that carries its source along."""
    children = {}
    for name, child in module.named_children():
        own = {"conv_clamp": child.conv_clamp} if hasattr(child, "conv_clamp") else {}
        own |= {"activation": child.act} if hasattr(child, "act") else {}
        own |= {"activation": "lrelu", "use_noise": True} if hasattr(child, "noise_const") else {}
        children[name] = persistent_network(child, type(child).__name__, dtype=dtype, **LAYER, **own)
    state = {
        "training": False,
        "_parameters": OrderedDict((name, copied(p, dtype)) for name, p in module.named_parameters(recurse=False)),
        "_buffers": OrderedDict((name, copied(b, None).detach()) for name, b in module.named_buffers(recurse=False)),
        "_non_persistent_buffers_set": set(),
        "_is_full_backward_hook": None,
        **{f"_{when}_hooks": OrderedDict() for when in ("backward", "forward", "forward_pre", "state_dict")},
        "_modules": OrderedDict(children),
        "_init_args": init_args,
        "_init_kwargs": EasyDict(init_kwargs or {}),
        **attributes,
    }
    return persistent(class_name, state)


def copied(tensor, dtype):
    tensor = tensor.detach().clone()
    return torch.nn.Parameter(tensor if dtype is None else tensor.to(dtype), requires_grad=False)


def ada_generator(G, **options):
    """As StyleGAN2-ADA makes them: groups of arguments within arguments."""
    config = G.config
    mapping = EasyDict(num_layers=config.mapping.num_layers)
    synthesis = EasyDict(
        channel_base=config.channel_base,
        channel_max=config.channel_max,
        architecture=config.architecture,
        num_fp16_res=4,
        conv_clamp=config.precision.conv_clamp,
        **options,
    )
    widths = {"z_dim": G.z_dim, "c_dim": G.c_dim, "w_dim": G.w_dim, "img_resolution": G.img_resolution}
    kwargs = {**widths, "img_channels": G.img_channels, "mapping_kwargs": mapping, "synthesis_kwargs": synthesis}
    return persistent_network(G, "Generator", init_kwargs=kwargs)


def stylegan3_generator(G, **options):
    """As StyleGAN3's repository makes StyleGAN2: the arguments of synthesis among the others, some by position."""
    kwargs = {
        "channel_base": G.config.channel_base,
        "channel_max": G.config.channel_max,
        "architecture": G.config.architecture,
        "mapping_kwargs": EasyDict(num_layers=G.config.mapping.num_layers, w_avg_beta=0.99),
        "fused_modconv_default": "inference_only",
        **options,
    }
    arguments = G.z_dim, G.c_dim, G.w_dim, G.img_resolution, G.img_channels
    return persistent_network(G, "Generator", arguments, kwargs)


def ada_discriminator(D, **options):
    config = D.config
    kwargs = {
        "c_dim": D.c_dim,
        "img_resolution": D.img_resolution,
        "img_channels": D.img_channels,
        "architecture": config.architecture,
        "channel_base": config.channel_base,
        "channel_max": config.channel_max,
        "num_fp16_res": 4,
        "conv_clamp": config.precision.conv_clamp,
        "block_kwargs": EasyDict(freeze_layers=0),
        "mapping_kwargs": EasyDict(),
        "epilogue_kwargs": EasyDict(mbstd_group_size=config.mbstd_group_size),
        **options,
    }
    return persistent_network(D, "Discriminator", init_kwargs=kwargs)


def augmentation():
    """What augments has strengths among its attributes, and filters among its buffers."""
    buffers = OrderedDict(p=torch.zeros([]), Hz_geom=torch.ones(12), Hz_fbank=torch.ones(4, 22))
    strengths = {"xflip": 1.0, "rotate_max": 1, "scale_std": 0.2, "imgfilter_bands": [1, 1, 1, 1]}
    made = {"_init_args": (), "_init_kwargs": dict(strengths)}
    return {"_parameters": OrderedDict(), "_buffers": buffers, "_modules": OrderedDict(), **strengths, **made}


def converted_discriminator(D):
    """As StyleGAN2-ADA's converter makes them from TensorFlow's: all arguments are there, many of them None."""
    layers = {"activation": "lrelu", "lr_multiplier": 0.1, "embed_features": None, "layer_features": None}
    return ada_discriminator(
        D,
        num_fp16_res=0,
        conv_clamp=None,
        cmap_dim=None,
        block_kwargs=EasyDict(activation="lrelu", resample_filter=[1, 3, 3, 1], freeze_layers=0),
        mapping_kwargs=EasyDict(num_layers=0, **layers),
        epilogue_kwargs=EasyDict(mbstd_group_size=D.config.mbstd_group_size, mbstd_num_channels=1, activation="lrelu"),
    )


def ada_content(G, *discriminators):
    """Return what a training run saves: networks, the data's options, and what augments."""
    names = ("D", "D_degraded")
    augment = persistent("AugmentPipe", augmentation())
    data = EasyDict(class_name="training.dataset.ImageFolderDataset", path="/data/cats.zip", max_size=np.int64(7))
    networks = {name: ada_discriminator(D) for name, D in zip(names, discriminators, strict=False)}
    return {"G": ada_generator(G), **networks, "G_ema": ada_generator(G), "training_set_kwargs": data} | {
        "augment_pipe": augment
    }


# The PyTorch port's names.

PORT_LAYER = {"weight": "conv.weight", "bias": "activate.bias", "noise_strength": "noise.weight"}
PORT_LAYER |= {"affine.weight": "conv.modulation.weight", "affine.bias": "conv.modulation.bias"}
PORT_RGB = {"weight": "conv.weight", "bias": "bias"}
PORT_RGB |= {"affine.weight": "conv.modulation.weight", "affine.bias": "conv.modulation.bias"}
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def port_generator(G):
    """Return the state dict of a skip generator, and its `latent_avg`."""
    state = {}
    for name, tensor in G.state_dict().items():
        if match := re.fullmatch(r"mapping\.fc(\d)\.(\w+)", name):
            state[f"style.{int(match[1]) + 1}.{match[2]}"] = tensor
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(\w+)\.(.+)", name):
            state |= _port_layer(int(match[1]), match[2], match[3], tensor)
        elif name == "synthesis.b4.const":
            state["input.input"] = tensor[None]
    return state, G.mapping.w_avg


def _port_layer(side, layer, kind, tensor):
    level = side.bit_length() - 3  # 4: 0, 8: 1
    if layer == "torgb":
        place = "to_rgb1" if level == 0 else f"to_rgbs.{level - 1}"
        value = tensor[None] if kind == "weight" else tensor.reshape(1, -1, 1, 1) if kind == "bias" else tensor
        found = {f"{place}.{PORT_RGB[kind]}": value}
        return found | ({f"{place}.upsample.kernel": FILTER * 4} if level and kind == "bias" else {})
    index = 2 * level - (1 if layer == "conv0" else 0)
    place = "conv1" if index == 0 else f"convs.{index - 1}"
    if kind == "noise_const":
        return {f"noises.noise_{index}": tensor[None, None]}
    if kind == "resample_filter":
        return {f"{place}.conv.blur.kernel": FILTER * 4} if layer == "conv0" else {}
    value = tensor[None] if kind == "weight" else tensor.reshape(1) if kind == "noise_strength" else tensor
    return {f"{place}.{PORT_LAYER[kind]}": value}


def port_discriminator(D):
    """Return the state dict of a resnet discriminator."""
    ends = {"b4.conv": ("final_conv.0.weight", "final_conv.1.bias")}
    ends |= {"b4.fc": ("final_linear.0.weight", "final_linear.0.bias")}
    ends |= {"b4.out": ("final_linear.1.weight", "final_linear.1.bias")}
    layers = {"conv0": ("conv1.0.weight", "conv1.1.bias"), "conv1": ("conv2.1.weight", "conv2.2.bias")}
    layers |= {"skip": ("skip.1.weight", "none"), "fromrgb": ("0.weight", "1.bias")}
    state = {}
    for name, tensor in D.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind == "resample_filter":
            continue
        which = int(kind == "bias")
        if layer in ends:
            state[ends[layer][which]] = tensor
            continue
        side, part = re.fullmatch(r"b(\d+)\.(\w+)", layer).groups()
        number = 0 if part == "fromrgb" else (D.img_resolution // int(side)).bit_length()
        state[f"convs.{number}.{layers[part][which]}"] = tensor
        if part in ("conv1", "skip"):
            state[f"convs.{number}.{'conv2' if part == 'conv1' else 'skip'}.0.kernel"] = FILTER
    return state


# TensorFlow's.


def tf_network(static_kwargs, variables, **components):
    state = {
        "version": 4,
        "name": "network",
        "static_kwargs": EasyDict(static_kwargs),
        "components": EasyDict(components),
        "build_module_src": "raise SystemExit('source code ran')",
        "build_func_name": "build",
        "variables": [(name, np.asarray(value, np.float32)) for name, value in variables.items()],
    }
    return Instance(*TF_NETWORK, state)


def tf_generator(G, **options):
    mapping, synthesis = {}, {}
    for name, tensor in G.state_dict().items():
        value = tensor.numpy()
        if match := re.fullmatch(r"mapping\.fc(\d)\.(\w+)", name):
            mapping[f"Dense{match[1]}/{match[2]}"] = value.T if match[2] == "weight" else value
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(\w+)\.(.+)", name):
            synthesis |= _tf_layer(int(match[1]), match[2], match[3], value)
        elif name == "synthesis.b4.const":
            synthesis["4x4/Const/const"] = value[None]
    beta = {"dlatent_avg_beta": 0.99}
    return tf_network(
        beta,
        {"dlatent_avg": G.mapping.w_avg.numpy()},
        mapping=tf_network({"mapping_lrmul": 0.01, "normalize_latents": True}, mapping),
        synthesis=tf_network({"resample_kernel": [1, 3, 3, 1], "fmap_base": 1, **options}, synthesis),
    )


def _tf_layer(side, layer, kind, value):
    names = {"conv0": "Conv0_up", "conv1": "Conv" if side == 4 else "Conv1", "torgb": "ToRGB", "skip": "Skip"}
    place = f"{side}x{side}/{names[layer]}"
    if kind == "weight":
        kernel = value[:, :, ::-1, ::-1] if layer in ("conv0", "skip") else value
        return {f"{place}/weight": kernel.transpose(2, 3, 1, 0)}
    if kind == "affine.weight":
        return {f"{place}/mod_weight": value.T}
    if kind == "affine.bias":
        return {f"{place}/mod_bias": value - 1}
    if kind == "noise_const":
        index = 2 * (side.bit_length() - 3) - (1 if layer == "conv0" else 0)
        return {f"noise{index}": value[None, None]}
    return {} if kind == "resample_filter" else {f"{place}/{kind}": value}


def tf_discriminator(D, **options):
    names = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip"}
    ends = {"b4.conv": "4x4/Conv", "b4.fc": "4x4/Dense0", "b4.out": "Output"}
    variables = {}
    for name, tensor in D.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind == "resample_filter":
            continue
        side, part = layer[1:].split(".")
        place = ends.get(layer) or f"{side}x{side}/{names[part]}"
        value = tensor.numpy()
        axes = (2, 3, 1, 0) if value.ndim == 4 else None
        variables[f"{place}/{kind}"] = value.transpose(axes) if kind == "weight" else value
    return tf_network({"mbstd_group_size": D.config.mbstd_group_size, "architecture": "any", **options}, variables)
