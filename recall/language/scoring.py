"""Log-probabilities of a target's tokens, and what is made of them.

Which tokens are the target's?  The prompt and the prompt with ` target` behind it are tokenised; the second must
begin with the first, and what is left, but for a token of mere white space in front, is the target.  A tokeniser
that merges across that border, or makes a single token of the target, cannot ask the question: such targets are
refused with the reason.

*Bits gained* at a token: log2 p(token | prompt, true tokens before it) less the same for the prompt without its
source.  What spelling and frequency tell is in both and cancels."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from recall import evaluation
from recall.config import check
from recall.language.lexicon import Lexicon
from recall.language.prompts import CONDITIONS, LABELS, Prompt
from recall.task import stream

LOGITS = 2**26  # numbers of logits held at once: a quarter of a GB in single precision
RESAMPLES = 500  # of the prompts, for 95 % intervals
DATED = 200  # of them, for intervals of dates, which take longer


class Unaligned(ValueError):
    """A target that this tokeniser cannot be asked about; says why."""


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of a text, begun as the tokeniser's own models are (a beginning token, where it adds one), without
    an end.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    begun = tokenizer.encode("", add_special_tokens=True)
    return [*begun[:1], *ids] if begun and begun[0] == tokenizer.bos_token_id else ids


def align(tokenizer, prompt: str, target: str) -> tuple[list[int], int]:
    """Token ids of `prompt` + space + `target`, and the place of the target's first token.

    Raises Unaligned if a token straddles the border, if the tokeniser does not know a part, or if the target is one
    token."""
    before, ids = encode(tokenizer, prompt), encode(tokenizer, f"{prompt} {target}")
    if ids[: len(before)] != before:
        raise Unaligned(
            f"target must begin with a token of its own: {target!r} after {prompt[-12:]!r} shares one with the prompt"
        )
    start = len(before)
    # a lone space, then the word; one token may also be part of a letter, which decodes to no space
    blank = lambda at: at < len(ids) and not tokenizer.decode(ids[at : at + 1]).strip()
    while blank(start) and tokenizer.decode(ids[start:]).strip() == target:
        start += 1
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        raise Unaligned(f"target must be of tokens that the tokeniser knows: {target!r}")
    if len(ids) - start < 2:
        raise Unaligned(f"target must be two tokens or more: {target!r} is one for this tokeniser")
    return ids, start


def target_tokens(tokenizer, lexicon: Lexicon) -> tuple[list[list[tuple[int, ...]]], pd.DataFrame]:
    """tokens[i][m], the ids of targets[i][m] behind `source LABEL:`, () where refused; and the refusals: source,
    task, reason.
    """
    tokens, refused = [], []
    for source, row in zip(lexicon.sources, lexicon.targets):
        tokens.append([])
        for task, target in zip(lexicon.tasks, row):
            try:
                ids, start = align(tokenizer, f"{source} {LABELS[0]}:", target)
                tokens[-1].append(tuple(ids[start:]))
            except Unaligned as reason:
                tokens[-1].append(())
                refused.append(dict(source=source, task=task, reason=str(reason)))
    return tokens, pd.DataFrame(refused, columns=["source", "task", "reason"])


@torch.inference_mode()
def token_bits(
    model, sequences: Sequence[Sequence[int]], starts: Sequence[int], rivals: Sequence[dict[int, int]] | None = None
) -> list[list[dict]]:
    """For every sequence a list over its tokens from `starts` on: bits = log2 p(token | all before it), correct =
    whether it is the most probable, rival = log2 p of the token rivals[i] holds for that place (nan where none).

    model: any causal language model of `transformers`.  Sequences are padded on the right, where a causal model does
    not look, so that no padding token is needed; batches hold at most LOGITS logits."""
    device = next(model.parameters()).device
    some = "logits_to_keep" in inspect.signature(model.forward).parameters
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    results: list[list[dict]] = [[] for _ in sequences]
    while order:
        longest = len(sequences[order[-1]])
        size = max(1, LOGITS // (longest * model.config.vocab_size))
        batch, order = order[-size:], order[:-size]
        ids, mask = torch.zeros(2, len(batch), longest, dtype=torch.long, device=device)
        for b, i in enumerate(batch):
            ids[b, : len(sequences[i])] = torch.as_tensor(sequences[i], device=device)
            mask[b, : len(sequences[i])] = 1
        first = min(starts[i] for i in batch) - 1  # the row on which the earliest scored token is predicted
        kept = dict(logits_to_keep=longest - first) if some else {}
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **kept).logits
        logits = logits if some else logits[:, first:]
        for b, i in enumerate(batch):
            start, end = starts[i], len(sequences[i])
            rows = logits[b, start - 1 - first : end - 1 - first].float().log_softmax(-1) / math.log(2)
            true = ids[b, start:end]
            bits, best = rows.gather(1, true[:, None]).squeeze(1).tolist(), (rows.argmax(1) == true).tolist()
            rival = {k: rows[k, token].item() for k, token in rivals[i].items()} if rivals else {}
            results[i] = [dict(bits=bits[k], correct=best[k], rival=rival.get(k, math.nan)) for k in range(len(bits))]
    return results


@dataclass(frozen=True)
class Questions:
    """Aligned prompts: keys (prompt, condition), token ids up to the target's second, place of its first, and of the
    rival's two tokens those that are others than the target's.
    """

    keys: list[tuple[int, str]]
    sequences: list[list[int]]
    starts: list[int]
    rivals: list[dict[int, int]]


def ask(tokenizer, prompts: list[Prompt], conditions: Sequence[str]) -> Questions:
    """Every prompt under every condition (names in CONDITIONS), aligned; raises Unaligned."""
    questions = Questions([], [], [], [])
    for condition in conditions:
        check("condition", condition in CONDITIONS, f"one of {', '.join(CONDITIONS)}", condition)
        for i, prompt in enumerate(map(CONDITIONS[condition][1], prompts)):
            ids, start = align(tokenizer, prompt.text, prompt.target)
            rival = {}
            if prompt.rival is not None:
                other, begin = align(tokenizer, prompt.text, prompt.rival)
                pairs = zip(other[begin : begin + 2], ids[start : start + 2])
                rival = {k: theirs for k, (theirs, ours) in enumerate(pairs) if theirs != ours}  # else one answer
            questions.keys.append((i, condition))
            questions.sequences.append(ids[: start + 2])
            questions.starts.append(start)
            questions.rivals.append(rival)
    return questions


def score(model, questions: Questions) -> pd.DataFrame:
    """One row per prompt, condition and token k = 1, 2 of the target: prompt, condition, k, token, bits, correct,
    rival.

    rival: log2 p of the rival answer's token there: its first for k = 1, and for k = 2 its second, though the first
    is the target's."""
    found = token_bits(model, questions.sequences, questions.starts, questions.rivals)
    rows = []
    for (i, condition), ids, start, tokens in zip(questions.keys, questions.sequences, questions.starts, found):
        rows += [
            dict(prompt=i, condition=condition, k=k + 1, token=ids[start + k], **each) for k, each in enumerate(tokens)
        ]
    return pd.DataFrame(rows)


