"""The command `qc-stylegan`: the scripts and `python -m` modules of the program as one."""

from qc_stylegan.place import make_importable

make_importable()

from dnnlib import commands  # noqa: E402 - found by what stands above
from dnnlib.running.wording import call_as  # noqa: E402
from invert import COMMANDS as OF_PHOTOS  # noqa: E402

# Where a command is, and what it does.
COMMANDS = {
    "train": ("train:main", "Train a StyleGAN2-ADA, or a QC-StyleGAN from one."),
    "generate": ("generate:main", "Make images from a network: seeds and quality codes to images, figures, videos."),
    **OF_PHOTOS,
    "web": ("app:main", "Serve a web page to restore and edit photos, and to make images from seeds."),
    "metrics": ("calc_metrics:main", "Measure networks and images: FID and others, tables of the paper, pairs."),
    "dataset": ("dataset_tool:convert", "Make a dataset archive from a folder, a zip, or from nothing."),
    "degradations": ("degradations.__main__:main", "Degrade one photo by a recipe."),
    "inspect": ("exchange.inspect:main", "Show a network file, the networks of a folder, or its runs."),
    "plot": ("training.plot.__main__:main", "Draw the curves of runs, several beside each other."),
    "import": ("exchange.import_network:main", "Import networks and encoders that others published."),
    "export": (
        "exchange.export_network:main",
        "Write a network as ONNX, torch.export or weights.",
    ),
    "average": ("exchange.average:main", "Write the mean of networks, as of snapshots of one run."),
    "graft": ("exchange.graft:main", "Give a base network that was trained on the quality code of another."),
    "slim": ("exchange.slim:main", "Write a network or an encoder with half of its bytes."),
    "hub": ("exchange.hub:main", "Publish a network with a model card, or fetch one."),
    "doctor": ("torch_utils.doctor:main", "Show what is installed, what is missing, and which path each op takes."),
}

# How texts call the scripts, and how they are called here.
CALLS = {
    "python invert.py": "qc-stylegan",
    "python train.py": "qc-stylegan train",
    "python generate.py": "qc-stylegan generate",
    "python app.py": "qc-stylegan web",
    "python calc_metrics.py": "qc-stylegan metrics",
    "python dataset_tool.py": "qc-stylegan dataset",
    "python -m degradations": "qc-stylegan degradations",
    "python -m exchange.inspect": "qc-stylegan inspect",
    "python -m training.plot": "qc-stylegan plot",
    "python -m exchange.import_network": "qc-stylegan import",
    "python -m exchange.export_network": "qc-stylegan export",
    "python -m exchange.average": "qc-stylegan average",
    "python -m exchange.graft": "qc-stylegan graft",
    "python -m exchange.slim": "qc-stylegan slim",
    "python -m exchange.hub": "qc-stylegan hub",
    "python -m torch_utils.doctor": "qc-stylegan doctor",
}


@commands.group(targets=COMMANDS)
@commands.version_option
def program() -> None:
    """QC-StyleGAN: generate, restore and edit images at any quality.

    Each command explains itself: qc-stylegan restore --help. Networks that come with the program have names, such as
    --network=cats.
    """


def main() -> None:
    """Run the command line."""
    call_as(CALLS)
    program.main(prog_name="qc-stylegan")


if __name__ == "__main__":
    main()
