"""Labels, network, assignment, pictures, training and average precision of the object detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lure_cli.core.objects.assignment import assign, detection_loss
from lure_cli.core.objects.average_precision import average_precision
from lure_cli.core.objects.labels import Objects, read_names, read_yolo
from lure_cli.core.objects.network import STRIDE, ObjectDetector, boxes_of, places
from lure_cli.core.objects.scenes import Scene, augmented, canvas_of, padded, scene
from lure_cli.core.objects.training import decode, detect, train
from lure_cli.errors import LureError
from tests.helpers.objects import CLASSES, HEIGHT, WIDTH, draw, yolo

CPU = torch.device("cpu")


def objects(boxes: list[list[float]], classes: list[int], scores: list[float] | None = None) -> Objects:
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(scores or [1.0] * len(classes), np.float32),
    )


def test_yolo_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    _, _, wanted = draw(1)
    file = tmp_path / "1.txt"
    file.write_text(yolo(wanted) + "\n  \n")
    read = read_yolo(file, len(CLASSES))
    np.testing.assert_allclose(read.boxes, wanted.boxes, atol=1e-6)
    assert read.classes.tolist() == [0, 1]
    file.write_text("")
    assert read_yolo(file, 2).boxes.shape == (0, 4)
    file.write_text("0 0.5 0.5 1.01 1\n")  # by rounding beyond the edge
    assert read_yolo(file, 2).boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0.5 0.5 0.1", "holds 4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "holds 6 numbers"),
        ("person 0.5 0.5 0.1 0.1", "no number"),
        ("0 0.5 0.5 nan 0.1", "infinite"),
        ("2 0.5 0.5 0.1 0.1", "class 2, but there are 2"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0 0.5 0.5 0 0.1", "no size"),
        ("0 0.95 0.5 0.2 0.1", "reaches out"),
        ("0 320 240 50 50", "reaches out"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, fault: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(LureError) as caught:
        read_yolo(file, 2)
    assert f"{file}, line 3" in caught.value.message and fault in caught.value.message and caught.value.hint


def test_class_names(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("person\n\n big car \n")
    assert read_names(file) == ("person", "big car")
    file.write_text("\n")
    with pytest.raises(LureError, match="names no class"):
        read_names(file)
    with pytest.raises(LureError, match="cannot be read"):
        read_names(tmp_path / "none.txt")


def test_perfect_boxes_score_one_and_none_score_zero() -> None:
    wanted = [draw(n)[2] for n in range(3)]
    found = [Objects(o.boxes * (WIDTH, HEIGHT, WIDTH, HEIGHT), o.classes, o.scores) for o in wanted]
    sizes = [(HEIGHT, WIDTH)] * 3
    ap = average_precision(wanted, found, sizes, 3)
    assert ap.ap50 == ap.ap == 1 and ap.ap50_of[:2] == (1, 1) and np.isnan(ap.ap50_of[2])  # there is no third
    nothing = average_precision(wanted, [objects([], [])] * 3, sizes, 3)
    assert nothing.ap50 == nothing.ap == 0 and np.isnan(nothing.ap_of[2])
    shifted = [Objects(o.boxes + np.float32(WIDTH), o.classes, o.scores) for o in found]
    assert average_precision(wanted, shifted, sizes, 3).ap50 == 0


def naive_ap(wanted: list[Objects], found: list[Objects], kind: int, least: float) -> float:
    """Of one class at one IoU, step by step as COCO describes it; everything in pixels."""
    hits, count = [], 0
    for w, f in zip(wanted, found, strict=True):
        boxes = [b for b, k in zip(w.boxes.astype(float), w.classes, strict=True) if k == kind]
        count += len(boxes)
        for n in np.argsort(-f.scores, kind="stable"):
            if f.classes[n] != kind:
                continue
            l, t, r, b = f.boxes[n].astype(float)  # noqa: E741
            fits = []
            for left, top, right, bottom in boxes:
                common = max(0, min(r, right) - max(l, left)) * max(0, min(b, bottom) - max(t, top))
                fits.append(common / ((r - l) * (b - t) + (right - left) * (bottom - top) - common))
            hit = bool(fits) and max(fits) >= least
            if hit:
                boxes.pop(int(np.argmax(fits)))
            hits.append((float(f.scores[n]), hit))
    right = np.cumsum([hit for _, hit in sorted(hits, key=lambda h: -h[0])])
    recall, precision = right / count, right / np.arange(1, len(right) + 1)
    return float(np.mean([max(precision[recall >= at], default=0) for at in np.linspace(0, 1, 101)]))


def test_average_precision_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(3)
    scale = np.float32((640, 480, 640, 480))
    wanted, found, sizes = [], [], [(480, 640)] * 12
    for _ in sizes:
        corner, side = rng.uniform(0, 0.7, (5, 2)), rng.uniform(0.05, 0.3, (5, 2))
        boxes, kinds = np.concatenate([corner, corner + side], 1), rng.integers(0, 3, 5)
        wanted.append(Objects(boxes.astype(np.float32), kinds, np.ones(5, np.float32)))
        both = np.concatenate([boxes + rng.normal(0, 0.02, boxes.shape), boxes[::-1] + 0.02])
        seen = np.where(rng.uniform(size=10) < 0.8, np.concatenate([kinds, kinds]), 0)  # some are wrong
        found.append(Objects((both * scale).astype(np.float32), seen, rng.uniform(size=10).astype(np.float32)))
    in_pixels = [Objects(w.boxes * scale, w.classes, w.scores) for w in wanted]
    ious = np.linspace(0.5, 0.95, 10)
    naive = np.array([[naive_ap(in_pixels, found, kind, iou) for kind in range(3)] for iou in ious])
    ours = average_precision(wanted, found, sizes, 3)
    assert 0.05 < ours.ap < ours.ap50 < 0.95
    assert ours.ap50 == pytest.approx(naive[0].mean(), abs=1e-9) and ours.ap == pytest.approx(naive.mean(), abs=1e-9)
    assert ours.ap50_of == pytest.approx(naive[0], abs=1e-9) and ours.ap_of == pytest.approx(naive.mean(0), abs=1e-9)


def test_assignment_is_the_rule_place_by_place() -> None:
    g = torch.Generator().manual_seed(0)
    corner, side = torch.rand(9, 2, generator=g) * 90, 2 + torch.rand(9, 2, generator=g) * 60
    boxes = torch.cat((corner, corner + side), 1)
    centres = places(torch.empty(16, 20))
    owner = assign(boxes, centres)
    middles, areas = (boxes[:, :2] + boxes[:, 2:]) / 2, side.prod(1)
    for p, (x, y) in enumerate(centres.tolist()):
        claims = []
        for n, (left, top, right, bottom) in enumerate(boxes.tolist()):
            mx, my = middles[n].tolist()
            inside = left <= x <= right and top <= y <= bottom and max(abs(x - mx), abs(y - my)) <= 12
            nearest = int((centres - middles[n]).square().sum(1).argmin()) == p
            if inside or nearest:
                claims.append((float(areas[n]), n))
        assert int(owner[p]) == (min(claims)[1] if claims else -1)
    assert (owner >= 0).any() and (assign(boxes[:0], centres) == -1).all()


def test_what_is_assigned_is_decoded_again() -> None:
    """Scores and distances as the assignment wants them give the boxes back, once each."""
    boxes = torch.tensor([[10.0, 12.0, 40.0, 60.0], [70.0, 5.0, 78.0, 11.0], [64.0, 64.0, 128.0, 96.0]])
    classes = torch.tensor([1, 0, 1])
    scores, distances = torch.full((2, 12, 16), -9.0), torch.ones(4, 12, 16)
    centres, flat = places(scores), distances.view(4, -1)
    owner = assign(boxes, centres)
    for p in (owner >= 0).nonzero()[:, 0].tolist():
        left, top, right, bottom = boxes[owner[p]].tolist()
        x, y = centres[p].tolist()
        flat[:, p] = torch.tensor([x - left, y - top, right - x, bottom - y])
        scores.view(2, -1)[classes[owner[p]], p] = 3.0 + int(owner[p])
    found, kinds, sure = decode(scores, distances, (96, 128))
    assert kinds.tolist() == [1, 0, 1] and sure.tolist() == sorted(sure.tolist(), reverse=True)
    torch.testing.assert_close(found, boxes[[2, 1, 0]])


def test_loss_is_least_where_boxes_and_scores_are_right() -> None:
    boxes, classes = torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.tensor([0])
    centres = places(torch.empty(8, 8))
    owner = assign(boxes, centres)
    right = torch.where(owner >= 0, 9.0, -9.0).view(1, 1, 8, 8)
    exact = torch.stack([centres - boxes[:, :2], boxes[:, 2:] - centres]).permute(0, 2, 1).reshape(1, 4, 8, 8)
    assert torch.equal(boxes_of(centres, exact.view(4, -1).T), boxes.expand(64, 4))
    least = detection_loss(right, exact, [boxes], [classes])
    assert 0 <= float(least) < 1e-3
    assert float(detection_loss(-right, exact, [boxes], [classes])) > 1
    assert float(detection_loss(right, exact + 6, [boxes], [classes])) > 0.1
    assert float(detection_loss(right, exact, [boxes[:0]], [classes[:0]])) > 1  # there is nothing


def test_network_has_the_size_that_is_stated() -> None:
    net = ObjectDetector(3)
    assert 1.0e6 <= sum(p.numel() for p in net.parameters()) <= 1.1e6
    scores, distances = net(torch.zeros(1, 3, 64, 96))
    assert scores.shape == (1, 3, 64 // STRIDE, 96 // STRIDE) and distances.shape == (1, 4, 8, 12)
    assert (distances > 0).all() and scores.sigmoid().mean() < 0.03


@pytest.mark.parametrize("canvas", [(64, 64), (96, 128), (160, 64)])
def test_boxes_follow_the_pixels(canvas: tuple[int, int]) -> None:
    """Mirrored, scaled, moved and cut: a box holds its white square, and all of it that is seen; canvases smaller and
    larger than the picture."""
    g, seen = torch.Generator().manual_seed(5), [0, 0]
    x = torch.zeros(3, 90, 120, dtype=torch.uint8)
    x[0, 20:50, 10:45], x[1, 60:84, 80:104] = 255, 255  # each in a plane of its own
    s = Scene(x, torch.tensor([[10.0, 20.0, 45.0, 50.0], [80.0, 60.0, 104.0, 84.0]]), torch.tensor([0, 1]), (90, 120))
    for _ in range(40):
        pixels, boxes, classes = augmented(s, canvas, g)
        assert pixels.shape == (3, *canvas) and pixels.min() >= 0 and pixels.max() <= 1 and len(boxes)
        for (left, top, right, bottom), kind in zip(boxes.tolist(), classes.tolist(), strict=True):
            seen[kind] += 1
            white = (pixels[kind] > pixels[1 - kind] + 0.3).nonzero()
            (y0, x0), (y1, x1) = white.amin(0).tolist(), (white.amax(0) + 1).tolist()
            assert max(abs(x0 - left), abs(y0 - top), abs(x1 - right), abs(y1 - bottom)) <= 1.5
    assert min(seen) > 10


def test_scenes_are_scaled_and_padded() -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    s = scene(picture, objects([[0.25, 0.5, 0.75, 1.0]], [0]), 160)
    assert s.pixels.shape == (3, 120, 160) and s.original == (60, 80)
    assert s.boxes.tolist() == [[40, 60, 120, 120]]
    x = padded(s.pixels, canvas_of([s]))
    assert x.shape == (1, 3, 128, 160) and x[0, 0, 119, 0] == pytest.approx(200 / 255) and x[0, 0, 120, 0] < 0.5


def test_a_detector_learns_what_is_in_its_pictures() -> None:
    """The bar is seen in the visible image alone, and found in one that was not trained on; seeds repeat."""

    def scenes(numbers: range) -> list[Scene]:
        return [scene(draw(n)[1], draw(n)[2], 96) for n in numbers]

    told: list[int] = []

    def progress(epoch: int, loss: float) -> bool:
        told.append(epoch)
        return False

    net = train(scenes(range(12)), 2, 40, 0, CPU, torch.float32, progress)
    assert net is not None and told == list(range(1, 41))
    wanted = [draw(n)[2] for n in range(50, 56)]
    found = [detect(net, s, CPU, torch.float32) for s in scenes(range(50, 56))]
    ap = average_precision(wanted, found, [(HEIGHT, WIDTH)] * 6, 2)
    assert ap.ap50_of[1] > 0.8 > ap.ap50_of[0] + 0.3
    one, other, third = (train(scenes(range(4)), 2, 1, seed, CPU, torch.float32) for seed in (7, 7, 8))
    assert one and other and third
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert not torch.equal(one.score.weight, third.score.weight)
    assert train(scenes(range(4)), 2, 3, 0, CPU, torch.float32, lambda epoch, loss: True) is None
