"""Other ways to a circuit than the reference's, and circuits that are rewarded for sharing.

Methods, each at the number of edges of the reference circuit (`dissect`, draw 1, whole context), each measured on fresh prompts:

    noising, denoising, larger    the edges of largest exact effect, or of the larger of both
    attribution                   of largest integrated gradient
    pruned                        learned gates

Written down before these tables (of one model, n = 3, seed 0, 1-after-query, overlaps had been seen while the methods were timed):

    A method stands in for the reference where its overlap with it is as high as that of the reference found twice: the 95 % t interval
    over models of (overlap - ceiling) reaches 0 or more.  Predicted: the exact effects come near, for elimination tries the edges in
    that order; attribution below them; pruning, which alone sees edges together, lower in overlap and yet nearest in distance.
    If all methods miss the ceiling by as much as two tasks do, an overlap of two tasks found by *different* methods says nothing.

    Can one set of edges serve both tasks?  Two objectives that reward sharing:
    joint       elimination on the prompts of both tasks at once, down to a tenth of either's distance.  Its price
                c = (edges of the joint circuit - of the larger own one) / edges of the smaller own one is 0 where the larger circuit
                serves both tasks as it stands, 1 where each needs all of its own.  Interval of c over models below LOW: one set of edges
                can serve both; above HIGH: it cannot; else it can in part.
    rewarded    2-after-query found again, with 1-after's circuit favoured: in elimination every edge outside of that is tried first; in
                pruning, at equal size, keeping that circuit is worth SHARING.  Overlap up to the ceiling without loss of distance on fresh
                prompts: that the unrewarded circuits differ is a choice among equals.  Overlap that does not rise, or only at a
                price: the tasks need edges of their own.
    Predicted: c inside [LOW, HIGH]: they share the haystack's reading and part at the query.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from recall.circuits import Patcher, attribution
from recall.dissect import DISTANCE, KEYS, SEEDS, TEST_SEED, Scale, circuits_of, pair, size_of, written
from recall.faithfulness import eliminate, measure, overlap, strongest
from recall.pruning import PruningConfig, prune
from recall.runs import Run
from recall.settings import from_json
from recall.training import build_model

CORRUPTION, TASKS = "whole-context", ("1-after", "2-after")
METHODS = ("noising", "denoising", "larger", "attribution", "pruned")
SHARING = 5.0  # keeping one of some fifty edges is then worth 0.005 of the distance, half of what makes an edge essential
