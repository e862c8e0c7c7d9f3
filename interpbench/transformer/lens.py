"""Conversion of our transformers to TransformerLens and back (extra `lens`).

`Hooked` has the parameters and hook points of a HookedTransformer with `use_split_qkv_input`, `use_attn_result` and
`use_hook_mlp_in` set, in the same shapes; before TransformerLens 4 it is one, for tools that ask for that class.
TransformerLens 4 replaces HookedTransformer by TransformerBridge, which has no hooks on the inputs of single heads;
`to_bridge` makes one. Everything else works with TransformerLens 2 and 3 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
import transformer_lens
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import hook_points
from transformer_lens.hook_points import HookPoint

from interpbench.errors import UsageError
from interpbench.transformer.config import Config
from interpbench.transformer.layers import ACTIVATIONS
from interpbench.transformer.model import Transformer

HookedRootModule: Any = vars(transformer_lens).get("HookedRootModule") or vars(hook_points)["HookedRootModule"]
HookedTransformer: Any = vars(transformer_lens).get("HookedTransformer", HookedRootModule)
"""What other tools accept as a model; from TransformerLens 4 on there is only its base."""

PER_LAYER = {f"{p}_{x}": "attn" for p in "Wb" for x in "QKVO"} | {
    f"{p}_{x}": "mlp" for p in "Wb" for x in ("in", "out")
}
WHOLE = {"W_E": "embed", "W_pos": "pos_embed", "W_U": "unembed", "b_U": "unembed"}
READERS = ("q_input", "k_input", "v_input")
EMBEDDINGS = ("embed", "pos_embed", "unembed")
BUFFERS = (".mask", ".IGNORE")
"""Endings of the names in a HookedTransformer's state that are not weights."""

ROWS, LONGEST = 8, 64
"""Inputs on which a converted model is compared with the original, and their positions at most."""

PLAIN: Mapping[str, Any] = {
    "positional_embedding_type": "standard",
    "gated_mlp": False,
    "parallel_attn_mlp": False,
    "use_local_attn": False,
    "use_qk_norm": False,
    "scale_attn_by_inverse_layer_idx": False,
    "post_embedding_ln": False,
    "use_normalization_before_and_after": False,
    "final_rms": False,
    "num_experts": None,
    "attn_scores_soft_cap": -1.0,
    "output_logits_soft_cap": -1.0,
}
"""Settings of TransformerLens that change what a model computes, and the values that can be converted."""


class Hooked(HookedTransformer):
    """A transformer with the hook points of a HookedTransformer.

    `cfg` is TransformerLens's configuration. There is no tokenizer: inputs are token ids. `forward` raises ValueError
    for a `return_type` other than "logits" or None: there is no next-token loss, because the answer of a case is not
    the next token.
    """

    def __init__(self, model: Transformer) -> None:
        HookedRootModule.__init__(self)  # a HookedTransformer's own would make modules of its own
        self.cfg, self.tokenizer = lens_config(model), None
        weights = {name: nn.Parameter(weight.detach().clone()) for name, weight in model.weights.items()}
        self.embed, self.pos_embed, self.unembed = (Part(weights, f"{name}.") for name in EMBEDDINGS)
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        self.blocks = nn.ModuleList(Block(model.config, weights, i) for i in range(model.config.n_layers))
        self.ln_final = Norm(model.config, weights, "ln_final.")
        self.setup()

    def forward(
        self,
        input: Int[Tensor, "row position"],
        return_type: str | None = "logits",
        attention_mask: Int[Tensor, "row position"] | None = None,
    ) -> Float[Tensor, "row position vocab_out"] | None:
        """Logits for token ids. Raises ValueError for an `attention_mask` that hides a position."""
        if return_type not in ("logits", None):
            raise ValueError(f"return_type is {return_type!r}, expected 'logits' or None")
        if attention_mask is not None and not attention_mask.all():
            raise ValueError("attention_mask hides positions; inputs of a case have no padding that attention skips")
        x = self.hook_embed(self.embed.W_E[input])
        x = x + self.hook_pos_embed(self.pos_embed.W_pos[: input.shape[-1]].expand(x.shape))
        for block in self.blocks:
            x = block(x)
        return None if return_type is None else self.ln_final(x) @ self.unembed.W_U + self.unembed.b_U

    def to_tokens(self, input: Any, *_: Any, **__: Any) -> Int[Tensor, "row position"]:
        """Token ids `[row, position]` as they are, on the model's device, for tools that tokenize what they are given.

        Options of TransformerLens are ignored: `Case.encode` puts BOS first and pads. Raises ValueError for texts.
        """
        if isinstance(input, str) or any(isinstance(row, str) for row in input):
            raise ValueError("a subject has no tokenizer; expected token ids, such as those of Case.encode")
        rows = [torch.as_tensor(row) for row in input]
        return torch.stack(rows).long().to(self.embed.W_E.device)

    def run_with_cache(self, *args: Any, return_cache_object: bool = True, **options: Any) -> tuple[Any, Any]:
        """Logits and an ActivationCache (or a dict) of every hook point; the options are TransformerLens's."""
        out, cache = HookedRootModule.run_with_cache(self, *args, **options)
        if not return_cache_object:
            return out, cache
        return out, transformer_lens.ActivationCache(cache, self, not options.get("remove_batch_dim", False))

    def __getattr__(self, name: str) -> Any:
        """The weights as a HookedTransformer names them: `W_E` etc., and `W_Q` etc. of all layers, `[layer, ...]`."""
        if name in PER_LAYER:
            return torch.stack([getattr(getattr(block, PER_LAYER[name]), name) for block in self.blocks])
        return getattr(getattr(self, WHOLE[name]), name) if name in WHOLE else super().__getattr__(name)


