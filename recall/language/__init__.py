"""First task token against second: the study's question asked of causal language models.

A prompt holds examples of several tasks, each under a label, and ends where one of them is taken up again:

    gub K: bako        the first token of the answer, ` mi`, needs the label: which task was K?
    dar R: dise        the second, `su`, can be had by going on: with zim and mi given, one task is left
    zim K:

Each module imports only those before it.  `lexicon`: what is translated into what.  `prompts`: the prompts and their
edits.  `scoring`: log-probabilities, bits gained, emergence.  `revisions`: a model's checkpoints, one at a time, to
tables.  `pretrain`: a small model of our own.  `results`: the tables kept, over seeds.  `charts`: figures.  `command`:
the verb of the command line.  `transformers` is imported where it is used, so that the rest does without it.
"""
