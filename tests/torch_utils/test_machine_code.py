"""Machine code of the kernels: how it is counted, and what it may cost."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.kernels import __main__ as command
from benchmarks.kernels import machine_code
from benchmarks.kernels.specialisations import EPILOGUES, specialisations
from torch_utils.cuda import compiler
from torch_utils.cuda.compiler import KernelError, compile_kernel

LISTING = """
	//----- nvinfo : EIATTR_REGCOUNT
	.align		4
        /*0000*/ 	.byte	0x04, 0x2f
        /*0004*/ 	.word	index@(kernel)
        /*0008*/ 	.word	0x00000024

	//----- nvinfo : EIATTR_FRAME_SIZE
	.align		4
        /*0010*/ 	.word	index@(kernel)
        /*0014*/ 	.word	0x00000018

        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/                   LDG.E R8, desc[UR4][R10.64+0x4] ;
        /*0030*/                   STL [R1+0x8], R1 ;
        /*0040*/               @P1 FFMA R9, R7, R9, R9 ;
        /*0050*/                   LDG.E R12, desc[UR4][R2.64] ;
        /*0060*/                   EXIT ;
.L_x_1:
        /*0070*/                   BRA `(.L_x_1);
        /*0080*/                   NOP;
.nv.shared.kernel:
	.zero		15360
.nv.shared.reserved.0:
"""


def _missing():
    try:
        compiler.version()
    except KernelError as error:
        return str(error)
    return "" if machine_code.disassembler() else "nvdisasm is not installed"


needs_disassembler = pytest.mark.skipif(bool(_missing()), reason=_missing())


def test_a_listing_in_numbers():
    assert machine_code.parse(LISTING) == machine_code.MachineCode(
        instructions=8, registers=0x24, stack=0x18, spills=1, shared=15360, branches=0, loads=3, loads_together=2
    )


# Most instructions an output on sm_90. Multiplications alone are 9.5 (FIR), 3.5 (up 2) and 14 (down 2).
BOUNDS = {"FIR": 18.5, "up 2": 9.0, "down 2": 32.0}
USED = [each for each in specialisations() if each.layout == "nhwc" and each.name in BOUNDS]
CASES = [each for each in USED if each.name == "FIR" or each.dtype == "bf16"]


@needs_disassembler
@pytest.mark.parametrize("each", CASES, ids=[f"{each.name} {each.dtype}" for each in CASES])
def test_a_resampling_takes_few_instructions_and_no_spills(each, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    code = machine_code.examine(compile_kernel(each.kernel, "sm_90"))
    assert code.instructions / each.outputs <= BOUNDS[each.name]
    assert code.spills == code.stack == code.branches == code.shared == 0 and code.registers <= 128
    assert code.loads_together >= 8  # two rows, which wait together


@needs_disassembler
@pytest.mark.parametrize("name", EPILOGUES)
def test_an_epilogue_spills_nothing_and_loads_ahead(name, tmp_path_factory, monkeypatch):
    """Its registers leave room for two blocks of a multiprocessor, the second derivative's too."""
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "kernels"))
    [each] = [each for each in specialisations() if (each.name, each.dtype, each.layout) == (name, "bf16", "nhwc")]
    code = machine_code.examine(compile_kernel(each.kernel, "sm_90"))
    assert code.instructions / each.outputs <= 40 and code.spills == code.stack == 0
    assert code.registers <= 96 and code.branches <= 6


def test_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "compile_kernel", lambda kernel, arch: b"code")
    monkeypatch.setattr(command, "version", lambda: "13.0")
    monkeypatch.setattr(command, "examine", lambda code: machine_code.parse(LISTING))
    path = tmp_path / "numbers.json"
    result = CliRunner().invoke(command.main, [f"--json={path}"], catch_exceptions=False)
    assert result.exit_code == 0 and "2 of 3" in result.output
    records = json.loads(path.read_text())["records"]
    assert {record["name"] for record in records} >= {
        "FIR",
        "FIR, any taps",
        "bias_act",
        "epilogue, 2nd",
        "12 + 12 up 2",
    }
    assert all(record["registers"] == 36 for record in records)


def test_refusals(monkeypatch):
    result = CliRunner().invoke(command.main, ["--arch=compute_90"])
    assert result.exit_code != 0 and "--arch=compute_90 has no machine code to count; give" in result.output
    monkeypatch.setattr(command, "compile_kernel", lambda kernel, arch: b"code")
    monkeypatch.setattr(command, "version", lambda: "13.0")
    monkeypatch.setattr(machine_code, "disassembler", lambda: None)
    result = CliRunner().invoke(command.main, [])
    assert result.exit_code != 0 and "install the package nvidia-cuda-nvdisasm" in result.output