def per_prompt(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per revision, step, labels, prompt and k: accuracy (0 or 1), surprisal (bits, without the source),
    gained (over no source), gained_wrong (over a wrong one), gained_label (over an unseen label), label_led (share
    of the rival when misdirected: 0 where the first token leads, 1 where the label does), synchronised (share of the
    true token against the twin's).
    """
    index = ["revision", "step", "labels", "prompt", "k"]
    bits = scores.pivot_table(index=index, columns="condition", values="bits")
    gap = scores.assign(gap=scores.rival - scores.bits).pivot_table(index=index, columns="condition", values="gap")
    frame = pd.DataFrame(index=bits.index)
    frame["accuracy"] = scores[scores.condition == "plain"].set_index(index)["correct"].astype(float)
    frame["surprisal"] = -bits["no source"]
    for name, baseline in (("gained", "no source"), ("gained_wrong", "wrong source"), ("gained_label", "unseen")):
        frame[name] = bits["plain"] - bits[baseline] if baseline in bits else math.nan
    frame["label_led"] = share(gap["misdirected"]) if "misdirected" in gap else math.nan
    frame["synchronised"] = 1 - share(gap["synchronised"]) if "synchronised" in gap else math.nan
    return frame.reset_index()


def share(gap: pd.Series) -> pd.Series:
    """p_rival / (p_rival + p_true) from log2 p_rival - log2 p_true."""
    return 1 / (1 + np.exp2(-gap.clip(-500, 500)))


def matched(scores: pd.DataFrame, bits: float = 1.0, octaves: float = 1.0) -> set[tuple[str, int]]:
    """(labels, prompt) whose two tokens are alike: surprisal without the source within `bits`, and frequency within
    `octaves`, by their number in the vocabulary, which byte-level pair encodings give out in order of frequency.  Of
    other tokenisers, such as our own, that number says nothing: there only the bits are matched in truth.

    scores: of one revision, the last.
    """
    rows = scores[scores.condition == "no source"]
    rows = rows.pivot_table(index=["labels", "prompt"], columns="k", values=["bits", "token"])
    rank = np.log2(rows["token"] + 1)
    alike = (rows["bits"][1] - rows["bits"][2]).abs().le(bits) & (rank[1] - rank[2]).abs().le(octaves)
    return set(alike[alike].index)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over prompts with 95 % bootstrap intervals: a row per revision, labels, k and quantity; columns mean,
    low, high, prompts.
    """
    rows, names = [], ["step", "revision", "labels", "k"]
    for keys, group in frame.groupby(names, sort=True):
        for name, column in group.drop(columns=[*names, "prompt"]).items():
            column = column.dropna()
            if len(column):
                low, high = np.quantile(column.to_numpy()[_resample(len(column))].mean(1), [0.025, 0.975])
                found = dict(quantity=name, mean=column.mean(), low=low, high=high, prompts=len(column))
                rows.append(dict(zip(names, keys)) | found)
    return pd.DataFrame(rows)


def _resample(count: int) -> np.ndarray:
    """[RESAMPLES, count] places of prompts drawn with replacement."""
    return torch.randint(count, (RESAMPLES, count), generator=stream("evaluation", 0, count)).numpy()


def emergence(frame: pd.DataFrame, column: str = "gained") -> pd.DataFrame:
    """When each token reached half of its final gain, and by how much the second was earlier: one row per kind of
    labels.

    Dates are steps, as `evaluation.emergence` reads them off mean gain / final gain (the median of the last three
    revisions).  octaves = log2(first / second): 1 means that the first token took twice as many steps.  low, high:
    95 % over prompts, drawn again together for all revisions.  nan where a final gain is not above 0.1 bits, or a date
    is never reached.

    Half of a final gain flatters a token that stays on a plateau, such as the label-blind one; whole_first and
    whole_second are dates at half of what there is to gain by the source, the last revision's surprisal without it.
    """
    groups = frame.groupby("labels")
    return pd.DataFrame([dict(labels=labels, quantity=column) | _dates(group, column) for labels, group in groups])


def _dates(group: pd.DataFrame, column: str) -> dict:
    tables = {k: each.pivot_table(index="step", columns="prompt", values=column) for k, each in group.groupby("k")}
    steps, gains = tables[1].index.to_numpy(float), {k: table.to_numpy() for k, table in tables.items()}
    there = group[group.step == steps[-1]].groupby("k")["surprisal"].mean()
    date = lambda k, prompts=slice(None), whole=None: _date(steps, gains[k][:, prompts].mean(1), whole)
    first, second = date(1), date(2)
    octaves, low, high = float(np.log2(first / second)) if second else math.nan, math.nan, math.nan
    if math.isfinite(octaves):
        picks = _resample(gains[1].shape[1])[:DATED]
        again = np.log2([date(1, pick) / date(2, pick) for pick in picks])
        low, high = np.quantile(again, [0.025, 0.975])  # nan if one of them has no date
    return dict(
        first=first,
        second=second,
        octaves=octaves,
        low=low,
        high=high,
        whole_first=date(1, whole=there[1]),
        whole_second=date(2, whole=there[2]),
        surprisal_first=there[1],
        surprisal_second=there[2],
        final_first=np.median(gains[1].mean(1)[-3:]),
        final_second=np.median(gains[2].mean(1)[-3:]),
        last_step=steps[-1],
    )


def _date(steps: np.ndarray, gain: np.ndarray, whole: float | None = None) -> float:
    """Step from which the gain stays above half of `whole`, or of its final value."""
    final = np.median(gain[-3:]) if whole is None else whole
    if not final > 0.1:
        return math.nan
    return evaluation.emergence(pd.DataFrame(dict(examples=steps, score=gain / final)), "score", 0.5).date
