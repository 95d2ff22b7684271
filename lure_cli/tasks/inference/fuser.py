"""The `Fuser`: a loaded model that fuses pairs of images, or restores single ones; for Python and for `lure fuse`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.core.images.picture import read_picture, to_channels
from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import Request, request_of, request_of_one, with_findings
from lure_cli.tasks.weights.find import DEFAULT, resolve_weights

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.config import Provenance
    from lure_cli.core.model.lure import Lure
    from lure_cli.core.model.tiling import TileSize
    from lure_cli.core.onnx.runtime import OnnxLure
    from lure_cli.core.text.encoders import TextEncoder
    from lure_cli.core.text.vocabulary import Finding

    Source = str | Path | np.ndarray
    """An image: a file, or an array (H, W), (H, W, 1) or (H, W, 3); uint8, uint16, or float in [0, 1]."""


BACKENDS = ("auto", "torch", "onnx")


def pick_backend(name: str, weights: Path) -> Literal["torch", "onnx"]:
    """What runs a weight file: `auto` goes by its suffix; LureError if the backend that is named cannot."""
    if name not in BACKENDS:
        raise LureError(f"backend '{name}' is not known", f"use one of {', '.join(BACKENDS)}")
    fits: Literal["torch", "onnx"] = "onnx" if weights.suffix.lower() == ".onnx" else "torch"
    if name == "onnx" != fits:
        raise LureError(
            f"--backend onnx needs an ONNX file, not {weights}",
            "make one with `lure export onnx -o lure-small.onnx`, then give --weights lure-small.onnx",
        )
    if name == "torch" != fits:
        raise LureError(f"--backend torch cannot run {weights}", "leave --backend out, or give .safetensors weights")
    return fits


class Fuser:
    """A loaded model, ready to fuse pairs or to restore single images.

    >>> fuser = Fuser.from_pretrained("lure-small")
    >>> fused = fuser("ir.png", "vis.png", prompt="haze")  # (H, W, 3) float32 in [0, 1]

    One fuser may serve several threads at a time: fusing changes nothing in it.
    """

    def __init__(
        self,
        model: Lure | OnnxLure,
        text: TextEncoder,
        provenance: Provenance,
        device: torch.device,
        dtype: torch.dtype,
        tile: TileSize = "auto",
        overlap: int | None = None,
    ) -> None:
        from lure_cli.core.devices import keep_buffers, place

        if device.type == "cpu":
            keep_buffers()
        self.model = place(model, device).eval()
        self.text, self.provenance, self.device, self.dtype = text, provenance, device, dtype
        self.tile, self.overlap = tile, overlap

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
    ) -> Fuser:
        """Load weights.

        Args:
            weights: a shipped name (`lure-small`), a .safetensors file, a .onnx file that `lure export onnx` wrote, or
                `owner/repo[@revision]` on the Hugging Face Hub, downloaded if it is not in the cache, and checked
                against its record.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            dtype: `auto`, `fp32`, `bf16` or `fp16`; what the network computes in. `auto` takes a short type only where
                the device has it in hardware and the picture agrees with that of fp32 by at least 45 dB.
            tile: side of the tiles in pixels in which large images are fused; 0: always in one piece; `auto`: tiles of
                1024 from 1.6 megapixels on. The picture is the same, the memory less.
            overlap: pixels that a tile sees beyond its edges; None: as many as leave no seam.
            threads: how many CPU threads torch uses, in the whole process; None: as many as before.
            compiled: compile the network with `torch.compile` at the first picture, and again for another kind of size;
                takes a minute and needs a C++ compiler on the CPU.
            backend: `torch`, `onnx` (onnxruntime, for .onnx files), or `auto`: as the file wants it.

        Raises:
            LureError: unknown or damaged weights, a hub that cannot be reached, a device that is not there, no
                compiler, a backend that cannot run the file.
        """
        import torch

        from lure_cli.core.devices import pick_device, pick_dtype
        from lure_cli.core.model.checkpoint import load_model
        from lure_cli.core.model.precision import settle_dtype

        if threads is not None:
            if threads < 1:
                raise LureError(f"{threads} threads cannot compute anything", "give a number from 1 on")
            torch.set_num_threads(threads)
        path = resolve_weights(str(weights))
        if pick_backend(backend, path) == "onnx":
            if compiled:
                raise LureError("--compile: an ONNX file is not torch's to compile", "leave it out")
            return cls._from_onnx(path, device, dtype, tile, overlap)
        where = pick_device(device)
        number = pick_dtype(dtype, where)  # a wrong one shows before anything is loaded
        model, text, provenance = load_model(path)
        fuser = cls(model, text, provenance, where, number, tile, overlap)
        fuser.dtype = settle_dtype(dtype, model, text)
        if compiled:
            compile_parts(model)
        return fuser

    @classmethod
    def _from_onnx(cls, path: Path, device: str, dtype: str, tile: TileSize, overlap: int | None) -> Fuser:
        import torch

        from lure_cli.core.onnx.runtime import load_onnx

        if dtype != "auto":
            raise LureError(f"--dtype {dtype}: an ONNX file computes as exported", "see `lure export onnx --variant`")
        model, text, provenance = load_onnx(path, device)
        return cls(model, text, provenance, torch.device("cpu"), torch.float32, tile, overlap)  # from and to the CPU

    def __call__(
        self,
        ir: Source,
        vis: Source,
        prompt: str | None = None,
        prompt_ir: str | None = None,
        prompt_vis: str | None = None,
        strength: float = 1.0,
        strength_ir: float | None = None,
        strength_vis: float | None = None,
    ) -> np.ndarray:
        """Fuse one registered pair.

        Args:
            ir: infrared image: a file (its numbers are read as `ValueRange` says of `auto`), or an array (H, W),
                (H, W, 1) or (H, W, 3), uint8, uint16, or float in [0, 1]; colour is reduced to luma.
            vis: visible image of the same size, in the same forms, colour or grey.
            prompt: what is wrong with the pair ("haze in the visible image and stripes in the infrared image"); None
                means nothing is: plain fusion. "auto": both images are examined, see `detect`.
            prompt_ir, prompt_vis: what is wrong with that image; each replaces what `prompt` says about it.
            strength: how much of the restoration is done, 0 (none, plain fusion) to 2 (beyond what is asked for).
            strength_ir, strength_vis: the same for that image alone; each replaces `strength`.

        Returns:
            float32 (H, W, 3) in [0, 1]; grey (three equal planes) if the visible image is.

        Raises:
            LureError: an unreadable file, sizes that differ, or a prompt that is not understood.
        """
        return self.fulfil(ir, vis, request_of(prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis))[0]

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
            LureError: shapes or types that do not fit, or a prompt that is not understood.
        """
        x_ir, x_vis = self._batch(ir, 1, "infrared"), self._batch(vis, 3, "visible")
        if x_ir.shape[0] != x_vis.shape[0] or x_ir.shape[2:] != x_vis.shape[2:]:
            raise LureError(
                f"the batches do not fit each other: infrared {tuple(ir.shape)}, visible {tuple(vis.shape)}",
                "give as many images of both, and of one size",
            )
        count = x_vis.shape[0]
        said = (_for_each(p, count) for p in (prompt, prompt_ir, prompt_vis))
        requests = [request_of(a, b, c, strength, strength_ir, strength_vis) for a, b, c in zip(*said, strict=True)]
        prompts = [self._settle(r, x_ir[i : i + 1], x_vis[i : i + 1])[0] for i, r in enumerate(requests)]
        return self.compute(x_ir, x_vis, prompts, requests[0])

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
        check_every: int = 25,
    ) -> Iterator[np.ndarray]:
        """Fuse a stream of registered pairs, one by one and lazily; the next pair is read while one is computed.

        Args:
            irs, viss: anything that gives one image after another (a camera loop, a list of files), in the forms of
                `__call__`; it ends with the shorter one. They are asked in another thread. The range of infrared files
                is settled by the first one.
            prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis: as calling the fuser, for all pairs.
                "auto": examined at the start and at every `check_every`-th pair; the prompt changes where two looks in
                a row agree, and the pictures go over to it smoothly.
            check_every: see there.

        Returns:
            An iterator over float32 (H, W, 3) in [0, 1]; giving it up early (or its `close()`) ends the work.

        Raises:
            LureError: as calling the fuser; what is wrong with one pair shows when its turn comes.
        """
        from lure_cli.tasks.inference.stream import fuse_stream, load_pairs

        request = request_of(prompt, prompt_ir, prompt_vis, strength, strength_ir, strength_vis)
        if check_every < 1:
            raise LureError(f"check_every={check_every} is no number of pairs", "give a number from 1 on")
        return fuse_stream(self, load_pairs(irs, viss), request, check_every, write=lambda fused: fused.picture)

    def fuse(self, ir: Source, vis: Source, prompt: Prompt) -> np.ndarray:
        """As calling it, for a prompt that is already understood."""
        return self.fulfil(ir, vis, Request(prompt))[0]

    def fulfil(
        self, ir: Source, vis: Source, request: Request
    ) -> tuple[np.ndarray, Prompt, Mapping[str, tuple[Finding, ...]]]:
        """As calling it, for a request that is already understood; also gives the prompt that was used, and what was
        found in each image that was examined (keys `vis`, `ir`)."""
        x_ir, x_vis = self.tensor(ir, 1), self.tensor(vis, 3)
        if x_ir.shape[2:] != x_vis.shape[2:]:
            (h, w), (hv, wv) = x_ir.shape[2:], x_vis.shape[2:]
            raise LureError(
                f"{_name(ir, 'the infrared image')} is {w}x{h} but {_name(vis, 'the visible image')} is {wv}x{hv}",
                "resize one of them so that the two views coincide",
            )
        prompt, found = self._settle(request, x_ir, x_vis)
        return _to_array(self.compute(x_ir, x_vis, [prompt], request, _file(vis))), prompt, found

    def compute(
        self, ir: torch.Tensor, vis: torch.Tensor, prompts: Sequence[Prompt], request: Request, name: str = ""
    ) -> torch.Tensor:
        """The inmost step: tensors -> tensor (B, 3, H, W), float32 in [0, 1].

        Args:
            ir, vis: from `tensor`, joined to batches (B, 1, H, W) and (B, 3, H, W).
            prompts: one for each pair; that of the request is not looked at.
            request: whose strengths count.
            name: the beginning of an error.
        """
        from lure_cli.core.model.tiling import fuse_tiled, tile_side

        # Nothing to restore, or not at all: the pseudo prompt, so that this is the plain fusion to the last bit.
        s_ir = request.strength_ir if any(p.ir for p in prompts) else 0.0
        s_vis = request.strength_vis if any(p.vis for p in prompts) else 0.0
        t_ir, t_vis = (
            self._text(*(getattr(p, m) if s else () for p in prompts)) for m, s in (("ir", s_ir), ("vis", s_vis))
        )
        side = tile_side(vis.shape[2], vis.shape[3], self.tile)
        strengths = s_ir or 1.0, s_vis or 1.0
        return self._run(
            lambda: fuse_tiled(self.model, ir, vis, t_ir, t_vis, *strengths, tile=side, overlap=self.overlap), name
        )

    def _settle(
        self, request: Request, ir: torch.Tensor, vis: torch.Tensor
    ) -> tuple[Prompt, dict[str, tuple[Finding, ...]]]:
        """The prompt of a pair, examined where the request wants that, and what was found."""
        found = {m: self._examine(ir if m == "ir" else vis, m) for m in request.auto}
        return with_findings(request.prompt, found), found

    def detect(self, image: Source, modality: Literal["ir", "vis"]) -> tuple[Finding, ...]:
        """Which degradations an image shows, each with score and severity in [0, 1]; empty for a clean one."""
        return self._examine(self.tensor(image, 1 if modality == "ir" else 3), modality)

    def _examine(self, x: torch.Tensor, modality: str) -> tuple[Finding, ...]:
        from lure_cli.tasks.detect import shipped_detector

        return shipped_detector().detect(x[0].permute(1, 2, 0).cpu().numpy(), modality)

    def restore(
        self, image: Source, modality: Literal["ir", "vis"], prompt: str | None = None, strength: float = 1.0
    ) -> np.ndarray:
        """Restore one image, without fusing.

        Args:
            image: in the forms that calling the fuser takes.
            modality: what it shows.
            prompt, strength: as calling the fuser, about this image.

        Returns:
            float32 in [0, 1], (H, W, 3) for `vis` (grey if the image is), (H, W, 1) for `ir`.

        Raises:
            LureError: as calling the fuser; also weights that only fuse (ONNX files).
        """
        return self.fulfil_one(image, modality, request_of_one(modality, prompt, strength))[0]

    def fulfil_one(
        self, image: Source, modality: Literal["ir", "vis"], request: Request
    ) -> tuple[np.ndarray, Prompt, Mapping[str, tuple[Finding, ...]]]:
        """As `restore`, for a request that is already understood; gives the same as `fulfil`."""
        from lure_cli.core.model.tiling import restore_tiled, tile_side

        x = self.tensor(image, 1 if modality == "ir" else 3)
        found = {m: self._examine(x, m) for m in request.auto}
        prompt = with_findings(request.prompt, found)
        strength = request.strength_ir if modality == "ir" else request.strength_vis
        names = getattr(prompt, modality) if strength else ()  # at 0 the pseudo prompt, to the last bit
        side = tile_side(x.shape[2], x.shape[3], self.tile)
        text, overlap = self._text(names), self.overlap
        return (
            _to_array(
                self._run(
                    lambda: restore_tiled(
                        self.model, x, text, modality, strength if names else 1.0, tile=side, overlap=overlap
                    ),
                    _file(image),
                )
            ),
            prompt,
            found,
        )

    def _run(self, compute: Callable[[], torch.Tensor], name: str) -> torch.Tensor:
        import torch

        from lure_cli.core.devices import autocast

        try:
            with torch.no_grad(), autocast(self.device, self.dtype):
                return compute().float()
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if isinstance(error, MemoryError) or "memory" in str(error):
                raise LureError(
                    f"{name}not enough memory for this size", "take it in tiles: --tile 512, or 256 for still less"
                ) from error
            raise

    def _text(self, *names: tuple[str, ...]) -> torch.Tensor:
        return self.text.encode(names).to(self.device)

    def _batch(self, x: torch.Tensor, channels: int, name: str) -> torch.Tensor:
        """A user's tensor -> (B, C, H, W) float32 in [0, 1] on the fuser's device."""
        import torch

        if x.ndim != 4 or x.shape[1] != channels or 0 in x.shape:
            raise LureError(
                f"a tensor of shape {tuple(x.shape)} is no batch of {name} images", f"give (B, {channels}, H, W)"
            )
        if x.dtype != torch.uint8 and not x.is_floating_point():
            raise LureError(f"tensors of type {x.dtype} are not understood", "give uint8 or float in [0, 1]")
        y = x.to(self.device)
        y = y.float() / 255 if y.dtype == torch.uint8 else y.float()
        if not bool(((y >= 0) & (y <= 1)).all()):
            raise LureError(f"the {name} tensor holds values outside [0, 1]", "divide it by the range of your sensor")
        return y.contiguous(memory_format=torch.channels_last)

    def tensor(self, source: Source, channels: Literal[1, 3]) -> torch.Tensor:
        """An image as the model takes it: (1, C, H, W) float32 in [0, 1], on the fuser's device."""
        import torch

        if isinstance(source, (str, Path)):
            pixels = read_picture(source, channels=channels, value_range=ValueRange() if channels == 1 else None).x
        else:
            pixels = _from_array(source, channels)
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        return x.to(self.device).contiguous(memory_format=torch.channels_last)


