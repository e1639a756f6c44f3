"""The trainers, one class per algorithm, on top of TRL. Imported by the trainer process only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from loop.errors import TrainingError
from loop.training.hyper import Hyper


class Passes(torch.utils.data.Sampler[int]):
    """Endless seeded passes over the prompts, cut to what a run needs: one epoch, so that a resumed run skips exactly.

    Yields groups of `group` prompts, each prompt `samples` times in a row, each group `repeats` times.
    """

    def __init__(self, size: int, group: int, samples: int, repeats: int, groups: int, seed: int) -> None:
        self.size, self.group, self.samples = size, group, samples
        self.repeats, self.groups, self.seed = repeats, groups, seed

    def __len__(self) -> int:
        return self.groups * self.repeats * self.group * self.samples

    def __iter__(self) -> Iterator[int]:
        order = self._order()
        for _ in range(self.groups):
            chosen = list(itertools.islice(order, self.group))
            for _ in range(self.repeats):
                yield from (index for index in chosen for _ in range(self.samples))

    def _order(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        while True:
            yield from torch.randperm(self.size, generator=generator).tolist()


class Lean:
    """What every trainer here changes in TRL's: no model cards in checkpoints, and prompts in seeded passes."""

    args: Any
    num_generations: int
    num_iterations: int
    train_dataset: Any

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints carry no README."""

    def _get_train_sampler(self, dataset: Any = None) -> Passes:
        args = self.args
        repeats = self.num_iterations * args.steps_per_generation
        return Passes(
            size=len(self.train_dataset if dataset is None else dataset),
            group=args.generation_batch_size // self.num_generations,
            samples=self.num_generations,
            repeats=repeats,
            groups=math.ceil(args.max_steps * args.gradient_accumulation_steps / repeats),
            seed=args.seed,
        )


class PolicyTrainer(Lean, GRPOTrainer):
    """GRPO as TRL has it, and GSPO by its settings."""


class ShapedTrainer(PolicyTrainer):
    """Replaces GRPO's group-normalised advantages by `shape(rewards)`; unknown rewards are NaN and weigh nothing."""

    hyper: Hyper

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._raw = rewards[:, 0]
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        shaped = self.shape(self._raw.view(-1, self.num_generations)).view(-1)
        shaped = torch.nan_to_num(shaped, nan=0.0)
        start = self.accelerator.process_index * len(inputs)
        output["advantages"] = shaped[start : start + len(inputs)]
        return output

    def shape(self, rewards: torch.Tensor) -> torch.Tensor:
        """Advantages of (prompts, samples) rewards, of the same shape."""
        raise NotImplementedError


class RejectionTrainer(ShapedTrainer):
    """Supervised steps on verified wins: advantage = reward for at most `max_wins` wins of a prompt, else 0."""

    def shape(self, rewards: torch.Tensor) -> torch.Tensor:
        """Wins are rewards above zero."""
        wins = torch.nan_to_num(rewards, nan=0.0) > 0
        kept = wins & (wins.cumsum(dim=1) <= self.hyper.max_wins)
        return torch.where(kept, rewards, torch.zeros_like(rewards))


class EntropicTrainer(ShapedTrainer):
    """Entropic advantages: softmax weights e at KL ln 2 from uniform, A_i = e_i / mean of the other e - 1."""

    def shape(self, rewards: torch.Tensor) -> torch.Tensor:
        """Groups without variance teach nothing."""
        return torch.stack([entropic_advantages(group) for group in rewards])


def entropic_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """Advantages of one group of rewards (n,); NaN rewards stay NaN, a group without variance gives zeros."""
    known = ~torch.isnan(rewards)
    values = rewards[known].double()
    if values.numel() < 2 or bool((values == values[0]).all()):
        return torch.where(known, torch.zeros_like(rewards), rewards)
    weights = torch.exp(entropic_beta(values) * (values - values.max()))
    others = (weights.sum() - weights) / (weights.numel() - 1)
    result = rewards.clone()
    result[known] = (weights / others - 1).to(rewards.dtype)
    return result


def entropic_beta(values: torch.Tensor) -> float:
    """The inverse temperature at which KL(softmax(beta * values) || uniform) is ln 2, or the most that ties allow."""
    spread = float(values.max() - values.min())
    ties = int((values == values.max()).sum())
    target = min(math.log(2.0), 0.99 * math.log(values.numel() / ties))
    low, high = 0.0, 60.0 * values.numel() / spread
    for _ in range(80):
        middle = (low + high) / 2
        log_weights = torch.log_softmax(middle * values, dim=0)
        divergence = float((log_weights.exp() * log_weights).sum()) + math.log(values.numel())
        low, high = (middle, high) if divergence < target else (low, middle)
    return (low + high) / 2


