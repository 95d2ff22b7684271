"""Configuration: frozen dataclasses, read from TOML; a leaf, imported by every layer."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lure_cli.errors import LureError

T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and ablation switches of the model. Tuples run from the finest scale to the coarsest."""

    name: str = "lure-small"
    widths: tuple[int, ...] = (32, 64, 128)  # channels per scale; the finest scale is half the image size
    encoder_blocks: tuple[int, ...] = (1, 1, 2)  # blocks per scale on the encoder's way down
    refine_blocks: tuple[int, ...] = (1, 1)  # blocks per scale on its way back up
    decoder_blocks: tuple[int, ...] = (0, 0, 0)  # a linear decoder leaves all restoring to the encoders
    fusion_blocks: tuple[int, ...] = (1, 2, 2)
    expansions: tuple[int, ...] = (1, 4, 4)  # 1: dense 3x3 blocks; more: depthwise 3x3 and that much wider inside
    text_dim: int = 32  # D, length of a text vector
    condition_dim: int = 64  # K, length of the vector that text and image together hand to the layers
    text_guided_attention: bool = True  # ablation: off leaves the text only the blocks' gains
    inner_residual: bool = True  # ablation: off removes the path around the feature-mixing branch
    global_context: bool = True  # ablation: off hides the image as a whole from the condition
    tone: bool = False  # a brightness curve for the whole image before the layers; older files have none
    airlight: bool = False  # the visible's curve sees the colour of the haze's light; older files do not say so

    def __post_init__(self) -> None:
        """Refuse sizes that no model has, before memory is taken for them (the file that names them may be foreign).

        Raises:
            ValueError: with the key at fault.
        """
        scales = len(self.widths)
        for key, length, low, high in (
            ("widths", scales, 16, 4096),
            ("encoder_blocks", scales, 0, 64),
            ("refine_blocks", scales - 1, 0, 64),
            ("decoder_blocks", scales, 0, 64),
            ("fusion_blocks", scales, 0, 64),
            ("expansions", scales, 1, 16),
        ):
            values = getattr(self, key)
            if not (2 <= scales <= 6 and len(values) == length and all(low <= v <= high for v in values)):
                raise ValueError(f"{key} = {values}: expected {length} values from {low} to {high} for {scales} scales")
        for key in ("text_dim", "condition_dim"):
            if not 1 <= getattr(self, key) <= 4096:
                raise ValueError(f"{key} = {getattr(self, key)}: expected 1 to 4096")


SWITCHES = ("text_guided_attention", "inner_residual", "global_context", "tone", "airlight")
"""Ablation switches of the model; they are keys of `TrainConfig` as well."""

