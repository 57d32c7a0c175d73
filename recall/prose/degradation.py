"""Why going on gets worse with more systems, in sentences."""

from __future__ import annotations

import math

import pandas as pd

from recall.studies.when.degradation import (
    BASELINES,
    DIRECTION,
    DRAWN,
    EQUAL,
    MAPS,
    MODEL,
    NORM,
    NORM_ERROR,
    SHOWN,
    at_most,
    change,
    effects,
    ends,
    growths,
    led_by_states,
    named,
    norm_matcher,
)


def words_of(found: dict) -> str:
    """`+0.05 (95 % interval +0.02 to +0.08, 8 seeds)`, or the range of fewer seeds."""
    if math.isnan(found["low"]):
        return f"{found['estimate']:+.2f} " + (
            f"({found['seeds']} models: {found['least']:+.2f} to {found['most']:+.2f})"
            if found["seeds"] > 1
            else "(one model)"
        )
    return (
        f"{found['estimate']:+.2f} (95 % interval {found['low']:+.2f} to {found['high']:+.2f}, {found['seeds']} seeds)"
    )


def grown(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """2-after-query at N = 2 and at the most systems asked, by group of models and norms: growth with either needle,
    and that of 1-after.
    """
    errors, rows = named(tables["degradation"]), []
    for (models, norms), group in errors.groupby(["models", "norms"], sort=False):
        both = ends(group, norms, 2, "farthest")
        rows.append(
            {
                "models": models,
                "norms": norms,
                "error, N = 2": f"{both.two.mean():.2f}",
                "most N": int(both.systems.max()),
                "error there": f"{both.many.mean():.2f}",
                "growth, needle farthest": words_of(change(both.many - both.two)),
                "growth, needle nearest": words_of(change(growths(group, norms, 2, "nearest"))),
                "growth of 1-after, farthest": words_of(change(growths(group, norms, 1))),
            }
        )
    return pd.DataFrame(rows)


def fitted(tables: dict[str, pd.DataFrame], norms: str = DRAWN) -> pd.DataFrame:
    """Every account at the most systems, by group of models: `expected error (share of the deviations explained)`,
    means over models.
    """
    table, rows = named(tables["degradation_accounts"]), []
    last = at_most(table[table.norms == norms])
    for models, group in last.groupby("models", sort=False):
        mean = group.groupby("account")[["expected", "explained", "r2"]].mean()
        rows.append(
            {
                "models": models,
                "N": int(group.systems.max()),
                "count": len(group) // group.account.nunique(),
                "error": f"{group.error.mean():.2f}",
            }
            | {name: f"{mean.expected[name]:.2f} ({mean.explained[name]:.2f})" for name in SHOWN}
            | {f"R², {name}": f"{mean.r2[name]:.2f}" for name in ("norm and direction", *BASELINES)}
        )
    return pd.DataFrame(rows)


def best(tables: dict[str, pd.DataFrame], norms: str = DRAWN) -> str:
    """Which one likeness explains most of each model's deviations at its most systems, and whether two do better."""
    table = named(tables["degradation_accounts"])
    last, lines = at_most(table[table.norms == norms]), []
    for models, group in last.groupby("models", sort=False):
        wide = group.pivot_table(index=MODEL, columns="account", values="explained")
        single = wide[["norm", "direction", "label"]].idxmax(axis=1)
        tally = ", ".join(f"{name} in {count}" for name, count in single.value_counts().items())
        top = single.mode().iloc[0]
        both, one = wide["norm and direction"].mean(), wide[top].mean()
        where = f"* **{models}** (N = {int(group.systems.max())}, {len(wide)} model{'s' * (len(wide) > 1)})"
        if wide[[*SHOWN]].mean().max() < 0.1:
            lines.append(f"{where}: no account explains as much as a tenth of the deviations.")
        else:
            lines.append(
                f"{where}: of one likeness, best is {tally}; the {top} explains {one:.2f} of the deviations, norm "
                f"and direction together {both:.2f}" + (", more than any one." if both > one + 0.02 else ", no more.")
            )
    return "\n".join(lines)


def transfer(tables: dict[str, pd.DataFrame], account: str = "norm and direction") -> str:
    """What an account fitted on norms as drawn at N = 2 expects on equal norms, which it has not seen, against what
    there is.
    """
    table = named(tables["degradation_accounts"])
    rows = table[(table.norms == EQUAL) & (table.account == account) & (table.family != "equal")]
    lines = []
    for models, group in rows.groupby("models", sort=False):
        ends = [group[group.systems == N] for N in (2, group.systems.max())]
        off = max(abs(end.expected.mean() - end.error.mean()) / end.error.mean() for end in ends)
        lines.append(
            f"* **{models}**: "
            + "; ".join(
                f"N = {int(end.systems.iloc[0])}: expected {end.expected.mean():.2f}, measured "
                f"{end.error.mean():.2f}, R² {end.r2.mean():.2f}"
                for end in ends
            )
            + (
                ". The expected error carries over"
                + (", the single answers do not." if ends[-1].r2.mean() < 0.5 else ".")
                if off <= 0.25
                else f". The account does not carry over: its error is off by up to {100 * off:.0f} %."
            )
        )
    return "\n".join(lines) or "No model of this table was trained on norms as drawn."


def alike(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What likeness of norms, directions and maps does, by group of models and norms."""
    share, error = (effects(tables, column).reset_index().pipe(named) for column in ("other", "error"))
    rows = []
    for (models, norms), group in share.groupby(["models", "norms"], sort=False):
        costs = error[(error.models == models) & (error.norms == norms)].set_index(MODEL)
        said = lambda frame, name: words_of(change(frame[name])) if frame[name].notna().all() else "–"
        rows.append(
            {"models": models, "norms": norms}
            | {f"share, {name}": said(group.set_index(MODEL), name) for name in (NORM, DIRECTION, MAPS)}
            | {"error, maps": said(costs, MAPS)}
        )
    return pd.DataFrame(rows)


def _sign(found: dict) -> int:
    """+1 or -1 where the interval (the range, where there is none) leaves out 0, else 0."""
    low, high = ("least", "most") if math.isnan(found["low"]) else ("low", "high")
    return 1 if found[low] > 0 else -1 if found[high] < 0 else 0


def norm_alone(tables: dict[str, pd.DataFrame], dimension: int = 5, counted: tuple[int, ...] = (2, 4, 19)) -> str:
    """What a matcher by norm alone would do, by simulation, beside the models of that dimension whose states lead."""
    errors = led_by_states(tables["degradation"]).query(
        "dimension == @dimension and norms == @DRAWN and needle == 'farthest' and k == 2"
    )
    found, said, beaten = {N: norm_matcher(dimension, N) for N in counted}, [], []
    for N, (share, error) in found.items():
        own = errors[errors.systems == N]["mean"]
        said.append(
            f"{100 * share:.0f} % at N = {N} (error {error:.2f}"
            + (
                f"; {len(own)} model{'s' * (len(own) > 1)} led by the states: {own.min():.2f} to {own.max():.2f})"
                if len(own)
                else ")"
            )
        )
        beaten += [bool((own < error).all())] if len(own) else []
    return (
        f"Orthogonal maps keep the norm of a state. Who reads norms off with an error of {100 * NORM_ERROR:.0f} % "
        f"and takes the candidate of the nearest norm (n = {dimension}) finds the needle in "
        + ", ".join(said)
        + "."
        + (
            ""
            if not beaten
            else " All these models do better: they read norms off more sharply, mix instead of choosing, or use "
            "more than the norm."
            if all(beaten)
            else " Not all of these models do better than that."
        )
    )


def answer(tables: dict[str, pd.DataFrame]) -> tuple[str, str]:
    """Why does 2-after-query degrade with N: interference, attention span, or similar systems?  From all models led
    by the states, norms as drawn.  Models of several recipes have no interval over seeds: their range is given, and
    the answer is `in part`.  Answer and status (`answered`, `in part`, `not tested`).
    """
    chosen = {name: led_by_states(table) for name, table in tables.items()}
    errors, accounts = chosen["degradation"], chosen["degradation_accounts"]
    if errors.empty:
        return "no model whose states lead was asked", "not tested"
    growth = change(growths(errors, DRAWN))
    near = errors[(errors.norms == DRAWN) & (errors.k == 2)]
    near = at_most(near).pivot_table(index=[*MODEL, "systems"], columns="needle", values="mean")
    spans = {N: change(group.droplevel("systems")) for N, group in (near.farthest - near.nearest).groupby("systems")}
    nearest = change(growths(errors, DRAWN, 2, "nearest"))
    both = (
        accounts[(accounts.norms == DRAWN) & (accounts.account == "norm and direction")]
        .sort_values("systems")
        .groupby(MODEL)
        .agg(first=("expected", "first"), last=("expected", "last"))
    )
    interference = change(both["last"] - both["first"])
    held = at_most(accounts[accounts.norms == DRAWN])
    explained = held[held.account == "norm and direction"].explained.mean()
    found = {name: change(values) for name, values in effects(chosen).xs(DRAWN, level="norms").items()}
    leading = max(found, key=lambda name: found[name]["estimate"])
    if _sign(growth) <= 0:
        first = (
            f"2-after-query does not clearly degrade here: its error changes by {words_of(growth)} from N = 2 to "
            "the most systems of training"
        )
        return first, "in part"
    share = interference["estimate"] / growth["estimate"]
    parts = [
        f"where the states lead, its error changes by {words_of(growth)} from N = 2 to the most systems of training",
        "interference: soft matching by norm and direction, fitted at N = 2 and no further, expects "
        f"{words_of(interference)}, {100 * share:.0f} % of it"
        + (" (most of the growth)" if share >= 0.5 else " (less than half of the growth)")
        + f", and explains {explained:.2f} of the answers' deviations",
        "attention span: the farthest needle costs, against the nearest, "
        + ", ".join(
            f"at N = {N} {words_of(span)}"
            + {
                1: ", so distance costs something there",
                -1: ", so distance is not what costs",
                0: ", so no clear cost of distance is seen",
            }[_sign(span)]
            for N, span in spans.items()
        )
        + f"; the nearest needle's error changes by {words_of(nearest)} itself"
        + (", so distance is not the whole of it" if _sign(nearest) > 0 else ""),
        "similar systems: from the third of prompts with the least to that with the most alike, the share of the "
        "wrong system of two in the answer changes by "
        + ", ".join(f"{words_of(each)} for {name}" for name, each in found.items())
        + (
            f", so what is confused is first of all what is alike in {leading}"
            if _sign(found[leading]) > 0
            else ", so no likeness is clearly confused"
        ),
    ]
    return "; ".join(parts), "answered" if share >= 0.5 and not math.isnan(growth["low"]) and _sign(
        found[leading]
    ) > 0 else "in part"
