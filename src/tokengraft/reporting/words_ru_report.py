"""The report's own words in Russian, by their English text."""

from __future__ import annotations

from typing import Final

TEXTS: Final = {
    # the verdict
    "NOT PROVED": "НЕ ДОКАЗАНО",
    "VERIFIED, NOT TRAINED": "ПРОВЕРЕНО, НЕ ОБУЧЕНО",
    "VERIFIED, TRAINED": "ПРОВЕРЕНО, ОБУЧЕНО",
    "Changed: {sum}.": "Изменено: {sum}.",
    "Nothing was proved: {why}.": "Ничего не доказано: {why}.",
    "Do not use this folder: {failed} failed ({names}).": (
        "Не пользуйтесь этой папкой: не прошло: {failed} ({names})."
    ),
    (
        "The folder holds what the plan says and nothing else moved: {passed} passed, none failed; "
        "not run or not known: {left}."
    ): (
        "В папке лежит то, что сказано в плане, и больше ничего не сдвинулось: пройдено: {passed}, "
        "ни одна не провалена; не запускались или неизвестны: {left}."
    ),
    (
        "The new tokens are not trained: each has a starting value, not a meaning. The model reads "
        "them as a blur and does not write them by itself."
    ): (
        "Новые токены не обучены: у каждого есть начальное значение, но не смысл. Модель читает их "
        "как размытое пятно и сама их не пишет."
    ),
    "New tokens that are worth having: {go} of {n}; not to be added: {no}; undecided: {unknown}.": (
        "Новых токенов, которые стоит иметь: {go} из {n}; не стоит добавлять: {no}; не решено: {unknown}."
    ),
    "Where new tokens are wanted, all of them are written in {share} of {n} prompts.": (
        "Где новые токены нужны, все они написаны в {share} из {n} запросов."
    ),
    "Where none is wanted, one is written in {share} of {n} prompts.": (
        "Где ни один не нужен, какой-нибудь из них написан в {share} из {n} запросов."
    ),
    "On near misses, one is written in {share} of {n} prompts.": (
        "На похожих запросах какой-нибудь из них написан в {share} из {n}."
    ),
    "a token is wanted": "токен нужен",
    "no token is wanted": "токен не нужен",
    "a near miss": "похожий запрос",
    "Text without new tokens costs {before} bits a byte before and {after} after ({change}).": (
        "Текст без новых токенов стоит {before} бит на байт до и {after} после ({change})."
    ),
    # the page
    "{out}: report": "{out}: отчёт",
    "Report on {out}": "Отчёт о {out}",
    "REPORT: {file}": "ОТЧЁТ: {file}",
    "to the contents": "к содержанию",
    "contents": "содержание",
    "about": "о чём",
    "size": "размер",
    "result": "результат",
    "base": "основа",
    "filter rows": "отобрать строки",
    "no row matches": "таких строк нет",
    "This page needs no network and holds no one else's code. Weights and texts stay where they are.": (
        "Этой странице не нужна сеть, и чужого кода в ней нет. Веса и тексты остаются там, где лежат."
    ),
    "The first {shown} of {total}; all of them are in {place}.": (
        "Первые {shown} из {total}; все они есть в {place}."
    ),
    # its parts
    "What changed": "Что изменилось",
    "How texts are cut": "Как режутся тексты",
    "What the new rows are near to": "К чему близки новые строки",
    "Training": "Обучение",
    "Behaviour": "Поведение",
    "Context": "Контекст",
    "Proof": "Доказательство",
    "What to do with it": "Что с этим делать",
    "Files and records": "Файлы и записи",
    # what is missing
    "not trained: the new rows have their starting values only": (
        "не обучено: у новых строк только начальные значения"
    ),
    (
        "the recipe asks for training, and it was left undone: the new rows have their starting "
        "values only"
    ): "рецепт просит обучения, но его не было: у новых строк только начальные значения",
    "no behaviour check was run": "поведение не проверялось",
    "the plan names no token": "в плане нет ни одного токена",
    "the plan makes no row, or there are no weights to look at": (
        "план не делает ни одной строки, или весов здесь нет"
    ),
    "no record has a curve": "ни в одной записи нет кривой",
    "no record has a verdict on the new tokens": "ни в одной записи нет вердикта о новых токенах",
    "no record says what the training data hold": "ни в одной записи не сказано, что в данных для обучения",
    "{name} cannot be read: {why}": "{name} не читается: {why}",
    # what changed
    "what": "что",
    "file": "файл",
    "key": "ключ",
    "tensor": "тензор",
    "added": "добавлен",
    "not there": "не было",
    "taken away": "убран",
    "files that differ from the base, with the first digits of their sha256": (
        "файлы, которые отличаются от основы, с первыми цифрами их sha256"
    ),
    "tensors that differ from the base": "тензоры, которые отличаются от основы",
    "rows written": "записано строк",
    "low-rank updates": "поправки низкого ранга",
    "Settings": "Настройки",
    "keys of JSON files; tables of tokens are below": "ключи файлов JSON; таблицы токенов ниже",
    "Adapter": "Адаптер",
    (
        "A low-rank adapter was baked into {tensors}; each number is the old one plus its update, "
        "rounded once."
    ): (
        "Адаптер низкого ранга впечён: {tensors}; каждое число — старое плюс поправка, с одним "
        "округлением."
    ),
    # tokens
    "flags": "флаги",
    "was": "был",
    "renamed": "переименован",
    "unused id taken": "занят свободный id",
    "put into step": "согласован",
    "verdict": "вердикт",
    "where its rows come from": "откуда его строки",
    "every token that the plan names": "все токены, названные в плане",
    "The table of ids had {before} and has {after}.": "В таблице id было: {before}, стало: {after}.",
    # texts
    (
        "Each frame is a token; its id appears under the pointer. New tokens are bold and coloured, a "
        "part of a letter is in italics, as the vocabulary spells it."
    ): (
        "Каждая рамка — токен; его id виден под указателем. Новые токены жирные и цветные, часть "
        "буквы — курсивом, как она записана в словаре."
    ),
    "before: {tokens}": "до: {tokens}",
    "after: {tokens}": "после: {tokens}",
    "the same ids as before": "те же id, что и прежде",
    "Each new token in a sentence": "Каждый новый токен в предложении",
    "new tokens in a sentence, with the number of tokens before and after": (
        "новые токены в предложении и число токенов до и после"
    ),
    "cut before": "разрез до",
    "cut after": "разрез после",
    # neighbours
    (
        "How near two rows are is the cosine between them: 1 is the same direction, 0 is unrelated. "
        "New rows among the neighbours are marked with a plus."
    ): (
        "Близость двух строк — косинус между ними: 1 — одно направление, 0 — ничего общего. Новые "
        "строки среди соседей отмечены плюсом."
    ),
    "Rows that are read": "Строки, которые читаются",
    "Rows that are written": "Строки, по которым пишется",
    "Rows that are read and written (tied)": "Строки, которые читаются и по которым пишется (связанные)",
    (
        "Map of directions: diamonds are new rows, by their number in the table below; rings are old "
        "rows near to them; dots are {sampled} old rows, evenly spread over the ids. Both axes together "
        "hold {share} of the variance, so that what is near here may be far in truth."
    ): (
        "Карта направлений: ромбы — новые строки под номером из таблицы ниже; кольца — близкие к ним "
        "старые строки; точки — старые строки, взятые равномерно по id: {sampled}. На обе оси "
        "приходится {share} разброса, так что близкое здесь может быть далёким на деле."
    ),
    "nearest rows": "ближайшие строки",
    "nearest rows of each new token, with cosines": "ближайшие строки каждого нового токена с косинусами",
    "a row of zeros has no direction": "у строки из нулей нет направления",
    "The first {shown} of {total} new rows were looked at.": (
        "Рассмотрены первые {shown} из {total} новых строк."
    ),
    # training
    "finished stages, in their order": "законченные этапы по порядку",
    "stage": "этап",
    "figures": "показатели",
    "notes": "заметки",
    "with an adapter": "с адаптером",
    "Curves": "Кривые",
    "loss by step, {stage}": "потеря по шагам, {stage}",
    "step": "шаг",
    "loss, nats a token": "потеря, нат на токен",
    "logarithmic": "логарифмически",
    "{stage}: {steps} steps, from {first} to {last} nats a token": (
        "{stage}: шагов {steps}, от {first} до {last} нат на токен"
    ),
    "The dashed line is text that is not trained on.": "Пунктир — текст, на котором не обучают.",
    "Verdict on each token": "Вердикт о каждом токене",
    (
        "new tokens after training; reading and writing are shares of what a row that knows nothing "
        "loses: 1 is as good as the pieces that the token replaces"
    ): (
        "новые токены после обучения; чтение и письмо — доли того, что теряет строка, которая ничего "
        "не знает: 1 — так же хорошо, как подслова, которые токен заменяет"
    ),
    "go": "годится",
    "do not add": "не добавлять",
    "undecided": "не решено",
    "reads": "читается",
    "writes": "пишется",
    "leak": "утечка",
    "repeats": "повторяет",
    "uses": "встреч",
    "bytes saved": "сбережено байтов",
    "reasons": "причины",
    (
        "repeats: whether the model writes the token when it is asked to repeat it, with the highest "
        "probability that it gave it"
    ): (
        "повторяет: пишет ли модель токен, когда её просят его повторить, и наибольшая вероятность, "
        "которую она ему дала"
    ),
    "Data": "Данные",
    "DATA: {source}": "ДАННЫЕ: {source}",
    "source": "источник",
    "a part of the data": "часть данных",
    "trained on": "для обучения",
    "held out": "отложено",
    "dropped": "отброшено",
    "cut at {length} tokens": "обрезано на {length} токенах",
    "without a stop token": "без стоп-токена",
    "tokens in the loss": "токенов в потере",
    "The data never show: ": "Данные ни разу не показывают: ",
    "Only read, never written by the model: ": "Только читаются, моделью не пишутся: ",
    "how often the data hold each new token": "как часто новые токены встречаются в данных",
    "written by the model": "пишет модель",
    "only read": "только читается",
    "in rows": "в строках",
    "rows of the data by their length in tokens": "строки данных по длине в токенах",
    "why rows were dropped": "почему строки отброшены",
    "reason": "причина",
    "first lines": "первые строки",
    # behaviour
    "what the model does on prompts that training never saw, with 95 % intervals": (
        "что модель делает на запросах, которых не видело обучение, с интервалами 95 %"
    ),
    "written where it is wanted": "написан, где нужен",
    "written where it is not": "написан, где не нужен",
    "written on near misses": "написан на похожих запросах",
    "written in place of another": "написан вместо другого",
    "closed again": "закрыт",
    "suite": "набор",
    "prompts": "запросов",
    "Reading back": "Разбор ответа",
    "a call is read back": "вызов разобран",
    "by the right name": "с верным именем",
    "with the right arguments": "с верными аргументами",
    "the right role": "верная роль",
    "the right modules of thought": "верные модули мысли",
    "the right thoughts in them": "верные мысли в них",
    "the right text": "верный текст",
    "the answer ends by itself": "ответ кончается сам",
    "Tool calls": "Вызовы инструментов",
    "Stopping": "Остановка",
    "share": "доля",
    "Examples": "Примеры",
    "prompt": "запрос",
    "answer": "ответ",
    "expected": "ожидалось",
    # context
    "scaling": "масштаб",
    "pair": "пара",
    "times slower": "во сколько раз медленнее",
    "how many times slower each rotary pair turns": "во сколько раз медленнее вращается каждая пара",
    (
        "How many times slower each rotary pair turns than without scaling: the line is the result, "
        "the dashed one the base. Pairs on the left turn fast and tell near places apart, those on the "
        "right turn slowly and tell far ones apart."
    ): (
        "Во сколько раз медленнее вращается каждая пара, чем без масштаба: линия — результат, "
        "пунктир — основа. Пары слева вращаются быстро и различают близкие места, справа — медленно и "
        "различают далёкие."
    ),
    "That texts of this length are understood is not proved by the settings: measure it.": (
        "Что тексты такой длины понимаются, настройки не доказывают: измерьте."
    ),
    # proof and records
    "check": "проверка",
    "evidence": "свидетельство",
    "every check, with its evidence; what was not run is not passed": (
        "все проверки со свидетельствами; что не запускалось, то не пройдено"
    ),
    "loss of the same tokens before and after, by position, with 95 % intervals of the difference": (
        "потеря на одних и тех же токенах до и после, по местам, с интервалами 95 % разности"
    ),
    "findings that the plan foretold": "что предсказал план",
    "rule": "правило",
    "severity": "важность",
    "files of the result and their sha256, as MANIFEST.sha256 lists them": (
        "файлы результата и их sha256, как в MANIFEST.sha256"
    ),
    "base, small files and headers": "основа, малые файлы и заголовки",
    "base, {tensor}": "основа, {tensor}",
    "The recipe": "Рецепт",
    # steps
    "report": "отчёт",
    "neighbours": "соседи",
}
