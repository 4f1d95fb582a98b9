"""Texts of the source code that read as words and are not said to anybody, by room.

Each group has its reason. A text that is no longer in the code must leave this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNSAID: Final[Mapping[str, frozenset[str]]] = {
    "auditing": frozenset(
        {
            "recipe new",  # the name of a command
            # headings of rule pages, which have a translation of their own
            *("What it checks", "Why it matters", "Fix and its safety"),
        }
    ),
    "nouns": frozenset({"Value error"}),  # is cut off
    "applying": frozenset({"plan.json: {}"}),  # a place
    "families": frozenset({"families/{}.toml: rope_facts"}),  # a place
    "positions": frozenset({'method = "{}"', "transformers 5"}),  # a key with its value, a name
    "planning": frozenset(
        {
            *("add {}: init", "add {}: {}"),  # places in a recipe
            "id {}",  # the same in every language
            # messages that a template is shown, and names of conversations
            *("kvwords\n\nin two parts", "{}{}{}kvtask\nkvdone {}", "call and content"),
            *("Look something up.", "What to look up.", "What was found.", "call, content null"),
            *("call, arguments in text", "call, arguments in text, content null"),
            # code of a template
            *("{{%- if true %}}{{{{ '{}' }}}}", "if true", "{{{{ '{}' }}}}{{% endif %}}"),
            *("set {}", "in [{}]"),
            *('token = "<|{}|>"', '"thoughts", "reasoning_content" or "thinking"'),  # a recipe's
        }
    ),
    "verifying": frozenset(
        {
            "one {} two",  # is encoded
            # texts that a model reads
            "A pass key is hidden in this text. Find it and remember it.",
            "The pass key is {{0}}. Remember it: {{0}} is the pass key.",
            *("What is the pass key? The pass key is", "long keys"),  # and a kind of them
            *("transformers 4", "transformers 5"),  # names
            # prompts that a model continues
            *("Once upon a time there was a lighthouse", "def fibonacci(n):"),
            "The capital of France is",
            # messages that a template is shown
            *("What is it?", "Look something up.", "What to look up.", "What was found."),
            *("A line.\nAnother one.", "Thought {}.", "Let me see."),
        }
    ),
    "cli": frozenset(
        {
            *("recipe new", "recipe check", "recipe schema"),
            "{{done}} of {{total}}",  # among the views' words
            "a bug of ours, please report it with the traceback above",  # the same
        }
    ),
    "formats": frozenset(
        {
            *("{} if {} == {}", "{} else {}"),  # Jinja
            *("{}: version", "version = 1"),  # a place and a key
            "--set {}",  # a line of the recipe that a plan carries
            *("`replace({}, {})`", "if true"),  # code of a template
        }
    ),
    "training": frozenset(
        {
            "repeat: {}, {}",  # a prompt that a model continues
        }
    ),
    "flow": frozenset(
        {
            # parts of an estimate, among the views' words; names of methods
            *("old rows", "a pass", "rows and optimizer", "copies of matrices", "sft: {}"),
            # for whoever opens the folder
            (
                "Records of `tokengraft train`: rows of finished stages, curves, verdicts.\n"
                "A second call goes on from them. The folder may be removed when no training is "
                "under way."
            ),
            "compare tensors",  # among the views' words
            "<|my_agi_mode|><|think|>The fox is hungry.<tool_start>look</tool_end>",  # is tokenized
            # keys of a recipe, and meanings, which go into embedding rows
            *("version = 1\n{}", '[tools]\nopen = "<tool_start>"\nclose = "</tool_end>"'),
            'result_open = "<tool_result>"\nresult_close = "</tool_result>"',
            *("version = 1", "base = {}", "[[rename]]\nfrom = {}\nto = {}"),
            '[[add]]\ntext = {}\nuse = "{}"\nmeaning = {}',
            "an agent that plans first and then answers",
            *("here begins the call of a tool", "here ends the call of a tool"),
            *("think again about the thought before", "think step by step"),
            "name what contradicts itself",
            # sentences that are tokenized
            "The quick brown fox jumps over 13 lazy dogs. Съешь ещё этих мягких булок.",
            *("This is{} again.", "This is {} again.", "Say {} here."),
            # commands
            *("transformers serve {}", "transformers chat {}", "vllm serve"),
            "--enable-auto-tool-choice --tool-call-parser response_template",
            "--reasoning-parser response_template",
            "cd {} && sha256sum -c MANIFEST.sha256",
            "tokengraft apply graft/plan.json --base SRC -o OUT",
        }
    ),
}