class PPOTrainer(ShapedTrainer):
    """PPO with a linear value head on frozen features of the policy, and generalised advantage estimation (gamma 1).

    The reward arrives at the last token of a completion. The head has an optimizer of its own, is fitted to the
    returns of each batch before the policy moves, and is not part of the adapter.
    """

    head: torch.nn.Linear | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"].float()
        features = self._features(output)
        if self.head is None:
            self.head = torch.nn.Linear(features.size(-1), 1).to(features.device)
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)
            self._head_optimizer = torch.optim.Adam(self.head.parameters(), lr=self.hyper.value_lr)
        with torch.no_grad():
            values = self.head(features).squeeze(-1)
        advantages = gae(output["advantages"], values, mask, self.hyper.gae_lambda)
        known = mask * self._known[:, None]
        self._fit(features, advantages + values, known)
        scale = advantages[known.bool()].std().clamp(min=1e-4) if known.sum() > 1 else 1.0
        mean = (advantages * known).sum() / known.sum().clamp(min=1.0)
        output["advantages"] = (advantages - mean) / scale * known
        return output

    def shape(self, rewards: torch.Tensor) -> torch.Tensor:
        """The rewards themselves; which of them are known is kept aside."""
        self._known = (~torch.isnan(rewards)).float().view(-1)
        return rewards

    def _features(self, output: dict[str, Any]) -> torch.Tensor:
        """Last hidden states (B, T, width) at the positions that chose each completion token."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with torch.no_grad():
            backbone = self.accelerator.unwrap_model(self.model).get_base_model().base_model
            hidden = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        length = output["completion_ids"].size(1)
        return hidden[:, -length - 1 : -1].float()

    def _fit(
        self, features: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, rounds: int = 8
    ) -> None:
        if self.head is None:
            raise TrainingError("The value head was used before it was made.")
        with torch.enable_grad():
            for _ in range(rounds):
                error = (self.head(features).squeeze(-1) - returns) ** 2
                loss = (error * mask).sum() / mask.sum().clamp(min=1.0)
                self._head_optimizer.zero_grad()
                loss.backward()
                self._head_optimizer.step()


def gae(rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, lam: float) -> torch.Tensor:
    """Generalised advantages (B, T) at gamma 1 for rewards (B,) paid at each row's last unmasked token."""
    last = (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)) & mask.bool()
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(rewards)
    for step in reversed(range(values.size(1))):
        ahead = (
            values[:, step + 1] * mask[:, step + 1]
            if step + 1 < values.size(1)
            else torch.zeros_like(rewards)
        )
        delta = rewards * last[:, step] + ahead - values[:, step]
        following = (delta + lam * following) * mask[:, step]
        advantages[:, step] = following
    return advantages


class LeaveOneOutTrainer(Lean, RLOOTrainer):
    """RLOO as TRL has it."""


TRAINERS: dict[str, type[GRPOTrainer] | type[RLOOTrainer]] = {
    "grpo": PolicyTrainer,
    "gspo": PolicyTrainer,
    "rejection": RejectionTrainer,
    "entropic": EntropicTrainer,
    "ppo": PPOTrainer,
    "rloo": LeaveOneOutTrainer,
}


def arguments(algorithm: str, hyper: Hyper, seed: int, folder: str) -> GRPOConfig | RLOOConfig:
    """The TRL configuration of one attempt: one optimizer step per batch of samples, `updates` steps per batch."""
    batch = hyper.prompts_per_step * hyper.generations
    micro = hyper.micro_batch or batch
    if batch % micro:
        raise TrainingError(f"micro_batch {micro} must divide the {batch} completions of a step.")
    cuda = torch.cuda.is_available()
    common: dict[str, Any] = {
        "output_dir": folder, "max_steps": hyper.steps, "learning_rate": hyper.lr, "beta": hyper.beta,
        "lr_scheduler_type": hyper.schedule,
        "weight_decay": hyper.weight_decay, "max_grad_norm": hyper.max_grad_norm, "seed": seed, "data_seed": seed,
        "per_device_train_batch_size": micro, "gradient_accumulation_steps": batch // micro,
        "num_generations": hyper.generations, "max_completion_length": hyper.max_completion,
        "temperature": hyper.temperature, "num_iterations": hyper.updates, "epsilon": hyper.epsilon,
        "epsilon_high": hyper.epsilon_high, "use_cpu": not cuda, "bf16": cuda, "gradient_checkpointing": cuda,
        "logging_steps": 1, "logging_nan_inf_filter": False, "report_to": "none", "disable_tqdm": True,
        "save_strategy": "no" if algorithm == "ppo" else "steps", "save_steps": save_every(hyper),
        "save_total_limit": 2, "dataloader_pin_memory": cuda,
    }  # fmt: skip
    if algorithm == "rloo":
        return RLOOConfig(**common)
    level = "sequence" if algorithm == "gspo" else "token"
    loss = "grpo" if algorithm == "gspo" else hyper.loss
    return GRPOConfig(
        **common, loss_type=loss, scale_rewards=hyper.scale_rewards, importance_sampling_level=level
    )


def save_every(hyper: Hyper) -> int:
    """Steps between checkpoints: a fifth of the run, at a boundary of the batches that samples are reused in."""
    every = max(10, math.ceil(hyper.steps / 5))
    return math.ceil(every / hyper.updates) * hyper.updates
