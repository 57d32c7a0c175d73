"""Figures of chapter 7: tidy table in, Altair chart out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from recall.figures import CONTINUE, GREY, LOOK_UP, PURPLE, choice, chosen, missing_note, options_of, themed
from recall.studies.weights.graphs import PARTS

LEAST_EFFECT = 0.01  # of an edge in no circuit, to be drawn at all
SHOWN = ["in a circuit", "in both circuits", "by their effect alone"]  # edges


def circuit_graph(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Writers and readers of a model, and the edges that carry two tasks; the reader raises the least effect shown.

    table: one row per edge and scene: the columns of `start`, writer, reader, x, y (of the writer), x2, y2 (of the
    reader), first, second (what its corruption alone costs 1- and 2-after-query), circuit (one of PARTS).  start:
    the scene shown first, a list for each of its columns."""
    if table.empty:
        nothing = pd.DataFrame({"words": ["this corruption does not move both predictions of this model"]})
        return themed(alt.Chart(nothing).mark_text(fontSize=14).encode(text="words:N"), 200)
    options = lambda name: options_of(table, name, start) if name == "step" else table[name].drop_duplicates().tolist()
    pickers = [choice(name, f"{name} ", options(name), start[name]) for name in start]
    pickers.append(choice("edges", "edges ", SHOWN, SHOWN[0]))
    slider = alt.binding_range(min=0, max=0.5, step=0.01, name="least effect ")
    pickers.append(alt.param(name="pick_effect", value=0, bind=slider))
    lines = table[["writer", "reader", "x", "y", "x2", "y2"]].drop_duplicates(["writer", "reader"])
    layers = [_edges(table, start, lines), *_nodes(lines), missing_note(table, start, "not pruned: see the caption")]
    return themed(alt.layer(*layers).add_params(*pickers), 460)


def _edges(table: pd.DataFrame, start: dict, lines: pd.DataFrame) -> alt.Chart:
    """Scenes and edges are numbered, so that their names and places travel once."""
    scenes = table[list(start)].drop_duplicates(ignore_index=True)
    scenes, lines = scenes.assign(scene=scenes.index), lines.assign(edge=range(len(lines)))
    rows = table[(table.circuit != "neither") | (table[["first", "second"]].abs().max(axis=1) >= LEAST_EFFECT)]
    rows = rows.merge(scenes).merge(lines[["writer", "reader", "edge"]])
    rows = rows[["scene", "edge", "first", "second", "circuit"]].round({"first": 3, "second": 3})
    # under a name of its own: a field that overwrites itself is read twice when a list changes
    rows["part"] = rows.pop("circuit").map(PARTS.index)
    numbers = alt.CsvDataFormat(type="csv", parse=dict.fromkeys(rows, "number"))
    base = alt.Chart(alt.InlineData(values=rows.to_csv(index=False), format=numbers))
    base = base.transform_lookup("scene", from_=alt.LookupData(scenes, "scene", list(start)))
    for condition in chosen(start):
        base = base.transform_filter(condition)
    base = base.transform_lookup("edge", from_=alt.LookupData(lines, "edge", list(lines)[:-1]))
    base = base.transform_calculate(effect="max(abs(datum.first), abs(datum.second))", circuit=f"{PARTS}[datum.part]")
    base = base.transform_filter(
        "datum.effect >= pick_effect && (pick_edges == 'by their effect alone'"
        " || pick_edges == 'in both circuits' && datum.circuit == 'both'"
        " || pick_edges == 'in a circuit' && datum.circuit != 'neither')"
    )
    by_part = lambda values: alt.Scale(domain=PARTS, range=values)
    wide = alt.Scale(domain=[0, 0.5], range=[0.8, 7], clamp=True)
    cost = lambda field, task: alt.Tooltip(f"{field}:Q", title=f"cost to {task}", format=".3f")
    return base.mark_rule(opacity=0.75).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False, nice=False, padding=18)),
        y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False, padding=14)),
        x2="x2:Q",
        y2="y2:Q",
        color=alt.Color("circuit:N", scale=by_part([GREY, LOOK_UP, CONTINUE, PURPLE]), legend=alt.Legend(columns=2)),
        strokeDash=alt.StrokeDash("circuit:N", scale=by_part([[1, 3], [1, 0], [6, 3], [1, 0]]), legend=None),
        strokeWidth=alt.StrokeWidth("effect:Q", scale=wide, legend=None),
        tooltip=["writer:N", "reader:N", cost("first", "1-after"), cost("second", "2-after"), "circuit:N"],
    )


def _nodes(lines: pd.DataFrame) -> tuple[alt.Chart, alt.Chart]:
    """Dots, and names of the writers and the read-out; readers say theirs when pointed at."""
    ends = [
        lines[columns].set_axis(["node", "x", "y"], axis=1)
        for columns in (["writer", "x", "y"], ["reader", "x2", "y2"])
    ]
    nodes = pd.concat(ends).drop_duplicates()
    nodes["words"] = (
        nodes.node.str.replace("h.", "", regex=False).str.replace("attn.", "", regex=False).str.replace("_", "-")
    )
    dots = alt.Chart(nodes).mark_circle(size=55, color=GREY, opacity=1).encode(x="x:Q", y="y:Q", tooltip="node:N")
    named = nodes[nodes.node.isin(lines.writer) & ~nodes.duplicated("node") | (nodes.node == "read_out")]
    return dots, alt.Chart(named).mark_text(fontSize=11, dy=-10).encode(x="x:Q", y="y:Q", text="words:N")


