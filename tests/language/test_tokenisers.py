"""Tokenisers and models of the library `transformers`, which takes seconds to import."""

import math

import pytest
import torch

from recall.language import pretrain, prompts, scoring

pytestmark = pytest.mark.standard


@pytest.fixture(autouse=True, scope="module")
def transformers():
    return pytest.importorskip("transformers")


def byte_pairs(texts, size=300, specials=("<end>",)):
    """A byte-level BPE tokeniser without a padding token, trained on `texts`: spaces merge into the words behind
    them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(specials),
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


def test_spaces_merge_into_the_target():
    tokenizer = byte_pairs(["cat = gap dog = gas gale"] * 5)
    ids, start = scoring.align(tokenizer, "K: cat =", "gato")
    assert tokenizer.decode(ids[:start]) == "K: cat =" and [tokenizer.decode([i]) for i in ids[start:]] == [
        " ga",
        "t",
        "o",
    ]
    one = byte_pairs(["K: cat = gato"] * 50, size=400)
    assert len(one.encode(" gato")) == 1
    with pytest.raises(scoring.Unaligned, match="target must be two tokens or more: 'gato' is one for this tokeniser"):
        scoring.align(one, "K: cat =", "gato")


def test_a_beginning_token_is_put_in_front():
    tokenizer = byte_pairs(["a b c"], specials=("<end>", "<s>"))
    tokenizer.bos_token = "<s>"
    bare = scoring.encode(tokenizer, "a b")
    assert bare[0] != tokenizer.bos_token_id  # this tokeniser adds none
    from tokenizers.processors import TemplateProcessing

    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <end>", special_tokens=[("<s>", 1), ("<end>", 0)]
    )
    assert scoring.encode(tokenizer, "a b") == [tokenizer.bos_token_id, *bare]  # and no end


def test_our_tokeniser_reads_what_the_corpus_writes():
    for name in pretrain.RECIPES:
        words, config = pretrain.recipe(name, 1)
        tokenizer = pretrain.tokeniser(words, config.split)
        corpus = pretrain.Corpus(words, tokenizer, config, 1)
        ids = corpus.batch(5, 8)
        assert torch.equal(ids, corpus.batch(5, 8)) and not torch.equal(ids, corpus.batch(6, 8))
        for row in ids.tolist():
            text = "".join(
                piece if piece in ("\n", ":") or piece.startswith("##") else " " + piece
                for piece in tokenizer.convert_ids_to_tokens(row)
            ).replace("##", "")
            assert tokenizer.encode(text) == row and tokenizer.unk_token_id not in row
        assert not len(scoring.target_tokens(tokenizer, words)[1])


def test_documents_are_what_they_say():
    """Every line of a document agrees with the lexicon, twins stand under names alone, and both tokens are met
    equally often.
    """
    words, config = pretrain.recipe("invented", 2)
    tokenizer = pretrain.tokeniser(words, config.split)
    ids = pretrain.Corpus(words, tokenizer, config, 2).batch(0, 64)
    meaning = {source: dict(zip(words.tasks, row)) for source, row in zip(words.sources, words.targets)}
    twins, examples = {s for s, k in zip(words.sources, words.kinds) if k == "twin"}, 0
    for row in ids.tolist():
        bound = {}
        pieces = " ".join(tokenizer.convert_ids_to_tokens(row)).split(" \n")[:-1]
        for line in map(str.split, pieces):
            if ":" not in line:
                assert len(line) == 5
                continue
            source, label, _, first, second = line
            target, examples = first + second.removeprefix("##"), examples + 1
            if source == prompts.HIDDEN:
                continue
            named = label in words.tasks
            fits = {label} if named else {t for t in words.tasks if meaning[source][t] == target}
            bound[label] = bound.get(label, fits) & fits
            assert len(bound[label]) == 1 and meaning[source][next(iter(bound[label]))] == target
            assert named or source not in twins
    assert examples > 64 * 10


@pytest.mark.parametrize("kind", ["Olmo2", "GPTNeoX", "GPT2"])
def test_padding_changes_nothing(transformers, kind):
    """Sequences together equal each alone, with no padding token, for rotary and for learned positions."""
    torch.manual_seed(0)
    shape = dict(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=None,
        bos_token_id=0,
        eos_token_id=0,
    )
    shape |= {} if kind == "GPT2" else dict(intermediate_size=32)
    model = getattr(transformers, f"{kind}ForCausalLM" if kind != "GPT2" else "GPT2LMHeadModel")(
        getattr(transformers, f"{kind}Config")(**shape)
    ).eval()
    sequences = [torch.randint(20, (n,)).tolist() for n in (4, 9, 6)]
    together = scoring.token_bits(model, sequences, [2, 6, 3])
    with torch.no_grad():
        for ids, start, found in zip(sequences, (2, 6, 3), together):
            alone = model(torch.tensor([ids])).logits[0].log_softmax(-1) / math.log(2)
            assert [t["bits"] for t in found] == pytest.approx(
                [alone[i - 1, ids[i]].item() for i in range(start, len(ids))], abs=1e-4
            )
