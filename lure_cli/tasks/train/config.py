"""The configuration of a training run: where it comes from, and what it may not say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lure_cli.config import MODELS, TrainConfig, from_mapping, load_toml, nearest, parse_setting
from lure_cli.core.files import PACKAGE
from lure_cli.errors import LureError

PRESETS = ("cpu", "gpu")
"""Names of the shipped presets, each for both stages."""


def resolve_config(
    stage: int, config: str | Path | None = None, flags: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> TrainConfig:
    """The configuration of a run: a TOML file or a shipped preset, then flags, then `key=value`.

    Args:
        stage: 1 or 2; a file for the other stage is refused.
        config: TOML file with keys of `TrainConfig`, or one of `PRESETS`; None: the first of those.
        flags: values that replace the file's; None is no value.
        settings: `key=value` strings, value in TOML syntax, that replace both.

    Raises:
        LureError: unreadable file, unknown key (with the nearest ones), wrong type, wrong stage.
    """
    path = _config_file(stage, config)
    values = {"stage": stage} | load_toml(path)
    if values["stage"] != stage:
        raise LureError(f"{path}: is for stage {values['stage']}", f"use `lure train stage{values['stage']}`")
    cfg = from_mapping(TrainConfig, values, str(path))
    overrides = {k: v for k, v in (flags or {}).items() if v is not None} | dict(map(parse_setting, settings))
    if "steps" in overrides and "minutes" not in overrides:
        overrides["minutes"] = 0.0  # whoever asks for steps wants them
    return from_mapping(TrainConfig, dataclasses.asdict(cfg) | overrides, "--set")


def _config_file(stage: int, config: str | Path | None) -> Path:
    """A file of one's own, or that of a shipped preset."""
    name = PRESETS[0] if config is None else str(config)
    path = Path(name)
    if name in PRESETS and (config is None or not path.is_file()):
        return PACKAGE / "presets" / (f"stage{stage}.toml" if name == PRESETS[0] else f"stage{stage}-{name}.toml")
    if not path.suffix and not path.exists():
        raise LureError(f"config '{name}': neither a file nor a preset", f"presets: {', '.join(PRESETS)}")
    return path


def check_config(cfg: TrainConfig) -> None:
    """Refuse values that no run can have.

    Raises:
        LureError: naming the first of them.
    """
    if cfg.stage not in (1, 2):
        raise LureError(f"stage {cfg.stage} does not exist", "stage is 1 or 2")
    if not cfg.out:
        raise LureError("no output folder", "give it with --out")
    if cfg.model not in MODELS:
        raise LureError(f"model '{cfg.model}' is not known", f"known: {nearest(cfg.model, list(MODELS))}")
    for key, valid, rule in (
        ("holdout", 0 <= cfg.holdout < 1, "0 (none) or a share below 1"),
        ("validate_every", cfg.validate_every >= 1, "a number of steps, 1 or more"),
        ("validation_crops", cfg.validation_crops >= 1, "1 or more"),
        ("crop", not (cfg.stage == 2 and cfg.w_vif and cfg.crop < 41), "41 or more, or w_vif = 0"),
        ("workers", cfg.workers >= 0, "0 (a thread of the training process) or more"),
        ("minutes", cfg.minutes >= 0, "0 (train by steps) or more"),
        ("jpeg_ratio", cfg.eight_bits or not cfg.jpeg_ratio, "0, or eight_bits = true, which it needs"),
        ("patience", cfg.patience >= 0, "0 (never stop early) or more"),
    ):
        if not valid:
            raise LureError(f"{key} = {getattr(cfg, key)}: cannot be", f"give {rule}")
