import math

import pytest

from frih.common.columns import columns_of
from frih.evaluation.layout import Table, fitted
from frih.evaluation.published import COUNTS, TABLE_1, TABLE_2
from frih.evaluation.tables import (
    WORSE,
    beside_published,
    comparison,
    cutoffs,
    efficiency,
    interval_tables,
    intervals,
    methods,
    summarize,
)
from frih.metrics import HARM
from tests.evaluation.helpers import random_rows, row


def test_all_is_the_mean_over_images_not_over_subsets():
    summary = summarize([row("B", mse=10), row("A", mse=1), row("A", mse=2), row("A", mse=3)], "idih")
    assert list(summary["subsets"]) == ["B", "A", "All"]  # the order of the rows
    assert summary["subsets"]["A"] == {"images": 3, "mse": 2, "psnr": 30, "fmse": 10}
    assert summary["subsets"]["All"]["mse"] == 4
    assert summary["ratios"]["All"] == summary["subsets"]["All"]


def test_each_image_counts_in_one_foreground_ratio_and_empty_ones_are_left_out():
    assert list(summarize([row(fg=0.2)], "idih")["ratios"]) == ["15-100", "All"]
    assert list(intervals([row(fg=0.2)])["ratios"]) == ["15-100", "All"]
    shares = [0.0, 0.0499, 0.05, 0.1499, 0.15, 1.0]
    ratios = summarize([row(fg=share) for share in shares], "idih")["ratios"]
    assert {name: cell["images"] for name, cell in ratios.items()} == {"0-5": 2, "5-15": 2, "15-100": 2, "All": 6}


def test_an_empty_mask_is_named_and_stays_out_of_fmse_alone():
    rows = [row(fmse=10, mse=1), row(fg=0.0, fmse=math.nan, mse=3)]
    summary = summarize(rows, "idih")
    assert summary["empty_masks"] == ["A/x.jpg"]
    assert summary["photos"] == 1
    assert summary["subsets"]["All"] == {"images": 2, "mse": 2, "psnr": 30, "fmse": 10}
    assert intervals(rows)["subsets"]["All"]["fmse"].images == 1
    assert "fmse" not in summarize(rows[1:], "idih")["subsets"]["All"]
    assert "fmse" not in intervals(rows[1:])["subsets"]["All"]


def test_intervals_are_of_the_same_means_as_the_summary():
    rows = random_rows(30)
    summary, found = summarize(rows, "idih"), intervals(rows)
    for kind in ("subsets", "ratios"):
        for group, cell in summary[kind].items():
            for score, interval in found[kind][group].items():
                assert interval.mean == pytest.approx(cell[score], rel=1e-12)
                if interval.photos > 1:
                    assert interval.low <= interval.mean <= interval.high


def test_tables_have_the_papers_form():
    rows = [
        row("A", fg=0.01, input_mse=5.0, input_psnr=20.0, input_fmse=50.0),
        row("B", fg=0.5, mse=3, fmse=90.0, input_mse=7.0, input_psnr=22.0, input_fmse=70.0),
    ]
    by_subset, by_ratio = comparison({"": summarize(rows, "idih")})
    assert by_subset.groups == ["A", "B", "All"]
    assert [" ".join(line) for line in by_subset.lines] == [
        "Input composite 5.00 20.00 50.00 - - 7.00 22.00 70.00 - - 6.00 21.00 60.00 - -",
        "FRIH 1.00 30.00 10.00 0.0% 0.0% 3.00 30.00 90.00 100.0% 100.0% 2.00 30.00 50.00 50.0% 50.0%",
    ]
    assert by_ratio.images == [1, 1, 2]
    assert by_ratio.text().splitlines() == [
        "  ".join(
            ["Foreground ratio", *(title.center(35) for title in ("0-5% (1)", "15-100% (1)", "All (2)"))]
        ).rstrip(),
        "                " + "  MSE↓ PSNR↑ fMSE↓ worse↓ >10% worse↓" * 3,
        "-" * 127,
        "Input composite   5.00 20.00 50.00      -           -  7.00 22.00 70.00      -           -"
        "  6.00 21.00 60.00      -           -",
        "FRIH              1.00 30.00 10.00   0.0%        0.0%  3.00 30.00 90.00 100.0%      100.0%"
        "  2.00 30.00 50.00  50.0%       50.0%",
    ]
    assert by_subset.notes == (WORSE,)
    assert by_ratio.notes == ()


