"""A language model of our own: OLMo-2's architecture, small, on lines of labelled examples among filler text.

Documents, each line's words drawn afresh:

    old miller watched the river          filler
    gub Belic: bako                       under the tasks' own names: what a word is in a task can be learnt here
    zul Belic: gapi
    lom Corish: reta
    --- or, in the other documents
    gub K: bako                           under labels drawn anew for the document: which task is K must be
    zim R: dise                           read off from K's earlier lines
    tol R: kipa
    ? K: reta                             now and then the source is hidden

Every example shows one first and one second token, so that both are met equally often.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from recall import data, runs
from recall.ambient import plain_torch
from recall.config import check, require
from recall.language.lexicon import KINDS, SPLITS, Lexicon, LexiconConfig, invented, read
from recall.language.prompts import HIDDEN, LABELS
from recall.language.revisions import quiet
from recall.task import stream
from recall.training import checkpoint_steps

RECIPES = ("invented", "words")
FILLER = (  # a line takes one word of each
    "old young tall quiet",
    "miller sailor baker child",
    "watched found left knew",
    "the a",
    "river bridge garden letter",
)
END, UNKNOWN = "<end>", "[UNK]"


@dataclass(frozen=True)
class PretrainConfig:
    """tasks: most in a document, whose number is uniform from 1 as in the compact traces of `task`; with 2, "the
    same label as before, or the other" would do for looking up, and did (an unseen label was answered like the
    other's).  turn: chance that a line draws the task anew.  named: share of documents under the tasks' names.
    hidden: share of examples without their source.  filler: share of lines that are filler.  context: share of the
    documents under labels whose pairs are made up for that document, of so many sources.  split: into which two
    tokens targets fall (`lexicon.SPLITS`).

    Model: width, layers, heads.  tokens: of a document.  batch_size: documents.  muon_rate: of the hidden matrices
    (0: AdamW on everything).  learning_rate: AdamW's."""

    tasks: int = 3
    turn: float = 0.75
    named: float = 0.15
    hidden: float = 0.05
    filler: float = 0.05
    context: float = 0.0
    sources: int = 2
    split: str = "halves"
    width: int = 64
    layers: int = 4
    heads: int = 4
    tokens: int = 98
    batch_size: int = 32
    steps: int = 4000
    learning_rate: float = 3e-3
    muon_rate: float = 0.02
    momentum: float = 0.7
    warmup: int = 50

    def __post_init__(self):
        counts = ("layers", "heads", "batch_size", "steps", "sources")
        require(self, **{name: (getattr(self, name) >= 1, "at least 1") for name in counts})
        shares = ("turn", "named", "hidden", "filler", "context")
        require(self, **{name: (0 <= getattr(self, name) <= 1, "0 to 1") for name in shares})
        pairs = 2 * self.heads  # rotary positions turn pairs of a head's entries
        require(
            self,
            split=(self.split in SPLITS, f"one of {', '.join(SPLITS)}"),
            width=(self.width >= pairs and self.width % pairs == 0, "a multiple of twice heads"),
            tokens=(16 <= self.tokens <= 1024, "16 to 1024"),
            tasks=(2 <= self.tasks < len(LABELS), f"2 to {len(LABELS) - 1}"),
        )


def recipe(name: str, seed: int, steps: int | None = None) -> tuple[Lexicon, PretrainConfig]:
    """Lexicon and configuration of a named condition: `invented`, or `words`, real ones (data/reference/words.csv),
    a third of whose sources are met in training with made-up targets only.
    """
    check("train", name in RECIPES, f"one of {', '.join(RECIPES)}", name)
    if name == "invented":
        return invented(LexiconConfig(), seed), PretrainConfig(steps=4000 if steps is None else steps)
    words = read(data.path("reference", "words.csv"))
    config = PretrainConfig(context=0.4, split="initial", steps=2000 if steps is None else steps)
    tokenizer = tokeniser(words, config.split)

    def parted(word: str) -> bool:  # not where a longer piece fits first
        first, second = SPLITS[config.split](word)
        return tokenizer.tokenize(word) == [first, "##" + second]

    whole = lambda source: len(tokenizer.tokenize(source)) == 1
    pairs = zip(words.sources, words.targets)
    clear = [(source, row) for source, row in pairs if whole(source) and all(map(parted, row))]
    order = torch.randperm(len(clear), generator=stream("library", seed)).tolist()
    kinds = tuple("context" if place % 3 == 0 else "known" for place in order)
    return Lexicon(words.tasks, *map(tuple, zip(*clear)), kinds), config


