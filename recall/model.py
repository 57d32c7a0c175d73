"""The transformer: GPT-2 with a continuous read-in and read-out.

Names follow GPT-2 (wpe, h, ln_1, attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj, ln_f); `read_in` and `read_out`
stand where GPT-2 has its vocabulary.  Every named `hook_…` module returns its input, so that a forward hook there
can record or replace an activation: see `hooks` and `run_with_cache`.

B traces, T rows, C columns of a token, D = n_embd, H = n_head, d = D / H.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall.config import check, counted, later, require

ACTIVATIONS = {
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),  # GPT-2's, the study's
    "relu": F.relu,
    "silu": F.silu,
}

# name: (n_embd, n_layer, n_head); the study's five and ours for a CPU
SIZES = {
    "tiny": (72, 3, 6),
    "small": (96, 6, 6),
    "medium": (128, 12, 8),
    "big": (192, 24, 12),
    "huge": (288, 24, 18),
    "cpu": (64, 3, 4),
}


SINUSOID = 0.3  # amplitude: a token of squared norm 2 and 13 to 25 columns is read into entries of rms 0.16 to 0.23


@dataclass(frozen=True)
class GPTConfig:
    """Shape of a model and its initialisation.

        config = recall.GPTConfig.size("cpu", n_in=task.columns, n_out=task.dimension, n_positions=200)
        model = recall.GPT(config)

    n_in: C, columns read.  n_out: n, the observation predicted.  n_positions: longest sequence of rows.

    initialisation: `gpt2` draws every matrix from N(0, 0.02^2), residual projections divided by sqrt(2 n_layer);
    `fan_in` draws it from N(0, 1/(3 fan_in)), the variance of PyTorch's default.  The position table has std 0.02 in
    both.  zero_init: start the output projections of attention and MLP at zero, so that every block begins as the
    identity.  positions: `learned`, a table as in GPT-2, `sinusoidal`, such a table that begins as the sinusoids of
    Vaswani et al. (2017), or `none` (the study has such variants too).
    Raises ValueError, in one line, for a value out of its range.
    """

    n_in: int
    n_out: int
    n_positions: int
    n_layer: int = 3
    n_head: int = 4
    n_embd: int = 64
    activation: str = "gelu_new"
    initialisation: str = "gpt2"
    zero_init: bool = False
    # since runs were committed: a new field goes here and is declared as recall.config says
    positions: str = later("learned")

    def __post_init__(self):
        require(
            self,
            n_in=counted(self.n_in, most=10**5),
            n_out=counted(self.n_out, most=10**5),
            n_positions=counted(self.n_positions, most=10**6),
            n_layer=counted(self.n_layer, most=1000),
            n_head=counted(self.n_head, most=10**5),
            n_embd=counted(self.n_embd, most=10**5),
            activation=(self.activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
            initialisation=(self.initialisation in ("gpt2", "fan_in"), "gpt2 or fan_in"),
            positions=(self.positions in ("learned", "sinusoidal", "none"), "learned, sinusoidal or none"),
        )
        check("n_embd", self.n_embd % self.n_head == 0, f"a multiple of n_head ({self.n_head})", self.n_embd)

    @classmethod
    def size(cls, name: str, n_in: int, n_out: int, n_positions: int, **changes) -> GPTConfig:
        """One of SIZES."""
        check("size", name in SIZES, f"one of {', '.join(SIZES)}", name)
        n_embd, n_layer, n_head = SIZES[name]
        return cls(n_in, n_out, n_positions, n_layer, n_head, n_embd, **changes)


def sinusoids(rows: int, columns: int) -> Tensor:
    """[rows, columns] sin and cos of row / 10000^(2i / columns), as large as the embedding of a token at `fan_in`."""
    rates = 10000.0 ** -(torch.arange(0, columns, 2) / columns)
    angles = torch.arange(rows)[:, None] * rates
    return SINUSOID * torch.cat([angles.sin(), angles.cos()], 1)[:, :columns]


class Attention(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.hook_q, self.hook_k, self.hook_v = nn.Identity(), nn.Identity(), nn.Identity()  # [B, H, T, d]
        self.hook_pattern, self.hook_z = nn.Identity(), nn.Identity()  # [B, H, T, T], [B, H, T, d]
        self.explicit = False  # the pattern exists only when it is asked for

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        # copied: the fused attention is slower on strided heads when another process shares the cache
        q, k, v = (
            part.view(B, T, self.n_head, D // self.n_head).transpose(1, 2).contiguous()
            for part in self.c_attn(x).split(D, dim=2)
        )
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)
        if self.explicit:
            scores = q @ k.mT / q.shape[-1] ** 0.5
            future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            z = self.hook_pattern(scores.masked_fill(future, float("-inf")).softmax(-1)) @ v
        else:
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(self.hook_z(z).transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.activation = ACTIVATIONS[config.activation]
        self.hook_post = nn.Identity()  # [B, T, 4D]

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.hook_post(self.activation(self.c_fc(x))))


class Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(config.n_embd), nn.LayerNorm(config.n_embd)
        self.attn, self.mlp = Attention(config), MLP(config)
        self.hook_resid_pre, self.hook_attn_out, self.hook_mlp_out = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D] -> [B, T, D]
        x = self.hook_resid_pre(x)
        x = x + self.hook_attn_out(self.attn(self.ln_1(x)))
        return x + self.hook_mlp_out(self.mlp(self.ln_2(x)))


class GPT(nn.Module):
    """tokens [B, T, C] -> predictions [B, T, n]: row t predicts the observation of row t + 1.

        model = recall.GPT(config, torch.Generator().manual_seed(0))
        predictions = model.predict(batch.inputs)  # without gradients

    ValueError for tokens of another width, or of more rows than n_positions.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.read_in = nn.Linear(config.n_in, config.n_embd)
        if config.positions != "none":
            self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.read_out = nn.Linear(config.n_embd, config.n_out)
        self.hook_embed, self.hook_pos_embed, self.hook_final = nn.Identity(), nn.Identity(), nn.Identity()
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator):
        """As the configuration says; biases 0, layer norms 1 and 0."""
        for name, parameter in self.named_parameters():
            if "ln_" in name:
                continue
            if name == "wpe.weight" and self.config.positions == "sinusoidal":
                parameter.copy_(sinusoids(*parameter.shape))
                continue
            projection = name.endswith("c_proj.weight")
            if name.endswith("bias") or (projection and self.config.zero_init):
                parameter.zero_()
            elif self.config.initialisation == "fan_in" and name != "wpe.weight":
                parameter.normal_(0, (3 * parameter.shape[1]) ** -0.5, generator=generator)
            else:
                std = 0.02 / (2 * self.config.n_layer) ** 0.5 if projection else 0.02
                parameter.normal_(0, std, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        if tokens.shape[2] != self.config.n_in:
            raise ValueError(f"tokens must have {self.config.n_in} columns, not {tokens.shape[2]}")
        if T > self.config.n_positions:
            raise ValueError(f"tokens must have at most {self.config.n_positions} rows, not {T}")
        x = self.hook_embed(self.read_in(tokens))
        if self.config.positions != "none":
            x = x + self.hook_pos_embed(self.wpe(torch.arange(T, device=tokens.device)))
        for block in self.h:
            x = block(x)
        return self.read_out(self.ln_f(self.hook_final(x)))

    @torch.no_grad()
    def predict(self, tokens: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, n] without gradients, in pieces that bound the memory of large prompt sets."""
        return torch.cat([self(piece) for piece in tokens.split(256)])

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


@contextmanager
def hooks(model: GPT, edits: dict[str, Callable[[Tensor], Tensor | None]]):
    """While open, each named hook point passes its activation to its function; what is returned (if not None)
    replaces it.

    Names are module paths such as `h.0.attn.hook_z`; KeyError for an unknown one.
    """
    points = {name: module for name, module in model.named_modules() if name.split(".")[-1].startswith("hook_")}
    unknown = sorted(set(edits) - set(points))
    if unknown:
        raise KeyError(f"no hook point {unknown[0]!r}; there are {', '.join(points)}")
    patterned = [block.attn for i, block in enumerate(model.h) if f"h.{i}.attn.hook_pattern" in edits]
    handles = [
        points[name].register_forward_hook(lambda module, args, output, edit=edit: edit(output))
        for name, edit in edits.items()
    ]
    for attention in patterned:
        attention.explicit = True
    try:
        yield
    finally:
        for attention in patterned:
            attention.explicit = False
        for handle in handles:
            handle.remove()


@torch.no_grad()
def run_with_cache(model: GPT, tokens: Tensor, names: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Predictions [B, T, n] and the activations at the named hook points."""
    cache: dict[str, Tensor] = {}
    with hooks(model, {name: lambda x, name=name: cache.__setitem__(name, x) for name in names}):
        return model(tokens), cache
