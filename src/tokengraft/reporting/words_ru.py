"""The views' own words in Russian, by their English text."""

from __future__ import annotations

from typing import Final

from tokengraft.reporting.words_ru_report import TEXTS as REPORT_TEXTS

# One form for 1, 21, 31; one for 2-4; one for the rest.
NOUNS: Final = {
    "check": ("проверка", "проверки", "проверок"),
    "entry": ("элемент", "элемента", "элементов"),
    "file": ("файл", "файла", "файлов"),
    "note": ("заметка", "заметки", "заметок"),
    "error": ("ошибка", "ошибки", "ошибок"),
    "warning": ("предупреждение", "предупреждения", "предупреждений"),
    "key": ("ключ", "ключа", "ключей"),
    "old row": ("старая строка", "старые строки", "старых строк"),
    "merge": ("слияние", "слияния", "слияний"),
    "piece": ("подслово", "подслова", "подслов"),
    "problem": ("замечание", "замечания", "замечаний"),
    "row": ("строка", "строки", "строк"),
    "tensor": ("тензор", "тензора", "тензоров"),
    "token": ("токен", "токена", "токенов"),
}

TEXTS: Final = {
    # behaviour
    "New tokens: said, of prompts that want them or do not": "Новые токены: доля запросов, где они сказаны",
    "wanted": "нужен",
    "neutral": "нейтральные",
    "near miss": "похожие",
    "all together, by prompts": "все вместе, по запросам",
    "ends": "закрыт",
    "  before": "  прежде",
    "Answers": "Ответы",
    "SUITE: {name}": "НАБОР: {name}",
    "Bounds": "Границы",
    "share": "доля",
    "Answers that are not as wanted": "Ответы не такие, как надо",
    "thoughts, word for word": "мысли, слово в слово",
    "content": "текст",
    "modules of thought": "модули мысли",
    "calls read back": "прочитанные вызовы",
    "calls by the right name": "вызовы с верным именем",
    "calls with the right arguments": "вызовы с верными аргументами",
    "end by themselves": "кончаются сами",
    "Serve it": "Запустить сервер",
    "role": "роль",
    "what": "что",
    # every view
    "Next": "Дальше",
    "none": "нет",
    "nothing": "ничего",
    "unknown": "неизвестно",
    "yes": "да",
    "no": "нет",
    # ids that move
    "Unsafe: ids move": "Небезопасно: id сдвигаются",
    "UNSAFE: {tokens} removed, ids move": "НЕБЕЗОПАСНО: удаляется {tokens}, id сдвигаются",
    "old ids": "старые id",
    "new ids": "новые id",
    "as before": "как прежде",
    "... and {number} more runs: --json has all of them": "... и ещё отрезков: {number}; все они есть в --json",
    "the matrices keep their {rows}: rows of removed tokens go behind the last one and are spare": (
        "в матрицах по-прежнему {rows}: строки удалённых токенов встают за последней и свободны"
    ),
    "the matrices go from {before} to {after} rows, and the weights are {size} smaller": (
        "в матрицах было {before} строк, станет {after}, и веса меньше на {size}"
    ),
    "{corpus}, {size}, {ids} ids: it uses {unused} less than {least} times; {steps} of them stay "
    "because others are made from them, {protected} for another reason": (
        "{corpus}, {size}, id: {ids}; реже, чем {least} раз, встречается {unused}; из них {steps} "
        "остаются, потому что из них делаются другие, {protected} — по другой причине"
    ),
    "taken out": "изъято",
    "lines of removed tokens": "строки удалённых токенов",
    # training
    "Stages": "Этапы",
    "finished before": "закончен раньше",
    "New tokens": "Новые токены",
    "written": "запись",
    "leak": "утечка",
    "saved": "экономия",
    "GO": "ДОБАВЛЯТЬ",
    "DO NOT ADD": "НЕ ДОБАВЛЯТЬ",
    "3. Train": "3. Обучение",
    "4. Apply": "4. Применение",
    "5. Verify": "5. Проверка",
    "Result": "Результат",
    "records of the training: {folder}": "записи обучения: {folder}",
    "ESTIMATE: nothing was loaded": "ОЦЕНКА: ничего не загружено",
    "method": "метод",
    "memory": "память",
    "disk": "диск",
    "of which": "из них",
    "parameters": "параметры",
    "active for a token": "из них на токен",
    "new tokens": "новые токены",
    "tokens of text, about": "токенов текста, примерно",
    "{minutes} min": "{minutes} мин",
    "{hours} h": "{hours} ч",
    "program": "программа",
    "old rows": "старые строки",
    "states": "состояния",
    "a pass": "проход",
    "solving": "решение",
    "activations": "активации",
    "rows and optimizer": "строки и оптимизатор",
    "copies of matrices": "копии матриц",
    "logits": "логиты",
    "train": "обучение",
    "fit": "подбор",
    "judge": "оценка",
    # audit
    "VERDICT for {goal}: {verdict}": "ВЕРДИКТ для цели {goal}: {verdict}",
    "LEAVE AS IS": "НИЧЕГО НЕ МЕНЯТЬ",
    "SAFE CHANGE": "МОЖНО МЕНЯТЬ БЕЗОПАСНО",
    "NEEDS TRAINING": "НУЖНО ОБУЧЕНИЕ",
    "DO NOT": "НЕ НАДО",
    "UNKNOWN": "НЕИЗВЕСТНО",
    "Findings": "Что найдено",
    "Facts": "Факты",
    "--all shows the places and details too": "--all покажет ещё места и подробности",
    "... and {number} more: --all shows them": "... и ещё {number}: покажет --all",
    "Verdict for each goal": "Вердикт для каждой цели",
    "The audit found nothing that a recipe can mend.": (
        "Проверка не нашла ничего, что можно исправить рецептом."
    ),
    "Nothing to write: every plan puts files that disagree into step first.": (
        "Писать нечего: любой план сначала согласует файлы, которые расходятся."
    ),
    "error": "ошибка",
    "warning": "предупреждение",
    "note": "заметка",
    "safe": "безопасно",
    "unsafe": "небезопасно",
    "display-only": "только для сведения",
    "fix{safety}: {fix}": "исправление{safety}: {fix}",
    "put the files into step (every plan does so first)": (
        "согласовать файлы (каждый план начинает с этого)"
    ),
    "from": "от",
    "to": "до",
    "by the weights": "по весам",
    "by config.json": "по config.json",
    "small": "малый",
    "other": "прочее",
    "commit": "коммит",
    "family": "семейство",
    "tokens": "токены",
    "rows": "строки",
    "spare rows": "свободные строки",
    "tied embeddings": "связанные эмбеддинги",
    "context": "контекст",
    "trained context": "обученный контекст",
    "weights": "веса",
    "tensors": "тензоры",
    "stop ids": "стоп-токены",
    "named tokens": "именованные токены",
    "rows read": "строки прочитаны",
    "not read: {why}": "не прочитаны: {why}",
    "which rows are trained is unknown: {why}": "какие строки обучены, неизвестно: {why}",
    (
        "{unused} unused rows at {low}, {trained} frequent pieces at {high} ({indicator}); "
        "overlap {overlap}%"
    ): (
        "{unused} неиспользуемых строк около {low}, {trained} частых подслов около {high} "
        "({indicator}); перекрытие {overlap}%"
    ),
    "untrained by the limit {limit}: {all} of all tokens, {flagged} of the frequent pieces": (
        "не обучены по границе {limit}: {all} из всех токенов, {flagged} из частых подслов"
    ),
    " ({number} against the other matrix)": " ({number} вопреки другой матрице)",
    "distance": "расстояние",
    "direction": "направление",
    "trained": "обучена",
    "untrained": "не обучена",
    "matrix": "матрица",
    "norm": "норма",
    "row": "строка",
    "from unused": "от неиспользуемых",
    "from trained": "от обученных",
    "turn end": "конец реплики",
    "A token that is only read needs no trained row in the output matrix.": (
        "Токену, который модель только читает, обученная строка на выходе не нужна."
    ),
    "input": "вход",
    "output": "выход",
    "both": "обе",
    "added tokens": "добавленные токены",
    "The answer is do-not, so nothing is asked for.": (
        "Ответ — «не надо», поэтому рецепт ничего не просит."
    ),
    # plan
    "nothing to change": "менять нечего",
    "PLAN: {sum}": "ПЛАН: {sum}",
    "Put into step first, because the files disagree": "Сначала согласуем: файлы расходятся",
    "What an audit of the result will find": "Что найдёт проверка результата",
    "{tokens} renamed": "переименовано: {tokens}",
    "{tokens} put into unused ids": "поставлено на место неиспользуемых: {tokens}",
    "{rows} for weights that are elsewhere": "{rows} для весов, которых здесь нет",
    "{tensors} patched ({rows})": "изменено: {tensors} ({rows})",
    "{files} edited": "правится: {files}",
    "{tensors} untouched": "не тронуто: {tensors}",
    "{size} written": "запишем {size}",
    "{tokens} added": "добавлено: {tokens}",
    "{tokens} added, the matrices grow": "добавлено: {tokens}, матрицы растут",
    "{tokens} added into spare rows": "добавлено в свободные строки: {tokens}",
    "Tokens": "Токены",
    "Rows": "Строки",
    "id": "id",
    "token": "токен",
    "use": "роль",
    "... and {tokens} more: --json or the sidecar has all of them": (
        "... и ещё {tokens}: все есть в --json или в соседнем файле"
    ),
    "row {id} {arrow} {source}": "строка {id} {arrow} {source}",
    "row {id} as it is": "строка {id} без изменений",
    "mean of rows {first} to {last}": "среднее строк от {first} до {last}",
    "mean of rows {first} to {last}, without {rows}": "среднее строк от {first} до {last}; не входят {rows}",
    "value {index} of the sidecar": "значение {index} из соседнего файла",
    "zeros": "нули",
    "copy of {parent}": "копия: {parent}",
    "mean of {rows} ({parents})": "среднее: {rows} ({parents})",
    "weighted sum of {rows} ({parents})": "взвешенная сумма: {rows} ({parents})",
    "row {id}": "строка {id}",
    "piece {id}": "подслово {id}",
    "Learned from corpora": "Выучено по корпусам",
    "{corpus}, {size}: {pieces}, ids {first} to {last}; {steps} of them are steps to others": (
        "{corpus}, {size}: {pieces}, id от {first} до {last}; из них {steps} — ступени к другим"
    ),
    "the corpus takes {before} ids before and {after} after: {share}% fewer, "
    "{short} bytes an id before and {long} after": (
        "корпус занимает {before} id до и {after} после: на {share}% меньше, "
        "байт на id {short} до и {long} после"
    ),
    "learned and rejected: {merges}, used less than those kept or less than {least} times "
    "({examples}, ...)": (
        "выучено и отброшено: {merges}, встречаются реже оставленных или меньше {least} раз "
        "({examples}, ...)"
    ),
    "behind the last line": "после последней строки",
    "behind the last piece": "после последнего подслова",
    "init": "начало",
    "takes": "отнимает",
    "at most {share}%": "не больше {share}%",
    "at most a parent's": "не больше родителя",
    "auto: {init} for {tokens} ({why})": "auto: {init} — {tokens} ({why})",
    "takes: from the probability of old tokens, when it is written, before training": (
        "отнимает: у вероятности старых токенов, когда токен пишется, до обучения"
    ),
    "Matrices": "Матрицы",
    "Low-rank updates": "Низкоранговые поправки",
    "... and {count} more": "... и ещё {count}",
    "{rows} rows, as before": "строк: {rows}, как и было",
    "{tensors} added": "{tensors} добавлено",
    "{rows} rows, new: made of {tensor}": "строк: {rows}; новая, сделана из {tensor}",
    "{before} {arrow} {after} rows": "строк: {before} {arrow} {after}",
    "Files": "Файлы",
    "... and {files} more": "... и ещё {files}",
    "... and {keys} more": "... и ещё {keys}",
    "{files} unchanged, {size}": "без изменений: {files}, {size}",
    "edited": "правится",
    "unchanged": "без изменений",
    "left out": "убирается",
    "What each way of copying writes": "Сколько запишет каждый способ копирования",
    "shares unchanged blocks where the file system can": (
        "делит неизменные блоки, где это умеет файловая система"
    ),
    "a folder of its own": "полностью своя папка",
    "unchanged files are the same files as the base's: never edit them in place": (
        "неизменные файлы общие с основой: не правьте их на месте"
    ),
    "Notes": "Заметки",
    # receipt
    "DONE: {place}": "ГОТОВО: {place}",
    "RECEIPT": "КВИТАНЦИЯ",
    "plan": "план",
    "made by": "сделано",
    "time": "время",
    "{seconds} s": "{seconds} с",
    "{files} bit for bit as before": "бит в бит как было: {files}",
    # verify
    "VERIFIED": "ПРОВЕРЕНО",
    "NOT VERIFIED": "ПРОВЕРКА НЕ ПРОЙДЕНА",
    "pass": "верно",
    "fail": "неверно",
    "skipped": "пропущено",
    "Long texts: nats a token, before and after": "Длинные тексты: натов на токен, до и после",
    "Passkeys: found, and log-probability of a key in nats": (
        "Спрятанные пароли: сколько найдено и логарифм вероятности пароля в натах"
    ),
    "* the base was given the last {number} alone": "* основе даны только последние {number}",
    "positions": "позиции",
    "before": "до",
    "after": "после",
    "windows": "окна",
    "difference": "разница",
    "depth": "глубина",
    "log-p before": "лог. до",
    "log-p after": "лог. после",
    "not finite": "не число",
    "{low} to {high}": "от {low} до {high}",
    "{found} of {number}": "{found} из {number}",
    "{passed} passed, {failed} failed, {skipped} skipped, {unknown} unknown": (
        "верно {passed}, неверно {failed}, пропущено {skipped}, неизвестно {unknown}"
    ),
    # run
    "resumed: {step}": "продолжено: {step}",
    "1. Audit": "1. Проверка основы",
    "2. Plan": "2. План",
    "3. Apply": "3. Применение",
    "4. Verify": "4. Проверка результата",
    "Reports": "Отчёты",
    # looks
    "nothing differs": "различий нет",
    "Keys": "Ключи",
    "Tensors": "Тензоры",
    "the same in both: {counts}": "одинаково в обеих: {counts}",
    "... and {number} more: --json has all of them": "... и ещё {number}: все есть в --json",
    "({rows} differ)": "(различается: {rows})",
    "text": "текст",
    "special": "специальный",
    "added token": "добавленный",
    "decoding does not give the text back": "обратное преобразование не даёт исходного текста",
    "Versions": "Версии",
    "not installed": "не установлено",
    "This machine": "Эта машина",
    "Left by interrupted runs": "Осталось от прерванных запусков",
    "removed": "удалено",
    "Hugging Face Hub": "Hugging Face Hub",
    "cache": "кэш",
    "the recipe is sound": "рецепт в порядке",
    "written: {path}": "записано: {path}",
    "RECIPE": "РЕЦЕПТ",
    "made by a plan: {digest}": "сделано по плану: {digest}",
    # help
    "Usage": "Как запускать",
    "Options": "Параметры",
    "Commands": "Команды",
    # progress
    "{done} of {total}": "{done} из {total}",
    "read": "чтение",
    "fetch": "загрузка",
    "fingerprint": "отпечаток",
    "compare tensors": "сравнение тензоров",
    "apply": "применение",
    "undo": "возврат основы",
    "verify": "проверка",
    # errors
    "where": "где",
    "why": "почему",
    "try": "что делать",
    "nothing was published": "ничего не опубликовано",
    "{target} had already been published: verify it before you use it": (
        "{target} уже опубликовано: проверьте, прежде чем пользоваться"
    ),
    "interrupted": "прервано",
    "a bug of ours, please report it with the traceback above": (
        "это наша ошибка: сообщите о ней, приложив трассировку выше"
    ),
    **REPORT_TEXTS,
}
