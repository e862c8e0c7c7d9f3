"""What a comparison says of runs that are made up: pairs, families, sentences, tables, names of subjects."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from interpbench.cli.console import _drawn
from interpbench.cli.fit import fit
from interpbench.graph import ranking
from interpbench.graph.graph import GRANULARITIES, Granularity
from interpbench.report import chance as draws
from interpbench.report import formats
from interpbench.report.chance import chance
from interpbench.report.comparison import Comparison, Pair, compare
from interpbench.report.figures import cost_picture, samples_picture
from interpbench.report.page import _table as _table_of_page
from interpbench.report.runs import METRICS, method_names, other_form
from interpbench.report.statements import statements
from interpbench.report.statistics import holm, reliability, wilcoxon
from interpbench.runs.record import Record
from interpbench.table import Table, cell
from tests.comparing import GRAPH, TRUE, record, runs_of

CASES = [str(number) for number in range(1, 13)]


def spread(technique: str, values: Any, cases: list[str] = CASES, **changes: Any) -> list[dict[str, Any]]:
    """A run of the technique on every case, with these numbers."""
    return [record(technique, case, float(value), **changes) for case, value in zip(cases, values, strict=True)]


def pair(told: Comparison, first: str, second: str) -> Pair:
    (found,) = [each for each in told.pairs if (each.first, each.second) == (first, second)]
    return found


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Numbers of three methods in every case."""
    return np.random.default_rng(5).uniform(0.4, 0.6, size=(3, len(CASES)))


def test_a_pair_is_compared_on_the_cases_that_the_two_share(noise: np.ndarray) -> None:
    full = compare(runs_of(*spread("a", noise[0]), *spread("b", noise[1]), *spread("c", noise[2])))
    fewer = compare(runs_of(*spread("a", noise[0]), *spread("b", noise[1]), *spread("c", noise[2][:2], CASES[:2])))
    assert pair(full, "a", "b").p == pair(fewer, "a", "b").p == wilcoxon(noise[0], noise[1])
    assert [pair(fewer, *names).n for names in (("a", "b"), ("a", "c"), ("b", "c"))] == [12, 2, 2]
    assert fewer.common == ("1", "2") and fewer.overall["a"]["n"] == 12 and fewer.over_common["a"]["n"] == 2
    assert fewer.overall["a"]["mean"] == pytest.approx(noise[0].mean())
    assert fewer.over_common["a"]["mean"] == pytest.approx(noise[0, :2].mean())


