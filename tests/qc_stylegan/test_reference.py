"""The reference page is what the source says."""

from dataclasses import dataclass, field

from qc_stylegan import reference
from qc_stylegan.program import COMMANDS


@dataclass(frozen=True)
class Inner:
    width: int = 3  # of the part


@dataclass(frozen=True)
class Outer:
    """Fields with comments behind and above."""

    name: str
    # What stands above,
    # in two lines.
    above: float = 0.5
    inner: Inner = field(default_factory=Inner)
    optional: Inner | None = None  # None: without


def test_the_page_is_made_from_the_source_of_today():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m qc_stylegan.reference --write"


def test_every_command_and_field_is_there():
    page = reference.page()
    assert all(f"### qc-stylegan {name}\n" in page for name in COMMANDS if name not in ("hub",))
    assert "### qc-stylegan hub push\n" in page and "### qc-stylegan metrics table1\n" in page
    assert list(reference._leaves(Outer, "")) == [
        ("name", "", ""),
        ("above", "0.5", "What stands above, in two lines."),
        ("inner.width", "3", "of the part"),
        ("optional", "None", "None: without"),
        ("optional.width", "3", "of the part"),
    ]
