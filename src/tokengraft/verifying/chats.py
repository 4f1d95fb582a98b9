"""Does the chat template write the roles, thoughts and calls of the recipe, and are they read back?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.template_text import chosen_template
from tokengraft.recipes import Recipe, RoleToken
from tokengraft.results import Check
from tokengraft.sandbox.templates import Rendered, TemplateChild, TemplateFailed
from tokengraft.verifying.records import Graft, failed, passed
from tokengraft.vocabulary import NAMED_TOKENS, ChatTemplate, Tokenizer

NAME = "chat-template"
Message = dict[str, JsonValue]
# What switches a generation prompt on that thoughts can follow, where the usual one does not.
SWITCHES: tuple[Mapping[str, JsonValue], ...] = (
    {},
    *({name: True} for name in ("enable_thinking", "thinking", "open_thinking")),
)
USER: Message = {"role": "user", "content": "What is it?"}
ANSWER: Message = {"role": "assistant", "content": "Nothing."}
TOOL: Message = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look something up.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string", "description": "What to look up."}},
            "required": ["word"],
        },
        "return": {"type": "string", "description": "What was found."},
    },
}


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation that ends with something new.

    Attributes:
        what: it, in words.
        messages: the last one is new.
        tokens: texts that must stand in what is written.
        is_said: whether the model itself says the last message.
        tools: whether it has tools.
    """

    what: str
    messages: tuple[Message, ...]
    tokens: tuple[str, ...]
    is_said: bool
    tools: bool = False


@dataclass(frozen=True, slots=True)
class Spoken:
    """A talk as it was written: the prompt, and what the model says after it."""

    talk: Talk
    prompt: str
    text: str


def talks(recipe: Recipe) -> Iterator[Talk]:
    """Conversations with everything that the recipe's sections are about."""
    modules = () if recipe.thinking is None else recipe.thinking.modules
    field = "thoughts" if recipe.thinking is None else recipe.thinking.field
    speakers = {"assistant": ""}
    for role, given in recipe.roles.items():
        named = given if isinstance(given, RoleToken) else RoleToken(token=given)
        message: Message = {"role": role, "content": "A line.\nAnother one."}
        if named.side == "output":
            speakers[role] = named.token
            yield Talk(f"a turn of {role}", (USER, message), (named.token,), is_said=True)
        else:
            yield Talk(f"a turn of {role}", (USER, ANSWER, message), (named.token,), is_said=False)
    if modules:
        contents = [(module, f"Thought {number}.") for number, module in enumerate(modules)]
        thoughts: list[JsonValue] = [
            {"module": module, "content": text} for module, text in contents
        ]
        joined = "".join(module + text for module, text in contents)
        message = {"role": "assistant", "content": "Done."}
        message |= {field: thoughts if field == "thoughts" else joined}
        yield Talk("thoughts", (USER, message), modules, is_said=True)
    if recipe.tools is not None:
        markers = (recipe.tools.open, recipe.tools.close)
        function: JsonValue = {"name": "look_up", "arguments": {"word": "ёж\n"}}
        calls: list[JsonValue] = [{"type": "function", "function": function}] * 2
        message = {"role": "assistant", "content": "Let me see.", "tool_calls": calls}
        yield Talk("calls of tools", (USER, message), markers, is_said=True, tools=True)


def check_chats(graft: Graft) -> Iterator[Check]:
    """Render what the recipe is about with the folder's own templates, in a limited child."""
    recipe = chat_recipe(graft)
    if recipe is None:
        return
    tokenizer = None if graft.checkpoint is None else graft.checkpoint.tokenizer
    if tokenizer is None or tokenizer.template() is None:
        yield failed(NAME, "the folder has no chat template")
        return
    try:
        written = list(spoken(tokenizer, recipe))
    except DoesNotHoldError as error:
        yield failed(NAME, str(error))
        return
    marked = sum(len(one.text) for one in written)
    what = ", ".join(talk.what for talk in talks(recipe))
    yield passed(NAME, f"the chat template writes {what}; {marked} characters are marked as said")


def chat_recipe(graft: Graft) -> Recipe | None:
    """The recipe, if it has sections on chats."""
    if graft.plan is None:
        return None
    recipe = parse_recipe(graft.plan.recipe, file="the plan's recipe")[0]
    return recipe if recipe.roles or recipe.tools or recipe.thinking else None


class DoesNotHoldError(Exception):
    """What a template should write and does not."""


def spoken(tokenizer: Tokenizer, recipe: Recipe) -> Iterator[Spoken]:
    """Everything that the model says in the talks of a recipe, as the templates write it.

    Raises:
        DoesNotHoldError: a template fails, or leaves out what is new, or does not mark it.
    """
    with TemplateChild() as child:
        for talk in talks(recipe):
            template = chosen_template(tokenizer, with_tools=talk.tools)
            if template is None:
                raise DoesNotHoldError("the folder has no chat template")
            run = _Runner(child, template, tokenizer)
            whole = run.render(talk.messages, talk)
            missing = [token for token in talk.tokens if token not in whole.text]
            if missing:
                raise DoesNotHoldError(f"{talk.what}: {missing[0]!r} is not written")
            if not talk.is_said:
                continue
            prompt = run.prompt_of(talk, whole.text)
            if not whole.generated or whole.generated[-1][0] < len(prompt):
                raise DoesNotHoldError(f"{talk.what}: nothing is marked as said by the model")
            begin, end = whole.generated[-1]
            unmarked = [token for token in talk.tokens if token not in whole.text[begin:end]]
            if unmarked:
                raise DoesNotHoldError(f"{talk.what}: {unmarked[0]!r} is not marked as said")
            yield Spoken(talk, prompt, whole.text[len(prompt) :])


@dataclass(frozen=True, slots=True)
class _Runner:
    """One template, with the named tokens that it sees."""

    child: TemplateChild
    template: ChatTemplate
    tokenizer: Tokenizer

    def render(
        self,
        messages: Sequence[Message],
        talk: Talk,
        *,
        prompt: bool = False,
        extra: Mapping[str, JsonValue] | None = None,
    ) -> Rendered:
        named = {name: self.tokenizer.named_content(name) for name in NAMED_TOKENS}
        try:
            return self.child.render(
                self.template.text,
                messages=messages,
                tools=[TOOL] if talk.tools else None,
                add_generation_prompt=prompt,
                named_tokens={name: text for name, text in named.items() if text is not None},
                extra=extra,
            )
        except TemplateFailed as error:
            raise DoesNotHoldError(f"{talk.what}: {error.detail}") from error

    def prompt_of(self, talk: Talk, whole: str) -> str:
        """The generation prompt that the last turn continues."""
        for switch in SWITCHES:
            prompt = self.render(talk.messages[:-1], talk, prompt=True, extra=switch).text
            if whole.startswith(prompt):
                return prompt
        raise DoesNotHoldError(f"{talk.what}: the turn does not continue the generation prompt")