def tokeniser(lexicon: Lexicon, split: str = "halves"):
    """A word-piece tokeniser that knows sources, names and labels as one token and targets as the two of a SPLIT."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    parts = [SPLITS[split](word) for row in lexicon.targets for word in row]
    pieces = [END, UNKNOWN, "\n", ":", HIDDEN, *LABELS, *lexicon.tasks, *lexicon.sources, *" ".join(FILLER).split()]
    pieces += sorted({first for first, _ in parts}) + sorted({"##" + second for _, second in parts})
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    inner.normalizer = normalizers.NFC()
    breaks = ((Regex(r"\n"), "isolated"), (" ", "removed"), (":", "isolated"))
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(*each) for each in breaks])
    inner.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token=UNKNOWN, eos_token=END)


class Corpus:
    """Batches of documents as token ids; batch k is a function of (seed, k)."""

    def __init__(self, lexicon: Lexicon, tokenizer, config: PretrainConfig, seed: int):
        self.config, self.seed = config, seed
        one = lambda words: torch.tensor([_single(tokenizer, word) for word in words])
        self.labels, self.names, self.sources = one(LABELS), one(lexicon.tasks), one(lexicon.sources)
        self.mark = {mark: _single(tokenizer, mark) for mark in (":", HIDDEN, "\n")}
        pair = lambda word: tokenizer.encode(word, add_special_tokens=False)
        self.targets = torch.tensor([list(map(pair, row)) for row in lexicon.targets])  # [S, M, 2]
        self.filler = [one(words.split()) for words in FILLER]
        of = lambda kind: torch.tensor([i for i, each in enumerate(lexicon.kinds) if each == kind], dtype=torch.long)
        self.known, self.twin, self.context = map(of, KINDS)
        some = not config.context or len(self.context) > 0
        check("context", some, "0 where the lexicon has no pairs of kind context", config.context)

    def batch(self, step: int, size: int) -> Tensor:
        """[size, tokens + 1] ids."""
        c, g = self.config, stream("train", self.seed, step)
        rows = math.ceil((c.tokens + 1) / 6)  # of a line
        draw = lambda *shape: torch.rand(*shape, generator=g)
        integer = lambda n, *shape: torch.randint(n, shape, generator=g)
        named = draw(size, 1) < c.named
        tasks = draw(size, len(self.names)).argsort(1)[:, : c.tasks]
        labels = draw(size, len(self.labels)).argsort(1)[:, : c.tasks]
        count = 1 + integer(c.tasks, size, 1)  # of tasks in a document
        turn = draw(size, rows) < c.turn  # a line on which a task is drawn; it lasts until the next such line
        turn[:, 0] = True
        slot = (draw(size, rows) * count).long().gather(1, torch.where(turn, torch.arange(rows), 0).cummax(1).values)
        task = tasks.gather(1, slot)
        label = torch.where(named, self.names[task], self.labels[labels.gather(1, slot)])
        taught = torch.cat([self.known, self.twin])
        any_taught, any_known = (kind[integer(len(kind), size, rows)] for kind in (taught, self.known))
        source = torch.where(named, any_taught, any_known)
        target = self.targets[source, task]
        if c.context:
            made_up = (draw(size, 1) < c.context) & ~named
            few = draw(size, len(self.context)).argsort(1)[:, : c.sources]
            which = integer(few.shape[1], size, rows)
            other = draw(size, len(self.names), len(self.context)).argsort(2)  # whose target each gets, by task
            lent = other.flatten(1).gather(1, task * len(self.context) + few.gather(1, which))
            source = torch.where(made_up, self.context[few.gather(1, which)], source)
            target = torch.where(made_up.unsqueeze(-1), self.targets[self.context[lent], task], target)
        shown = torch.where(draw(size, rows) < c.hidden, self.mark[HIDDEN], self.sources[source])
        mark = lambda name: torch.full_like(label, self.mark[name])
        lines = torch.stack([shown, label, mark(":"), target[..., 0], target[..., 1], mark("\n")], -1)
        filler = torch.stack([words[integer(len(words), size, rows)] for words in self.filler] + [mark("\n")], -1)
        fill = (draw(size, rows) < c.filler).unsqueeze(-1)
        return torch.where(fill, filler, lines).flatten(1)[:, : c.tokens + 1]


def _single(tokenizer, word: str) -> int:
    ids = tokenizer.encode(word, add_special_tokens=False)
    check("lexicon", len(ids) == 1, "of words that our tokeniser can tell apart", word)
    return ids[0]


def build(config: PretrainConfig, vocabulary: int, seed: int):
    """An untrained Olmo2ForCausalLM: the architecture with QK-norm, norms after each part, SwiGLU, rotary positions."""
    from transformers import Olmo2Config, Olmo2ForCausalLM

    shape = Olmo2Config(
        vocab_size=vocabulary,
        hidden_size=config.width,
        intermediate_size=2 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=1024,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):  # the library draws from the global generator
        torch.manual_seed(stream("init", seed).initial_seed())
        return Olmo2ForCausalLM(shape)


def optimisers(model, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """As `training.optimisers`: Muon for the matrices inside the blocks, AdamW for the rest."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2] if config.muon_rate else []
    rest = [p for p in model.parameters() if not any(p is q for q in hidden)]
    chosen = [torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)]
    if hidden:
        chosen.append(torch.optim.Muon(hidden, lr=config.muon_rate, momentum=config.momentum, weight_decay=0.0))
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["base_rate"] = group["lr"]
    return chosen


