"""What is known of a chat template, and what a recipe wants of it. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.template_tags import MessageLoop
from tokengraft.recipes import Recipe, Tools

JsonObject = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation to render.

    Attributes:
        template: its text.
        messages, tools: as `apply_chat_template` takes them.
        prompt: whether the text shall end where the model is to speak.
        extra: further variables.
    """

    template: str
    messages: Sequence[JsonObject]
    tools: Sequence[JsonObject] | None = None
    prompt: bool = False
    extra: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """What a template made of a conversation, or why it made nothing of it.

    Attributes:
        text: None if it failed.
        generated: the places within `{% generation %}`.
        failure: the reason.
    """

    text: str | None
    generated: tuple[tuple[int, int], ...] = ()
    failure: str = ""


Render = Callable[[Sequence[Asked], Mapping[str, str]], Sequence[Said]]
"""Conversations, and the named tokens (bos, eos …), to texts. Templates run in a limited child."""


@dataclass(frozen=True, slots=True)
class Around:
    """What stands before and behind something."""

    open: str
    close: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """The thinking block of a template.

    Attributes:
        block: what opens and closes it, line ends included.
        key: the message key that the template fills it from, None if it has none.
        empty: what a last turn without thoughts writes in its place.
        prompted: whether the generation prompt opens the block already, in that mode.
        mode: what the template is given for a prompt that thoughts can follow, None if there is none.
    """

    block: Around
    key: str | None
    empty: str
    prompted: bool
    mode: JsonObject | None


@dataclass(frozen=True, slots=True)
class Calls:
    """How a template treats tools.

    Attributes:
        declared: whether it tells the model of its tools.
        shown: whether it renders calls.
        markers: the pair around a call that is a JSON object of name and arguments, if it has one.
        keeps_content: whether content beside calls is rendered.
        numbered: whether calls carry ids.
        results: what stands around a result in the turn that carries it, None if it is lost.
        result_markers: the pair of markers around a result, if there is one.
    """

    declared: bool = False
    shown: bool = False
    markers: Around | None = None
    keeps_content: bool = False
    numbered: bool = False
    results: Around | None = None
    result_markers: Around | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The turns of a template, as it was seen to write them.

    Attributes:
        loop: the loop that writes the messages.
        head: what opens a turn of the assistant.
        end: what the model ends it with; empty if no marker does.
        tail: the white space behind that, which the template writes.
        prompt: the generation prompt; it begins with `head`.
        goes_on: what the model must write between head and content, beside thoughts.
        turn: what stands before the role token of an input turn, and behind its content.
        separator: what stands between the role token and the content.
        user: what stands around the content of a user's turn.
        with_tools: whether the template renders nothing without tools.
    """

    loop: MessageLoop
    head: str
    end: str
    tail: str
    prompt: str
    goes_on: str
    turn: Around
    separator: str
    user: Around
    thinking: Thinking | None
    calls: Calls
    with_tools: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recipe wants of chat templates.

    Attributes:
        inputs, outputs: role to token, by who writes it.
        modules: the tokens of thought.
        field: the key that thoughts have in messages, and that a response is read back to.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    tools: Tools | None
    modules: tuple[str, ...]
    field: str

    @property
    def spans(self) -> bool:
        """Whether thoughts are read back one by one."""
        return bool(self.modules) and self.field == SPANS

    @property
    def reasoning(self) -> str:
        """The key of thoughts in one piece."""
        if not self.modules:
            return "thinking"  # the one name that vLLM and `transformers serve` both read
        return "reasoning_content" if self.field == SPANS else self.field


SPANS = "thoughts"
OWN_ROLES = ("system", "user", "assistant", "tool")


def wanted(recipe: Recipe) -> Wanted | None:
    """What a recipe wants of chat templates, None if it has none of the sections."""
    if not (recipe.roles or recipe.tools or recipe.thinking):
        return None
    sides: dict[str, dict[str, str]] = {"input": {}, "output": {}}
    for name, role in recipe.roles.items():
        if isinstance(role, str):
            sides["input"][name] = role
        else:
            sides[role.side][name] = role.token
    thinking = recipe.thinking
    return Wanted(
        inputs=sides["input"],
        outputs=sides["output"],
        tools=recipe.tools,
        modules=() if thinking is None else thinking.modules,
        field=SPANS if thinking is None else thinking.field,
    )


@dataclass(frozen=True, slots=True)
class Design:
    """What shall change in a template.

    Attributes:
        block: the thinking block that thoughts stand in, None if no thoughts are asked for.
        calls: the pair that a call stands in, where the template's own calls are replaced.
        renamed: markers and what they become, everywhere in the template.
        restates: whether the instructions on calls are put into other words.
        declares: whether the template must be taught to tell of tools at all.
        results: the pair that is put around results inside the template's own turn for them.
        results_as_user: whether results come in turns of the user, since there is no other turn.
        reads: the pair around calls that a response is searched for.
    """

    block: Around | None = None
    calls: Around | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    restates: bool = False
    declares: bool = False
    results: Around | None = None
    results_as_user: bool = False
    reads: Around | None = None


def shape_with(shape: Shape, change: Callable[[str], str]) -> Shape:
    """A shape whose texts are changed, as renamed tokens change them."""
    calls, thinking = shape.calls, shape.thinking
    if thinking is not None:
        thinking = replace(
            thinking, block=_around(thinking.block, change), empty=change(thinking.empty)
        )
    return replace(
        shape,
        head=change(shape.head),
        end=change(shape.end),
        prompt=change(shape.prompt),
        user=_around(shape.user, change),
        thinking=thinking,
        calls=replace(
            calls,
            markers=_around_or_none(calls.markers, change),
            results=_around_or_none(calls.results, change),
        ),
    )


def design_with(made: Design, change: Callable[[str], str]) -> Design:
    """What an edit writes, with its texts changed."""
    block, reads = _around_or_none(made.block, change), _around_or_none(made.reads, change)
    return replace(made, block=block, reads=reads)


def _around(pair: Around, change: Callable[[str], str]) -> Around:
    return Around(change(pair.open), change(pair.close))


def _around_or_none(pair: Around | None, change: Callable[[str], str]) -> Around | None:
    return None if pair is None else _around(pair, change)