def test_shares_of_images_made_worse():
    """By hand: of A one of two is worse, by a tenth at most; of B the one image that has an fMSE is much worse."""
    rows = [
        row("A", "1", fg=0.01, fmse=90.0, input_fmse=100.0, coarse_fmse=111.0),
        row("A", "2", fg=0.2, fmse=110.0, input_fmse=100.0, coarse_fmse=100.0),
        row("B", "3", fg=0.2, fmse=111.0, input_fmse=100.0, coarse_fmse=100.0),
        row("B", "4", fg=0.0, fmse=math.nan, input_fmse=math.nan, coarse_fmse=math.nan),
    ]
    summary = summarize(rows, "idih")
    shares = {
        kind: {
            name: [cell.get(f"{prefix}{score}") for prefix in ("", "coarse_") for score in HARM]
            for name, cell in summary[kind].items()
        }
        for kind in ("subsets", "ratios")
    }
    assert shares == {
        "subsets": {"A": [0.5, 0, 0.5, 0.5], "B": [1, 1, 0, 0], "All": [2 / 3, 1 / 3, 1 / 3, 1 / 3]},
        "ratios": {"0-5": [0, 0, 1, 1], "15-100": [1, 0.5, 0, 0], "All": [2 / 3, 1 / 3, 1 / 3, 1 / 3]},
    }
    interval = intervals(rows)["subsets"]["All"]["worse"]
    assert (interval.mean, interval.images) == (pytest.approx(2 / 3), 3)


def test_where_the_composites_fmse_is_not_known_nothing_is_said():
    old, new = [row(fmse=90.0)], [row(fmse=90.0, input_fmse=80.0)]
    assert "worse" not in summarize(old, "idih")["subsets"]["All"]
    assert "worse" not in intervals(old)["subsets"]["All"]
    assert comparison({"": summarize(old, "idih")})[0].headings() == ["MSE↓", "PSNR↑", "fMSE↓"] * 2
    both = comparison({"old": summarize(old, "idih"), "new": summarize(new, "idih")}, {"": ""})[0]
    assert [line[-2:] for line in both.lines] == [["-", "-"], ["100.0%", "100.0%"]]


def test_csv_and_latex_name_the_percent():
    table = comparison({"": summarize([row(fmse=90.0, input_fmse=85.0)], "idih")})[0]
    heading, line = table.flat()
    assert (heading[4:6], line[4:6]) == (["A worse %", "A worse_10 %"], ["100.0", "0.0"])
    assert r"$>$10\% worse$\downarrow$" in table.latex()
    assert WORSE.replace("%", r"\%").replace(">", "$>$") in table.latex()


