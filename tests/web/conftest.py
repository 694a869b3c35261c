"""What the tests of the page share: a studio with a tiny network, and photos."""

import numpy as np
import PIL.Image
import pytest


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    """Return a function that writes a photo of coarse colours, 40x24 pixels, by its seed."""
    folder = tmp_path_factory.mktemp("photos")

    def write(seed=0, name="a cat.png", size=(40, 24)):
        path = folder / str(seed) / name
        path.parent.mkdir(exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (3, 5, 3), np.uint8)
        PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def studio(network_files):
    """Return a studio of the tiny QC network, with the encoder that finds `w` and `q`."""
    from inversion.commands.options import InverterFlags
    from web.studio import Studio

    encoder = network_files / "encoders" / "encoder.safetensors"
    return Studio(InverterFlags(str(network_files / "qc.safetensors"), str(encoder), device="cpu"), sefa=2)
