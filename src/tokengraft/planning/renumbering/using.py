"""Who needs a token: named tokens, stop lists, templates, post-processors, configs.

A token that anything needs is never removed: a rename would carry its use along, a removal cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from jinja2 import nodes

from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_jinja import every_node, syntax_error
from tokengraft.planning.renumbering.places import Places, text_uses
from tokengraft.rows.initializers import Encode
from tokengraft.vocabulary import TokenId, Tokenizer

# What classes of tokenizers name where no file does: transformers makes such a token anew, behind
# all others, if the table lacks it (4.57.6 and 5.23.0, measured on RoBERTa's `<unk>`).
DEFAULTS = frozenset(
    {
        *("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<cls>", "<sep>", "<bos>", "<eos>", "<eod>"),
        *("<eop>", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]", "[BOS]", "[EOS]", "<|endoftext|>"),
        *("<|startoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<start_of_turn>"),
    }
)
CLASS = "tokenizer_config.json#/tokenizer_class"
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Uses:
    """Where tokens are used.

    Attributes:
        places: ids in configs and post-processors.
    """

    checkpoint: Checkpoint
    places: Places

    @property
    def _tokenizer(self) -> Tokenizer:
        assert self.checkpoint.tokenizer is not None
        return self.checkpoint.tokenizer

    @cached_property
    def by_id(self) -> Mapping[int, str]:
        """The first place that holds an id."""
        found: dict[int, str] = {}
        for place in self.places.ids:
            found.setdefault(place.token_id, f"{place.file}#{place.pointer}")
        for named in self._tokenizer.named:
            token_id = named.token_id
            if token_id is None and named.content is not None:
                token_id = self._tokenizer.id_of(named.content)
            if token_id is not None:
                found.setdefault(int(token_id), f"{named.file}#{named.pointer}")
        return found

    @cached_property
    def by_text(self) -> Mapping[str, str]:
        """The first place of every string of the JSON files."""
        return text_uses(self.checkpoint)

    def of_added(self, token_id: int, text: str) -> str | None:
        """The place that needs an added token, None if none does."""
        if token_id in self.by_id:
            return self.by_id[token_id]
        if text in DEFAULTS:
            return CLASS
        if text in self.by_text:
            return self.by_text[text]
        for template in self._tokenizer.templates:
            if text in template.text:
                return f"{template.file}#{template.pointer}" if template.pointer else template.file
        if text.isidentifier():
            return None
        return next((place for said, place in self.by_text.items() if text in said), None)

    def of_piece(self, token_id: int, piece: str) -> str | None:
        """The place that needs a piece of the vocabulary, None if none does."""
        default = CLASS if piece in DEFAULTS else None
        return self.by_id.get(token_id) or self.by_text.get(piece) or default

    def in_templates(self, encode: Encode) -> frozenset[int]:
        """The ids of what chat templates write themselves, each literal on its own."""
        texts = dict.fromkeys(
            text for template in self._tokenizer.templates for text in _literals(template.text)
        )
        if not texts:
            return frozenset()
        asked = [*texts, *ROLES, *(f"{role}\n" for role in ROLES)]
        return frozenset(i for ids in encode(asked) for i in ids)


def _literals(template: str) -> Iterator[str]:
    """What a template writes or compares, literally; all of it where Jinja cannot read it."""
    if syntax_error(template) is not None:
        yield template
        return
    for node in every_node(template):
        if isinstance(node, nodes.TemplateData):
            yield node.data
        elif isinstance(node, nodes.Const) and isinstance(node.value, str) and node.value:
            yield node.value


def texts_by_id(tokenizer: Tokenizer) -> dict[TokenId, str]:
    """The pieces of the model's own vocabulary by id."""
    return {token_id: piece for piece, token_id in tokenizer.vocab.items()}
