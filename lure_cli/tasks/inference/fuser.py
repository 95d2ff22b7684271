"""The `Fuser`: a loaded model that fuses pairs of images, or restores single ones; for Python and for `lure fuse`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.engine.tiling import fuse_tiled, restore_tiled, tile_side
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.core.registration.transform_file import read_transform
from lure_cli.core.text.vocabulary import Prompt, known_names
from lure_cli.errors import LureError
from lure_cli.tasks.inference.loading import load
from lure_cli.tasks.inference.pairs import name_of, read_pair
from lure_cli.tasks.inference.provenance import without_infrared
from lure_cli.tasks.inference.request import (
    ModelOutput,
    Request,
    check_known,
    left_out,
    no_provenance,
    request_of,
    request_of_one,
    with_findings,
)
from lure_cli.tasks.inference.stream import CHECK_EVERY, fuse_stream, load_pairs
from lure_cli.tasks.inference.tensors import to_batch, to_pixels
from lure_cli.tasks.weights.find import DEFAULT

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.config import Provenance
    from lure_cli.core.engine.base import Engine
    from lure_cli.core.engine.tiling import TileSize
    from lure_cli.core.pixels import Modality
    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.text.vocabulary import Finding
    from lure_cli.tasks.inference.request import Findings, Source


class Fuser:
    """A loaded model, ready to fuse pairs or to restore single images.

    >>> fuser = Fuser.from_pretrained("lure-small")
    >>> fused = fuser("ir.png", "vis.png", prompt="haze")  # (H, W, 3) float32 in [0, 1]

    One fuser may serve several threads at a time: fusing changes nothing in it.
    """

    def __init__(
        self,
        engine: Engine,
        provenance: Provenance,
        tile: TileSize = "auto",
        overlap: int | None = None,
        rig: Alignment | str | Path | None = None,
    ) -> None:
        self.engine, self.provenance = engine, provenance
        self.tile, self.overlap = tile, overlap
        self.rig = read_transform(Path(rig)) if isinstance(rig, (str, Path)) else rig

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = DEFAULT,
        device: str = "auto",
        dtype: str = "auto",
        tile: TileSize = "auto",
        overlap: int | None = None,
        threads: int | None = None,
        compiled: bool = False,
        backend: str = "auto",
        rig: Alignment | str | Path | None = None,
    ) -> Fuser:
        """Load weights.

        Args:
            weights: a shipped name (`lure-small`, `lure-base`), a .safetensors file, a .onnx file that
                `lure export onnx` wrote, or `owner/repo[@revision]` on the Hugging Face Hub, downloaded if it is not
                in the cache, and checked against its record.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            dtype: `auto`, `fp32`, `bf16` or `fp16`; what the network computes in. `auto` takes a short type only where
                the device has it in hardware and the picture agrees with that of fp32 by at least 45 dB.
            tile: side of the tiles in pixels in which large images are fused; 0: always in one piece; `auto`: tiles of
                1024 from 1.6 megapixels on. The picture is the same, the memory less.
            overlap: pixels that a tile sees beyond its edges; None: as many as leave no seam.
            threads: how many CPU threads compute (torch: in the whole process); None: as many as before, or one a core.
            compiled: compile the network with `torch.compile` at the first picture, and again for another kind of size;
                takes a minute and needs a C++ compiler on the CPU.
            backend: `torch`, `onnx` (onnxruntime, for .onnx files and for `lure-small`, of which one ships), or `auto`:
                as the file wants it; without torch `onnx`. That a program is done soon is not known here, and batches
                and maps are torch's; so it is the program that says `onnx`, which starts in a fraction of the time.
            rig: of cameras that are fixed to each other, the file that `lure align --once --transform` wrote, or its
                `Alignment`: infrared images, of their own size, are laid onto the visible ones by it.

        Raises:
            LureError: unknown or damaged weights, a hub that cannot be reached, a device that is not there, no
                compiler, a backend that cannot run the file; a file that holds no transform.
        """
        if isinstance(rig, (str, Path)):
            rig = read_transform(Path(rig))  # a wrong one shows before anything is loaded
        loaded = load(weights, device=device, dtype=dtype, threads=threads, compiled=compiled, backend=backend)
        return cls(*loaded, tile, overlap, rig)

    def __call__(
        self,
        ir: Source,
        vis: Source | None = None,
        prompt: str | None = None,
        prompt_ir: str | None = None,
        prompt_vis: str | None = None,
        strength: float = 1.0,
        strength_ir: float | None = None,
        strength_vis: float | None = None,
        ir_range: str = "auto",
        vis_range: str = "auto",
    ) -> np.ndarray:
        """Fuse one pair: a registered one, or one of the fuser's `rig`.

        Args:
            ir: infrared image: a file, or an array (H, W), (H, W, 1) or (H, W, 3) of integers or floats, which is
                treated as a file of the same numbers; also a masked array (what is masked is invalid, and black), a
                nested list, a tensor of such a shape or a PIL image. Colour is reduced to luma. Of a radiometric file
                the temperatures are taken.
            vis: visible image of the same size (with a rig: of the rig's), in the same forms, colour or grey. None:
                `ir` is a radiometric file; the photo inside is taken, with the alignment that stands in the file.
            prompt: what is wrong with the pair ("haze in the visible image and stripes in the infrared image"); None
                means nothing is: plain fusion. "auto": both images are examined, see `detect`.
            prompt_ir, prompt_vis: what is wrong with that image; each replaces what `prompt` says about it.
            strength: how much of the restoration is done, 0 (none, plain fusion) to 2 (beyond what is asked for).
            strength_ir, strength_vis: the same for that image alone; each replaces `strength`.
            ir_range, vis_range: which numbers of either image become black and white, as the options of `lure fuse`:
                `auto`, `full`, `percentile`, `percentile:LO,HI` or `MIN,MAX`; see `ValueRange`.

        Returns:
            float32 (H, W, 3) in [0, 1]; grey (three equal planes) if the visible image is.

        Raises:
            LureError: an unreadable file, what is no image, sizes that differ, or a prompt or a range that is not
                understood. Pixels that are invalid (NaN, "no data") are black, with a UserWarning that counts them.
        """
        request = request_of(prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis)
        request = replace(request, ir_range=parse_range(ir_range), vis_range=parse_range(vis_range, "vis"))
        return self._picture(self.fuse_request(ir, vis, request))

    def batch(
        self,
        ir: torch.Tensor,
        vis: torch.Tensor,
        prompt: str | Sequence[str | None] | None = None,
        prompt_ir: str | Sequence[str | None] | None = None,
        prompt_vis: str | Sequence[str | None] | None = None,
        strength: float = 1.0,
        strength_ir: float | None = None,
        strength_vis: float | None = None,
    ) -> torch.Tensor:
        """Fuse a batch of registered pairs of one size, on the fuser's device and without leaving it.

        Args:
            ir: infrared images (B, 1, H, W), uint8 or float in [0, 1], on any device.
            vis: visible images (B, 3, H, W), in the same forms.
            prompt, prompt_ir, prompt_vis: as calling the fuser; one for all pairs, or a sequence with one for each.
            strength, strength_ir, strength_vis: as calling the fuser; for all pairs.

        Returns:
            float32 (B, 3, H, W) in [0, 1], on the fuser's device; grey where the visible image is.

        Raises:
            LureError: shapes or types that do not fit, a prompt that is not understood, or a fuser with a rig.
        """
        import torch

        if self.rig is not None:
            raise LureError("batches are of registered pairs, but the fuser has a rig", "call it, or use its stream")
        x_ir = self.engine.adopt(to_batch(ir, 1, "infrared", self.device))
        x_vis = self.engine.adopt(to_batch(vis, 3, "visible", self.device))
        if x_ir.shape[0] != x_vis.shape[0] or x_ir.shape[2:] != x_vis.shape[2:]:
            raise LureError(
                f"the batches do not fit each other: infrared {tuple(ir.shape)}, visible {tuple(vis.shape)}",
                "give as many images of both, and of one size",
            )
        count = x_vis.shape[0]
        texts = zip(*(_for_each(text, count) for text in (prompt, prompt_ir, prompt_vis)), strict=True)
        requests = [request_of(p, p_ir, p_vis, strength, strength_ir, strength_vis) for p, p_ir, p_vis in texts]
        prompts = []
        for i, request in enumerate(requests):
            both = {m: self.engine.array(x[i : i + 1]) for m, x in (("ir", x_ir), ("vis", x_vis))}
            findings = self._examine(both, request)
            self._warn(findings)
            prompts.append(self._prompt(request, findings))
        return torch.as_tensor(self.compute(x_ir, x_vis, prompts, requests[0]))

    def stream(
        self,
        irs: Iterable[Source],
        viss: Iterable[Source],
        prompt: str | None = None,
        prompt_ir: str | None = None,
        prompt_vis: str | None = None,
        strength: float = 1.0,
        strength_ir: float | None = None,
        strength_vis: float | None = None,
        check_every: int = CHECK_EVERY,
        ir_range: str = "auto",
        vis_range: str = "auto",
    ) -> Iterator[np.ndarray]:
        """Fuse a stream of registered pairs, one by one and lazily; the next pair is read while one is computed.

        As in clips, what is drawn from the images as a whole (how dark, hazy or flat they are) is smoothed over the
        pairs, so that the pictures do not pump; a scene cut begins anew. See `lure_cli/core/engine/steady.py`.

        Args:
            irs, viss: anything that gives one image after another (a camera loop, a list of files), in the forms of
                `__call__`; it ends with the shorter one. They are asked in another thread. The range of the infrared
                is set by the first one; that of the visible grows with the numbers.
            prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis: as calling the fuser, for all pairs.
                "auto": examined at the start and at every `check_every`-th pair; the prompt changes where two looks in
                a row agree, and the pictures go over to it smoothly.
            check_every: see there.
            ir_range, vis_range: as calling the fuser.

        Returns:
            An iterator over float32 (H, W, 3) in [0, 1]; giving it up early (or its `close()`) ends the work.

        Raises:
            LureError: as calling the fuser; what is wrong with one pair shows when its turn comes.
        """
        request = request_of(prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis)
        if check_every < 1:
            raise LureError(f"check_every={check_every} is no number of pairs", "give a number from 1 on")
        pairs = load_pairs(irs, viss, parse_range(ir_range), parse_range(vis_range, "vis"))
        return fuse_stream(self, pairs, request, check_every, write=lambda fused: fused.picture)

    @property
    def computed_by(self) -> str:
        """What computes its pictures, for a record: "torch cuda:0 bf16", "onnxruntime cpu fp32"."""
        return self.engine.computed_by

    @property
    def device(self) -> torch.device:
        """Where batches come from. Imports torch."""
        device: torch.device = self.engine.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type that the network computes in. Imports torch."""
        dtype: torch.dtype = self.engine.dtype
        return dtype

    @property
    def degradations(self) -> tuple[str, ...]:
        """What the weights were trained to restore; a prompt of anything else is refused, and `auto` leaves it out."""
        return known_names(self.provenance.degradations)

    def fuse(self, ir: Source, vis: Source, prompt: Prompt) -> np.ndarray:
        """As calling it, for a prompt that is already understood."""
        return self.fuse_request(ir, vis, Request(prompt, vis_range=ValueRange(modality="vis"))).picture

    def fuse_request(self, ir: Source, vis: Source | None, request: Request) -> ModelOutput:
        """As calling it, for a request that is already understood; also gives the prompt that was used, and what was
        found in each image that was examined."""
        x_ir, x_vis, _ = read_pair(ir, vis, request, self.rig)
        findings = self._examine({"ir": x_ir, "vis": x_vis}, request)
        prompt = self._prompt(request, findings)
        images = self.engine.image(x_ir), self.engine.image(x_vis)
        fused = self.compute(*images, [prompt], request, name_of(ir if vis is None else vis))
        return ModelOutput(self.engine.array(fused), prompt, findings, computed_by=self.computed_by)

    def compute(self, ir: Any, vis: Any, prompts: Sequence[Prompt], request: Request, name: str = "") -> Any:
        """The inmost step: the engine's arrays -> its array (B, 3, H, W), float32 in [0, 1].

        Args:
            ir, vis: from `image`, joined to batches (B, 1, H, W) and (B, 3, H, W).
            prompts: one for each pair; that of the request is not looked at.
            request: whose strengths and `steady` count.
            name: what errors are about, if that is a file.
        """
        asked = self._asked(prompts, request)
        side = tile_side(vis.shape[2], vis.shape[3], self.tile)
        with self._inference(name):
            return fuse_tiled(
                self.engine.model, ir, vis, *asked, tile=side, overlap=self.overlap, steady=request.steady
            )

    def provenance_map(
        self,
        ir: Source,
        vis: Source | None = None,
        prompt: str | None = None,
        prompt_ir: str | None = None,
        prompt_vis: str | None = None,
        strength: float = 1.0,
        strength_ir: float | None = None,
        strength_vis: float | None = None,
        ir_range: str = "auto",
        vis_range: str = "auto",
    ) -> np.ndarray:
        """Where each place of the fused picture comes from; the formula is that of `lure_cli.core.model.provenance`.

        Args:
            ir, vis, prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis, ir_range, vis_range: as calling
                the fuser.

        Returns:
            float32 (H, W, 3) in [0, 1]: the shares of the infrared image, the visible image and the restoration; their
            sum is 1. Infrared and visible have about the same where they say the same; beyond the infrared's edge it is
            all visible.

        Raises:
            LureError: as calling the fuser; also an ONNX file, which does not give its weights.
        """
        request = request_of(prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis)
        request = replace(request, ir_range=parse_range(ir_range), vis_range=parse_range(vis_range, "vis"))
        return self.provenance_request(ir, vis, request)

    def provenance_request(self, ir: Source, vis: Source | None, request: Request) -> np.ndarray:
        """As `provenance_map`, for a request that is already understood."""
        from lure_cli.core.onnx.runtime import OnnxLure

        model = self.engine.model
        if isinstance(model, OnnxLure):
            raise no_provenance("ONNX files")
        from lure_cli.core.model.provenance import provenance

        x_ir, x_vis, placed = read_pair(ir, vis, request, self.rig)
        prompt = self._prompt(request, self._examine({"ir": x_ir, "vis": x_vis}, request))
        asked = self._asked([prompt], request)
        side = tile_side(x_vis.shape[0], x_vis.shape[1], self.tile)
        images = self.engine.image(x_ir), self.engine.image(x_vis)
        with self._inference(name_of(ir if vis is None else vis)):
            shares = provenance(model, *images, *asked, tile=side, overlap=self.overlap)  # type: ignore[arg-type]
        return without_infrared(self.engine.array(shares), placed)

    def _asked(self, prompts: Sequence[Prompt], request: Request) -> tuple[Any, Any, float, float]:
        """The texts of infrared and visible images and their strengths. Nothing to restore, or not at all: the pseudo
        prompt, so that this is the plain fusion to the last bit."""
        s_ir = request.strength_ir if any(p.ir for p in prompts) else 0.0
        s_vis = request.strength_vis if any(p.vis for p in prompts) else 0.0
        t_ir = self.engine.vectors([p.ir if s_ir else () for p in prompts])
        t_vis = self.engine.vectors([p.vis if s_vis else () for p in prompts])
        return t_ir, t_vis, s_ir or 1.0, s_vis or 1.0

    def detect(self, image: Source, modality: Modality) -> tuple[Finding, ...]:
        """Which degradations an image shows, each with score and severity in [0, 1]; empty for a clean one."""
        x = to_pixels(image, 1 if modality == "ir" else 3)
        return self._examine({modality: x}, Request(auto=(modality,)))[modality]

    def _examine(self, images: dict[str, np.ndarray], request: Request) -> Findings:
        """What is wrong with those of the images, each (H, W, C), that the request wants examined."""
        if not request.auto:
            return {}
        from lure_cli.tasks.detect import shipped_detector

        detector = shipped_detector()
        return {m: detector.detect(images[m], m) for m in request.auto}

    def _picture(self, output: ModelOutput) -> np.ndarray:
        """The picture, with the warnings of `_warn`."""
        self._warn(output.findings, stacklevel=4)
        return output.picture

    def _warn(self, findings: Findings, stacklevel: int = 3) -> None:
        """Say what `auto` found and the weights were not trained on; `stacklevel` leads to the caller of the fuser."""
        for text in left_out(findings, self.degradations):
            warnings.warn(text, stacklevel=stacklevel)

    def _prompt(self, request: Request, findings: Findings) -> Prompt:
        """What is restored; LureError if that is nothing that the weights were trained on."""
        prompt = with_findings(request.prompt, findings, self.degradations)
        check_known(prompt, self.degradations)
        return prompt

    def restore(
        self,
        image: Source,
        modality: Modality,
        prompt: str | None = None,
        strength: float = 1.0,
        value_range: str = "auto",
    ) -> np.ndarray:
        """Restore one image, without fusing.

        Args:
            image: in the forms that calling the fuser takes.
            modality: what it shows.
            prompt, strength: as calling the fuser, about this image.
            value_range: as `ir_range` and `vis_range` there.

        Returns:
            float32 in [0, 1], (H, W, 3) for `vis` (grey if the image is), (H, W, 1) for `ir`.

        Raises:
            LureError: as calling the fuser; also ONNX files of version 0.2, which only fuse.
        """
        numbers = parse_range(value_range, modality)
        request = replace(request_of_one(modality, prompt, strength), ir_range=numbers, vis_range=numbers)
        return self._picture(self.restore_request(image, modality, request))

    def restore_request(self, image: Source, modality: Modality, request: Request) -> ModelOutput:
        """As `restore`, for a request that is already understood; gives the same as `fuse_request`."""
        x = to_pixels(image, 1, request.ir_range) if modality == "ir" else to_pixels(image, 3, request.vis_range)
        findings = self._examine({modality: x}, request)
        prompt = self._prompt(request, findings)
        strength = request.strength_ir if modality == "ir" else request.strength_vis
        names = getattr(prompt, modality) if strength else ()  # at 0 the pseudo prompt, to the last bit
        text = self.engine.vectors([names])
        side = tile_side(x.shape[0], x.shape[1], self.tile)
        with self._inference(name_of(image)):
            restored = restore_tiled(
                self.engine.model,
                self.engine.image(x),
                text,
                modality,
                strength if names else 1.0,
                tile=side,
                overlap=self.overlap,
            )
        return ModelOutput(self.engine.array(restored), prompt, findings, computed_by=self.computed_by)

    @contextmanager
    def _inference(self, name: str) -> Iterator[None]:
        """Within this the engine computes; LureError, about the file `name` if any, where memory does not last."""
        try:
            with self.engine.computing():
                yield
        except MemoryError as error:
            raise LureError(
                f"{name}{name and ': '}not enough memory for this size",
                "take it in tiles: --tile 512, or 256 for still less",
            ) from error

    def image(self, source: Source, channels: Literal[1, 3], value_range: ValueRange | None = None) -> Any:
        """An image as the engine takes it: (1, C, H, W) float32 in [0, 1]; see `to_pixels`."""
        return self.engine.image(to_pixels(source, channels, value_range))


def _for_each(texts: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """One for all, or one for each -> one for each."""
    if texts is None or isinstance(texts, str):
        return [texts] * count
    if len(texts) != count:
        raise LureError(f"{len(texts)} prompts for {count} pairs", "give one, or one for each pair")
    return list(texts)
