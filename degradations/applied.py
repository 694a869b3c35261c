"""Record of one applied degradation."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Applied:
    """One primitive applied to an image; `apply_primitive(image, name, rng, **parameters)` repeats it.

    Attributes:
        family: family of the primitive, "blur", "noise" or "compression".
        name: name of the primitive, such as "motion_blur".
        parameters: parameters of the primitive by name, numbers and words that JSON can hold.
    """

    family: str
    name: str
    parameters: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the record as a dict for `json.dumps`."""
        return {"family": self.family, "name": self.name, "parameters": dict(self.parameters)}
