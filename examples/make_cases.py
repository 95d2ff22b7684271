"""Make a folder of degraded cases for `lure bench fusion` from clean, registered pairs.

    python examples/make_cases.py --ir IR --vis VIS --out CASES [--cases vis_haze,ir_noise] [--seed 0]

Writes CASES/<case>/{ir,vi}/<name>.png and CASES/cases.json, which maps each case to its prompt. The degradations are
those that the models are trained with, so the cases show what a model has learnt, not how it does on foreign damage:
for a fair comparison of methods, bring cases of your own in the same layout. The same pairs and seed give the same
cases.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path

import torch

from lure_cli.core.images.picture import read_image, write_image
from lure_cli.core.training.degradations import degrade
from lure_cli.tasks.paths.pairing import find_pairs

CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {  # case -> visible, infrared, prompt
    "clean": ((), (), ""),
    "vis_haze": (("haze",), (), "haze"),
    "vis_rain": (("rain",), (), "rain"),
    "vis_lowlight": (("lowlight",), (), "low light"),
    "vis_overexposure": (("overexposure",), (), "over-exposure"),
    "vis_noise": (("noise",), (), "noise in the visible image"),
    "vis_blur": (("blur",), (), "blur in the visible image"),
    "ir_lowcontrast": ((), ("lowcontrast",), "low contrast in the infrared image"),
    "ir_noise": ((), ("noise",), "noise in the infrared image"),
    "ir_stripe": ((), ("stripe",), "stripes in the infrared image"),
    "ir_blur": ((), ("blur",), "blur in the infrared image"),
    "haze+ir_stripe": (("haze",), ("stripe",), "haze in the visible image and stripes in the infrared image"),
}


def main() -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ir", type=Path, required=True)
    parser.add_argument("--vis", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chosen = args.cases.split(",")
    for case in chosen:
        vis, ir, _ = CASES[case]
        for pair in find_pairs(args.ir, args.vis, args.out / case)[0]:
            for side, modality, path, names in (("vi", "vis", pair.vis, vis), ("ir", "ir", pair.ir, ir)):
                seed = zlib.crc32(f"{args.seed}/{case}/{side}/{pair.name}".encode())
                x = torch.from_numpy(read_image(path, channels=3 if side == "vi" else 1)).permute(2, 0, 1)
                y = degrade(x, names, modality, torch.Generator().manual_seed(seed))
                write_image(args.out / case / side / f"{pair.name}.png", y.permute(1, 2, 0).numpy())
    (args.out / "cases.json").write_text(json.dumps({case: CASES[case][2] for case in chosen}, indent=1))


if __name__ == "__main__":
    main()
