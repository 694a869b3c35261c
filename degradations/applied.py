"""The record of one degradation."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Applied:
    """What was done to an image: `apply_primitive(image, name, rng, **parameters)` does it again.

    Attributes:
        family: "blur", "noise" or "compression".
        name: the primitive's name, such as "motion_blur".
        parameters: numbers and words that JSON can hold.
    """

    family: str
    name: str
    parameters: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the record as a dictionary that `json.dumps` takes."""
        return {"family": self.family, "name": self.name, "parameters": dict(self.parameters)}