def test_the_best_figures_of_a_contest_are_bold():
    """Lines 1 to 3 compete: as printed, two tie in MSE, and one has no PSNR."""
    lines = [
        ["paper †", "1.00", "99.00"],
        ["a*b", "5.00", "30.00"],
        ["b", "5.00 [4.00, 6.00]", "-"],
        ["c", "5.01", "9.00"],
    ]
    table = Table("", ["All"], [], lines, ("mse", "psnr"), published=1, contests=((1, 2, 3),))
    assert table.best() == {(1, 1), (2, 1), (1, 2)}
    for protocols, column in (([], ""), (["?", *["idih"] * 3], "idih{}")):
        shown = table._replace(protocols=protocols)
        marked = column.format(" | ")
        assert shown.markdown().splitlines()[3:] == [
            f"| paper † |{' ? |' if column else ''} 1.00 | 99.00 |",
            f"| a\\*b | {marked}**5.00** | **30.00** |",
            f"| b | {marked}**5.00** [4.00, 6.00] | - |",
            f"| c | {marked}5.01 | 9.00 |",
        ]
        marked = column.format(" & ")
        latex = shown.latex().splitlines()
        assert f"a*b & {marked}\\textbf{{5.00}} & \\textbf{{30.00}} \\\\" in latex
        assert f"b & {marked}\\textbf{{5.00}} [4.00, 6.00] & - \\\\" in latex
        assert "*" not in shown.text().replace("a*b", "")
    assert table.flat()[2] == ["a*b", "5.00", "30.00"]


def test_what_is_best_follows_from_the_heading():
    lines = [["a", "90.0%", "0.9000", "3", "inf"], ["b", "9.0%", "0.8000", "4", "30.00"]]
    table = Table("", [">10% worse↓", "SSIM↑", "seeds", "PSNR↑"], [], lines, (), contests=((0, 1),))
    assert table.best() == {(1, 1), (0, 2), (0, 4)}
    assert table._replace(contests=((0,), (1,))).best() == set()


def test_of_several_evaluations_rivals_compete():
    """By hand: b has the lower MSE and fMSE in all groups, PSNR ties, and composites do not take part."""
    rows = {"a": row(mse=3, input_mse=1.0, input_fmse=5.0), "b": row(mse=2, fmse=9.0, input_mse=1.0, input_fmse=5.0)}
    summaries = {name: summarize([one], "idih") for name, one in rows.items()}
    names = {"input_": "Input composite", "": "FRIH"}
    by_subset, by_ratio = comparison(summaries, names, rivals=summaries)
    best = [line[0] for i, line in enumerate(by_subset.lines) if (i, 1) in by_subset.best()]
    assert best == ["b, FRIH"]
    assert by_subset.best() >= {(3, 1), (1, 2), (3, 2), (3, 3)}
    assert (1, 1) not in by_ratio.best() >= {(3, 1)}
    assert comparison(summaries, names)[0].best() == set()
    assert beside_published(TABLE_2, summaries, rivals=summaries).best() >= {(12, 3), (12, 4)}
    for table in interval_tables({name: intervals([one]) for name, one in rows.items()}, names, summaries):
        assert {line for line, place in table.best() if place == 3} == {3, 7}  # of 4 lines in each of two groups


def test_first_and_second_stage_compete_but_not_with_the_composite():
    """By hand: the composite has the lowest MSE, but the coarse image's is bold."""
    one = row(mse=3, fmse=9.0, coarse_mse=2.0, coarse_psnr=29.0, coarse_fmse=9.0, input_mse=1.0, input_psnr=20.0)
    table = comparison({"": summarize([one], "idih")}, rivals=[""])[0].only(["mse", "psnr", "fmse"])
    assert table.markdown().splitlines()[3:] == [
        "| Input composite | 1.00 | 20.00 | - | 1.00 | 20.00 | - |",
        "| FRIH, coarse | **2.00** | 29.00 | **9.00** | **2.00** | 29.00 | **9.00** |",
        "| FRIH | 3.00 | **30.00** | **9.00** | 3.00 | **30.00** | **9.00** |",
    ]


def test_wide_tables_are_folded():
    table = comparison({"": summarize([row(subset) for subset in "ABCDE"], "idih")})[0]._replace(
        title="Wide", notes=("A note that is longer than a line of sixty columns, so that it is wrapped.",)
    )
    whole = table.text().splitlines()
    folded = table.folded(60).splitlines()
    assert max(map(len, folded)) <= 60 < max(map(len, whole))
    assert (folded[0], folded[-1]) == ("Wide", "it is wrapped.")
    assert all(table.folded(60).count(title) == 1 for title in table.titles())
    assert table.folded(500) == table.text()
    assert table.folded(1).count("PSNR↑") == 6  # a group is never torn apart


