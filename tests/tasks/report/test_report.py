"""What an evaluation looks like: the same numbers in every output, names that would break a format, one method."""

from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.cli.tables import show_evaluation
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.images import ImageFiles
from lure_cli.tasks.evaluate.summary import Column, Evaluation, summarise
from lure_cli.tasks.report import means as report
from lure_cli.tasks.report.html import to_html
from lure_cli.tasks.report.plots import write_plots
from lure_cli.tasks.report.table import common_decimals, csv_text, format_number, write_text

COLUMNS = (
    Column("VIF", "higher", ""),
    Column("MSE", "lower", ""),
    Column("CC", "higher", ""),
    Column("MI", "higher", "nats"),
)
ODD = "a_b&<c>"


def make(methods: dict[str, dict[str, list[float]]], baselines: tuple[str, ...] = ()) -> Evaluation:
    count = len(next(iter(methods.values()))["VIF"])
    images = tuple(ImageFiles(f"img_{i}", {}) for i in range(count))
    return Evaluation("zoo", COLUMNS, images, summarise(methods, COLUMNS, baselines), next(iter(methods)))


@pytest.fixture(scope="module")
def three() -> Evaluation:
    """`good` is best in VIF and MSE, the odd one second; CC is undefined once; `flat` is a baseline."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 0.01, 12)
    odd, flat = 0.99 * noise, 1.01 * noise  # no two differences are equal, so that the rank test needs no permutations
    return make(
        {
            "good": {
                "VIF": list(0.9 + noise), "MSE": list(100 + noise), "CC": [math.nan, *(0.5 + noise[1:])],
                "MI": list(2.5 + noise),
            },
            ODD: {
                "VIF": list(0.8 + odd), "MSE": list(200 + odd), "CC": list(0.6 + odd), "MI": list(2.4 + odd),
            },
            "flat": {
                "VIF": list(0.1 + flat), "MSE": list(3000 + flat), "CC": list(0.1 - flat), "MI": list(2.6 + flat),
            },
        },
        ("flat",),
    )  # fmt: skip


@pytest.fixture
def one() -> Evaluation:
    return make({"only": {"VIF": [0.5, 0.7], "MSE": [1.0, 3.0], "CC": [0.1, 0.2], "MI": [2.0, 3.0]}})


def markdown(evaluation: Evaluation) -> str:
    return report.evaluation_results(evaluation).to_markdown()


def picture(index: int, which: str) -> np.ndarray | None:
    return None if which == "infrared" else np.full((40, 640, 3), index * 20, np.uint8)


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0672, "1.067"), (0.023456, "0.0235"), (42.661, "42.66"), (7832.4, "7832"), (0.0, "0"), (-1.5, "-1.500"),
     (math.nan, "n/a"), (math.inf, "n/a"), (1e-12, "1.00e-12")],
)  # fmt: skip
def test_four_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_numbers_of_a_column_line_up() -> None:
    decimals = common_decimals([1.0672, 0.354, 0.9])
    assert [format_number(v, decimals) for v in (1.0672, 0.354)] == ["1.067", "0.354"]


# --- CSV and JSON ----------------------------------------------------------------------------------------------------


def test_image_csv_keeps_every_bit(three: Evaluation) -> None:
    rows = list(csv.DictReader(io.StringIO(report.evaluation_results(three).to_csv())))
    assert len(rows) == 36
    for method in three.methods:
        for i, row in enumerate(r for r in rows if r["method"] == method.name):
            assert row["image"] == f"img_{i}"
            assert row["convention"] == "zoo"
            for c in COLUMNS:
                value = method.values[c.name][i]
                assert (row[c.name] == "") if math.isnan(value) else (float(row[c.name]) == value)


def test_summary_csv(three: Evaluation) -> None:
    rows = list(csv.DictReader(io.StringIO(report.summary_csv(three))))
    assert len(rows) == 12
    for row in rows:
        method = next(m for m in three.methods if m.name == row["method"])
        s = method.summary[row["column"]]
        assert float(row["mean"]) == s.mean
        assert (float(row["low"]), float(row["high"])) == (s.low, s.high)
        assert (int(row["count"]), int(row["undefined"])) == (s.count, s.undefined)
        assert float(row["mean_rank"]) == method.mean_rank
        assert row["floor"] == ("true" if method.name == "flat" else "false")
        assert row["p_value"] == ("" if method.name == "good" else repr(s.p_value))


def test_dict_has_no_nan(three: Evaluation) -> None:
    import json

    record = json.loads(json.dumps(report.evaluation_results(three).record, allow_nan=False))
    assert record["images"]["img_0"]["good"]["CC"] is None
    good = next(m for m in record["methods"] if m["name"] == "good")
    assert good["summary"]["CC"]["undefined"] == 1
    assert good["summary"]["VIF"]["mean"] == three.methods[0].summary["VIF"].mean
    assert record["columns"][3] == {"name": "MI", "better": "higher", "unit": "nats"}


def test_csv_holds_what_is_there_and_nothing_else() -> None:
    row = ("a,b", 1, 0.1, np.float64(1e-9), math.nan, math.inf, None)
    assert csv_text("uvwxyz!", [row]) == 'u,v,w,x,y,z,!\n"a,b",1,0.1,1e-09,,,\n'


# --- Markdown and LaTeX ----------------------------------------------------------------------------------------------


def cells(markdown: str) -> dict[str, list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return {row[0].strip(): [c.strip() for c in row[1:]] for row in (re.split(r"(?<!\\)\|", x)[1:-1] for x in lines)}


def test_markdown_marks_best_and_second_both_ways(three: Evaluation) -> None:
    text = markdown(three)
    table = cells(text)
    assert table["method"] == ["VIF ↑", "MSE ↓", "CC ↑", "MI ↑", "mean rank ↓"]
    odd = r"a_b\&\<c\>"
    assert table["good"][0] == "**0.905**" or table["good"][0].startswith("**0.90")
    assert table["good"][1].startswith("**")
    assert table[odd][0].startswith("<u>")
    assert table[odd][1].startswith("<u>")
    assert table[odd][2].startswith("**")
    assert table["flat †"][3].startswith("**")
    assert table["flat †"][0].endswith(r"\*")
    assert not table["good"][0].endswith(r"\*")
    for part in ("zoo", "12 images", "1 undefined value", "CC: good 1", "MI in nats", "Wilcoxon"):
        assert part in text


def test_latex_is_escaped_and_marked(three: Evaluation) -> None:
    text = report.to_latex(three)
    assert r"a\_b\&\textless{}c\textgreater{}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    rows = {line.split(" & ")[0].strip(): line for line in text.splitlines() if " & " in line}
    assert rows["good"].count(r"\textbf{") >= 2
    assert r"\underline{" in rows[r"a\_b\&\textless{}c\textgreater{}"]
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"MSE $\downarrow$", "Convention zoo"):
        assert part in text
    body = re.sub(r"\$.*?\$|\\[a-zA-Z]+|\\[&%$#_{}]", "", text.split(r"\toprule")[1])
    assert not re.search(r"[#_%^~<>]", body)
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    assert len(columns[1]) == rows["good"].count(" & ") + 1


def test_quotes_need_no_font_encoding() -> None:
    values = {"VIF": [1.0, 2.0], "MSE": [1.0, 2.0], "CC": [0.1, 0.2], "MI": [1.0, 2.0]}
    assert "a''b''" in report.to_latex(make({'a"b"': values}))


def test_one_method_has_no_ranks(one: Evaluation) -> None:
    for text in (markdown(one), report.to_latex(one)):
        assert "rank" not in text
        assert "Wilcoxon" not in text
        assert "**" not in text
        assert r"\textbf" not in text


# --- HTML ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Values by table, images, and whether anything is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.table, self.values, self.images, self.links = "", {}, [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "table":
            self.table = attributes["id"] or ""
        if tag == "img":
            self.images.append(attributes["src"])
        self.links += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]
        if tag in ("td", "span") and attributes.get("data-value"):
            self.values.setdefault(self.table, []).append(attributes["data-value"])


def test_every_number_of_the_page_is_one_of_the_csv(three: Evaluation) -> None:
    text = to_html(three, picture)
    page = Page(text)
    image_rows = list(csv.reader(io.StringIO(report.evaluation_results(three).to_csv())))[1:]
    summary = list(csv.DictReader(io.StringIO(report.summary_csv(three))))
    assert sorted(page.values["images"]) == sorted(v for row in image_rows for v in row[3:] if v)
    expected = [row[k] for row in summary for k in ("mean", "low", "high")]
    expected += list({row["method"]: row["mean_rank"] for row in summary}.values())
    assert sorted(page.values["means"]) == sorted(expected)


def test_the_page_stands_alone_and_is_escaped(three: Evaluation) -> None:
    text = to_html(three, picture, extremes=2)
    page = Page(text)
    assert page.links == []
    assert "a_b&amp;&lt;c&gt;" in text
    assert ODD not in text
    assert len(page.images) == 3 * 4 * 2  # methods x (2 worst, 2 best) x (visible, fused); there is no infrared here
    assert all(src.startswith("data:image/jpeg;base64,") for src in page.images)
    assert text.count("no picture") == 12


def test_names_stay_inside_their_attributes() -> None:
    name = """x" onclick='a()'><b>"""
    values = {"VIF": [1.0, 2.0], "MSE": [1.0, 2.0], "CC": [0.1, 0.2], "MI": [1.0, 2.0]}
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Tags().feed(to_html(make({name: values, "other": values}), picture))
    assert "b" not in {tag for tag, _ in seen}
    assert not any("onclick" in attributes for _, attributes in seen)
    assert any(attributes.get("data-value") == name for _, attributes in seen)


