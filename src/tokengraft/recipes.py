"""What a user wants: the recipe and its operations.

The recipe is TOML so that token text is always quoted and never mangled. Every section is an
operation; a finding's fix is one of the same operations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tokengraft.documents import Document, Value

Use = Literal["role", "tool", "thinking", "marker", "word"]
ContextMethod = Literal["linear", "dynamic", "yarn", "llama3", "longrope"]
Log = Literal["jsonl", "trackio", "tensorboard", "wandb"]
Factor = Annotated[float, Field(gt=0, lt=1e6)]  # what a rotary frequency is divided by


class Add(Value):
    """Add one token."""

    text: str = Field(min_length=1)
    use: Use = "marker"
    meaning: str | None = None
    like: str | None = None
    sequence: str | None = Field(default=None, min_length=1)
    init: str = "auto"
    special: bool | None = None
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    into: Literal["next"] | int = "next"

    @property
    def is_special(self) -> bool:
        """Structural markers and roles are special; what carries content is not, as Qwen does."""
        return self.use in ("role", "marker") if self.special is None else self.special


class Rename(Value):
    """Give an id another text; its rows stay."""

    from_: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)


class Remove(Value):
    """Take one token out; the ids above it move down."""

    text: str | None = Field(default=None, min_length=1)
    id: int | None = Field(default=None, ge=0)
    renumber: bool = False
    shrink: bool = False

    @model_validator(mode="after")
    def _names_one_token(self) -> Self:
        if (self.text is None) == (self.id is None):
            raise ValueError("either text or id names the token")
        return self


class Trim(Value):
    """Take out what a corpus never uses; the ids above each token move down."""

    corpus: str | None = None
    min_count: int = Field(default=1, gt=0)
    unused_added: bool = False
    renumber: bool = False
    shrink: bool = True

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.corpus is None and not self.unused_added:
            raise ValueError("give a corpus, or unused_added = true, or both")
        return self


class Protocol(Value):
    """Replace the turn markers everywhere at once."""

    turn_start: str = Field(min_length=1)
    turn_end: str = Field(min_length=1)
    mode: Literal["rename", "add"] = "rename"


class RoleToken(Value):
    """The token that opens a role's turns, and who writes it."""

    token: str = Field(min_length=1)
    side: Literal["input", "output"] = "input"


class Tools(Value):
    """The markers of tool calls and, if given, of their results."""

    open: str = Field(min_length=1)
    close: str = Field(min_length=1)
    result_open: str | None = None
    result_close: str | None = None


class Thinking(Value):
    """Modules of thought, each a span of its own."""

    modules: tuple[str, ...] = Field(min_length=1)
    field: str = "thoughts"


class Pad(Value):
    """Have a pad token that is not eos."""

    token: str = Field(default="auto", min_length=1)


class Stop(Value):
    """Keep the list of stop ids complete, or leave it alone."""

    tokens: Literal["auto", "keep"] = "auto"


