"""The study's own curves, read off its figures, on the identification score.

data/reference/study-curves.csv holds the medium model (12 layers, n = 5, 25 labels, one training seed): the median
squared error of k-after-query and k-after-initial at 36 checkpoints, digitised from the authors' published vector
figures, good to 1 to 3 %.  Columns run, systems, event, k, examples, median_squared_error."""

from __future__ import annotations

import pandas as pd
import torch
from scipy.stats import chi2

from recall import data
from recall.evaluation import emergence, first_below

DIMENSION = 5  # of the main model
DRAWS = 400_000  # of the Monte Carlo below: standard error of the median about 0.001


def blind_median(systems: int, k: int, dimension: int = DIMENSION) -> float:
    """Median squared error of a predictor that averages its N candidates, since the study's points are medians.

    k = 1: the candidates' next states, independent Gaussians of covariance I/n, so that the error is (N - 1)/N times
    a chi-squared variable with n degrees of freedom over n.  k > 1: the candidates' maps on the state just seen, N
    independent vectors of its norm; by Monte Carlo."""
    if k == 1:
        return (systems - 1) / systems * chi2(dimension).median() / dimension
    generator = torch.Generator().manual_seed(systems)
    norm = torch.randn(DRAWS, dimension, generator=generator).square().sum(-1) / dimension
    mean = first = 0
    for i in range(systems):
        way = torch.nn.functional.normalize(torch.randn(DRAWS, dimension, generator=generator), dim=-1)
        first, mean = (way if i == 0 else first), mean + way / systems
    return (norm * (mean - first).square().sum(-1)).median().item()


def curves(counts: tuple[int, ...] = (2, 3, 5, 10, 19)) -> pd.DataFrame:
    """1- and 2-after-query of the study's medium model: systems, k, examples, median, score."""
    table = pd.read_csv(data.path("reference", "study-curves.csv")).rename(columns={"median_squared_error": "median"})
    table = table[(table.event == "query") & table.k.isin([1, 2]) & table.systems.isin(counts)]
    blind = {(N, k): blind_median(N, k) for N in counts for k in (1, 2)}
    score = 1 - table["median"] / [blind[key] for key in zip(table.systems, table.k)]
    return table.assign(score=score)[["systems", "k", "examples", "median", "score"]].reset_index(drop=True)


RULES = {
    "score ½": lambda curve: emergence(curve),
    "score 0.9": lambda curve: emergence(curve, threshold=0.9),
    "median < ½": first_below,
}


def dates(table: pd.DataFrame) -> pd.DataFrame:
    """From `curves`, when each ability emerged by each of RULES, in millions of examples; a row per N.

    Columns N, and for each rule 2-after, 1-after and the ratio of the second to the first.
    """
    rows = []
    for N, group in table.groupby("systems"):
        line = {"N": N}
        for rule, date in RULES.items():
            when = {k: date(group[group.k == k].sort_values("examples")).date / 1e6 for k in (1, 2)}
            line |= {f"2-after ({rule})": when[2], f"1-after ({rule})": when[1], f"ratio ({rule})": when[1] / when[2]}
        rows.append(line)
    return pd.DataFrame(rows)
