"""English is read back into its templates: the reading that explains most wins, values are read too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengraft.reporting.translating import Translator, anchors, chunks_of, translator

TEMPLATES = {
    "{} is {}": "{0} — это {1}",
    "{} is {} in {}, {} here": "{0} — это {1} в {2}, а здесь {3}",
    "{} of {} rows have no token": "без токена {0:строка|строки|строк} из {1}",
    "the plan adds {}": "план добавляет {0}",
    "the plan adds {} to {}": "план добавляет {0:токен|токена|токенов} в {1}",
    "{} of the list are not special": "{0?не специальный|не специальны|не специальны}: {0:токен|токена|токенов} списка",
    "{} and {} more": "{0} и ещё {1}",
    "nothing fits": "ничего не подходит",
    "it says {}": "сказано: {0}",
    "done in {} {} by hand": "сделано вручную: {0}{1:}",
    'braces {{"a": {}}} stay': 'скобки {{"a": {0}}} остаются',
    "its norm is {}": "его норма {0,}",
    "Look at this: {}": "Посмотрите: {0}",
    "whole": "целиком",
}
NOUNS = {"new token": "новый токен|новых токена|новых токенов"}


@pytest.fixture
def russian() -> Translator:
    return translator(TEMPLATES, NOUNS)


@pytest.mark.parametrize(
    ("english", "text"),
    [
        ("nothing fits", "ничего не подходит"),
        ("nothing fits.", "ничего не подходит."),
        ("pad is 5", "pad — это 5"),
        ("pad is 5 in config.json, 6 here", "pad — это 5 в config.json, а здесь 6"),
        ("1,267 of 151,936 rows have no token", "без токена 1 267 строк из 151 936"),
        ("21 of 30 rows have no token", "без токена 21 строка из 30"),
        ("the plan adds 1 new token", "план добавляет 1 новый токен"),
        ("the plan adds 3 new tokens", "план добавляет 3 новых токена"),
        ("the plan adds 3 new tokens to a.json", "план добавляет 3 токена в a.json"),
        ("1 token of the list are not special", "не специальный: 1 токен списка"),
        ("2 tokens of the list are not special", "не специальны: 2 токена списка"),
        ("its norm is -0.25", "его норма -0,25"),
        # lists, their tails, and what is in brackets
        ("a, b and 5 more", "a, b и ещё 5"),
        ("a.json and b.json is x", "a.json и b.json — это x"),
        ("Nothing is here", "Nothing — это here"),
        ("this and that are strange words", "this and that are strange words"),
        # sentences that code has joined, and lines
        (
            "Look at this: x#/a: nothing fits. The end: nothing fits.",
            "Посмотрите: x#/a: ничего не подходит. The end: ничего не подходит.",
        ),
        ("nothing fits\npad is 5", "ничего не подходит\npad — это 5"),
        ("nothing fits (the plan adds 5.1 GB)", "ничего не подходит (план добавляет 5,1 ГБ)"),
        ('braces {"a": 4} stay', 'скобки {"a": 4} остаются'),
        ("done in 5 steps by hand", "сделано вручную: 5"),
        # quoted tokens are no prose
        ("it says 'nothing fits'", "сказано: 'nothing fits'"),
        ("it says 'a and b is c'", "сказано: 'a and b is c'"),
        ('it says "pad is 5" and <|x|>', 'сказано: "pad is 5" и <|x|>'),
        # brackets behind brackets, and inside of them
        ("a is b (nothing fits) (pad is 5)", "a — это b (ничего не подходит) (pad — это 5)"),
        ("a is b (nothing fits (pad is 5))", "a — это b (ничего не подходит (pad — это 5))"),
        # a number that is counted is no sentence that begins with one
        (
            "nothing fits; 21 of 30 rows have no token",
            "ничего не подходит; без токена 21 строка из 30",
        ),
        (
            "3 of 4 rows have no token; 21 of 30 rows have no token",
            "без токена 3 строки из 4; без токена 21 строка из 30",
        ),
        # a single word is a text of its own, never a value
        ("whole", "целиком"),
        ("it says whole", "сказано: whole"),
        # what is not known stays
        ("", ""),
        ("tokengraft audit --goal lora", "tokengraft audit --goal lora"),
        ("  nothing fits", "  ничего не подходит"),
    ],
)
def test_a_text_is_read_back(english: str, text: str, russian: Translator) -> None:
    assert text == russian(english)
    assert text == russian(english), "the second answer comes from memory"


def test_the_template_with_the_most_letters_wins() -> None:
    both = translator({"{} is {}": "кратко {0} {1}", "{} is {} in the files": "длинно {0} {1}"}, {})
    assert both("a is b in the files") == "длинно a b"


def test_every_way_to_cut_a_text_is_weighed() -> None:
    """The first comma lies inside the first value here."""
    texts = translator(
        {"{} lacks {}": "в {0} нет {1}", "ids {}, {} and the rest": "номера {0}, {1} и прочее"}, {}
    )
    assert texts("a lacks b lacks c") in ("в a нет b lacks c", "в a нет в b нет c")
    assert texts("ids 1, 2, 3 and the rest") == "номера 1, 2, 3 и прочее"


def test_a_template_must_have_a_word_of_its_own() -> None:
    with pytest.raises(AssertionError, match="tells it from other texts"):
        translator({"{}: {}.": "{0}: {1}."}, {})


def test_words_torn_by_a_value_do_not_count() -> None:
    assert anchors(chunks_of("{}ing a{} word {}s")) == ["word"]


@given(st.text(max_size=60) | st.text(st.sampled_from("a .,;:'\"(){}\nis"), max_size=40))
def test_any_text_has_a_reading(text: str) -> None:
    shown = translator(TEMPLATES, NOUNS)(text)
    assert isinstance(shown, str)
    assert bool(shown.strip()) == bool(text.strip())