@plain_torch()
def train(
    lexicon: Lexicon, config: PretrainConfig, out: Path, seed: int, report: Callable[[int, float], None] | None = None
) -> list[str]:
    """Train into `out`/step{n}/, a folder per checkpoint as `save_pretrained` writes it, on one thread; the names,
    in order.

    A finished run is left as it is; a killed one begins anew (it takes minutes).  The loss is that of every token,
    as for any language model.  `out` also gets lexicon.csv and pretrain.json (configuration, seed, seconds, loss).
    Raises ValueError if `out` holds another configuration."""
    out = Path(out)
    facts = dict(config=asdict(config), seed=seed)
    names = [f"step{step}" for step in checkpoint_steps(config.steps)]
    if (out / "pretrain.json").exists():
        there = runs.read_json(out / "pretrain.json")
        same = {name: there.get(name) for name in facts} == facts
        same = same and runs.read_bytes(out / "lexicon.csv") == lexicon.to_csv().encode()
        check("out", same, "a folder of this configuration and seed", str(out))
        return names
    runs.write_atomically(out / "lexicon.csv", lexicon.to_csv().encode())
    quiet()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begun = time.perf_counter()
        model, loss = _trained(lexicon, config, out, seed, report)
        facts |= dict(seconds=round(time.perf_counter() - begun, 1), loss=loss, parameters=model.num_parameters())
    finally:
        torch.set_num_threads(before)
    runs.write_atomically(out / "pretrain.json", runs.canonical(facts).encode())
    return names


def _trained(lexicon: Lexicon, config: PretrainConfig, out: Path, seed: int, report) -> tuple:
    """The model after the last step, its checkpoints being in `out`, and the last batch's loss."""
    tokenizer = tokeniser(lexicon, config.split)
    corpus, model = Corpus(lexicon, tokenizer, config, seed), build(config, len(tokenizer), seed)
    chosen, saved, loss = optimisers(model, config), set(checkpoint_steps(config.steps)), math.nan
    for step in range(config.steps + 1):
        if step in saved:
            try:
                model.save_pretrained(out / f"step{step}")
                tokenizer.save_pretrained(out / f"step{step}")
            except (OSError, SafetensorError) as error:  # a full disk, most likely
                raise ValueError(f"out must be a folder that can be written to: {out}: {error}") from error
        if step == config.steps:
            return model, loss
        ids = corpus.batch(step, config.batch_size)
        value = F.cross_entropy(model(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
        for optimiser in chosen:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = group["base_rate"] * min(1.0, (step + 1) / config.warmup)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
        loss = value.item()
        if report:
            report(step + 1, loss)
