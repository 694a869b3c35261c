"""Compile the CUDA kernels and print what became of them; needs no GPU.

python -m benchmarks.kernels [--arch sm_90] [--json FILE]
"""

import dataclasses
import json
from pathlib import Path

import click

from benchmarks.kernels.machine_code import MachineCode, examine
from benchmarks.kernels.specialisations import Specialisation, specialisations
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS
from torch_utils.cuda.compiler import compile_kernel, version

COLUMNS = {"instructions": 14, "an output": 11, "registers": 11, "spills": 8, "stack": 7, "shared": 8, "branches": 10}


@click.command(context_settings=SETTINGS)
@click.option("--arch", default="sm_90", help="Architecture to compile for: sm_XX.")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(arch: str, json_path: str | None) -> None:
    """Print instructions, registers, memory and loads of each specialisation that the networks use."""
    if not arch.startswith("sm_"):
        raise UserError(f"--arch={arch} has no machine code to count; give an architecture like sm_90")
    click.echo(f"NVRTC {version()}, {arch}")
    click.echo(
        f"{'':<16}{'type':>6}{'layout':>8}"
        + "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
        + "   loads"
    )
    records = []
    for each in specialisations():
        code = examine(compile_kernel(each.kernel, arch))
        click.echo(_row(each, code))
        names = {"name": each.name, "dtype": each.dtype, "layout": each.layout, "outputs": each.outputs}
        records.append(names | dataclasses.asdict(code))
    if json_path:
        Path(json_path).write_text(json.dumps({"nvrtc": version(), "arch": arch, "records": records}, indent=2))


def _row(each: Specialisation, code: MachineCode) -> str:
    share = "" if each.outputs is None else f"{code.instructions / each.outputs:.1f}"
    numbers = (code.instructions, share, code.registers, code.spills, code.stack, code.shared, code.branches)
    cells = (f"{number:>{width}}" for number, width in zip(numbers, COLUMNS.values(), strict=True))
    loads = f"{code.loads_together} of {code.loads}"
    return f"{each.name:<16}{each.dtype:>6}{each.layout:>8}{''.join(cells)}{loads:>11}"


if __name__ == "__main__":
    main()
