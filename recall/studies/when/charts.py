"""Figures of chapter 5: tidy table in, Altair chart out."""

from __future__ import annotations

import altair as alt
import pandas as pd

from recall.figures import (
    ABILITIES,
    CONTINUE,
    GREY,
    LOOK_UP,
    PURPLE,
    THIRD,
    choice,
    chosen,
    compact,
    missing_note,
    pickers,
    reference_lines,
    themed,
)

SCORE, MEAN, MEDIAN = MEASURES = ["identification score", "mean squared error", "median squared error"]
LOGARITHMIC, LINEAR = AXES = ["logarithmic", "linear"]


def atlas(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """When each ability appears, for a threshold that the reader moves: curves, a line per seed, and their dates.

    table: `timing.evaluations`.  start: dimension, labels, systems and setting shown first.  A date is computed in
    the page by the rule of `evaluation.emergence`: from when the curve stays on the good side of the threshold to
    its end."""
    score = f"pick_measure == '{SCORE}'"
    measured = lambda k: (
        f"{score} ? 1 - datum.mean{k} * datum.systems / (datum.systems - 1) : "
        f"pick_measure == '{MEAN}' ? datum.mean{k} : datum.median{k}"
    )
    controls = [
        *pickers(table, start),
        choice("measure", "measure ", MEASURES, SCORE),
        choice("ability", "show ", ["both", *ABILITIES[:2]], "both"),
        choice("axis", "axis of examples ", AXES, LOGARITHMIC),
        alt.param(
            name="pick_threshold", value=0.5, bind=alt.binding_range(min=0.1, max=0.9, step=0.05, name="threshold ")
        ),
    ]
    base = compact(table)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    base = (
        base.transform_calculate(value1=measured(1), value2=measured(2))
        .transform_fold(["value1", "value2"], as_=["key", "value"])
        .transform_calculate(ability="substring(datum.key, 5) + '-after-query'")
    )
    shown = base.transform_filter("pick_ability == 'both' || pick_ability == datum.ability")

    on_axis = lambda examples: f"pick_axis == '{LOGARITHMIC}' ? log({examples}) / LN10 : {examples}"
    x = alt.X(
        "place:Q",
        title="training examples",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(
            labelExpr=f"format(pick_axis == '{LOGARITHMIC}' ? pow(10, datum.value) : datum.value, '.2~s')", tickCount=6
        ),
    )
    y = alt.Y(
        "value:Q",
        title="chosen measure",
        scale=alt.Scale(
            domainMin=alt.ExprRef(f"{score} ? -1.1 : 0"),
            domainMax=alt.ExprRef(f"{score} ? 1.05 : 1.3"),
            clamp=True,
            nice=False,
        ),
    )
    colour = alt.Color("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE]))
    dash = alt.StrokeDash("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[[1, 0], [6, 3]]))
    lines = (
        shown.transform_filter("datum.examples > 0")
        .transform_calculate(place=on_axis("datum.examples"))
        .mark_line(strokeWidth=1.6, opacity=0.75, clip=True)
        .encode(
            x=x,
            y=y,
            color=colour,
            strokeDash=dash,
            detail="seed:N",
            tooltip=[
                "ability:N",
                "seed:N",
                alt.Tooltip("examples:Q", format=",.0f"),
                alt.Tooltip("value:Q", format=".3f"),
            ],
        )
    )

    dated = lambda rows: (
        rows.transform_calculate(
            bad=f"({score} ? datum.value >= pick_threshold : datum.value < pick_threshold) ? -1 : datum.examples"
        )
        .transform_joinaggregate(last_bad="max(bad)", end="max(examples)", groupby=["seed", "ability"])
        .transform_window(
            next_examples="lead(examples)",
            next_value="lead(value)",
            sort=[alt.SortField("examples")],
            groupby=["seed", "ability"],
        )
        .transform_filter("datum.examples == datum.last_bad")
        .transform_calculate(
            share="(pick_threshold - datum.value) / (datum.next_value - datum.value)",
            reached="isValid(datum.next_examples)",
        )
        .transform_calculate(
            date="!datum.reached ? datum.end : datum.examples > 0 ? datum.examples * pow(datum.next_examples / "
            "datum.examples, datum.share) : "
            "datum.next_examples * datum.share"
        )
    )
    points = (
        dated(shown)
        .transform_calculate(
            place=on_axis("datum.date"),
            value="pick_threshold",
            state="datum.reached ? 'there' : 'not there when the run ended'",
        )
        .mark_point(size=85, strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=["circle", "square"])),
            fill=alt.Fill("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE])),
            fillOpacity=alt.condition("datum.reached", alt.value(0.8), alt.value(0)),
            tooltip=["ability:N", "seed:N", alt.Tooltip("date:Q", format=",.0f", title="examples"), "state:N"],
        )
    )
    rule = (
        alt.Chart(pd.DataFrame([{}]))
        .transform_calculate(value="pick_threshold")
        .mark_rule(strokeDash=[4, 4], color=GREY)
        .encode(y=y)
    )

    late = 1e15  # a date that has not come counts as later than all
    per_seed = (
        dated(base)
        .transform_calculate(when=f"datum.reached ? datum.date : {late}")
        .transform_pivot("ability", value="when", groupby=["seed"])
    )
    begin, go_on = (f"datum['{ability}']" for ability in ABILITIES[:2])
    words = per_seed.transform_calculate(
        begin=begin,
        go_on=go_on,
        begun=f"{begin} < {late} ? 1 : 0",
        gone=f"{go_on} < {late} ? 1 : 0",
        ratio=f"{begin} / {go_on}",
        first=f"{go_on} < {begin} ? 1 : 0",
    ).transform_aggregate(
        seeds="count()",
        begin="median(begin)",
        go_on="median(go_on)",
        begun="sum(begun)",
        gone="sum(gone)",
        ratio="median(ratio)",
        first="sum(first)",
    )
    thousand = lambda field: f"(datum.{field} < 1e9 ? format(datum.{field}, '.2~s') : 'never')"
    words = (
        words.transform_calculate(
            text=(
                f"['Going on: ' + datum.gone + ' of ' + datum.seeds + ' seeds, median ' + {thousand('go_on')}, "
                f"'Beginning again: ' + datum.begun + ' of ' + datum.seeds + ', median ' + {thousand('begin')}, "
                "'Going on first: ' + datum.first + ' of ' + datum.seeds + (datum.begin < 1e9 && datum.go_on < 1e9 ? "
                "', median ratio ' + format(datum.ratio, '.1f') : '')]"
            )
        )
        .mark_text(align="left", baseline="top", fontSize=13, lineHeight=17)
        .encode(x=alt.value(0), y=alt.value(-84), text="text:N")
    )
    return themed(alt.layer(rule, lines, points, words, missing_note(table, start)).add_params(*controls), 320)


def study_curves(table: pd.DataFrame, systems: int = 2) -> alt.TopLevelMixin:
    """The study's curves on either measure.  table: `published.curves`."""
    pick = choice("study_systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems)
    measure = choice("study_measure", "measure ", [SCORE, MEDIAN], SCORE)
    lines = (
        alt.Chart(table.round(3))
        .transform_filter("datum.systems == pick_study_systems")
        .transform_calculate(
            ability="datum.k + '-after-query'",
            value=f"pick_study_measure == '{SCORE}' ? datum.score : datum.median",
            millions="datum.examples / 1e6",
        )
        .mark_line(strokeWidth=2.2, point=alt.OverlayMarkDef(size=25), clip=True)
        .encode(
            x=alt.X(
                "millions:Q", title="training examples (millions, logarithmic)", scale=alt.Scale(type="log", nice=False)
            ),
            y=alt.Y(
                "value:Q",
                title="chosen measure",
                scale=alt.Scale(
                    domainMin=alt.ExprRef(f"pick_study_measure == '{SCORE}' ? -1.2 : 0"),
                    domainMax=1.05,
                    clamp=True,
                    nice=False,
                ),
            ),
            color=alt.Color("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[LOOK_UP, CONTINUE])),
            strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=ABILITIES[:2], range=[[1, 0], [6, 3]])),
            tooltip=["ability:N", alt.Tooltip("millions:Q", format=".1f"), alt.Tooltip("value:Q", format=".3f")],
        )
    )
    half = reference_lines(pd.DataFrame({"level": [0.5], "words": ["½"]}))
    return themed((half + lines).add_params(pick, measure), 280)


def errors_by_systems(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Final error of 1- and 2-after-query against the number of systems in the prompt, a mark per seed, a bar at
    their mean.

    table: dimension, labels, setting, seed, systems, k, error.  start: without `systems`.
    """
    base = alt.Chart(table)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    abilities = ABILITIES[:2]
    encoding = dict(
        x=alt.X("systems:O", title="systems in the prompt N", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("ability:N", sort=abilities),
        color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
    )
    base = base.transform_calculate(ability="datum.k + '-after-query'")
    points = base.mark_point(size=70, strokeWidth=2, opacity=0.85).encode(
        y=alt.Y("error:Q", title="mean squared error"),
        shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
        tooltip=["ability:N", "seed", "systems", alt.Tooltip("error", format=".3f")],
        **encoding,
    )
    means = base.mark_tick(thickness=3, size=28).encode(y="mean(error):Q", **encoding)
    return themed(alt.layer(means, points, missing_note(table, start)).add_params(*pickers(table, start)), 260)


def _both_dates(base: alt.Chart, y: alt.Y, extra: list) -> alt.Chart:
    """A mark per run and ability at its date, hollow where it had not come by the end of the run.  Fields ability,
    examples (thousands), state, seed.
    """
    abilities = ABILITIES[:2]
    scale = alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])
    return base.mark_point(size=75, strokeWidth=2, opacity=0.9).encode(
        x=alt.X(
            "examples:Q", title="thousand examples (log axis)", scale=alt.Scale(type="log", nice=False, padding=12)
        ),
        y=y,
        yOffset=alt.YOffset("ability:N", sort=abilities),
        color=alt.Color("ability:N", scale=scale),
        shape=alt.Shape("ability:N", scale=alt.Scale(domain=abilities, range=["circle", "square"])),
        fill=alt.Fill("ability:N", scale=scale),
        fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.8), alt.value(0)),
        tooltip=["ability", "seed", alt.Tooltip("examples", format=",.0f", title="thousand examples"), "state", *extra],
    )


def knocked_out(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Dates of both abilities by what was asked in training.  table: `knockouts.shown`."""
    order = table.asked.drop_duplicates().tolist()
    y = alt.Y("asked:N", sort=order, title=None, axis=alt.Axis(labelLimit=170, labelExpr="split(datum.label, ', ')"))
    return themed(_both_dates(alt.Chart(table), y, []), 44 * len(order) + 60)


# a fixed margin: another choice may have longer names
_SETTINGS = alt.Axis(labelLimit=130, minExtent=112, maxExtent=112, labelExpr="split(datum.label, '+')")


def factors(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Dates of both abilities by what is changed.  table: `factors.dated`.  kind: shown first."""
    pick = choice("kind", "what is changed ", table.kind.drop_duplicates().tolist(), kind)
    base = alt.Chart(table).transform_filter("datum.kind == pick_kind")
    order = table.setting.drop_duplicates().tolist()
    y = alt.Y("setting:N", sort=order, title=None, axis=_SETTINGS)
    return themed(
        _both_dates(base, y, [alt.Tooltip("index", title="label index of 2-after"), "rule"]).add_params(pick), 300
    )


def factor_index(table: pd.DataFrame, kind: str = "size") -> alt.TopLevelMixin:
    """Whom 2-after-query follows by what is changed, beside `factors` (one list moves both): a mark per run, hollow
    where 1-after-query had not come. table: `factors.dated`; a run without a label index has no mark.
    """
    pick = choice("kind", "what is changed ", table.kind.drop_duplicates().tolist(), kind)
    order = table.setting.drop_duplicates().tolist()
    base = alt.Chart(
        table[table.ability == ABILITIES[0]][["kind", "setting", "seed", "index", "state"]]
    ).transform_filter("datum.kind == pick_kind")
    marks = base.mark_point(size=75, strokeWidth=2, opacity=0.9, color=PURPLE, fill=PURPLE, shape="diamond").encode(
        x=alt.X(
            "index:Q",
            title="label index (0: states, 1: label)",
            scale=alt.Scale(domain=[-0.1, 1.1], clamp=True, nice=False),
        ),
        y=alt.Y("setting:N", sort=order, title=None, axis=_SETTINGS),
        fillOpacity=alt.condition("datum.state == 'there'", alt.value(0.8), alt.value(0)),
        tooltip=["setting", "seed", alt.Tooltip("index", format=".2f"), alt.Tooltip("state", title="1-after-query")],
    )
    return themed(marks.add_params(pick), 200)


def ratio_map(table: pd.DataFrame) -> alt.TopLevelMixin:
    """How many times as many examples 1-after-query takes as 2-after-query, by what is changed and by threshold.
    table: `factors.ratio_map`.

    Depth of colour: octaves; blue where going on came first, orange where beginning again did.  A bound is written
    so, a question mark where bounds lie on both sides; a dash where no run has either."""
    signs = {"exact": "", "at least": "≥", "at most": "≤"}
    order = table.setting.drop_duplicates().tolist()
    cells = table.assign(
        ratio=2.0 ** table["mean"],
        words=[
            "–" if not row.runs else "?" if row.bound == "mixed" else f"{signs[row.bound]}{2.0**row.mean:.1f}"
            for row in table.itertuples()
        ],
        depth=(table["mean"].abs() / 3).clip(upper=1).fillna(0).where(table.bound != "mixed", 0),
        came=(table["mean"] >= 0).map({True: "going on first", False: "beginning again first"}),
    )
    base = alt.Chart(
        cells[["setting", "threshold", "runs", "first", "ratio", "words", "depth", "came"]].round(
            {"ratio": 2, "depth": 2}
        )
    ).encode(
        x=alt.X("threshold:O", title="threshold on the score", axis=alt.Axis(labelAngle=0, format=".1f")),
        y=alt.Y(
            "setting:N",
            sort=order,
            title=None,
            axis=alt.Axis(labelLimit=110, labelFontSize=11, labelLineHeight=11, labelExpr="split(datum.label, '+')"),
        ),
    )
    colour = alt.Color(
        "came:N", scale=alt.Scale(domain=["going on first", "beginning again first"], range=[CONTINUE, LOOK_UP])
    )
    boxes = base.mark_rect(stroke="currentColor", strokeOpacity=0.15).encode(
        color=colour,
        opacity=alt.Opacity("depth:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.75]), legend=None),
        tooltip=[
            "setting",
            "threshold",
            alt.Tooltip("words", title="1-after over 2-after"),
            alt.Tooltip("first", title="going on first in"),
            alt.Tooltip("runs", title="of runs with either"),
        ],
    )
    return themed(
        boxes + base.mark_text(fontSize=alt.ExprRef("width < 300 ? 8.5 : 10.5")).encode(text="words:N"),
        26 * len(order) + 20,
    )


def survival(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Share of seeds that have each ability, over training (Kaplan-Meier).  table: `timing.survival`.  start:
    dimension, labels, setting.
    """
    base = alt.Chart(table)
    for condition in chosen(start):
        base = base.transform_filter(condition)
    abilities = ABILITIES[:2]
    lines = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(
        x=alt.X("examples:Q", title="training examples (thousands)"),
        y=alt.Y("share:Q", title="share of seeds that have it", scale=alt.Scale(domain=[0, 1.02])),
        color=alt.Color("ability:N", scale=alt.Scale(domain=abilities, range=[LOOK_UP, CONTINUE])),
        strokeDash=alt.StrokeDash("ability:N", scale=alt.Scale(domain=abilities, range=[[1, 0], [6, 3]])),
        tooltip=["ability", alt.Tooltip("examples", format=",.1f"), alt.Tooltip("share", format=".2f"), "seeds"],
    )
    return themed(alt.layer(lines, missing_note(table, start)).add_params(*pickers(table, start)), 240)


def _only_equal(row) -> str:
    """Why there is nothing to draw: equal norms are all alike, and models trained on them are asked on nothing else."""
    return (
        f"equal norms are all alike: {row.models}"
        if row.norms == "equal"
        else f"equal norms only: {row.models.removeprefix('trained on equal norms, ')}"
    )


def degradation(errors: pd.DataFrame, accounts: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """Errors of 1- and 2-after-query against N, a mark per model, and what accounts of 2-after-query expect as lines
    (mean over models).

    errors: models, norms, needle, seed, systems, k, mean.  accounts: models, norms, systems, account, expected (one
    row each). start: models, norms and needle shown first; accounts are of the farthest needle, and are drawn with
    it only."""
    order = accounts.account.drop_duplicates().tolist()
    key = alt.Color(
        "what:N",
        sort=[*ABILITIES[:2], *order],
        scale=alt.Scale(
            domain=[*ABILITIES[:2], *order], range=[LOOK_UP, CONTINUE, GREY, THIRD, PURPLE, "#b8902a"][: 2 + len(order)]
        ),
        legend=alt.Legend(columns=2),
    )
    dash = alt.Scale(
        domain=[*ABILITIES[:2], *order], range=[[1, 0], [1, 0], [1, 0], [2, 2], [6, 3], [8, 3, 2, 3]][: 2 + len(order)]
    )
    # one legend: marks for models, lines for accounts
    shape = alt.Scale(domain=[*ABILITIES[:2], *order], range=["circle", "square", *["stroke"] * len(order)])
    titles = {"models": "models ", "norms": "norms of the states ", "needle": "needle "}
    pickers = [
        choice(name, title, errors[name].drop_duplicates().tolist(), start[name]) for name, title in titles.items()
    ]
    base, lines = (
        compact(errors.round({"mean": 4})),
        alt.Chart(accounts.assign(needle="farthest").round({"expected": 4})),
    )
    for condition in chosen(start):
        base, lines = base.transform_filter(condition), lines.transform_filter(condition)
    x = alt.X(
        "systems:Q",
        title="systems in the prompt N",
        axis=alt.Axis(values=sorted(errors.systems.unique().tolist()), format="d"),
        scale=alt.Scale(zero=False, padding=16, nice=False),
    )
    y = lambda field: alt.Y(f"{field}:Q", title="mean squared error", scale=alt.Scale(zero=True))
    points = (
        base.transform_calculate(what="datum.k + '-after-query'")
        .mark_point(size=70, strokeWidth=2, opacity=0.85)
        .encode(
            x=x,
            y=y("mean"),
            color=key,
            shape=alt.Shape("what:N", sort=shape.domain, scale=shape, legend=alt.Legend(columns=2)),
            tooltip=["what:N", "seed:N", "systems:Q", alt.Tooltip("mean:Q", format=".3f", title="error")],
        )
    )
    expected = (
        lines.transform_calculate(what="datum.account")
        .mark_line(strokeWidth=2.2)
        .encode(
            x=x,
            y=y("expected"),
            color=key,
            strokeDash=alt.StrokeDash("what:N", sort=dash.domain, scale=dash, legend=alt.Legend(columns=2)),
            tooltip=["what:N", "systems:Q", alt.Tooltip("expected:Q", format=".3f")],
        )
    )
    return themed(alt.layer(expected, points, missing_note(errors, start, _only_equal)).add_params(*pickers), 320)


def likeness(table: pd.DataFrame, start: dict) -> alt.TopLevelMixin:
    """3 x 3 table of 2-after-query on prompts of 2 systems: how alike are the next states, how alike the maps?

    table: models, norms, by (likeness of the states in norm or direction), states, maps (low, middle, high), error,
    other. start: models, norms and by shown first."""
    thirds, measures = ["low", "middle", "high"], {"error": "mean squared error", "other": "share of the other system"}
    titles = {"models": "models ", "norms": "norms of the states ", "by": "states alike in "}
    pickers = [
        choice(name, title, table[name].drop_duplicates().tolist(), start[name]) for name, title in titles.items()
    ]
    pickers.append(choice("likeness", "measure ", list(measures.values()), measures["error"]))
    base = alt.Chart(table.rename(columns=measures).round(3))
    for condition in chosen(start):
        base = base.transform_filter(condition)
    base = base.transform_calculate(value="datum[pick_likeness]").encode(
        x=alt.X("maps:O", sort=thirds, title="likeness of the maps, thirds", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("states:O", sort=thirds[::-1], title="likeness of the next states, thirds"),
    )
    cells = base.mark_rect(stroke="white").encode(
        color=alt.Color("value:Q", scale=alt.Scale(range=["#f3f3f3", LOOK_UP], domainMin=0), legend=None),
        tooltip=["states", "maps", alt.Tooltip("value:Q", format=".3f")],
    )
    words = base.mark_text(fill="black", fontSize=13).encode(text=alt.Text("value:Q", format=".2f"))
    return themed(alt.layer(cells, words, missing_note(table, start, _only_equal)).add_params(*pickers), 240)


def by_heart(table: pd.DataFrame, event: str = "query", library: int = 100, systems: int = 2) -> alt.TopLevelMixin:
    """What models trained on a frozen library know by heart: error by k, a mark per seed, a line through their mean.

    table: `by_heart.library`.  event, library, systems: shown first.
    """
    shown = table.shown.unique().tolist()
    places = {"initial": "the first label", "query": "the query's label"}
    pick = [
        choice("event", "after ", list(places.values()), places[event]),
        choice("library", "systems in the library ", sorted(table.library.unique().tolist()), library),
        choice("systems", "systems in the prompt N ", sorted(table.systems.unique().tolist()), systems),
    ]
    table = table.assign(after=table.event.map(places))[
        ["after", "systems", "library", "shown", "seed", "k", "mean"]
    ].round(3)
    base = (
        alt.Chart(table)
        .transform_filter("datum.after == pick_event")
        .transform_filter("datum.systems == pick_systems && datum.library == pick_library")
        .encode(
            x=alt.X("k:O", title="k, observations after it", axis=alt.Axis(labelAngle=0)),
            color=alt.Color(
                "shown:N",
                sort=shown,
                scale=alt.Scale(domain=shown, range=[LOOK_UP, PURPLE, CONTINUE]),
                legend=alt.Legend(columns=2),
            ),
        )
    )
    line = base.mark_line(strokeWidth=2).encode(
        y="mean(mean):Q",
        strokeDash=alt.StrokeDash(
            "shown:N", sort=shown, scale=alt.Scale(domain=shown, range=[[1, 0], [2, 2], [6, 3]]), legend=None
        ),
    )
    points = base.mark_point(size=60, strokeWidth=2, opacity=0.8).encode(
        y=alt.Y("mean:Q", title="mean squared error"),
        shape=alt.Shape(
            "shown:N", sort=shown, scale=alt.Scale(domain=shown, range=["circle", "triangle-up", "square"]), legend=None
        ),
        tooltip=["shown", "seed", alt.Tooltip("mean", format=".3f")],
    )
    return themed(alt.layer(line, points).add_params(*pick), 260)
