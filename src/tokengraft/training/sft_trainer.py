"""TRL's trainer, with learning rates of rows, and without the logits that no loss asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokengraft.events import Listen
from tokengraft.training import sft_model
from tokengraft.training.sft_callbacks import callback
from tokengraft.training.sft_settings import Settings

# A step moves a number of a row by about the learning rate: by default a part of what the numbers
# of its matrix are like, since some families keep them near 0.02 and others near 1.
ROW_STEP = 0.05
IGNORED = -100  # the label of what is not in the loss


def may_spare(arguments: Any, head: Any) -> bool:
    """Whether logits are taken in the loss alone: on a CPU, where the head adds nothing of its own."""
    return bool(arguments.device.type == "cpu" and head.bias is None)


def make_trainer(  # noqa: PLR0913 - what a trainer is made of
    settings: Settings,
    arguments: Any,
    model: Any,
    sizes: dict[str, float],
    *,
    train_rows: Any,
    held_out: Any,
    listen: Listen,
    curves: Path,
) -> Any:
    """A trainer for a model with its adapter; `sizes` are those of `sft_model.set_rows`."""
    import torch
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTTrainer

    head = model.get_output_embeddings()
    is_sparing = may_spare(arguments, head)
    keep: list[Any] = []  # the positions in the loss, while a forward pass goes on

    class RowTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is not typed
        """See the module."""

        def create_optimizer(self, model: Any = None) -> Any:
            if self.optimizer is None:
                self.optimizer: Any = torch.optim.AdamW(
                    _groups(model or self.model, settings, sizes),
                    lr=settings.wish.learning_rate,
                    betas=(0.9, 0.999),
                    weight_decay=0.0,
                )
            return self.optimizer

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,  # noqa: FBT001, FBT002 - as TRL's
            num_items_in_batch: Any = None,
        ) -> Any:
            """TRL's loss. On a CPU, TRL takes logits at every position, most of them for nothing."""
            if not is_sparing or return_outputs:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            labels_BT = inputs["labels"][:, 1:]
            kept_BT = labels_BT != IGNORED
            keep.append(kept_BT)
            given = {key: value for key, value in inputs.items() if key != "labels"}
            logits_NV = model(**given, use_cache=False).logits
            assert not keep, "the model did not ask its head"
            targets_N = labels_BT[kept_BT]
            loss = torch.nn.functional.cross_entropy(
                logits_NV.float(), targets_N, reduction="sum"
            ) / (len(targets_N) if num_items_in_batch is None else num_items_in_batch)
            self._tell(inputs, logits_NV.detach(), targets_N)
            if num_items_in_batch is None:
                return loss
            return loss * self.accelerator.num_processes  # processes' gradients are averaged

        def _tell(self, inputs: dict[str, Any], logits_NV: Any, targets_N: Any) -> None:
            mode = "train" if self.model.training else "eval"
            told = torch.tensor(
                [
                    float((logits_NV.argmax(-1) == targets_N).sum()),
                    float(len(targets_N)),
                    float(inputs.get("attention_mask", inputs["input_ids"] >= 0).sum()),
                ]
            )
            right, asked, given = self.accelerator.reduce(told).tolist()
            if mode == "train":
                self._total_train_tokens += int(given)
            self._metrics[mode]["mean_token_accuracy"].append(right / max(asked, 1.0))
            self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

    def spare(_: Any, given: tuple[Any, ...]) -> Any:
        if not keep:
            return None
        (hidden_BTD, *rest) = given
        return (hidden_BTD[:, :-1][keep.pop()], *rest)

    if is_sparing:
        head.register_forward_pre_hook(spare)
    tokenizer = AutoTokenizer.from_pretrained(settings.staged, local_files_only=True)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(settings.pad_id)
    trainer = RowTrainer(
        model=model,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        callbacks=[callback(listen, curves)],
    )
    trainer.remove_callback(PrinterCallback)  # stdout is not its place
    return trainer


def _groups(model: Any, settings: Settings, sizes: dict[str, float]) -> list[dict[str, Any]]:
    """Parameters by their learning rates; a wrapper of an engine may stand before a name."""
    groups: dict[float, list[Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = settings.wish.learning_rate
        if sft_model.ROWS in name:
            size = next(size for key, size in sizes.items() if name.endswith(key))
            rate = settings.wish.row_learning_rate or ROW_STEP * size
        groups.setdefault(rate, []).append(parameter)
    return [{"params": found, "lr": rate} for rate, found in groups.items()]
