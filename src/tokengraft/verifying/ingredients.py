"""What the built-in corpus is made of: sentence patterns, words and snippets, all written for it."""

from __future__ import annotations

from typing import Final


def _parts(text: str, mark: str = " ") -> tuple[str, ...]:
    return tuple(text.split(mark))


ENGLISH: Final = (
    "The {adjective} {noun} {verb} the {noun} {time}, and nobody asked why.",
    "It's {number} o'clock; they've {verb} another {adjective} {noun}, haven't they?",
    '"Don\'t touch the {noun}," she said, "unless you\'d like to {infinitive} it yourself."',
    "In chapter {number} we {infinitive} a {noun} (see fig. {number}.{number}) {time}.",
    "I'll {infinitive} {number} {noun}s — no more, no less — before the {adjective} {noun} ends…",
    "WARNING: THE {noun} IS {adjective}!!! Please {infinitive} it ASAP, e.g. {time}.",
    "Café, naïve, résumé and coöperation are words; a {noun} that {verb} them is {adjective}.",
    "{noun}-driven {infinitive}-ability_of_{noun}s: $ {number}.99, {number}%, #{number}, @{noun}.",
)
RUSSIAN: Final = (
    "Вчера {прилагательное} {существительное} {глагол} в {число} часов, и никто не удивился.",
    "— Что же, — сказал он, — это {прилагательное} {существительное}? — «Ёлки-палки!»",
    "Всего {число} рублей; № {число}, §{число}: {существительное} не {глагол}…",
    "ПОДЪЁМ! Съешь ещё этих мягких французских булок, да выпей чаю, пока {существительное} {глагол}.",
    "Изучая {существительное}, мы заметили, что оно {глагол} по-прежнему (см. стр. {число}).",
)
FILLINGS: Final = {
    "adjective": _parts(
        "quiet curious brittle overgrown half-finished seven-sided untrained cheap"
    ),
    "noun": _parts(
        "lighthouse tokenizer river matrix committee owl ledger embedding bicycle antidisestablishmentarianism"
    ),
    "verb": _parts("moved measured forgot repainted approved encoded outran borrowed"),
    "infinitive": _parts("measure repaint encode forget approve translate multiply"),
    "time": _parts("before noon|every other Tuesday|in 1987|at last|without a word", "|"),
    "прилагательное": _parts("тихий странный недостроенный дешёвый вчерашний семиугольный"),
    "существительное": _parts("маяк словарь комитет вектор велосипед журнал сова"),
    "глагол": _parts("исчез вырос промолчал закрылся переехал сломался"),
}

CODE: Final = (
    (
        "def {a}({b}: int = {n}) -> list[str]:\n"
        '    """Return {b} squared."""\n'
        "    if {b} <= {n}:\n"
        '        return [f"{{{b}!r}}\\n" for _ in range({n})]\n'
        "    async with lock:\n\t\t# mixed indent\n        return await {a}({b} ** 2, *args, **kwargs)\n"
    ),
    (
        "#include <stdio.h>\n\nint main(void) {{\n\tfor (size_t {a} = 0; {a} < {n}u; ++{a}) {{\n"
        '\t\tprintf("%zu\\t0x%08lx\\n", {a}, (unsigned long){b}[{a}] << 3 & ~0xFF);\n\t}}\n'
        "\treturn *{b}->next ? -1 : {n};\n}}\n"
    ),
    (
        "impl<'a, T: Clone + 'a> Iterator for {a}<'a, T> {{\n    type Item = &'a T;\n"
        "    fn next(&mut self) -> Option<Self::Item> {{\n        self.{b}.get({n}..=usize::MAX)?;\n"
        "        match self {{ Some(x) if x > {n} => x?, _ => None }}\n    }}\n}}\n"
    ),
    (
        "const {a} = async ({{ {b}, ...rest }}) => {{\n  await fetch(`/api/${{{b}}}?n={n}`);\n"
        "  return rest?.items ?? [...Array({n}).keys()].map((i) => i ** 2 >>> 1);\n}};\r\n"
    ),
    (
        'SELECT {a}.*, COUNT(*) AS "n" FROM {b} LEFT JOIN {a} USING (id)\n'
        " WHERE {a}.x <> {n} AND name LIKE '%it''s%' GROUP BY 1 HAVING COUNT(*) >= {n}; -- done\n"
    ),
    "{a}: {b}.o\n\t$(CC) -O2 -o $@ $< && ./{a} --seed={n} 2>&1 | tee >(grep -v '^#') || exit $?\n",
    "<!DOCTYPE html>\n<div class=\"{a} {b}\" data-n='{n}'>&nbsp;<br/>\n    <!-- {b} -->\n</div>\n",
    "{a}:\n  - {b}: {n}\n    nested: {{x: 1, y: [a, b]}}\n  - |\n    literal  \n---\n...\n",
    (
        "func ({b} *{a}) Do(ch <-chan struct{{}}) error {{\n\tdefer close({b}.done)\n"
        '\tif _, ok := <-ch; !ok {{\n\t\treturn fmt.Errorf("{n}: %w", err)\n\t}}\n\treturn nil\n}}\n'
    ),
    "\\begin{{align}}\n  \\sum_{{i=1}}^{{{n}}} {a}_i^2 &\\leq \\frac{{{b}}}{{\\sqrt{{{n}}}}} \\\\\n\\end{{align}}\n",
    "diff --git a/{a}.py b/{a}.py\n@@ -{n},7 +{n},9 @@\n-    {b} = 1\n+    {b}  =  2\n \n",
)
NAMES: Final = _parts(
    "x buf tokenIds getHTTPResponse snake_case_name __init__ kMaxRows λ µ_π данные"
)