def shared_by_kind(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Overlap of the circuits of 1- and 2-after-query against whom the model believes; a bar from null to ceiling for
    every model.

    Columns corruption, index (label index of 2-after-query), overlap, null, ceiling, run, dimension."""
    pick = choice("shared", "corruption ", table.corruption.drop_duplicates().tolist(), table.corruption.iloc[0])
    title = "label index of 2-after-query (0: the states lead, 1: the label leads)"
    x = alt.X("index:Q", title=title, scale=alt.Scale(domain=[-0.05, 1.1], nice=False))
    y = alt.Y("null:Q", title="edges in both circuits / edges in either", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(table.round(3)).transform_filter("datum.corruption == pick_shared").encode(x=x)
    tips = ["run", "overlap", "null", "ceiling"]
    bars = base.mark_rule(strokeWidth=5, opacity=0.3, color=GREY).encode(y=y, y2="ceiling:Q", tooltip=tips)
    shape = alt.Shape("dimension:N", legend=alt.Legend(title="n"))
    points = base.mark_point(filled=True, size=90, opacity=1, color=PURPLE)
    return themed((bars + points.encode(y="overlap:Q", tooltip=tips, shape=shape)).add_params(pick), 280)


def traced(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Share of the prediction that moves with one row of the prompt.

    Columns model, corruption, task, layer, landmark, lost."""
    pickers = [
        choice(f"traced_{name}", words, table[name].drop_duplicates().tolist(), table[name].iloc[0])
        for name, words in (("model", "model "), ("corruption", "the row comes from "))
    ]
    table = table.assign(column=table.task + ", layer " + table.layer.astype(str)).round({"lost": 3})
    as_they_come = lambda name: table[name].drop_duplicates().tolist()
    base = (
        alt.Chart(table)
        .transform_filter("datum.model == pick_traced_model && datum.corruption == pick_traced_corruption")
        .encode(
            x=alt.X("column:O", sort=as_they_come("column"), title=None, axis=alt.Axis(labelAngle=-35)),
            y=alt.Y("landmark:N", sort=as_they_come("landmark"), title=None),
        )
    )
    shades = alt.Scale(domain=[0, 1], range=["#f3f3f3", LOOK_UP], clamp=True)
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("lost:Q", scale=shades, legend=None), tooltip=["task", "landmark", "layer", "lost"]
    )
    words = base.mark_text(fill="black", fontSize=12).encode(text=alt.Text("lost:Q", format=".2f"))
    return themed((cells + words).add_params(*pickers), 260)


def converting(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Shared part r, price c and label index over training, with the dates of both abilities.

    table: `dissect.over_training` of several models, with `converting`, what the page calls each of them."""
    pick = choice("converting", "converting ", table.converting.drop_duplicates().tolist(), table.converting.iloc[0])
    picked = "datum.converting == pick_converting"
    lines = {
        "shared": "shared part r of the circuits",
        "price": "price c of one circuit for both",
        "label_index": "label index of 2-after-query",
    }
    key = alt.Scale(domain=[*lines.values()], range=[PURPLE, CONTINUE, LOOK_UP])
    dash = alt.Scale(domain=key.domain, range=[[1, 0], [2, 2], [6, 3]])
    x = alt.X("step:Q", title="training step (logarithmic)", scale=alt.Scale(type="log", nice=False))
    curves = (
        alt.Chart(table[["converting", "step", *lines]].rename(columns=lines).round(3))
        .transform_filter(picked)
        .transform_fold([*lines.values()], as_=["what", "value"])
        .mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=50))
        .encode(
            x=x,
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[-0.2, 1.1], clamp=True)),
            color=alt.Color("what:N", scale=key, legend=alt.Legend(columns=1)),
            strokeDash=alt.StrokeDash("what:N", scale=dash, legend=None),
            tooltip=["what:N", "step:Q", alt.Tooltip("value:Q", format=".2f")],
        )
    )
    dates = pd.concat(
        table[["converting", f"date_{k}"]]
        .drop_duplicates()
        .set_axis(["converting", "step"], axis=1)
        .assign(words=f"{k}-after-query is there")
        for k in (1, 2)
    )
    marks = alt.Chart(dates.dropna()).transform_filter(picked).encode(x=x)
    named = [
        marks.transform_filter(f"datum.words == '{words}'")
        .mark_text(align="left", dx=4, fontSize=11.5)
        .encode(text="words:N", y=alt.value(place))
        for words, place in zip(dates.words.drop_duplicates(), (8, 24))
    ]
    rules = marks.mark_rule(strokeDash=[4, 4], color=GREY)
    return themed(alt.layer(rules, curves, *named).add_params(pick), 280)
