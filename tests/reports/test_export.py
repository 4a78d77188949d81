"""Figures and tables as files of their own."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import normlab
from normlab.cli import app
from normlab.errors import UserError
from normlab.reports import write_exports
from tests.kinds import with_figures


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    write_exports(finished, figures=folder, latex=folder)
    return folder


def test_every_figure_is_an_svg_and_a_pdf(exported: Path) -> None:
    names = {path.stem for path in exported.glob("*.svg")}
    assert names == {"accuracy", "accuracy-curves", "loss-curves"}
    for name in names:
        root = ElementTree.parse(exported / f"{name}.svg").getroot()
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10
        assert (exported / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_a_gallery_is_a_png_with_its_images_too(illustrated: Path, tmp_path: Path) -> None:
    folder = with_figures(illustrated, tmp_path / "study")
    written = write_exports(folder, figures=tmp_path).written
    assert {path.suffix for path in written} == {".svg", ".pdf", ".png"}
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        "misclassified",
        "either",
        "disagreement",
    }
    with Image.open(tmp_path / "misclassified.png") as image:
        assert len(image.convert("L").getcolors(maxcolors=256) or []) > 15  # digits have 17 greys
    svg = (tmp_path / "misclassified.svg").read_text(encoding="utf-8")
    assert len(re.findall(r"<image [^>]*data:image/png;base64,", svg)) == 26


def test_the_arms_table_has_the_numbers_of_the_report(exported: Path, finished: Path) -> None:
    normlab.results("tiny", runs=finished.parent).report()
    arms = pd.read_csv(finished / "tables" / "arms.csv")
    latex = (exported / "arms.tex").read_text(encoding="utf-8")
    rows = re.findall(r"^(.*) \\\\$", latex, re.M)
    assert len(rows) == 1 + len(arms)
    assert rows[3].startswith(
        r"\textless{}b\textgreater{}exploding\textless{}/b\textgreater{} & \num{2}"
    )
    assert rows[1].split(" & ")[2] == rf"\num{{{100 * arms['test_mean'][0]:.2f}}}"
    markdown = (exported / "arms.md").read_text(encoding="utf-8")
    assert r"| \<b\>exploding\</b\> | 2 |" in markdown
    assert not (exported / "verdicts.tex").exists()  # a study without claims
    assert not (exported / "published.tex").exists()  # and without published numbers


def test_the_api_writes_them_too(illustrated: Path, tmp_path: Path) -> None:
    results = normlab.results("illustrated", runs=illustrated.parent)
    assert results.report(latex=tmp_path / "new") == illustrated / "report.html"
    verdicts = (tmp_path / "new" / "verdicts.md").read_text(encoding="utf-8").splitlines()
    assert verdicts[2].startswith("| better: norm=batch\\_instance, norm=layer | ")
    assert "inconclusive" in verdicts[2] or "supported" in verdicts[2]
    published = (tmp_path / "new" / "published.md").read_text(encoding="utf-8").splitlines()
    assert published[0].startswith("| Measure | Arm | Published | Ours | ")
    assert published[2].startswith(
        "| Test accuracy, % (last epoch) | norm=layer, dropout.p=0 | 90.00 |"
    )


def test_a_folder_that_cannot_be_written_is_said(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"file/arms\.tex cannot be written"):
        write_exports(finished, latex=tmp_path / "file")


def test_the_command_names_every_file(illustrated: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with_figures(illustrated, runs / "illustrated")
    options = ["--figures", str(tmp_path / "f"), "--latex", str(tmp_path / "t")]
    options += ["--csv", str(tmp_path / "trials.csv")]
    command = ["report", "illustrated", "--runs", str(runs), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    names = [Path(line).name for line in result.output.splitlines()]
    assert names[0] == "report.html"
    assert {"disagreement.pdf", "misclassified.png", "arms.tex", "verdicts.md"} <= set(names)
    assert names[-1] == "trials.csv"
    assert pd.read_csv(tmp_path / "trials.csv")["epoch"].max() == 2
