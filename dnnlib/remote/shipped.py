"""Networks that come with the program, by short names such as `cats`."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "pretrained"

# Name -> file in FOLDER.
SHIPPED = {
    "cats": "afhqcat128-qc.safetensors",
    "cats-base": "afhqcat128-base.safetensors",
    "cats-encoder": "afhqcat128-encoder.safetensors",
    "cats64": "afhqcat64-qc.safetensors",
    "cats64-base": "afhqcat64-base.safetensors",
    "cats64-encoder": "afhqcat64-encoder.safetensors",
    "cats64-creps": "afhqcat64-creps.safetensors",
}


def shipped_file(name: str) -> Path | None:
    """Return the file of a network's name; None for any other text, and for a file of that name at hand."""
    if name not in SHIPPED or Path(name).exists():
        return None
    return FOLDER / SHIPPED[name]


def looks_like_a_name(text: str) -> bool:
    """Whether a text is a word, such as a network's name, rather than the path of a file."""
    return not Path(text).exists() and not Path(text).suffix and len(Path(text).parts) == 1