class Part(nn.Module):
    """A module with the given hook points and the weights whose names begin with a prefix."""

    def __init__(self, weights: Mapping[str, nn.Parameter], prefix: str, *hooks: str) -> None:
        super().__init__()
        for name in hooks:
            setattr(self, f"hook_{name}", HookPoint())
        for name, weight in weights.items():
            if name.startswith(prefix):
                self.register_parameter(name.removeprefix(prefix), weight)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Block(Part):
    """One layer: attention, then MLP."""

    def __init__(self, config: Config, weights: Mapping[str, nn.Parameter], layer: int) -> None:
        streams = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
        super().__init__({}, "", *streams, *READERS, "mlp_in")
        prefix = f"blocks.{layer}."
        self.ln1, self.ln2 = (Norm(config, weights, f"{prefix}{name}.") for name in ("ln1", "ln2"))
        self.attn = Attention(config, weights, f"{prefix}attn.")
        self.mlp = Mlp(config, weights, f"{prefix}mlp.")

    def forward(self, x: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        """The residual stream after the layer."""
        x = self.hook_resid_pre(x)
        each = x.unsqueeze(-2).repeat(1, 1, len(self.attn.W_Q), 1)
        inputs = [self.ln1(getattr(self, f"hook_{name}")(each.clone())) for name in READERS]
        x = self.hook_resid_mid(x + self.hook_attn_out(self.attn(*inputs)))
        out = self.mlp(self.ln2(self.hook_mlp_in(x.clone())))
        return self.hook_resid_post(x + self.hook_mlp_out(out))


class Attention(Part):
    """All heads of a layer, with separate inputs."""

    def __init__(self, config: Config, weights: Mapping[str, nn.Parameter], prefix: str) -> None:
        super().__init__(weights, prefix, "q", "k", "v", "attn_scores", "pattern", "z", "result")
        self.scale, self.causal = config.attn_scale, config.attention_dir == "causal"

    def forward(
        self,
        query: Float[Tensor, "row position head d_model"],
        key: Float[Tensor, "row position head d_model"],
        value: Float[Tensor, "row position head d_model"],
    ) -> Float[Tensor, "row position d_model"]:
        """The sum of the heads' outputs and the bias."""
        read = "rphd,hde->rphe"
        q = self.hook_q(torch.einsum(read, query, self.W_Q) + self.b_Q)
        k = self.hook_k(torch.einsum(read, key, self.W_K) + self.b_K)
        v = self.hook_v(torch.einsum(read, value, self.W_V) + self.b_V)
        scores = torch.einsum("rqhe,rkhe->rhqk", q, k) / self.scale
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        pattern = self.hook_pattern(self.hook_attn_scores(scores).softmax(-1))
        z = self.hook_z(torch.einsum("rhqk,rkhe->rqhe", pattern, v))
        return self.hook_result(torch.einsum("rphe,hed->rphd", z, self.W_O)).sum(-2) + self.b_O


class Mlp(Part):
    """The MLP of a layer."""

    def __init__(self, config: Config, weights: Mapping[str, nn.Parameter], prefix: str) -> None:
        super().__init__(weights, prefix, "pre", "post")
        self.act_fn = ACTIVATIONS[config.act_fn]

    def forward(self, x: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        """The MLP's output."""
        return self.hook_post(self.act_fn(self.hook_pre(x @ self.W_in + self.b_in))) @ self.W_out + self.b_out


class Norm(Part):
    """The norm before a reader; without normalization the identity, without hook points."""

    def __init__(self, config: Config, weights: Mapping[str, nn.Parameter], prefix: str) -> None:
        super().__init__(weights, prefix, *(["scale", "normalized"] if config.normalization_type else []))
        self.kind, self.eps = config.normalization_type, config.eps

    def forward(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """The normalised input."""
        if self.kind is None:
            return x
        x = x - x.mean(-1, keepdim=True)
        x = self.hook_normalized(x / self.hook_scale((x.square().mean(-1, keepdim=True) + self.eps).sqrt()))
        return x * self.w + self.b if self.kind == "LN" else x


def lens_config(model: Transformer) -> Any:
    """TransformerLens's configuration of the model: a HookedTransformerConfig, from version 4 on its successor."""
    kind = vars(transformer_lens).get("HookedTransformerConfig") or vars(transformer_lens)["TransformerBridgeConfig"]
    flags = {"use_attn_result": True, "use_split_qkv_input": True, "use_hook_mlp_in": True}
    where = {"device": str(model.device), "dtype": model.weights["embed.W_E"].dtype}
    return kind(**asdict(model.config), **flags, **where, init_weights=False)


def to_bridge(model: Transformer) -> Any:
    """The model as a TransformerBridge. Raises UsageError if TransformerLens is older than version 4."""
    try:
        from transformer_lens.conversion_utils import convert_tl_checkpoint
        from transformer_lens.model_bridge.sources import native
    except ImportError:
        found = version("transformer-lens")
        raise UsageError(
            f"a TransformerBridge needs transformer-lens 4 or later, not {found}; use to_hooked()"
        ) from None
    config = lens_config(model)
    # TransformerLens rejects a scale of exactly 1, so each layer gets its scale afterwards.
    config.attn_scale = -1.0
    bridge = native.boot(config, device=config.device, dtype=config.dtype)
    bridge.cfg.attn_scale = model.config.attn_scale
    for block in bridge.blocks:
        block.attn.original_component.scale = model.config.attn_scale
    bridge.load_state_dict(convert_tl_checkpoint(dict(model.weights), bridge.cfg))
    return bridge


def from_lens(model: Any) -> Transformer:
    """A TransformerBridge, a HookedTransformer or a `Hooked` as a `Transformer`, in float32 on the CPU.

    Raises UsageError that names the setting or weight, for a model that `Transformer` cannot represent, and for one
    whose logits differ from those of its conversion: it computes what its configuration does not say.
    """
    config = getattr(model, "cfg", None)
    if config is None:
        raise UsageError(f"{type(model).__name__} has no `cfg`; expected a model of TransformerLens")
    for name, plain in PLAIN.items():
        if getattr(config, name, plain) != plain:
            raise UsageError(f"the model has {name} = {getattr(config, name)!r}; only {plain!r} can be converted")
    facts = {field.name: getattr(config, field.name) for field in fields(Config)}
    facts["attn_scale"] = max(0.0, float(config.attn_scale)) if config.use_attn_scale else 1.0
    weights = model.tl_parameters() if hasattr(model, "tl_parameters") else model.state_dict()
    kept = {name: weight.detach() for name, weight in weights.items() if not name.endswith(BUFFERS)}
    try:
        converted = Transformer(Config(**facts), {name: w.cpu().float().contiguous() for name, w in kept.items()})
    except ValueError as error:
        raise UsageError(f"the model cannot be converted: {error}") from None
    _check_same(model, converted, max(torch.finfo(w.dtype).eps for w in (*kept.values(), *converted.weights.values())))
    return converted


@torch.no_grad()
def _check_same(model: Any, converted: Transformer, eps: float) -> None:
    """Raise UsageError unless both put out the same on a few inputs, up to the rounding of numbers as fine as `eps`."""
    config, generator = converted.config, torch.Generator().manual_seed(0)
    tokens = torch.randint(config.d_vocab, (ROWS, min(config.n_ctx, LONGEST)), generator=generator)
    theirs, ours = model(tokens.to(model.cfg.device)).cpu().float(), converted(tokens)
    apart, size = (theirs - ours).abs().max().item(), ours.abs().max().item()
    if not apart <= eps**0.5 * size:
        raise UsageError(
            f"the model's outputs differ from those of its conversion by up to {apart:.3g} of {size:.3g}: it computes "
            "what its configuration does not say (a hook, dropout, a setting without effect)"
        )