def test_what_says_more_of_a_column_stays_beside_it():
    table = Table(
        "", ["number", "Δ MSE↓", "won", "Δ PSNR↑", "won"], [], [["A", "98", "+7.10", "44%", "-0.11", "44%"]], ()
    )
    assert [part.groups for part in table.split(25)] == [["number", "Δ MSE↓", "won"], ["Δ PSNR↑", "won"]]
    assert [part.groups for part in table.split(18)] == [["number"], ["Δ MSE↓", "won"], ["Δ PSNR↑", "won"]]


def test_names_are_broken_where_not_even_one_group_fits():
    lines = [["Submask, against Globalmask", *"123"], ["runs/first/evaluation/test", *"456"], ["日本" * 10, *"789"]]
    table = Table("", ["All"], [1], lines, protocols=["idih", "ht", "?"])
    assert [line.rstrip() for line in table.folded(50).splitlines()[3:]] == [
        "Submask, against        idih         1     2     3",
        "  Globalmask",
        "runs/first…uation/test  ht           4     5     6",
        "日本日本日…本日本日本   ?            7     8     9",
    ]
    assert table.folded(1).splitlines()[3].split() == ["Submask,", "idih", *"123"]


def judged_rows():
    """Of four sub-datasets, in all ranges of foreground ratios."""
    scores = {"coarse_mse": 2.0, "coarse_psnr": 31.0, "coarse_fmse": 20.0, "input_mse": 9.0, "input_psnr": 9.0}
    return [
        row(subset, fg=fg, input_fmse=9.5, **scores) for subset in ("A", "B", "C", "Long name") for fg in (0, 0.1, 0.5)
    ]


