"""Trials run elsewhere: tables as spreadsheets and loggers write them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab import api
from normlab.errors import UserError
from normlab.frames import Frames, claim_table, frames_from_csv
from normlab.frames.external_table import number, plain_name, read_table, whole
from normlab.frames.scores import images, score_array
from normlab.study.resolve import outline
from normlab.study.spec import Study

CLAIM = {"kind": "better", "name": "c", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
SCORES = {"batch": (0.951, 0.96, 0.9725), "none": (0.8, 0.8125, 0.82)}


def study(**values: Any) -> Study:
    base = {"data": "digits", "model": "digits-small", "epochs": 1}
    whole = {
        "name": "s", "question": "?", "base": base, "factors": {"norm": ["batch", "none"]},
        "seeds": 3, "claims": [{**CLAIM, "margin": 0.05}],
    }  # fmt: skip
    return Study.parse({**whole, **values})


def frames(tmp_path: Path, text: str | bytes, images: int | None = None, **values: Any) -> Frames:
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return frames_from_csv(path, outline(study(**values)), test_images=images)


def rows(form: str = "{n},{s},{v}\n", *, scale: float = 1) -> str:
    return "".join(
        form.format(n=norm, s=seed, v=f"{scale * value:g}")
        for norm, values in SCORES.items()
        for seed, value in enumerate(values)
    )


PLAIN = "norm,seed,test_accuracy\n" + rows()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", "  "),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", ",\n"),
        PLAIN + "\n,,\n\n",
        "\n" + PLAIN,
        PLAIN.replace(",", ";").replace("0.", "0,"),
        "sep=;\r\n" + PLAIN.replace(",", ";").replace("0.", "0,"),
        PLAIN.replace(",", "\t").replace("0.", "0,"),
        "norm,seed,test_accuracy\n" + rows('"{n}","{s}","{v}"\n').replace("0.", "0,"),
        "norm,seed,test_accuracy_percent\n" + rows(scale=100),
        "norm,seed,test_accuracy_percent\n" + rows("{n},{s},{v} %\n", scale=100),
        "Norm,Seed,Test Accuracy (%)\n" + rows(scale=100),
        "norm,seed,test_accuracy [%]\n" + rows(scale=100),
        "NORM,SEED,TEST_ACCURACY\n" + rows(),
        ",norm,seed,test_accuracy\n" + rows("7,{n},{s},{v}\n"),
        "norm,seed,test_accuracy,note\n" + rows('{n},{s},{v},"a, b"\n'),
        "norm,seed,test_accuracy,test_accuracy_percent\n"
        + "".join(f"{n},{s},{v},{100 * v:.1f}\n" for n, vs in SCORES.items() for s, v in enumerate(vs)),
        ("\ufeff" + PLAIN).encode(),
        PLAIN.encode("utf-16"),
    ],
)  # fmt: skip
def test_a_table_is_read_however_it_was_written(text: str | bytes, tmp_path: Path) -> None:
    found = frames(tmp_path, text, images=360)
    scores = score_array(found, "test_accuracy", "last")
    np.testing.assert_allclose(scores, [SCORES["batch"], SCORES["none"]], rtol=1e-9)


@pytest.mark.parametrize(
    "name",
    ["seed", "Seed", "seeds", "random_seed", "Random Seed", "rng_seed", "randomSeed", "seed #",
     "torch_seed", "random_state", "rng", "run", "Run ID", "run_number", "trial", "Repeat No", "replicate", "fold"],
)  # fmt: skip
def test_a_column_of_seeds_has_any_usual_name(name: str, tmp_path: Path) -> None:
    text = f"norm,{name},test_accuracy\n" + "".join(
        f"{norm},{seed + 5},{value}\n"
        for norm, values in SCORES.items()
        for seed, value in sorted(enumerate(values), reverse=norm == "none")
    )
    found = frames(tmp_path, text, images=360, analysis={"paired": True})
    assert found.plan.seeds == (5, 6, 7)
    scores = score_array(found, "test_accuracy", "last")
    np.testing.assert_allclose(scores, [SCORES["batch"], SCORES["none"]])


def test_a_column_that_numbers_something_else_is_no_seed(tmp_path: Path) -> None:
    for text in ("norm,run,test_accuracy\n" + rows("{n},a{s},{v}\n"),
                 "norm,fold,test_accuracy\n" + rows("{n},1,{v}\n")):  # fmt: skip
        assert frames(tmp_path, text).plan.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("norm,seed,test_accuracy\n", "has a header and no rows"),
        ("norm,seed,test_accuracy\nbatch,0,0,95\n", r"line 2 has 4 cells and the header 3.*commas"),
        ("norm;seed;test_accuracy\nbatch;0\n", r"line 2 has 2 cells.*semicolons"),
        ("norm;seed;test_accuracy\nbatch;0;0,9\nbatch;1;0.8\n", r"'0\.8' in line 3, '0,9' in line 2"),
        ("norm,seed,test_accuracy_percent\n" + rows(), "less than 1 %. A fraction of 1 belongs"),
        ("norm,seed,test_accuracy_percent\nbatch,0,95\nbatch,1,0.96\n", "line 3.*less than 1 %"),
        (
            "norm,seed,test_accuracy,test_accuracy_percent\n" + rows("{n},{s},{v},50\n"),
            r"line 2: test_accuracy is 0.951 and test_accuracy_percent is 50: they contradict",
        ),
        ("norm,Seed,seed,test_accuracy\nbatch,0,1,0.9\n", "two columns 'seed': 'Seed' and 'seed'"),
        ("norm,a_seed,b_seed,test_accuracy\nbatch,0,1,0.9\n", "may both be the seeds, and they dif"),
        ("norm,epoch,test_accuracy\nbatch,1,0.8\nbatch,2,0.9\n", "a row for each epoch and no col"),
        ("arm,norm,test_accuracy\nbatch,none,0.9\n", "the arm 'batch' has norm batch.*'none'"),
        ("norm,test_loss,test_accuracy\nbatch,inf,0.9\n", "test_loss is inf: leave it empty"),
        ("norms,test_accuracy\nbatch,0.9\n", "no column 'norm'.*Is 'norms' meant"),
        ('norm,test_accuracy\n"batch,0.9\n', "line 2 cannot be read"),
        ("norm,test_accuracy\nbatch,0.9é\n".encode("latin-1"), "Save it as UTF-8"),
        (b"PK\x03\x04\0\0norm", "it is no text"),
        ("norm,seed,test_accuracy\nbatch,0,0.9\nbatch,1,\nnone,0,0.8\n", "nothing says why.*'state'"),
        ("norm,seed,test_accuracy\nbatch,0,0.9\nbatch,1,NaN\nnone,0,0.8\n", "line 3: batch, seed 1"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(
    text: str | bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        frames(tmp_path, text)


def test_percents_below_1_are_read_where_the_classes_allow_them(tmp_path: Path) -> None:
    text = "norm,seed,test_accuracy_percent,classes\nbatch,0,0.9,1000\nbatch,1,55,1000\nnone,0,5,1000\n"
    assert score_array(frames(tmp_path, text), "test_accuracy", "last")[0, 0] == pytest.approx(
        0.009
    )


def test_paired_arms_need_a_column_of_seeds_and_common_ones(tmp_path: Path) -> None:
    paired = {"analysis": {"paired": True}}
    with pytest.raises(UserError, match=r"no column 'seed'.*seed by seed"):
        frames(tmp_path, "norm,test_accuracy\n" + rows("{n},{v}\n"), **paired)
    text = "norm,seed,test_accuracy\nbatch,0,0.9\nbatch,1,0.8\nnone,5,0.7\nnone,6,0.6\n"
    with pytest.raises(UserError, match=r"no seed in common: batch 0, 1; none 5, 6"):
        frames(tmp_path, text, **paired)
    frames(tmp_path, text)  # unpaired they are compared


def test_epochs_are_of_a_trial_whatever_its_seed_is_called(tmp_path: Path) -> None:
    text = "norm,random_seed,epoch,test_accuracy\n" + "".join(
        f"{norm},{seed},{epoch},{value - 0.1 + epoch / 20}\n"
        for norm, values in SCORES.items()
        for seed, value in enumerate(values)
        for epoch in (1, 2)
    )
    scores = score_array(frames(tmp_path, text), "test_accuracy", "last")
    np.testing.assert_allclose(scores, [SCORES["batch"], SCORES["none"]])


def test_how_trials_ended_may_stand_under_another_name(tmp_path: Path) -> None:
    text = "norm,seed,status,test_accuracy\n" + rows("{n},{s},Complete,{v}\n")
    found = frames(tmp_path, text.replace("Complete", "failed", 1))
    assert found.trials["state"].tolist()[:2] == ["failed", "complete"]
    words = text.replace("Complete", "on node 3")  # something else
    assert set(frames(tmp_path, words).trials["state"]) == {"complete"}


@pytest.mark.parametrize("metric", ["test_macro_f1", "test_loss", "validation_accuracy", "seconds"])
def test_rounding_that_no_number_of_images_mends_asks_for_digits(
    metric: str, tmp_path: Path
) -> None:
    claim = {**CLAIM, "metric": metric, "margin": 0.05}
    text = f"norm,seed,{metric}\n" + "".join(
        f"{n},{s},{v}\n" for n, v in (("batch", 0.9), ("none", 0.8)) for s in range(3)
    )
    with pytest.raises(UserError, match=r"rounded to .* vary less than that.*more digits"):
        frames(tmp_path, text, claims=[claim])


DIVERGED = (
    "norm,seed,state,test_accuracy\nbatch,0,complete,.9\nbatch,1,diverged,\nbatch,2,Complete,.92\n"
    "none,0,complete,.8\nnone,1,complete,.82\nnone,2,,.81\n"
)


def test_a_diverged_trial_counts_with_the_chance_of_the_study_s_data(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(DIVERGED)
    (row,) = api.claims_from(path, study(), test_images=360).to_dict("records")
    assert (row["verdict"], row["seeds"]) == ("inconclusive", 3)
    assert row["estimate"] == pytest.approx((0.9 + 0.1 + 0.92) / 3 - 0.81)
    two = study(base={"data": {"kind": "digits", "classes": 2}, "model": "digits-small"})
    (row,) = api.claims_from(path, two, test_images=360).to_dict("records")
    assert row["estimate"] == pytest.approx((0.9 + 0.5 + 0.92) / 3 - 0.81)


def test_a_diverged_trial_whose_chance_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(DIVERGED)
    own = {"data": {"kind": "image-folder", "path": "nowhere"}, "model": "digits-small"}
    with pytest.raises(UserError, match=r"line 3.*counts with chance.*a column 'classes' says it"):
        api.claims_from(path, study(base=own), test_images=360)
    header, *lines = DIVERGED.splitlines()
    path.write_text("\n".join([f"{header},classes", *(f"{line},10" for line in lines)]))
    (row,) = api.claims_from(path, study(base=own), test_images=360).to_dict("records")
    assert row["seeds"] == 3


def test_rounded_scores_ask_for_the_number_of_test_images(tmp_path: Path) -> None:
    text = "norm,seed,test_accuracy_percent\n" + "".join(
        f"{norm},{seed},{value}\n" for norm, value in (("batch", 99.4), ("none", 99.3))
        for seed in range(3)
    )  # fmt: skip
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"rounded to 0\.1 points.*--test-images N.*own 599"):
        api.claims_from(path, study())
    # Told, the floor of the spread is the coarser of one image and the last digit.
    for told, least in ((100, 100), (10_000, 1000)):
        found = frames_from_csv(path, outline(study()), test_images=told)
        assert images(found, "test_accuracy") == least
    (row,) = claim_table(found).to_dict("records")
    assert row["low"] < row["estimate"] < row["high"]


@pytest.mark.parametrize(
    ("text", "comma", "value"),
    [
        ("0.95", False, 0.95),
        ("0,95", True, 0.95),
        ("1,234.5", False, 1234.5),
        ("1.234,5", True, 1234.5),
        ("1 234", False, 1234),
        ("−3", False, -3),
        (".5", False, 0.5),
        ("1e-3", False, 0.001),
        ("1,5E2", True, 150),
        ("12,34.5", False, None),
        ("1.2.3", False, None),
        ("x", False, None),
        ("0x10", False, None),
        ("1_000", False, None),
    ],
)
def test_numbers_of_other_countries(text: str, comma: bool, value: float | None) -> None:
    assert number(text, comma=comma) == value


def test_names_lose_case_blanks_and_brackets() -> None:
    for name in ("test_accuracy_percent", "Test Accuracy (%)", " TEST-accuracy %", "test.accuracy"):
        expected = "test.accuracy" if "." in name else "test_accuracy_percent"
        assert plain_name(name) == expected
    assert plain_name("dropout.p") == "dropout.p"


def test_the_line_of_a_row_is_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n\n"x\ny",1\nz,2\n')
    read = read_table(path, ["a", "b"], ["b"])
    assert read.lines == (3, 5)


def test_seeds_keep_their_last_digit_and_end_at_64_bits(tmp_path: Path) -> None:
    seeds = [2**53, 2**53 + 1, 2**63 - 1]
    path = tmp_path / "t.csv"
    rows = [f"{arm},{seed},0.{seed % 7}5" for arm in ("batch", "none") for seed in seeds]
    path.write_text("\n".join(["norm,seed,test_accuracy", *rows]))
    assert frames_from_csv(path, outline(study())).plan.seeds == tuple(seeds)
    path.write_text(path.read_text().replace(f"{2**63 - 1}", f"{2**63}"))
    with pytest.raises(
        UserError, match=f"line 4: seed is {2**63}: a whole number from 0 to {2**63 - 1} is needed"
    ):
        frames_from_csv(path, outline(study()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9,007,199,254,740,993", 2**53 + 1), ("9007199254740993.0", 2**53 + 1), ("1e3", 1000),
        ("9007199254740992.5", None), ("1.5", None), ("1e400", None), ("", None), ("a", None),
        ("-3", -3), ("1e300", int(1e300)), ("1e-999999999", None),
    ],
)  # fmt: skip
def test_a_whole_number_is_exact(text: str, value: int | None) -> None:
    assert whole(text, comma=False) == value
