"""Read a tokenizer from all the files that speak of it, and bring them to one table.

The rules that libraries follow were read in tokenizers 0.22/0.23 (`added_vocabulary.rs`) and
transformers 4.57/5.23 (`tokenization_utils_base.py`), and are tested against them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from tokengraft.checkpoint import JsonText, JsonValue
from tokengraft.errors import LimitExceeded, MalformedFile
from tokengraft.formats.template_jinja import MAX_TEMPLATE
from tokengraft.formats.vocabularies import MAX_TOKEN_ID, VOCABULARIES, read_vocabulary
from tokengraft.vocabulary import (
    NAMED_TOKENS,
    AddedToken,
    ChatTemplate,
    Conflict,
    Declared,
    NamedToken,
    TokenId,
    Tokenizer,
)

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_tokenizer(
    json: Mapping[str, JsonText], small_files: Mapping[str, bytes]
) -> Tokenizer | None:
    """Read the tokenizer, None if no file speaks of one."""
    main = _object(json, "tokenizer.json")
    config = _object(json, "tokenizer_config.json")
    if main is None and config is None and not any(map(small_files.__contains__, VOCABULARIES)):
        return None
    kind, vocab = read_vocabulary(main, small_files)
    effective: Mapping[str, TokenId] = {}
    declared: list[Declared] = []
    if main is not None:
        own = _added_tokens(main)
        declared.append(own)
        effective = effective_ids(vocab, own)
    if config is not None and isinstance(config.get("added_tokens_decoder"), dict):
        declared.append(_added_tokens_decoder(config))
    legacy = _object(json, "added_tokens.json")
    if legacy is not None:
        special = frozenset() if declared else _listed_as_special(json)
        declared.append(_added_tokens_json(legacy, special))
    added, conflicts = _reconcile(tuple(declared), effective, vocab)
    top = max(max(vocab.values(), default=-1), max(added, default=-1))
    return Tokenizer(
        kind=kind,
        vocab=vocab,
        declared=tuple(declared),
        effective=effective,
        added=added,
        added_ids={token.content: token_id for token_id, token in added.items()},
        n_tokens=top + 1,
        conflicts=conflicts,
        named=tuple(_named(json)),
        templates=tuple(_templates(json, small_files)),
        byte_level=main is not None and _mentions_byte_level(main),
        tokenizer_class=_text(config, "tokenizer_class"),
    )


def effective_ids(vocab: Mapping[str, TokenId], declared: Declared) -> dict[str, TokenId]:
    """Give tokenizer.json's added tokens the ids that the `tokenizers` library gives them.

    It ignores the ids in the file: a text of the model's vocabulary keeps that id, any other gets
    the next one after the largest so far (or after the vocabulary's size).
    Source: tokenizers 0.22.2 and 0.23.3, `AddedVocabulary::add_tokens`.
    """
    ids: dict[str, TokenId] = {}
    top = -1
    for _, token in declared.tokens:
        if not token.content or token.content in ids:
            continue
        known = vocab.get(token.content)
        token_id = known if known is not None else max(top + 1, len(vocab))
        top = max(top, token_id)
        ids[token.content] = TokenId(token_id)
    return ids


def _object(json: Mapping[str, JsonText], file: str) -> dict[str, JsonValue] | None:
    document = json.get(file)
    if document is None:
        return None
    if not isinstance(document.value, dict):
        raise MalformedFile(f"{file} does not hold a JSON object", subject=file)
    return document.value


def _text(value: Mapping[str, JsonValue] | None, key: str) -> str | None:
    found = None if value is None else value.get(key)
    return found if isinstance(found, str) else None


def _added(entry: JsonValue, file: str, pointer: str, *, special: bool = False) -> AddedToken:
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise MalformedFile("an added token has no content", subject=f"{file}#{pointer}")
    flags = {name: entry.get(name, special if name == "special" else False) for name in FLAGS}
    if any(not isinstance(flag, bool) for flag in flags.values()):
        raise MalformedFile("a flag of an added token is no boolean", subject=f"{file}#{pointer}")
    content = entry["content"]
    assert isinstance(content, str)
    return AddedToken(content=content, **{name: bool(flag) for name, flag in flags.items()})


def _id(value: JsonValue, file: str, pointer: str) -> TokenId:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_TOKEN_ID:
        raise MalformedFile("a token id is no id", subject=f"{file}#{pointer}")
    return TokenId(value)


def _added_tokens(main: Mapping[str, JsonValue]) -> Declared:
    file, entries = "tokenizer.json", main.get("added_tokens", [])
    if not isinstance(entries, list):
        raise MalformedFile("added_tokens is no list", subject=f"{file}#/added_tokens")
    tokens = []
    for number, entry in enumerate(entries):
        pointer = f"/added_tokens/{number}"
        token = _added(entry, file, pointer)
        assert isinstance(entry, dict)
        tokens.append((_id(entry.get("id"), file, f"{pointer}/id"), token))
    return Declared(file=file, pointer="/added_tokens", tokens=tuple(tokens))


def _added_tokens_decoder(config: Mapping[str, JsonValue]) -> Declared:
    file, entries = "tokenizer_config.json", config["added_tokens_decoder"]
    assert isinstance(entries, dict)
    tokens = []
    for key, entry in entries.items():
        pointer = f"/added_tokens_decoder/{key}"
        tokens.append((_id(key, file, pointer), _added(entry, file, pointer)))
    return Declared(file=file, pointer="/added_tokens_decoder", tokens=tuple(tokens))


def _added_tokens_json(legacy: Mapping[str, JsonValue], special: Collection[str]) -> Declared:
    """Texts and ids; where no other file has a table, flags are those that transformers gives them.

    Source: transformers 4.57 and 5.23, `_from_pretrained`: normalized unless special.
    """
    file = "added_tokens.json"
    tokens = []
    for content, value in legacy.items():
        is_special = content in special
        token = AddedToken(content=content, normalized=bool(special) and not is_special)
        tokens.append((_id(value, file, f"/{content}"), replace(token, special=is_special)))
    return Declared(file=file, pointer="", tokens=tuple(tokens), complete=False)


def _listed_as_special(json: Mapping[str, JsonText]) -> frozenset[str]:
    """The texts that are special because a file names or lists them."""
    texts = {named.content for named in _named(json) if named.content is not None}
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            entries = (_object(json, file) or {}).get(key)
            listed = entries if isinstance(entries, list) else []
            found = [e.get("content") if isinstance(e, dict) else e for e in listed]
            texts |= {text for text in found if isinstance(text, str)}
    return frozenset(texts)


def _reconcile(
    declared: tuple[Declared, ...],
    effective: Mapping[str, TokenId],
    vocab: Mapping[str, TokenId],
) -> tuple[dict[TokenId, AddedToken], tuple[Conflict, ...]]:
    """Make one table of what the files declare; a contradiction is reported, never resolved.

    tokenizer_config.json's fields win over tokenizer.json's, as they do in both transformers majors;
    `added_tokens.json`, which both ignore beside a full table, counts only where it is alone.
    """
    complete = [d for d in declared if d.complete] or list(declared)
    table: dict[TokenId, AddedToken] = {}
    owner: dict[str, tuple[TokenId, str]] = {}
    conflicts: list[Conflict] = []
    for source in complete:
        for token_id, token in source.tokens:
            subject = f"{source.file}#{source.pointer}"
            conflicts.extend(_contradictions(token_id, token, table, owner, subject))
            table[token_id] = token
            owner.setdefault(token.content, (token_id, source.file))
        if source.file == "tokenizer.json":
            conflicts.extend(_id_drift(source, effective))
    for content, (token_id, file) in owner.items():
        known = vocab.get(content)
        if known is not None and known != token_id:
            text = f"{content!r} is {token_id} in {file} and {known} in the vocabulary"
            conflicts.append(Conflict(f"{file}", text))
    conflicts.extend(_taken_ids(table, vocab))
    return dict(sorted(table.items())), tuple(conflicts)


def _contradictions(
    token_id: TokenId,
    token: AddedToken,
    table: Mapping[TokenId, AddedToken],
    owner: Mapping[str, tuple[TokenId, str]],
    subject: str,
) -> Iterable[Conflict]:
    there = table.get(token_id)
    if there is not None and there.content != token.content:
        text = f"id {token_id} is {there.content!r} and {token.content!r}"
        yield Conflict(subject, text)
    earlier = owner.get(token.content)
    if earlier is not None and earlier[0] != token_id:
        text = f"{token.content!r} is {earlier[0]} in {earlier[1]} and {token_id} here"
        yield Conflict(subject, text)


def _taken_ids(
    table: Mapping[TokenId, AddedToken], vocab: Mapping[str, TokenId]
) -> Iterable[Conflict]:
    """Ids that the vocabulary gives to one text and the added tokens to another."""
    taken = table.keys() & set(vocab.values())
    if any(vocab.get(table[token_id].content) != token_id for token_id in taken):
        for content, token_id in vocab.items():
            if token_id in taken and table[token_id].content != content:
                text = f"id {token_id} is {content!r} in the vocabulary"
                yield Conflict("added tokens", f"{text} and {table[token_id].content!r} added")


def _id_drift(source: Declared, effective: Mapping[str, TokenId]) -> Iterable[Conflict]:
    for token_id, token in source.tokens:
        real = effective.get(token.content)
        if real is not None and real != token_id:
            text = f"{token.content!r} is declared {token_id}, libraries load it as {real}"
            yield Conflict(f"{source.file}#{source.pointer}", text)


def _named(json: Mapping[str, JsonText]) -> Iterable[NamedToken]:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        value = _object(json, file) or {}
        for name in NAMED_TOKENS:
            entry = value.get(f"{name}_token")
            content = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(content, str):
                yield NamedToken(name, content, None, file, f"/{name}_token")
    for file in ("generation_config.json", "config.json"):
        value = _object(json, file) or {}
        for pointer, part in _parts(value, file):
            for name in NAMED_TOKENS:
                yield from _named_ids(name, part.get(f"{name}_token_id"), file, pointer)


def _parts(value: dict[str, JsonValue], file: str) -> Iterable[tuple[str, Mapping[str, JsonValue]]]:
    yield "", value
    nested = value.get("text_config") if file == "config.json" else None
    if isinstance(nested, dict):
        yield "/text_config", nested


def _named_ids(name: str, entry: JsonValue, file: str, prefix: str) -> Iterable[NamedToken]:
    pointer = f"{prefix}/{name}_token_id"
    if isinstance(entry, list):
        for number, value in enumerate(entry):
            yield NamedToken(name, None, _id(value, file, pointer), file, f"{pointer}/{number}")
    elif entry is not None:
        if isinstance(entry, int) and not isinstance(entry, bool) and entry < 0:
            return  # -1 stands for "none" in old configs
        yield NamedToken(name, None, _id(entry, file, pointer), file, pointer)


def _templates(
    json: Mapping[str, JsonText], small_files: Mapping[str, bytes]
) -> Iterable[ChatTemplate]:
    """Every chat template of the folder.

    Raises:
        MalformedFile: one is not UTF-8.
        LimitExceeded: one is larger than any real one, and every reader's time grows with it.
    """
    for template in _found_templates(json, small_files):
        if len(template.text) > MAX_TEMPLATE:
            raise LimitExceeded(
                "a chat template is too large",
                detail=f"{len(template.text)} characters, at most {MAX_TEMPLATE} are read",
                subject=f"{template.file}#{template.pointer}",
            )
        yield template


def _found_templates(
    json: Mapping[str, JsonText], small_files: Mapping[str, bytes]
) -> Iterable[ChatTemplate]:
    for path, data in small_files.items():
        if path.endswith(".jinja"):
            name = "default" if path == "chat_template.jinja" else path.split("/")[-1][:-6]
            try:
                yield ChatTemplate(name, data.decode(), path, "")
            except UnicodeDecodeError as error:
                raise MalformedFile(f"{path} is not UTF-8", subject=path) from error
    for file in ("tokenizer_config.json", "chat_template.json"):
        entry = (_object(json, file) or {}).get("chat_template")
        if isinstance(entry, str):
            yield ChatTemplate("default", entry, file, "/chat_template")
        elif isinstance(entry, list):
            for number, item in enumerate(entry):
                named = item if isinstance(item, dict) else {}
                title, text = named.get("name"), named.get("template")
                if isinstance(title, str) and isinstance(text, str):
                    pointer = f"/chat_template/{number}/template"
                    yield ChatTemplate(title, text, file, pointer)


def _mentions_byte_level(main: Mapping[str, JsonValue]) -> bool:
    """Whether text is spelled in the byte alphabet, by the decoder or the pre-tokenizer."""

    def mentions(part: JsonValue) -> bool:
        if isinstance(part, dict):
            return part.get("type") == "ByteLevel" or any(
                mentions(part.get(key)) for key in ("pretokenizers", "decoders")
            )
        return isinstance(part, list) and any(map(mentions, part))

    return mentions(main.get("decoder")) or mentions(main.get("pre_tokenizer"))
