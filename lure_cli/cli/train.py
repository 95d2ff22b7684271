"""`lure train stage1` and `lure train stage2`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import emit, note
from lure_cli.config import TrainConfig

train = typer.Typer(
    help="Train a model: stage1 learns the latent space from restoration data, stage2 to fuse inside it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_CONFIG = typer.Option(help="TOML file, or a shipped preset: cpu (the default) or gpu.")
_DATA = typer.Option(help="Data folder; the training guide shows its layout.")
_OUT = typer.Option(help="Folder for checkpoints and log.")
_INIT = typer.Option(help="Weights to start from; stage2 needs those of stage1.")
_STEPS = typer.Option(help="Number of steps.")
_MINUTES = typer.Option(help="Time of training, instead of a number of steps.")
_SEED = typer.Option(help="Seed of everything random.")
_DEVICE = typer.Option(help="auto, cpu, cuda or mps.")
_SET = typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the configuration; may be repeated.")
_RESUME = typer.Option("--resume", help="Go on from the last checkpoint in --out.")
_QUIET = typer.Option("-q", "--quiet", help="No progress.")


def _add_stage(stage: int, text: str) -> None:
    """One subcommand a stage; both take the same options."""

    @train.command(f"stage{stage}", help=text)
    def _(
        config: Annotated[str | None, _CONFIG] = None,
        data: Annotated[str | None, _DATA] = None,
        out: Annotated[str | None, _OUT] = None,
        init: Annotated[str | None, _INIT] = None,
        steps: Annotated[int | None, _STEPS] = None,
        minutes: Annotated[float | None, _MINUTES] = None,
        seed: Annotated[int | None, _SEED] = None,
        device: Annotated[str | None, _DEVICE] = None,
        settings: Annotated[list[str] | None, _SET] = None,
        resume: Annotated[bool, _RESUME] = False,
        quiet: Annotated[bool, _QUIET] = False,
    ) -> None:
        flags = {"data": data, "out": out, "init": init, "steps": steps, "minutes": minutes}
        flags |= {"seed": seed, "device": device}
        _train(stage, config, flags, settings or [], resume, quiet)


_add_stage(1, "Learn the unified latent space: restore single images, told by text.")
_add_stage(2, "Learn to fuse inside the latent space, from clean pairs alone; encoders and text stay frozen.")


def _train(
    stage: int, config: str | None, flags: dict[str, Any], settings: list[str], resume: bool, quiet: bool
) -> None:
    from tqdm import tqdm

    from lure_cli.tasks.train.config import resolve_config
    from lure_cli.tasks.train.log import Record
    from lure_cli.tasks.train.trainer import Trainer

    cfg = resolve_config(stage, config, flags, settings)
    trainer = Trainer(cfg, resume)
    quiet = quiet or not trainer.group.main
    if not quiet:
        processes = f" in {trainer.group.size} processes" if trainer.group.size > 1 else ""
        number = "bf16" if trainer.amp else "fp32"
        note(f"stage {stage}: {trainer.model.cfg.name} on {trainer.device}{processes}, {number}, {_length(cfg)}")
        note(f"sets: {', '.join(trainer.sets)}")
    # By steps the bar counts those; by time, seconds.
    seconds = round(60 * cfg.minutes)
    done = round(trainer.seconds) if seconds else trainer.step
    unit = "s" if seconds else "step"
    with tqdm(total=seconds or cfg.steps, initial=done, disable=quiet, unit=unit) as bar, interruptible() as stop:

        def show(record: Record) -> None:
            bar.update((min(seconds, round(trainer.seconds)) if seconds else record["step"]) - bar.n)
            left = bar.format_interval(record["seconds_left"])
            bar.set_postfix(loss=record.get("loss"), skipped=record["skipped"], step=record["step"], left=left)

        trainer.run(show, stop=stop, notify=(lambda _: None) if quiet else note)
        trainer.group.leave()
    if stop() and not trainer.finished:
        if trainer.group.main:
            at = f"at step {trainer.step} of {cfg.steps}"
            if seconds:
                at = f"after {trainer.seconds / 60:.1f} of {cfg.minutes:g} minutes, step {trainer.step}"
            note(f"interrupted {at}: all is saved; --resume goes on from here")
        raise typer.Exit(stop.code)
    if trainer.exhausted and not quiet:
        since, best = trainer.progress.since, trainer.progress.step
        note(f"stopped early: the last {since} validations were no better than the one at step {best}")
    if trainer.group.main:
        emit(str(trainer.out / "weights.safetensors"))


def _length(cfg: TrainConfig) -> str:
    return f"{cfg.minutes:g} minutes" if cfg.minutes else f"{cfg.steps} steps"
