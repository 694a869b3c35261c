"""What the modules of a published network say of themselves, each judged by what this program computes in its place."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dnnlib.errors import UserError
from networks.published.contents import require_options, shown

Modules = list[tuple[str, Mapping[str, Any]]]  # the attributes of each module, with its prefix, such as "synthesis.b8."

# The activation of a module by the end of its name. Those of a DegradBlock's projection are a part of its architecture.
_ACTIVATIONS: dict[str, tuple[str | None, ...]] = {
    r"(conv|conv0|conv1|fromrgb|fc|fc\d+)": (None, "lrelu"),
    r"(affine|embed|out|skip|torgb|tores)": (None, "linear"),
    r"convq\.\d+": (None, "relu", "linear"),
}
_OF_OTHERS = (None, "lrelu", "linear")
_CLAMPED = re.compile(r"(^|\.)(conv|conv0|conv1|torgb|fromrgb)\.$")
_UNCLAMPED_HERE = "b4.fromrgb."  # prefix in discriminators that look at small images, too


def require_known_modules(modules: Modules) -> None:
    """Raise UserError, a sentence without its subject, for a module that computes something else than ours does.

    An attribute counts for the module that has it: a convolution of a DegradBlock may say `relu`, one of StyleGAN2 may
    not, and only a layer that has noise can be without it.
    """
    for prefix, attributes in modules:
        fixed: dict[str, tuple] = {"activation": _activations(prefix), "use_noise": (True,)}
        known = ["activation", *(["use_noise"] if _has_noise(attributes) else [])]
        require_options({name: attributes[name] for name in known if name in attributes}, fixed, ())


def common_clamp(modules: Modules) -> float | None:
    """Return the bound of activations, from the layers: where none is asked for, it differs between repositories.

    Raises UserError, a sentence without its subject, unless all layers that clamp here have the same.
    """
    values = [(prefix, attributes["conv_clamp"]) for prefix, attributes in modules if "conv_clamp" in attributes]
    clamps = _distinct(value for _, value in values if value is not None)
    if len(clamps) > 1:
        raise UserError(
            f"clamps activations at different values ({', '.join(map(shown, clamps))}), this program's networks at one"
        )
    free = [prefix for prefix, value in values if value is None and _clamps_here(prefix)]
    if clamps and free:
        raise UserError(
            f"clamps activations at {shown(clamps[0])}, but not in {shown(free[0].removesuffix('.'))}; this program's "
            "networks clamp all layers, or none"
        )
    return clamps[0] if clamps else None


def _activations(prefix: str) -> tuple[str | None, ...]:
    name = prefix.removesuffix(".")
    found = (allowed for end, allowed in _ACTIVATIONS.items() if re.search(rf"(^|\.){end}$", name))
    return next(found, _OF_OTHERS)


def _has_noise(attributes: Mapping[str, Any]) -> bool:
    return "noise_const" in (attributes.get("_buffers") or {})


def _clamps_here(prefix: str) -> bool:
    return _CLAMPED.search(prefix) is not None and prefix != _UNCLAMPED_HERE


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Return the values in their order, each once; they may be anything that a file holds."""
    return list({shown(value): value for value in values}.values())