MODELS: dict[str, ModelConfig] = {
    "lure-small": ModelConfig(tone=True, airlight=True),
    "lure-base": ModelConfig(
        name="lure-base",
        widths=(64, 128, 256),
        encoder_blocks=(2, 4, 8),
        refine_blocks=(2, 2),
        decoder_blocks=(0, 0, 0),
        fusion_blocks=(2, 4, 4),
        expansions=(4, 4, 4),
        condition_dim=256,
        tone=True,
        airlight=True,
    ),
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Every key of the TOML file is a field here; what a field means stands beside it."""

    stage: int = 1  # 1: restoration into the latent space; 2: fusion inside it
    model: str = "lure-small"
    text_guided_attention: bool = True  # ablation switches of the model, as of ModelConfig; with init, its model's
    inner_residual: bool = True
    global_context: bool = True
    tone: bool = True  # added, as the identity, to a model that has none
    airlight: bool = True  # of the tone curve; a model that is trained without it sees it from here on
    data: str = ""  # root of the data folder
    exclude: tuple[str, ...] = ()  # names of sets that are never trained on
    out: str = ""  # folder of checkpoints and log
    init: str = ""  # weights to start from (stage II: the result of stage I)
    licence: str = "not stated"  # terms of the weights, written into their metadata
    seed: int = 0
    device: str = "auto"
    amp: bool = True  # bfloat16 autocast where the device has it natively
    text_encoder: str = "vocabulary"  # or "open_clip:MODEL/PRETRAINED", or "open_clip:FOLDER"
    threads: int = 0  # CPU threads per operation; 0: as many as torch chooses
    shards: int = 1  # parts of a batch computed side by side; on a CPU, threads = 1 and shards = cores is fastest
    workers: int = 0  # processes that draw batches, which are the same with any number; 0: a thread beside the training
    steps: int = 20_000
    minutes: float = 0.0  # training time of the whole run, resumed or not, whatever `steps` says; 0: by steps
    batch_vis: int = 6  # stage I: visible crops a step; stage II: pairs a step
    batch_ir: int = 4  # stage I: infrared crops a step
    crop: int = 128
    lr: float = 1e-3
    warmup: int = 200  # steps
    weight_decay: float = 1e-4
    grad_clip: float = 1.0
    ema: float = 0.999
    checkpoint_minutes: float = 3.0
    log_every: int = 50  # steps
    cache_gib: float = 4.0  # decoded images kept in memory, shared by the workers (Linux)
    eight_bits: bool = False  # samples in 256 steps, as files have them; they travel to the device so
    tensorboard: bool = True  # event files beside the log
    snapshots: tuple[int, ...] = ()  # steps whose averaged weights are kept as step-00001000.safetensors; 0: untrained
    holdout: float = 0.05  # share of each train set that is kept for validation; 0: all is trained on
    validate_every: int = 500  # steps
    validation_crops: int = 8  # crops a task; in stage II 4 times as many pairs
    patience: int = 0  # validations without a new best after which training ends; 0: never
    # stage I
    train_decoder: bool = False  # it starts exact on clean latents; free, it restores unasked
    pseudo_degradation: bool = True  # ablation: x = y = clean with the pseudo prompt
    pseudo_ratio: float = 0.05  # share of such samples
    ignore_ratio: float = 0.01  # share of degraded samples that come with the pseudo prompt and stay as they are
    jpeg_ratio: float = 0.0  # (needs eight_bits) share of degraded visible crops out of a JPEG; of infrared ones half
    lamp_ratio: float = 0.0  # share of low light that is night: darker, but for what lamps light
    composite_ratio: float = 0.15  # share of degraded samples with several degradations
    together_ratio: float = 0.0  # share of those that are met together (haze and rain, stripes and noise); others: any
    partial_ratio: float = 0.25  # share of those whose prompt names only one: the other is to stay
    real_ratio: float = 0.3  # share of real pairs among the samples of a task that has some
    anchored: bool = True  # ablation: off lets the latents of clean images move during stage I
    wordings: int = 64  # texts for each set of degradations, where the text encoder reads texts; 0: always the same one
    light_ramp: int = 1_000  # steps until haze, light and contrast are drawn as often as they should be
    unified: bool = True  # ablation: L_unified
    balanced: bool = True  # ablation: off lets the tasks with the largest errors (light) dominate
    w_light: float = 0.15  # of tasks that change the light: their gradients have one sign all over, and drown others
    w_ssim: float = 0.2
    w_grad: float = 0.5
    w_level: float = 0.0  # of tasks that change the light: mean brightness of broad areas
    w_tone: float = 0.0  # of tasks that change the light: how far the tone curve alone is from the clean image
    w_content: float = 0.1  # content part of L_unified
    w_distribution: float = 0.02  # distribution part of L_unified
    # stage II
    intensity: str = "saliency"  # target of L_int: "saliency" or "maximum"
    w_int: float = 5.0
    w_fuse_grad: float = 10.0
    w_fuse_ssim: float = 0.5
    w_color: float = 10.0
    w_base: float = 0.0  # mean brightness of broad areas
    w_vif: float = 0.0  # (needs crops of 41 pixels) information of the sources that is lost
    vif_gain: float = 1.0  # contrast up to so many times a source's own counts as its information
    w_edge: float = 0.0  # edges of the sources that are lost
    w_keep: float = 10.0  # the decoder still gives back each single clean image


@dataclass(frozen=True)
class Provenance:
    """Where a weight file comes from; kept in its metadata."""

    stage: int = 0
    steps: int = 0
    seed: int = 0
    data: tuple[str, ...] = field(default=())
    revision: str = ""
    licence: str = ""
    parts: tuple[str, ...] = field(default=())  # of joined weights: where each part comes from
    degradations: tuple[str, ...] = field(default=())  # that were trained; kept beside the other fields in the metadata


def nearest(word: str, known: list[str]) -> str:
    """The known words most like `word`, as a phrase for a hint; all of them if none is alike."""
    return ", ".join(difflib.get_close_matches(word, known, n=3, cutoff=0.6) or sorted(known))


def from_mapping(cls: type[T], values: dict[str, Any], source: str) -> T:
    """Build a config dataclass, refusing unknown keys and wrong types.

    Args:
        cls: one of the dataclasses above.
        values: keys and values, as TOML or JSON gives them.
        source: what to name in an error (a file).

    Raises:
        LureError: an unknown key (the nearest ones are suggested) or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            raise LureError(f"{source}: unknown key '{key}'", f"did you mean: {nearest(key, names)}?")
        built[key] = _coerce(value, hints[key], f"{source}: key '{key}'")
    return cls(**built)


def _coerce(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_coerce(v, typing.get_args(hint)[0], where) for v in value)
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise LureError(f"{where} must be {name}, not {value!r}", "see the shipped presets for an example of each key")


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; LureError names the file and the fault."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise LureError(f"{path}: cannot be read ({e.strerror})", "name an existing TOML file") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise LureError(f"{path}: not valid TOML ({e})", "correct the line named") from e


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` from the command line, the value in TOML syntax (a bare word is a string)."""
    key, eq, raw = text.partition("=")
    if not eq or not key.strip():
        raise LureError(f"'{text}' is not key=value", "for example --set lr=5e-4")
    try:
        value = tomllib.loads(f"v = {raw}")["v"]
    except tomllib.TOMLDecodeError:
        value = raw
    return key.strip(), value