class Context(Value):
    """Read longer texts than the model was trained on."""

    length: int = Field(gt=0)
    method: ContextMethod = "yarn"
    original: int | None = Field(default=None, gt=0)
    short_factor: tuple[Factor, ...] | None = Field(default=None, min_length=1)
    long_factor: tuple[Factor, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _lists_belong_to_longrope(self) -> Self:
        lists = (self.short_factor, self.long_factor)
        if any(lists) and not all(lists):
            raise ValueError("short_factor and long_factor are given together or not at all")
        if any(lists) and self.method != "longrope":
            raise ValueError(
                f"short_factor and long_factor belong to longrope, not to {self.method}"
            )
        return self


class Extend(Value):
    """Continue the model's BPE on a corpus."""

    corpus: str
    tokens: int = Field(gt=0)


class Distillation(Value):
    """How to distil: what is compared, how rows descend, and on what machine."""

    objective: Literal["states", "predictions"] = "states"
    layer: int | None = Field(default=None, ge=-1, le=10_000)
    metric: Literal["fisher", "plain"] = "fisher"
    cross_entropy: Annotated[float, Field(ge=0, le=1e6)] | Literal["auto"] = 0.0
    writing: Literal["solve", "keep"] = "solve"
    before: int | None = Field(default=None, gt=1, le=100_000)
    after: int | None = Field(default=None, gt=0, le=100_000)
    optimizer: Literal["adam", "lbfgs"] = "adam"
    passes: int = Field(default=10, gt=0, le=100_000)
    patience: int = Field(default=3, gt=0, le=100_000)
    validate_each: int = Field(default=2, gt=0, le=100_000)
    rate: float = Field(default=0.5, gt=0, le=100)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    batch: int = Field(default=32, gt=0, le=100_000)
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    gradient_checkpointing: bool = False
    log: Log = "jsonl"

    def depths(self, n_layers: int) -> tuple[int, ...]:
        """After how many layers something is compared; a recipe may ask for more than there are."""
        if self.objective == "predictions" or self.layer == -1:
            return (n_layers,)
        if self.layer is not None:
            return (self.layer,)
        return tuple(sorted({(3 * n_layers + 1) // 4, n_layers}))

    @model_validator(mode="after")
    def _layers_are_those_compared(self) -> Self:
        if self.layer == 0:
            raise ValueError("layers are counted from 1; -1 is the last one")
        if self.objective == "predictions" and self.layer not in (None, -1):
            raise ValueError("predictions are those of the last layer: leave layer out")
        if self.optimizer == "lbfgs" and self.cross_entropy:
            raise ValueError("new tokens compete in cross_entropy, and lbfgs moves each alone")
        return self


class Supervised(Value):
    """How to fine-tune: what is trained, how far a step goes, and what is kept."""

    method: Literal["rows", "lora", "full"] = "rows"
    epochs: float = Field(default=3.0, gt=0, le=1000)
    steps: int | None = Field(default=None, gt=0)
    batch: int = Field(default=16, gt=0)
    device_batch: int | None = Field(default=None, gt=0)
    length: int | None = Field(default=None, gt=1)
    packing: bool = False
    row_learning_rate: float | None = Field(default=None, gt=0, lt=10)
    learning_rate: float = Field(default=2e-4, gt=0, lt=10)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    rank: int = Field(default=16, gt=0, le=1024)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear", "attention"] | tuple[str, ...] = "all-linear"
    experts: bool = False
    quantize: Literal["4bit"] | None = None
    gradient_checkpointing: bool | None = None
    validation: float = Field(default=0.05, ge=0, le=0.5)
    max_rows: int | None = Field(default=None, gt=0)
    checkpoints: int = Field(default=10, ge=0, le=1000)
    log: Log = "jsonl"
    save: Literal["baked", "adapter"] = "baked"

    @model_validator(mode="after")
    def _targets_are_named(self) -> Self:
        if not self.targets:
            raise ValueError("targets names no module; method = 'rows' trains none")
        return self


PLAIN_TEXT = (".txt", ".md", "")  # endings of data that is text between blank lines


class Train(Value):
    """Make the new tokens mean something."""

    stages: tuple[Literal["fit", "distil", "sft"], ...] = ()
    data: str | None = None
    distil: Distillation | None = None
    sft: Supervised | None = None


class Rows(Value):
    """Where new rows come from: a file of rows made elsewhere, and what initializers are told."""

    values: str | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    spread: float = Field(default=1e-5, gt=0, le=1)
    donor: str | None = Field(default=None, min_length=1)
    atoms: int = Field(default=8, ge=1, le=256)
    untie: bool = False


class Lora(Value):
    """A PEFT folder to bake in."""

    adapter: str


class Recipe(Document):
    """What a user wants, section by section."""

    kind: ClassVar[str] = "recipe"
    version: Literal[1]
    base: str | None = None
    add: tuple[Add, ...] = ()
    rename: tuple[Rename, ...] = ()
    remove: tuple[Remove, ...] = ()
    trim: Trim | None = None
    protocol: Protocol | None = None
    roles: dict[str, str | RoleToken] = Field(default_factory=dict)
    tools: Tools | None = None
    thinking: Thinking | None = None
    pad: Pad | None = None
    stop: Stop = Stop()
    context: Context | None = None
    extend: tuple[Extend, ...] = ()
    train: Train | None = None
    rows: Rows | None = None
    lora: Lora | None = None

    @property
    def unties(self) -> bool:
        """Whether a tied model gets a second matrix."""
        return self.rows is not None and self.rows.untie
