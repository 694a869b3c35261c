"""Machine code of a kernel in numbers, from what `nvdisasm` prints of it."""

import re
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dnnlib.errors import UserError

_PACKAGES = Path(sysconfig.get_path("purelib"))
# Folders in which packages bring it.
_PLACES = ("nvidia/cu13/bin", "nvidia/cuda_nvdisasm/bin", "triton/backends/nvidia/bin")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ +)?([A-Z]\w*)([^;]*);", re.MULTILINE)
_REGISTER = re.compile(r"\bR(\d+)\b(\.64)?")
_SPILLS = ("STL", "LDL")  # to local memory, and from there


@dataclass(frozen=True)
class MachineCode:
    """A compiled kernel in numbers.

    Attributes:
        instructions: how many there are, branches that are rarely taken included.
        registers: registers of a thread.
        stack: bytes of a thread in local memory.
        spills: instructions that move registers to local memory or back.
        shared: bytes of a block in shared memory.
        branches: jumps, of which each costs those that wait for others.
        loads: loads from global memory.
        loads_together: loads before the first instruction that needs what one of them brings, as the code lies.
    """

    instructions: int
    registers: int
    stack: int
    spills: int
    shared: int
    branches: int
    loads: int
    loads_together: int


def disassembler() -> str | None:
    """Return the path of `nvdisasm`: of a CUDA toolkit, or of a Python package; None where there is neither."""
    folders = (str(_PACKAGES / place) for place in _PLACES)
    paths = (shutil.which("nvdisasm", path=path) for path in (None, *folders))
    return next((path for path in paths if path is not None), None)


def examine(code: bytes) -> MachineCode:
    """Return the numbers of machine code that holds one kernel; raise UserError without a disassembler."""
    program = disassembler()
    if program is None:
        raise UserError("nvdisasm is not found: install the package nvidia-cuda-nvdisasm, or a CUDA toolkit")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(code)
        return parse(subprocess.run([program, path], check=True, capture_output=True, text=True).stdout)


def parse(text: str) -> MachineCode:
    """Return the numbers of a kernel from the output of `nvdisasm`."""
    instructions = [(match[1], match[2]) for match in _INSTRUCTION.finditer(text) if match[1] != "NOP"]
    names = [name for name, _ in instructions]
    shared = re.search(r"^\.nv\.shared\.(?!reserved).*:\s+\.zero\s+(\d+)", text, re.MULTILINE)
    return MachineCode(
        instructions=len(names),
        registers=_attribute(text, "REGCOUNT"),
        stack=_attribute(text, "FRAME_SIZE"),
        spills=sum(name in _SPILLS for name in names),
        shared=int(shared[1]) if shared else 0,
        branches=names.count("BRA") - 1,  # an endless loop ends the code
        loads=names.count("LDG"),
        loads_together=_loads_together(instructions),
    )


def _attribute(text: str, name: str) -> int:
    """Return the value of an attribute of the only kernel, which follows the kernel's name."""
    found = re.search(rf"EIATTR_{name}\n(?:.*\n)+?.*\.word\s+index@.*\n.*\.word\s+(0x[0-9a-f]+)", text)
    assert found is not None, f"nvdisasm tells {name} of every kernel"
    return int(found[1], 16)


def _loads_together(instructions: list[tuple[str, str]]) -> int:
    """Count the loads until one's result is used; what a load is given is used as well."""
    waiting: set[int] = set()
    count = 0
    for name, operands in instructions:
        target, _, sources = operands.partition(",")
        if waiting & (_registers(sources) if name == "LDG" else _registers(operands)):
            break
        if name == "LDG":
            first = min(_registers(target))
            waiting |= set(range(first, first + _width(target)))
            count += 1
    return count


def _registers(operands: str) -> set[int]:
    """Return the numbers of the registers in an instruction's operands."""
    found: set[int] = set()
    for number, is_pair in _REGISTER.findall(operands):
        found |= {int(number), int(number) + 1} if is_pair else {int(number)}
    return found


def _width(target: str) -> int:
    """Return how many registers a load writes, from its suffixes, as in `.E.128 R4`."""
    return 4 if ".128" in target else 2 if ".64" in target else 1