def test_what_fits_a_terminal():
    """Both tables whole; else the paper's two scores of each group, below all of them on all images; else stacked."""
    tables = comparison({"": summarize(judged_rows(), "idih")})
    assert fitted(tables, 250) == [table.text() for table in tables]
    overall, by_subset, by_ratio = (text.splitlines() for text in fitted(tables, 100))
    assert overall == [
        "Sub-dataset                    All (12)",
        "                 MSE↓ PSNR↑ fMSE↓ worse↓ >10% worse↓",
        "-" * 52,
        "Input composite  9.00  9.00  9.50      -           -",
        "FRIH, coarse     2.00 31.00 20.00 100.0%      100.0%",
        "FRIH             1.00 30.00 10.00 100.0%        0.0%",
        "Worse: share of the images whose fMSE is above their composite's, by more than 0.1; >10% worse:",
        "above 1.1 times that.",
    ]
    assert by_subset[1].split() == ["MSE↓", "PSNR↑"] * 5
    assert by_ratio[1].split() == ["MSE↓", "fMSE↓"] * 4
    by_subset, by_ratio = (text.splitlines() for text in fitted(tables, 60))
    assert by_subset[:6] == [
        "Sub-dataset        MSE↓  PSNR↑  fMSE↓  worse↓  >10% worse↓",
        "-" * 58,
        "A (3)",
        "  Input composite  9.00   9.00   9.50       -            -",
        "  FRIH, coarse     2.00  31.00  20.00  100.0%       100.0%",
        "  FRIH             1.00  30.00  10.00  100.0%         0.0%",
    ]
    assert len(by_ratio) == 2 + 4 * 4


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(width, monkeypatch):
    """Long and wide names, several protocols, the paper's lines, many columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    names = ["ours", "a/very/long/path/of/an/evaluation/of/some/network", "日本語の名前" * 6]
    summaries = {
        name: summarize(judged_rows(), protocol) for name, protocol in zip(names, ("idih", "ht", "idih"), strict=True)
    }
    tables = [
        *comparison(summaries, {"": ""}),
        *interval_tables({name: intervals(judged_rows()) for name in names}, {"": ""}),
        beside_published(TABLE_1, summaries),
    ]
    lines = "\n".join(fitted(tables)).splitlines()
    assert max(map(columns_of, lines)) <= width
    assert max(map(columns_of, "\n".join(table.text() for table in tables).splitlines())) > width


def test_evaluations_of_two_protocols_show_them_in_a_column():
    summaries = {name: summarize([row()], name) for name in ("idih", "frih")}
    assert comparison(summaries)[0].protocols == ["idih", "frih"]
    assert comparison({"one": summaries["idih"], "two": summaries["idih"]})[0].protocols == []


def test_an_evaluation_without_a_group_shows_dashes():
    summaries = {"one": summarize([row("A"), row("B", fg=0.5)], "idih"), "two": summarize([row("B", fg=0.5)], "idih")}
    by_subset, by_ratio = comparison(summaries)
    assert by_subset.groups == ["A", "B", "All"]
    assert by_subset.lines[1][1:4] == ["-", "-", "-"]
    assert by_ratio.images == [1, 1, 2]


def test_published_lines_stand_above_measured_ones_and_are_marked():
    rows = [row(subset, name=subset, input_mse=9.0, input_psnr=20.0, input_fmse=8.0) for subset in COUNTS]
    table = beside_published(TABLE_1, {"": summarize(rows, "frih")}, methods())
    assert table.published == 16
    assert all(line[0].endswith("†") for line in table.lines[:16])
    assert table.lines[6][0] == "DoveNet (Cong et al. 2020) †"
    assert table.protocols[6] == "dovenet"
    assert table.protocols[0] == "?"
    assert table.lines[16:] == [["Input composite", *["9.00", "20.00"] * 5], ["FRIH", *["1.00", "30.00"] * 5]]
    assert table.protocols[16:] == ["frih", "frih"]
    assert "4 images; the test split has 7404" in " ".join(table.notes)


def test_published_figures_that_contradict_themselves_have_a_footnote():
    table = beside_published(TABLE_1, {})
    marked = {(line[0].split()[0], cell) for line in table.lines for cell in line[1:] if cell.endswith("‡")}
    assert ("IIH", "38.71‡") in marked
    assert ("FRIH", "23.98‡") in marked
    assert ("RainNet", "36.12‡") in marked
    assert not any(method == "iDIH" for method, _ in marked)
    assert "39.72 for IIH's MSE 38.71" in table.notes[1]
    assert len(beside_published(TABLE_2, {}).notes) == 1


def test_table_2_takes_foreground_ratios():
    table = beside_published(TABLE_2, {"ours": summarize([row(fg=0.01), row(fg=0.5, mse=3)], "idih")})
    assert table.groups == ["0-5%", "5-15%", "15-100%", "All"]
    assert table.lines[-1] == ["ours", "1.00", "10.00", "-", "-", "3.00", "10.00", "2.00", "10.00"]


def test_table_5_and_table_6():
    five = cutoffs({0.2: summarize([row(mse=25.0)], "idih")})
    assert five.groups == ["0.01", "0.05", "0.1", "0.2", "0.3", "0.4"]
    assert [line[4] for line in five.lines] == ["24.76", "38.15", "25.00", "30.00"]
    assert [line[3] for line in five.lines] == ["23.98", "38.19", "-", "-"]
    six = efficiency({"ours": (38.5, 11.979, "idih")})
    assert six.groups[-2:] == ["FRIH †", "ours (idih)"]
    assert six.lines == [
        ["PSNR↑", "34.75", "35.90", "36.12", "38.19", "38.50"],
        ["Param (M)↓", "54.76", "40.83", "54.75", "11.98", "11.98"],
    ]


def test_tables_of_intervals():
    rows = [row("A", "1", "1", ssim=0.9), row("A", "2", "2", mse=3.0, ssim=0.8)]
    by_subset, by_ratio = interval_tables({"": intervals(rows)}, {"": "Ours", "coarse_": "Coarse"})
    assert by_subset.groups == ["images", "photos", "MSE↓", "PSNR↑", "fMSE↓", "SSIM↑"]
    assert by_subset.lines[0] == [
        *("A, Ours", "2", "2", "2.00 [1.00, 3.00]", "30.00 [30.00, 30.00]", "10.00 [10.00, 10.00]"),
        "0.8500 [0.8000, 0.9000]",
    ]
    assert [line[0] for line in by_ratio.lines] == ["5-15%, Ours", "All, Ours"]


def test_lines_are_aligned_on_a_console_and_have_as_many_cells_in_markdown():
    rows = [row("a|very-long-name-of-a-subset-indeed"), row("B")]
    for table in (comparison({"": summarize(rows, "idih")})[0], beside_published(TABLE_1, {})):
        table = table._replace(title="", notes=())
        assert len({len(line) for line in table.text().splitlines()[1:]}) == 1
        assert len({line.replace("\\|", "").count("|") for line in table.markdown().splitlines()}) == 1


def test_latex_escapes_and_counts_columns():
    table = Table("A_b", ["50%", "All"], [1, 2], [["x & y †", *"123456"], ["$z", *"123456"]], title="T #1", published=1)
    lines = table.latex().splitlines()
    assert r"\caption{T \#1.}" in lines
    assert r"\begin{tabular}{l rrr rrr}" in lines
    assert r"A\_b & \multicolumn{3}{c}{50\% (1)} & \multicolumn{3}{c}{All (2)} \\" in lines
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}" in lines
    assert lines.index(r"x \& y $^\dagger$ & 1 & 2 & 3 & 4 & 5 & 6 \\") < lines.index(r"\$z & 1 & 2 & 3 & 4 & 5 & 6 \\")
    assert lines.count(r"\midrule") == 2
    rows = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(line.replace(r"\&", "").split("&")) for line in rows} == {7}


@pytest.mark.parametrize(
    ("name", "text", "markdown", "latex"),
    [
        ("a|b", "a|b", r"a\|b", r"a\textbar{}b"),
        ("*b* _c_", "*b* _c_", r"\*b\* \_c\_", r"{}*b* \_c\_"),
        ("<script>", "<script>", r"\<script>", "$<$script$>$"),
        ("# 1 & ~", "# 1 & ~", r"\# 1 \& \~", r"\# 1 \& \textasciitilde{}"),
        ("[x](y)", "[x](y)", r"[x\](y)", "{}[x](y)"),
        (r"$\frac$ 5%", r"$\frac$ 5%", r"\$\\frac\$ 5%", r"\$\textbackslash{}frac\$ 5\%"),
        ("```", "```", r"\`\`\`", r"\textasciigrave{}" * 3),
        ("a\nb\x1b", r"a\nb\x1b", r"a\\nb\\x1b", r"a\textbackslash{}nb\textbackslash{}x1b"),
        ("-1 a-1 0-5", "-1 a-1 0-5", "-1 a-1 0-5", "$-$1 a-1 0-5"),
        ("\udcff", r"\udcff", r"\\udcff", r"\textbackslash{}udcff"),
    ],
)
def test_names_show_as_they_are_in_every_format(name, text, markdown, latex):
    table = Table("corner", [name], [], [[name, "1"]], (), name, notes=(name,))
    lines = table.text().splitlines()
    assert lines[0] == lines[-1] == text
    assert lines[-2].startswith(text)
    assert table.folded(80).splitlines()[-2:] == lines[-2:]
    lines = table.markdown().splitlines()
    assert lines[0] == f"**{markdown}**"
    assert lines[2] == f"| corner | {markdown} |"
    assert lines[4] == f"| {markdown} | 1 |"
    assert lines[-1] == markdown
    assert f"{latex} & 1 " + r"\\" in table.latex().splitlines()
    assert table.flat() == [["corner", text], [text.removesuffix("%"), "1"]]
