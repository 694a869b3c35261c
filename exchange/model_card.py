"""The model card of a network: YAML for the hub, then facts, usage, results and architecture for people."""

import re
from pathlib import Path
from typing import Any

from dnnlib.errors import counted
from dnnlib.remote.hugging_face import CANONICAL, SCHEME
from networks.describe import name_of_kind

# The hub's names of licences, other than Creative Commons.
_KNOWN = ("apache-2.0", "mit", "cc0-1.0", "bsd-3-clause", "gpl-3.0")

SAMPLES = "samples.png"  # beside the card

Facts = dict[str, Any]  # facts about a network, by `networks.describe.describe`


def model_card(facts: Facts, licence: str, results: dict[str, float], location: str) -> str:
    """Return the card as markdown.

    Args:
        facts: facts about the network.
        licence: name of the licence, in words.
        results: values by metric and quality.
        location: destination of the network: hf://owner/name, or a folder.
    """
    sections = [
        _front_matter(facts, licence),
        f"# {_title(facts, location)}",
        f"![Images of this network]({SAMPLES})",
        _about(facts, licence),
        "## How to use",
        _usage(facts, location),
        "## Intended use and limits",
        _limits(facts),
        "## Results",
        _results(results),
        "## Architecture",
        _architecture(facts),
        "## File",
        f"`{CANONICAL}`: {facts['bytes']:,} bytes, SHA-256 `{facts['sha256']}`.",
    ]
    return "\n\n".join(sections) + "\n"


def _title(facts: Facts, location: str) -> str:
    """Return the name of the repository; for a folder, whose name says nothing, what the network makes."""
    if location.startswith(SCHEME):
        return Path(location).name
    side = facts["images"]["resolution"]
    kind = "QC-StyleGAN" if facts["quality"] else name_of_kind(facts["generator"]["kind"])
    subject = facts["header"].get("subject")
    return f"{kind}{f' of {subject}' if subject else ''}, {side}x{side}"


def _limits(facts: Facts) -> str:
    subject = facts["header"].get("subject") or "what its training images show"
    restores = " Restored photos hold plausible details, not those of the scene: do not identify anybody by them."
    return (
        f"For images of {subject}, in research and for pictures that nobody takes for photographs; other subjects "
        f"become {subject}, and what is rare in the training images is rare, or missing, here."
        + (restores if facts["quality"] else "")
    )


def licence_id(licence: str) -> str:
    """Return the hub's name of a licence; `other` where it has none.

    >>> licence_id("CC BY-NC 4.0 (AFHQ, NAVER Corp.)")
    'cc-by-nc-4.0'
    """
    text = re.sub(r"[\s_]+", "-", licence.strip().lower())
    match = re.match(r"cc-by(-nc)?(-sa|-nd)?-[234]\.[05]", text)
    if match:
        return match[0]
    return {"cc0": "cc0-1.0"}.get(text, text if text in _KNOWN else "other")


def _front_matter(facts: Facts, licence: str) -> str:
    name = licence_id(licence)
    lines = ["---", f"license: {name}"]
    if name == "other":
        lines.append(f"license_name: {_quote(licence)}")
    tags = ["image-generation", "stylegan2", *(["qc-stylegan", "image-restoration"] if facts["quality"] else [])]
    return "\n".join([*lines, "library_name: qc-stylegan", "tags:", *(f"- {tag}" for tag in tags), "---"])


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _about(facts: Facts, licence: str) -> str:
    header, images, quality = facts["header"], facts["images"], facts["quality"]
    side = images["resolution"]
    kind = name_of_kind(facts["generator"]["kind"])
    what = f"{kind} generator"
    if quality:
        base = "QC-StyleGAN" if kind == "StyleGAN2" else f"quality-controllable {kind}"
        what = f"{base} generator with a quality code of {quality['q_dim']} numbers ({quality['variant']} variant)"
    data = header.get("data") or {}
    count = f", {data['images']:,} images" if isinstance(data.get("images"), int) else ""
    lines = [
        f"A {what} of {side}x{side} images with {counted(images['channels'], 'channel')}.",
        f"- training: {header.get('kimg', 'an unknown number of')} kimg",
        f"- data: {data.get('name', 'not stated')}{count}; licence: {licence}",
        f"- preprocessing: {header.get('preprocessing', 'not stated')}",
    ]
    if header.get("degradation"):
        lines.append(f"- degradations of the training images: {header['degradation']}")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _usage(facts: Facts, location: str) -> str:
    quality = " --quality=random" if facts["quality"] else ""
    network = location if location.startswith(SCHEME) else CANONICAL
    restore = f"\n    qc-stylegan restore --network={network} -i photos -o restored" if facts["quality"] else ""
    return (
        "By the program QC-StyleGAN, after the paper of that name (Nguyen et al., NeurIPS 2022):\n\n"
        f"    qc-stylegan generate --network={network} --seeds=0-7{quality} --outdir=out{restore}"
    )


def _results(results: dict[str, float]) -> str:
    if not results:
        return "Not measured."
    rows = [f"| {name} | {value:.5g} |" for name, value in sorted(results.items())]
    return "\n".join(["| metric and quality | value |", "|---|---|", *rows])


def _architecture(facts: Facts) -> str:
    columns = ["block", "resolution", "channels", "layers", "parameters", "dtype"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in facts["architecture"]:
        cells = [f"{row[name]:,}" if isinstance(row[name], int) else row[name] or "-" for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{facts['generator']['parameters']:,} parameters in all."])
