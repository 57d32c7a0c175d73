"""Tables that decide claims, made up."""

import math

import pandas as pd
from made_circuits import CARRYING, circuits

ONE, OTHER = set(CARRYING[:60]), set(CARRYING[60:120])


def models(second, corruption="whole-context", count=5) -> list[pd.DataFrame]:
    """Models whose circuit of 1-after-query is ONE."""
    return [circuits([ONE, ONE], [second, second], run=str(i), corruption=corruption) for i in range(count)]


def octave_gaps(half: list, toy: list) -> dict[str, pd.DataFrame]:
    """`language.results.gaps` by both dates, a value per seed; the first token of the first seed never got there.
    Other words and labels say the contrary.
    """

    def table(octaves, words="invented", labels="arbitrary"):
        first = [math.nan, *[9.0] * (len(octaves) - 1)]
        return pd.DataFrame(dict(words=words, labels=labels, seed=range(len(octaves)), first=first, octaves=octaves))

    others = [table([-9.0] * 5, words="words"), table([-9.0] * 5, labels="names")]
    return {"half": pd.concat([table(half), *others]), "toy": pd.concat([table(toy), *others])}