def test_thumbnails_are_small(three: Evaluation) -> None:
    import base64

    page = Page(to_html(three, picture, extremes=1))
    image = Image.open(io.BytesIO(base64.b64decode(page.images[0].partition(",")[2])))
    assert image.size == (320, 20)


def test_worst_and_best_of_one_method_follow_the_first_column_against_sources() -> None:
    evaluation = make({"m": {"VIF": [0.3, 0.9, 0.1, 0.5], "MSE": [1, 2, 3, 4], "CC": [1, 1, 1, 1], "MI": [1, 1, 1, 1]}})
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", to_html(evaluation, picture, extremes=1))
    assert captions == ["worst: img_2 (0.1000)", "best: img_1 (0.9000)"]


def test_captions_keep_the_sign() -> None:
    values = {"VIF": [-0.3, 0.9], "MSE": [1.0, 2.0], "CC": [1.0, 1.0], "MI": [1.0, 1.0]}
    text = to_html(make({"m": values}), picture, extremes=1)
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == ["worst: img_0 (-0.3000)", "best: img_1 (0.9000)"]


# --- terminal --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", ["60", "200"])
def test_the_terminal_shows_every_number(
    width: str, three: Evaluation, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    show_evaluation(three)
    out = capfd.readouterr().out
    table = report.table_of_means(three)
    for name, row in table.rows:
        assert name in out
        for cell in row:
            assert cell.text in out
    assert "…" not in out
    assert "\x1b" not in out
    assert "zoo" in out
    assert "bold" not in out  # nothing is, where stdout is no terminal
    tables = out[: out.index("* differs")]
    assert max(map(len, tables.splitlines())) <= int(width)
    assert (tables.count("method") > 1) == (width == "60")


def test_markup_in_names_is_text(capfd: pytest.CaptureFixture[str]) -> None:
    values = {"VIF": [1.0, 2.0], "MSE": [1.0, 2.0], "CC": [0.1, 0.2], "MI": [1.0, 2.0]}
    show_evaluation(make({"[red]x[/red]": values, "[/b]": values}))
    assert "[red]x[/red]" in capfd.readouterr().out


def test_one_method_on_the_terminal(one: Evaluation, capfd: pytest.CaptureFixture[str]) -> None:
    show_evaluation(one)
    out = capfd.readouterr().out
    line = next(x for x in out.splitlines() if x.strip().startswith("MI"))
    assert re.split(r"\s{2,}", line.strip()) == ["MI ↑", "2.500", "2.000 .. 3.000", "nats", "2"]


def numbers(text: str) -> list[str]:
    return re.findall(r"-?\d+\.\d+", text)


def test_narrow_terminals_cut_no_number(
    one: Evaluation, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sorted(["0.600", "0.500", "0.700", "2.000", "1.000", "3.000", "0.1500", "0.1000", "0.2000"])
    expected = sorted([*expected, "2.500", "2.000", "3.000"])
    values = {"VIF": [1.0, 2.0], "MSE": [1.0, 2.0], "CC": [-0.1, -0.2], "MI": [1.0, 2.0]}
    long = make({"n" * 90: values, "方法" * 20: {**values, "VIF": [3.0, 4.0]}})
    for width in ("10", "30", "60"):
        monkeypatch.setenv("COLUMNS", width)
        show_evaluation(one)
        out = capfd.readouterr().out.partition("No value")[0]
        assert [n.rstrip("0") for n in sorted(numbers(out))] == [n.rstrip("0") for n in expected]
        show_evaluation(long)
        out = capfd.readouterr().out
        assert out.count("n") >= 90
        for _, row in report.table_of_means(long).rows:
            assert {cell.text for cell in row} <= set(numbers(out))


@pytest.mark.parametrize("columns", ["", "x", "0"])
def test_without_a_usable_width_it_is_120_and_plain(
    columns: str, three: Evaluation, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    show_evaluation(three)
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert out.count("method ") == 1


def test_a_terminal_shows_bold_and_underline(
    three: Evaluation, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    show_evaluation(three)
    out = capfd.readouterr().out
    table = report.table_of_means(three)
    for mark, code in (("best", "1"), ("second", "4")):
        shown = [cell.text for _, row in table.rows for cell in row if cell.mark == mark]
        assert sorted(re.findall(rf"\x1b\[{code}m(-?\d[\d.]*)\x1b", out)) == sorted(shown)
    assert "Best bold" in out


# --- plots and files -------------------------------------------------------------------------------------------------


def test_plots(three: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_plots(three, tmp_path / "plots")
    names = {p.name for p in written}
    assert names == {"boxplot_VIF.png", "boxplot_MSE.png", "boxplot_CC.png", "boxplot_MI.png", "ranks.png"}
    assert {p.name for p in (tmp_path / "plots").iterdir()} == names
    for path in written:
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 10


def test_plots_without_matplotlib(three: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LureError, match="matplotlib"):
        write_plots(three, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a" / "t.csv"
    write_text(target, "x")
    write_text(target, "yé")
    assert target.read_text(encoding="utf-8") == "yé"

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LureError, match=r"t\.csv: cannot be written \(No space left"):
        write_text(target, "z")
    assert target.read_text(encoding="utf-8") == "yé"
    assert [p.name for p in target.parent.iterdir()] == ["t.csv"]


def test_names_that_utf8_cannot_hold(tmp_path: Path) -> None:
    write_text(tmp_path / "t.csv", "a\udcff")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == r"a\udcff"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(LureError, match="cannot be written"):
        write_text(tmp_path, "x")
