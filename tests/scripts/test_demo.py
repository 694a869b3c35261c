"""The demo's own commands, end to end at 16x16."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[2]


def test_make_demo(tmp_path):
    demo = tmp_path / "demo"
    settings = {
        "READY": "",
        "PY": sys.executable,
        "DEMO": str(demo),
        "DEMO_SIZE": "16",
        "DEMO_IMAGES": "48",
        "DEMO_BASE_KIMG": "0.05",
        "DEMO_QC_KIMG": "0.05",
    }
    command = ["make", "demo", *(f"{name}={value}" for name, value in settings.items())]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    grid = cv2.imread(str(demo / "samples" / "grid.png"))
    assert grid is not None and grid.std() > 5
    assert len(list((demo / "samples").glob("seed*.png"))) == 8 * 6  # each seed sharp and through five codes
    for name in ("base", "qc"):
        written = {path.name for path in (demo / name).iterdir()}
        expected = {"config.json", "log.txt", "stats.jsonl", "reals.png", "fakes000000.png", "training-state.pt"}
        assert expected <= written
        assert any(file.startswith("events.out.tfevents") for file in written)
        assert json.loads((demo / name / "config.json").read_text())["mode"] == name
    assert {"reals-degraded.png", "fakes000000-degraded.png"} <= {path.name for path in (demo / "qc").iterdir()}