def test_two_that_share_no_case_are_not_tested(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a", noise[0, :6], CASES[:6]), *spread("b", noise[1, 6:], CASES[6:])))
    assert pair(told, "a", "b") == Pair("technique", "a", "b", 0)
    assert told.separation is None and told.common == () and statements(told)[0] == "No two techniques share a case."


def test_each_family_is_corrected_by_itself(noise: np.ndarray) -> None:
    techniques = [*spread("a", noise[0]), *spread("b", noise[1]), *spread("c", noise[2] + 0.3)]
    baselines = [*spread("norm", noise[0] - 0.3, baseline=True), *spread("zero", noise[1] - 0.2, baseline=True)]
    alone, told = compare(runs_of(*techniques)), compare(runs_of(*baselines, *techniques))
    assert alone.pairs == told.pairs[:3] and alone.separation == told.separation
    assert alone.reliability == told.reliability
    for family, size in (("technique", 3), ("baseline", 6)):
        own = [each for each in told.pairs if each.family == family]
        assert len(own) == size and [each.holm for each in own] == holm([each.p for each in own])
    assert {each.second for each in told.pairs[3:]} == {"norm", "zero"}
    assert not {each.first for each in told.pairs} & {"norm", "zero"}


def test_separation_and_reliability(noise: np.ndarray) -> None:
    values = noise + np.array([[0.0], [0.0], [0.3]])
    told = compare(runs_of(*spread("a", values[0]), *spread("b", values[1]), *spread("c", values[2])))
    assert told.separation == 2 / 3 and told.reliability == reliability(values)
    first, second = statements(told)[:2]
    assert first == (
        "a, b and c differ in heads.identifiable.auroc in 2 of 3 pairs after Holm's correction (p < 0.05) on 12 cases: "
        "c above a; c above b."
    )
    assert second.startswith(
        f"Separation 0.667 (share of pairs of techniques that differ); reliability {reliability(values):.3f}"
    )


def test_that_nothing_differs_is_said(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a", noise[0]), *spread("b", noise[1]), *spread("c", noise[2])))
    assert told.separation == 0
    assert statements(told)[0] == (
        "a, b and c do not differ in heads.identifiable.auroc: 0 of 3 pairs after Holm's correction (p < 0.05) on 12 "
        "cases."
    )
    few = compare(runs_of(*spread("a", noise[0, :5], CASES[:5]), *spread("b", noise[1, :5] + 0.5, CASES[:5])))
    assert statements(few)[0].startswith("Too few cases to say whether a and b differ in"), "2 / 2 ** 5 is above 0.05"
    same = compare(runs_of(*spread("a", noise[0]), *spread("b", noise[0])))
    assert pair(same, "a", "b").p == 1 and pair(same, "a", "b").rank_biserial is None and same.separation == 0


def test_that_lower_is_better_is_said() -> None:
    runs = runs_of(*spread("a", np.zeros(12)), *spread("b", np.zeros(12)))
    for number, run in enumerate(runs):
        run.record["metrics"]["chosen"] = {"false_edges": number // 2 if run.method == "b" else 0}
    assert statements(compare(runs, "chosen.false_edges"))[0] == (
        "a and b differ in chosen.false_edges (lower is better) in 1 of 1 pairs after Holm's correction (p < 0.05) on "
        "12 cases: b above a."
    )


def test_one_technique_has_nothing_to_be_compared_with(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a", noise[0]), *spread("norm", noise[1], baseline=True)))
    assert told.separation is None and statements(told)[0] == "Fewer than two techniques: nothing to compare."
    assert statements(told)[1].startswith("Separation - (") and [each.family for each in told.pairs] == ["baseline"]
    assert statements(compare([])) == []


def test_baselines_stand_last_and_are_marked(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a-norm", noise[0], baseline=True), *spread("eap", noise[1])))
    assert told.methods == ("eap", "a-norm") and told.baselines == ("a-norm",)
    shown = formats.tables(told)
    assert [row[0] for row in shown[0].rows] == ["eap", "a-norm (baseline)", "chance"]
    assert [row[0] for row in shown[1].rows] == ["eap", "a-norm (baseline)"]
    (cases,) = [table for table in shown if table.title.endswith("per case")]
    assert cases.columns == ("case", "eap>", "a-norm (baseline)>")


def test_a_baseline_with_fewer_cases_changes_no_common_case(noise: np.ndarray) -> None:
    norm = spread("norm", noise[1, :1], CASES[:1], baseline=True)
    told = compare(runs_of(*spread("eap", noise[0]), *norm))
    assert told.common == tuple(CASES)
    eap, baseline = formats.tables(told)[0].rows[:2]
    assert eap[1] == 12 and eap[-1] == told.overall["eap"]["mean"] and baseline[1] == 1 and baseline[-1] is None


def test_both_forms_stand_side_by_side() -> None:
    assert other_form("heads.identifiable.auroc") == "heads.auroc"
    assert other_form("heads.auroc") == "heads.identifiable.auroc"
    assert other_form("chosen.exact") is None and other_form("heads.chosen.f1") is None
    runs = runs_of(*spread("eap", [0.5, 0.7], CASES[:2]))
    for run in runs:
        run.record["metrics"]["heads"]["auroc"] = 0.4
    table = formats.tables(compare(runs))[0]
    assert table.columns[2:] == ("identifiable\nmean, 95 % interval>", "by\nconstruction>")
    assert table.rows[0][2].startswith("0.600 [") and table.rows[0][3] == pytest.approx(0.4)
    table = formats.tables(compare(runs, "heads.auroc"))[0]
    assert table.columns[2:] == ("by construction\nmean, 95 % interval>", "identifiable>")


def test_chosen_circuits_and_cost() -> None:
    chosen = {"edges": 9, "accuracy": 1.0, "smallest": None, "core_found": 0.5}
    exact = chosen | {"false_edges": 0, "sufficient": True, "exact": True}
    wrong = chosen | {"false_edges": 3, "sufficient": True, "exact": False}
    runs = runs_of(*spread("acdc", [0.9, 0.8], CASES[:2], passes={"forward": 30.0, "backward": 0.0}, seconds=2.5))
    for run, found in zip(runs, (exact, wrong), strict=True):
        run.record["metrics"]["chosen"] = found
    told = compare(runs, "chosen.exact")
    assert told.overall["acdc"]["mean"] == 0.5, "yes and no count 1 and 0"
    assert formats.tables(told)[1].rows == (("acdc", "1.5", 0.5, 1.0, 0.5, 2.5, "30.0", "0.0"),)
    assert formats.tables(told, timed=False)[1].rows == (("acdc", "1.5", 0.5, 1.0, 0.5, "30.0", "0.0"),)


def test_where_there_is_no_number_is_said_with_the_reason() -> None:
    records = [record("eap", "1", 0.5), record("eap", "2", None), record("sp", "1", 0.6), record("sp", "2", None)]
    told = compare(runs_of(*records))
    assert statements(told)[2:] == [
        "No heads.identifiable.auroc in 1 of 2 cases (2): the true circuit alone does not keep the answers there, so "
        "its edges have no classes."
    ]
    assert told.common == ("1",)
    told = compare(runs_of(*records), "heads.auroc")
    assert statements(told)[2].endswith("in 1 of 2 cases (2): every edge counts as true there, or none does.")
    records[0]["metrics"]["chosen"] = {"exact": True}
    told = compare(runs_of(*records[:1], *records[2:3]), "chosen.exact")
    assert statements(told)[2] == "No chosen.exact for sp in 1 of 1 case (1): no circuit was chosen."
    assert "'paper'" in statements(compare(runs_of(*records), "paper.area"))[2]


@pytest.mark.parametrize("granularity", ["edges", "heads", "nodes"])
def test_metrics_of_many_random_scores_are_those_of_ranking(granularity: Granularity) -> None:
    scores = GRAPH.merge(np.random.default_rng(0).random((20, GRAPH.n_edges)), granularity)
    true = TRUE.members(granularity)
    assert draws.auroc(scores, true) == pytest.approx([ranking.auroc(row, true) for row in scores])
    if granularity != "nodes":
        expected = [ranking.average_precision(row, true) for row in scores]
        assert draws.average_precision(scores, true) == pytest.approx(expected)


def test_chance_is_that_of_random_scores_merged_and_judged_as_others_are() -> None:
    runs = runs_of(record("eap", "3", 0.5), record("sp", "3", 0.5), record("eap", "4", 0.5))
    rng = np.random.default_rng(1)
    for granularity in GRANULARITIES:
        drawn = GRAPH.merge(rng.random((2000, GRAPH.n_edges)), granularity)
        expected = np.mean([ranking.auroc(scores, TRUE.members(granularity)) for scores in drawn])
        found = chance(runs, f"{granularity}.auroc")
        assert found is not None and found["n"] == 2 and found["low"] < found["mean"] < found["high"]
        assert found["mean"] == pytest.approx(expected, abs=0.03) and found == chance(runs, f"{granularity}.auroc")
        assert (abs(found["mean"] - 0.5) > 0.05) == (granularity == "nodes"), (
            "nodes differ in the number of their edges"
        )
    assert chance(runs, "chosen.exact") is None is chance(runs, "heads.chosen.f1")


def test_chance_ignores_what_no_technique_can_see() -> None:
    """With all but one true edge dispensable, chance is that of finding this one among the false ones."""
    classes = dict.fromkeys(TRUE.edges, "dispensable") | {"pos->a0.h0<k>": "invisible", "m1->logits": "core"}
    found = chance(runs_of(record("eap", "3", 0.5, edge_classes=classes)), "edges.identifiable.average_precision")
    false = GRAPH.n_edges - len(TRUE.edges)
    expected = np.mean([1 / rank for rank in range(1, false + 2)])
    assert found is not None and found["mean"] == pytest.approx(expected, abs=0.06)
    assert chance(runs_of(record("eap", "3", 0.5, edge_classes=None)), "edges.identifiable.auroc") is None
    dead = dict.fromkeys(TRUE.edges, "dispensable")
    assert chance(runs_of(record("eap", "3", 0.5, edge_classes=dead)), "edges.identifiable.auroc") is None


MINE = {"model": "custom", "subject": "mine/a"}


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"subject": "mine/b", "weights_hash": "b" * 16}, ["eap [mine/a]", "eap [mine/b]"]),
        ({"weights_hash": "b" * 16}, ["eap [mine/a 3f2a91]", "eap [mine/a bbbbbb]"]),
        ({"truth_hash": "c" * 16}, ["eap [mine/a 3f2a91 7c01de]", "eap [mine/a 3f2a91 cccccc]"]),
        ({"case": "4"}, ["eap", "eap"]),
        ({"seed": 1}, ["eap", "eap"]),
        ({"model": "siit", "subject": "siit"}, ["eap [custom]", "eap [siit]"]),
    ],
)
def test_subjects_of_one_case_and_model_are_told_apart(other: dict[str, str], names: list[str]) -> None:
    first = record("eap", "3", 0.9, **MINE)
    assert method_names([first, first | other]) == names


def test_two_folders_are_two_methods() -> None:
    other = {"subject": "mine/b", "weights_hash": "b" * 16}
    told = compare(runs_of(record("eap", "3", 0.9, **MINE), record("eap", "3", 0.3, **MINE | other)))
    assert told.numbers["3"]["eap [mine/a]"]["mean"] == 0.9
    assert told.subjects["3"]["eap [mine/b]"]["subject"] == "mine/b"
    assert pair(told, *told.methods).n == 1


def test_the_folders_of_a_suite_are_one_method() -> None:
    """Also for a case that only one of the two has; two weights in one place are told apart."""
    a, b = ({"model": "custom", "subject": f"{name}/{{case}}", "weights_hash": name * 16} for name in "ab")
    records = [record("eap", case, 0.9, **a) for case in "345"] + [record("eap", case, 0.3, **b) for case in "34"]
    told = compare(runs_of(*records))
    assert told.methods == ("eap [a/{case}]", "eap [b/{case}]")
    assert pair(told, *told.methods).n == 2 and told.overall["eap [a/{case}]"]["n"] == 3
    again = compare(runs_of(record("eap", "3", 0.9, **a), record("eap", "3", 0.9, **a | {"weights_hash": "c" * 16})))
    assert again.methods == ("eap [a/{case} aaaaaa]", "eap [a/{case} cccccc]")


def test_everything_is_in_the_json(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a", noise[0]), *spread("norm", noise[1], baseline=True)))
    content = json.loads(json.dumps(formats.as_json(told, []), allow_nan=False))
    assert content["statements"] == statements(told) and content["baselines"] == ["norm"]
    assert {"separation", "reliability", "overall", "over_common", "beside", "undefined", "passes"} <= set(content)
    assert content["pairs"][0]["family"] == "baseline" and "holm" in content["pairs"][0]


@pytest.mark.parametrize("name", ["eap", "eap loss=kl ig=inputs [mine/a-folder-of-mine 3f2a91]"])
def test_at_80_columns_no_number_is_broken(noise: np.ndarray, name: str) -> None:
    many = [one for i in range(7) for one in spread(f"{name}{i}", noise[0] + i / 100)]
    shown = formats.tables(compare(runs_of(*many, *spread("exhaustive", noise[1], baseline=True))))
    for table in shown:
        parts = fit(table, 80)
        lines = printed(parts).splitlines()
        assert max(map(len, lines)) <= 80
        for part in parts:
            for i in (i for i, column in enumerate(part.columns) if column.endswith(">")):
                for value in (cell(row[i]) for row in part.rows):
                    assert any(value in line for line in lines), f"{value!r} is broken"
        kept = [column for part in parts for column in part.columns if column.endswith(">")]
        assert len(kept) == sum(column.endswith(">") for column in table.columns), "no column is lost"
    assert [len(fit(table, 80)) for table in shown[:2]] == [1, 1], "the first tables stay whole"


def test_of_many_pairs_those_that_differ_are_shown(noise: np.ndarray) -> None:
    """Twelve settings that are alike print no line of p = 1; six techniques print all their pairs."""
    alike = [one for i in range(6) for one in spread(f"a{i}", noise[0])]
    assert [len(t.rows) for t in formats.tables(compare(runs_of(*alike))) if "against" in t.title] == [15]
    seven = [*alike, *spread("b", noise[0])]
    assert not [t for t in formats.tables(compare(runs_of(*seven))) if "against" in t.title]
    (table,) = [
        t for t in formats.tables(compare(runs_of(*alike, *spread("b", noise[0] + 0.3)))) if "against" in t.title
    ]
    assert table.title.endswith(": 6 of 21 differ, the others are in the JSON") and len(table.rows) == 6
    assert all("b" in row[:2] for row in table.rows)


def printed(parts: list[Table]) -> str:
    """Tables as rich prints them where there is room."""
    console = Console(width=1000, highlight=False, file=io.StringIO())
    for part in parts:
        console.print(_drawn(part))
    return console.file.getvalue()


def test_a_table_that_fits_is_not_touched() -> None:
    table = Table("t", ("word", "number>"), (("some more words", 0.5),))
    exact = len("some more words") + len("number") + 5
    (whole,) = fit(table, exact)
    assert whole == table._replace(rows=(("some more words", "0.500"),))
    assert max(map(len, printed([whole]).splitlines())) == exact
    assert fit(table, exact - 1)[0].rows == (("some more\nwords", "0.500"),)


def test_records_that_are_made_up_have_the_fields_of_real_ones() -> None:
    assert set(record("eap", "3", 0.5)) == Record.__required_keys__


def test_every_metric_has_a_place_in_a_record() -> None:
    run = runs_of(record("eap", "3", 0.25))[0]
    assert run.number("nodes.identifiable.auroc") == run.number("edges.identifiable.average_precision") == 0.25
    assert run.number("chosen.exact") is None and METRICS[0] == "heads.identifiable.auroc"


HOPS, COPIES = [f"depth-1-{seed}" for seed in range(4)], [f"redundancy-2-{seed}" for seed in range(4)]


def test_what_a_technique_fails_at() -> None:
    """Means by planted property; cases without one do not count."""
    even, low = spread("a", [0.9] * 9, [*HOPS, *COPIES, "3"]), spread("b", [0.9] * 4 + [0.5] * 4, [*HOPS, *COPIES])
    told = compare(runs_of(*even, *low), "heads.auroc")
    (planted,) = told.planted
    assert planted.metric == "heads.auroc" and list(planted.means) == ["depth", "redundancy"]
    assert planted.means["redundancy"]["b"]["mean"] == pytest.approx(0.5) and planted.means["depth"]["a"]["n"] == 4
    assert planted.losses("b", ["a", "b"]) == pytest.approx({"redundancy": 0.5}) and not planted.losses("a", ["a", "b"])
    found = statements(told)
    assert "b: 0.2 or more below the best at 1 of 2 properties: redundancy (0.50)." in found
    assert "a: 0.2 or more below the best at 0 of 2 properties." in found
    hops = [record for record in even if record["case"] in HOPS]
    few = statements(compare(runs_of(*hops, *low), "heads.auroc"))
    assert "a: 0.2 or more below the best at 0 of 1 properties." in few, "those that it has numbers for"
    (table,) = [table for table in formats.tables(told) if "by property" in table.title]
    assert table.shaded and [row[:2] for row in table.rows] == [("depth", 4), ("redundancy", 4)]


def test_cases_of_one_property_are_not_compared_by_property(noise: np.ndarray) -> None:
    told = compare(runs_of(*spread("a", noise[0, :4], HOPS), *spread("b", noise[1, :4], HOPS)))
    assert told.planted == () and not any("propert" in line for line in statements(told))


def test_a_page_shades_shares_and_nothing_else() -> None:
    table = Table("t", ("name", "value>"), (("0.50", "0.714 [0.6, 0.8]"), ("x", "12.5"), ("y", "-")), shaded=True)
    drawn = _table_of_page(table)
    assert drawn.count("style=") == 2 and '<td class=number style="--share:0.714">0.714 [0.6, 0.8]</td>' in drawn
    assert "style=" not in _table_of_page(table._replace(shaded=False))


def test_samples_are_drawn_where_they_differ(noise: np.ndarray) -> None:
    several = [spread("eap", noise[i], samples=samples) for i, samples in enumerate((10, 100, 1000))]
    drawn = samples_picture(runs_of(*several[0], *several[1], *several[2]), "heads.auroc")
    assert drawn is not None and "pairs of inputs" in drawn
    assert samples_picture(runs_of(*several[0]), "heads.auroc") is None
    assert "passes in a row" in (cost_picture(compare(runs_of(*several[0]))) or "")