def compile_parts(model: Lure) -> None:
    """Have the encoders, the fusion module and the decoder compiled at their first use; what chooses between them by
    the images' values stays as it is.

    Raises:
        LureError: compiling does not work here; it is tried on a sum.
    """
    import torch

    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=model.pseudo_prompt.device))
    except Exception as error:  # whatever the compiler's many parts raise
        raise LureError(
            f"torch.compile does not work here ({str(error).splitlines()[0]})",
            "on a CPU it needs a C++ compiler (g++ or clang); or leave --compile out",
        ) from error
    for part in (*model.encoders.values(), model.fusion, model.decoder):
        part.compile()


def _for_each(said: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """One for all, or one for each -> one for each."""
    if said is None or isinstance(said, str):
        return [said] * count
    if len(said) != count:
        raise LureError(f"{len(said)} prompts for {count} pairs", "give one, or one for each pair")
    return list(said)


def _to_array(y: torch.Tensor) -> np.ndarray:
    """(1, C, H, W) -> (H, W, C)."""
    array: np.ndarray = y[0].permute(1, 2, 0).cpu().numpy()
    return array


def _from_array(array: np.ndarray, channels: Literal[1, 3]) -> np.ndarray:
    """An array as `Fuser` takes it -> float32 (H, W, channels) in [0, 1]."""
    import numpy as np

    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise LureError(f"an array of shape {array.shape} is no image", "give (H, W), (H, W, 1) or (H, W, 3)")
    if array.dtype in (np.uint8, np.uint16):
        x = array.astype(np.float32) / np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        x = array.astype(np.float32)
        if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
            raise LureError("a float array holds values outside [0, 1]", "divide it by the range of your sensor")
    else:
        raise LureError(f"arrays of type {array.dtype} are not understood", "give uint8, uint16 or float in [0, 1]")
    return to_channels(x, channels)


def _file(source: Source) -> str:
    """The beginning of an error about a file; nothing for an array."""
    return f"{source}: " if isinstance(source, (str, Path)) else ""


def _name(source: Source, otherwise: str) -> str:
    return str(source) if isinstance(source, (str, Path)) else otherwise