JSON: Final = (
    '{{"id": {n}, "name": "{a}", "tags": ["{b}", null, true, -1.5e-{n}], "nested": {{"k": {{}}}}}}',
    '[{{"role":"user","content":"{a}\\n\\u00e9\\ud83d\\ude00"}},{{"role":"tool","content":"{n}"}}]',
    '{{\n    "{a}" : [\n\t{n},\n        "{b}"\n    ]\n}}\n',
)
URLS: Final = (
    "https://example.org/{a}/{n}?q=%D1%82%D0%B5%D1%81%D1%82&lang=en#L{n}-L{n}",
    "ftp://user:pa55@127.0.0.1:{n}/~{b}/file%20name.tar.gz, {a}.{b}@mail.example.com",
    "C:\\Users\\{a}\\AppData\\{b}.dll \\\\server\\share$ /usr/lib/x86_64-linux-gnu/{a}.so.{n}",
)

# Emoji of one code point, with variation selector, skin tone, ZWJ sequence, keycap, flags.
EMOJI: Final = _parts(
    "\U0001f600 \U0001f680 ❤ ❤\ufe0f ☎\ufe0f \U0001f44d\U0001f3fd \U0001f9d1\U0001f3ff\u200d\U0001f680 "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3 #\ufe0f\u20e3 \U0001f1f7\U0001f1fa "
    "\U0001f1ef\U0001f1f5 \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f "
    "\U0001fae0 ©\ufe0f ™ \U0001f469\u200d❤\ufe0f\u200d\U0001f48b\u200d\U0001f468"
)

# Composed beside decomposed, stacked marks, compatibility forms, the odd folds of case.
MARKS: Final = _parts(
    "é e\u0301 ñ n\u0303 Å A\u030a \u212b й и\u0306 ё е\u0308 ṩ s\u0323\u0307 s\u0307\u0323 ế e\u0302\u0301 "
    "한 \u1112\u1161\u11ab q\u0307\u0323 Z\u0351\u0343\u0317a\u0335\u0321l\u0340\u035cg\u0315o\u0360 "
    "\ufb01 \ufb03 ½ ² ⅷ ａＢ１ ㎏ ﷺ ǆ İ ı ß ẞ ς Σ K \u2126 \u0344 \u0958 \u2adc"
)

SCRIPTS: Final = (
    "机器学习模型的词表里有十五万个词元，其中大部分来自中文网页。",
    "「吾輩は猫である。名前はまだ無い」とカタカナとﾊﾝｶｸと漢字、全角ＡＢＣ！",
    "다람쥐 헌 쳇바퀴에 타고파. 토크나이저는 문장을 조각으로 나눈다.",
    "في البدء كان الرمز، ثم جاءت المصفوفة ١٢٣٤٥؛ هل تغيّر شيءٌ؟ \u200fRTL\u200e mixed",
    "בראשית היה האסימון; שָׁלוֹם עֲלֵיכֶם 123 (סוגריים) \u202bembedded\u202c",
    "यह एक परीक्षण वाक्य है। क्ष त्र ज्ञ श्री हिन्दी १२३",
    "ตัวตัดคำภาษาไทยไม่มีช่องว่างระหว่างคำ กำ น้ำ",
    "Το λεξικό άλλαξε; Όχι· τα γράμματα μένουν ίδια. ᾧ ῲ",
    "Tiếng Việt có nhiều dấu: Đường phố, nghiêng ngả, thuở xưa.",
    "ქართული ენა, հայերեն լեզու, አማርኛ ቋንቋ, ಕನ್ನಡ ಭಾಷೆ, தமிழ் மொழி",
    "𝕄𝕒𝕥𝕙 𝒜𝓁𝓅𝒽𝒶 𐍈 𠀀𠮷 ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ ⇒ ∑∏∫ ≤≥≠ ░▒▓█ ♔♞ ⠓⠑⠇⠇⠕",
)

# What looks like a control token of some model and is none, or is one; both must stay what they were.
LOOKALIKES: Final = _parts(
    "<|im_start|> <|im_end|> <|im_start <|im_end <im_start|> <|im_start|>user\n <| im_end |> <|IM_END|> "
    "＜|im_end|＞ <│im_end│> <|im_еnd|> <|im-end|> <|im_end|>> <<|im_end|> <|<|im_end|>|> <think "
    "<think> </think> </think <Think> < think> <think/> think> <tool_star <tool_call </tool_cal "
    "<tool_call>\n{}\n</tool_call> <|endoftext <|endoftext|> </s> <s> <s <unk> <pad> [PAD] [CLS] [MASK] "
    "[INST] [/INST <<SYS>> <|eot_id <|begin_of_text <start_of_turn <end_of_turn> <0x0A> <0xFF ▁ ▁the Ġ "
    "Ġthe Ċ â Ŀ <|fim_pad <|vision_start <|box_ <|> <||> || |> <| <|| |>< <|a|><|b|> <fim_prefix"
)

# Space characters that normalizers and regular expressions treat differently.
SPACES: Final = (
    " ",
    "\n",
    "\t",
    "\r\n",
    "\r",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\v",
)

# First and last code point of the blocks from which unreadable text is drawn; no surrogates.
BLOCKS: Final = (
    (0x20, 0x7E), (0x20, 0x7E), (0x00, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x52F),
    (0x590, 0x6FF), (0x900, 0x97F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x23FF),
    (0x2500, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF),
    (0xFE00, 0xFFFD), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF), (0x10FF00, 0x10FFFF),
)  # fmt: skip
