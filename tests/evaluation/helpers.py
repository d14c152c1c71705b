"""Rows and evaluations for the tests of reports."""

from pathlib import Path

import numpy as np

from frih.metrics import Row
from frih.tools.report import Thumbnails, write_report


def row(subset="A", name="x.jpg", real="x.jpg", fg=0.1, submasks=3, mse=1.0, psnr=30.0, fmse=10.0, **more) -> Row:
    return Row(subset, name, real, fg, submasks, {"mse": mse, "psnr": psnr, "fmse": fmse, **more})


def random_rows(count=24, *, seed=0, gain=3.0, subsets=("A", "B")) -> list[Row]:
    """Three composites of each photo."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        before, better = rng.uniform(20, 40), rng.normal(gain, 1)
        scores = {"input_mse": 60.0, "input_psnr": before, "input_fmse": 500.0 + i}
        rows.append(
            row(
                subsets[i % len(subsets)],
                f"{i:03d} #1_{i}.jpg",
                f"{i // 6}.jpg",
                fg=0.01 + 0.9 * i / count,
                submasks=1 + i % 4,
                mse=20.0 + i,
                psnr=before + better,
                fmse=300.0 + 2 * i,
                **scores,
            )
        )
    return rows


def make_evaluation(folder: Path, rows, *, images=True, protocol="idih", size=256) -> Path:
    if images:
        for number, one in enumerate(rows):
            Thumbnails(folder).add(one.subset, one.name, stages(number))
    write_report(folder, rows, protocol, about={"size": size})
    return folder


def stages(seed=0, *, side=32, final="refined") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.uint8)
    mask[4:20, 6:20] = 255
    images = {name: rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for name in ("composite", final, "real")}
    return {**images, "mask": mask, "submasks": np.repeat(mask[..., None] // 3, 3, axis=2)}
