"""One small value of every kind of document, as `tokengraft` would answer."""

from __future__ import annotations

import behaviour_samples
import samples_training
from measured import MEASURED
from samples_training import ESTIMATE, STAGE, VERDICTS
from tokengraft import answers
from tokengraft.documents import Document, ErrorDocument, Problem
from tokengraft.findings import Audit, Facts, Finding, Fix
from tokengraft.plans import (
    CopyCost,
    Fingerprint,
    IdTable,
    IdTables,
    Keep,
    Mean,
    Mix,
    Plan,
    PlannedFile,
    PlannedRow,
    PlannedToken,
    RemapRows,
    RowSource,
    SetKey,
    Stored,
    Taken,
    Totals,
)
from tokengraft.plans import PatchJson as Patch
from tokengraft.recipes import Add, Context, Recipe
from tokengraft.results import Check, Receipt, ReceiptFile, Verification

# Everything that a terminal, rich, GitHub or a reader's eye may take for something else.
HOSTILE = "[/INST]\x1b[31m[bold]\u202e\u200b\x9b\r\n::error::x%0A\u3164{0} [a](http://b)\ud800"
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
SHA = "0f" * 32
TEXTS = {1: "agent", 2: " that", 3: " plans", 4: "<|im_start|>"}

FACTS = Facts(
    family="qwen3_moe",
    n_tokens=151669,
    n_rows=151936,
    n_rows_from="weights",
    spare_rows=267,
    tied=False,
    context=32768,
    trained_context=32768,
    weights_bytes=61_064_245_248,
    n_tensors=18867,
    added_tokens={"tokenizer.json": 22, "tokenizer_config.json": 26},
    named={"eos": "<|endoftext|>", "pad": "<|endoftext|>", "bos": None},
    stop_ids=(151643,),
    turn_end="<|im_end|>",
)
UNSTOPPED = "the chat template ends turns with <|im_end|> (151645), generation stops at 151643 only"
FINDINGS = (
    Finding(
        rule="R301",
        severity="error",
        subject="generation_config.json#/eos_token_id",
        summary=UNSTOPPED,
        detail="a chat goes on past the end of its turn until it meets the length limit",
        fix=Fix(operation="stop", settings={"tokens": "auto"}),
        safety="safe",
    ),
    Finding(
        rule="T101",
        severity="warning",
        subject="tokenizer.json#/added_tokens",
        summary="tokenizer.json declares 22 added tokens, tokenizer_config.json 26",
        fix=Fix(operation="reconcile"),
        safety="safe",
    ),
    Finding(
        rule="E202",
        severity="note",
        subject=f"{INPUT}[151646]",
        summary="3 more added tokens with an untrained row",
    ),
)
AUDIT = Audit(
    source="Qwen/Qwen3-30B-A3B-Base",
    verdict="safe-change",
    verdicts={"inference": "safe-change", "roles": "needs-training", "lora": "do-not"},
    reasons=(f"generation_config.json#/eos_token_id: {UNSTOPPED}.",),
    findings=FINDINGS,
    facts=FACTS,
)


def token(text: str, token_id: int, *sources: RowSource, action: str = "add") -> PlannedToken:
    rows = [PlannedRow(tensor=t, source=s) for t, s in zip((INPUT, OUTPUT), sources, strict=False)]
    return PlannedToken.model_validate(
        {"text": text, "id": token_id, "action": action, "use": "role", "rows": tuple(rows)}
    )


THIRD = 1 / 3
MEAN = Mix(parents=((1, THIRD), (2, THIRD), (3, THIRD)))
WHY = "use = role, and it has a meaning"
TOKENS = (
    token("<|my_agi_mode|>", 151669, MEAN, MEAN).model_copy(
        update={"init": "meaning-mean", "why": WHY, "takes": Taken(kind="parents", at_most=0.5)}
    ),
    token("<tool_start>", 151670, Mix(parents=((4, 1.0),)), Mean(first=0, count=151643)).model_copy(
        update={"takes": Taken(kind="bounded", at_most=1 / 151644)}
    ),
    token("<|pad|>", 151671, Stored(index=0), Mix(parents=())).model_copy(
        update={"init": "zero", "takes": Taken(kind="unknown")}
    ),
    token("<|spare_1|>", 151662, action="rename").model_copy(update={"was": "<|fim_pad|>"}),
)
ROWS = RemapRows(
    tensor=INPUT,
    n_rows_before=151936,
    n_rows_after=151936,
    rows=(Keep(first=0, count=151669), MEAN, Keep(first=151670, count=266)),
)
PLAN = Plan(
    tool="tokengraft 0.1.0",
    base=Fingerprint(layout=SHA),
    base_name="Qwen/Qwen3-30B-A3B-Base",
    recipe="version = 1\n",
    reconciled=(
        (
            "tokenizer.json declares 22 added tokens, tokenizer_config.json 26: <think>, </think> "
            "(ids 151667 to 151668) are written into tokenizer.json first"
        ),
    ),
    notes=(
        (
            "unchanged files in out are the very files of the base (hard links): do not edit them, and "
            "do not train or save into that folder"
        ),
    ),
    edits=(
        ROWS,
        ROWS.model_copy(update={"tensor": OUTPUT}),
        Patch(path="config.json", changes=(SetKey(pointer="/eos_token_id", value=[1, 2]),)),
    ),
    tokens=TOKENS,
    ids=IdTables(
        before=IdTable(n_tokens=151669, digest=SHA), after=IdTable(n_tokens=151672, digest=SHA)
    ),
    files=(
        PlannedFile(path="config.json", action="write", size_bytes=812),
        PlannedFile(
            path="model-00001-of-00016.safetensors", action="write", size_bytes=3_999_975_400
        ),
        PlannedFile(
            path="model-00002-of-00016.safetensors", action="copy", size_bytes=3_999_974_648
        ),
        PlannedFile(path="pytorch_model.bin", action="drop", size_bytes=12),
    ),
    totals=Totals(
        rows_written=6,
        bytes_written=5_087_000_000,
        bytes_copied=CopyCost(reflink=0, copy_=55_977_000_000, link=0),
        tensors_patched=2,
        tensors_untouched=18865,
    ),
    predicted=FINDINGS[2:],
)
NOTHING = PLAN.model_copy(
    update={"edits": (), "tokens": (), "reconciled": (), "predicted": (), "notes": ()}
)
RECEIPT = Receipt(
    plan=SHA,
    tool="tokengraft 0.1.0",
    files=(
        ReceiptFile(path="config.json", before="aa" * 32, after="bb" * 32),
        ReceiptFile(path="model.safetensors", before="cc" * 32, after="cc" * 32),
        ReceiptFile(path="chat_template.jinja", before=None, after="dd" * 32),
        ReceiptFile(path="pytorch_model.bin", before="ee" * 32, after=None),
    ),
)
MANIFEST = (
    "14 files, 61,064,245 bytes: each has the sha256 that MANIFEST.sha256 gives, and there are no "
    "others"
)
VERIFIED = Verification(
    passed=True,
    checks=(
        Check(name="manifest", status="pass", evidence=MANIFEST),
        Check(name="transformers", status="skipped", evidence="not asked for: --with transformers"),
        Check(
            name="logits",
            status="unknown",
            evidence="torch not installed: pip install 'tokengraft[train]'",
        ),
    ),
)
REFUTED = Verification(
    passed=False,
    checks=(
        Check(
            name="kept-rows",
            status="fail",
            evidence="1 rows were to be kept and differ: lm_head.weight[17]",
        ),
    ),
)
DIFF = answers.Diff(
    a="base",
    b="out",
    files=(
        answers.DiffFile(path="config.json", change="changed", bytes_a=800, bytes_b=812),
        answers.DiffFile(path="chat_template.jinja", change="added", bytes_b=4168),
    ),
    tokens=(
        answers.DiffToken(id=151669, a=None, b="<|my_agi_mode|>"),
        answers.DiffToken(id=151662, a="<|fim_pad|>", b="<|spare_1|>"),
    ),
    config=(
        answers.DiffKey(file="config.json", pointer="/pad_token_id", change="added", b=151671),
    ),
    tensors=(
        answers.DiffTensor(name=INPUT, change="changed", shape_a=(9, 8), shape_b=(9, 8), rows=3),
        answers.DiffTensor(name=OUTPUT, change="changed", shape_a=(9, 8), shape_b=(64, 8)),
    ),
    files_same=12,
    tokens_same=151668,
    tensors_same=398,
)
CUT = answers.Tokens(
    source="base",
    text="<|im_start|>\n hi",
    ids=(4, 198, 15588),
    pieces=(
        answers.Piece(
            id=4,
            token="<|im_start|>",
            text="<|im_start|>",
            start=0,
            end=12,
            added=True,
            special=True,
        ),
        answers.Piece(id=198, token="Ċ", text="\n", start=12, end=13),
        answers.Piece(id=15588, token="Ġhi", text=" hi", start=13, end=16, names=("eos",)),
    ),
    round_trip=False,
)
DOCTOR = answers.Doctor(
    tool="tokengraft 0.1.0",
    folder=".",
    versions={"python": "3.11.9", "tokenizers": "0.23.3", "torch": None},
    abilities=(
        answers.Ability(name="shared blocks", status="no", evidence="ext4 cannot share blocks"),
        answers.Ability(name="renameat2", status="yes"),
    ),
    stages=(answers.DeadStage(path=".out.tokengraft-1", size_bytes=5_000_000),),
    cache="/home/me/.cache/huggingface/hub",
    offline={"HF_HUB_OFFLINE": "1"},
)
RULE = answers.Rule(
    code="T101",
    title="files declare the same added tokens",
    severity="error",
    text="## What it checks\n\nEvery file.\n\n## Example\n\nQwen3-30B-A3B-Base: 22 and 26.\n",
)
FOLDER = answers.Folder(
    source="base",
    facts=FACTS,
    files=(answers.FolderFile(path="config.json", size_bytes=812, kind="small"),),
    plan=SHA,
)
RUN = answers.Run(
    audit=AUDIT,
    plan=PLAN,
    receipt=RECEIPT,
    verify=VERIFIED,
    undone=("[train] was left undone: the new rows have their starting values only",),
    resumed=("apply: OUT was made by this very plan before",),
    reports=("out.html",),
    seconds=12.5,
)
TRAINING = samples_training.training(PLAN, RECEIPT, VERIFIED)
RECIPE = Recipe(
    version=1, base="base", add=(Add(text="<|a|>", use="role"),), context=Context(length=131072)
)

DATA = samples_training.DATA
REPORT = answers.ReportWritten(
    file="out.html",
    out="out",
    language="en",
    size_bytes=140_132,
    parts=(
        answers.ReportPart(name="changes", shown=True),
        answers.ReportPart(
            name="training",
            shown=False,
            why="not trained: the new rows have their starting values only",
        ),
    ),
)
EVERY: tuple[Document, ...] = (
    AUDIT,
    PLAN,
    RECEIPT,
    VERIFIED,
    MEASURED,
    RECIPE,
    DIFF,
    CUT,
    DOCTOR,
    RULE,
    answers.Rules(rules=(RULE,)),
    answers.RecipeText(path="recipe.toml", text="version = 1\n"),
    answers.Problems(
        recipe="recipe.toml",
        problems=(Problem(where="pad.tokn", what="unknown key", suggestion="token"),),
    ),
    FOLDER,
    RUN,
    answers.Demo(
        folder="demo",
        chapters=(
            answers.DemoChapter(title="Look", command="tokengraft audit base", answer="as it is"),
        ),
        seconds=3.0,
    ),
    REPORT,
    DATA,
    answers.Version(tool="0.1.0"),
    VERDICTS,
    TRAINING,
    ESTIMATE,
    STAGE,
    *behaviour_samples.EVERY,
    ErrorDocument(code="StalePlan", summary="s", detail="", subject="", hint=""),
)


def hostile_everywhere(text: str = HOSTILE) -> tuple[Document, ...]:
    """The documents that show text of a checkpoint, with this text wherever they show some."""
    finding = Finding(
        rule="T101", severity="error", subject=f"{text}#/x", summary=text, detail=text
    )
    planned = token(text, 7, MEAN, Mix(parents=((9, 0.5), (8, 0.25)))).model_copy(
        update={"was": text}
    )
    return (
        AUDIT.model_copy(
            update={
                "source": text,
                "reasons": (text,),
                "findings": (finding,),
                "facts": FACTS.model_copy(
                    update={"named": {"eos": text}, "turn_end": text, "added_tokens": {text: 1}}
                ),
            }
        ),
        PLAN.model_copy(
            update={
                "tokens": (planned,),
                "reconciled": (text,),
                "notes": (text,),
                "files": (PlannedFile(path=text, action="write", size_bytes=1),),
            }
        ),
        RECEIPT.model_copy(update={"files": (ReceiptFile(path=text, before=None, after=SHA),)}),
        VERIFIED.model_copy(update={"checks": (Check(name=text, status="pass", evidence=text),)}),
        answers.Diff(
            a=text,
            b=text,
            files=(answers.DiffFile(path=text, change="added"),),
            tokens=(answers.DiffToken(id=1, a=text, b=text),),
            config=(
                answers.DiffKey(file=text, pointer=text, change="changed", a=text, b={text: text}),
            ),
            tensors=(answers.DiffTensor(name=text, change="changed"),),
        ),
        answers.Tokens(
            source=text,
            text=text,
            pieces=(answers.Piece(id=1, token=text, text=text + "x", start=0, end=1),),
        ),
        answers.Rule(code="T1", title=text, severity="note", text=text),
        answers.Problems(recipe=text, problems=(Problem(where=text, what=text, suggestion=text),)),
        answers.RecipeText(text=text),
        VERDICTS.model_copy(
            update={
                "tokens": tuple(
                    one.model_copy(update={"text": text, "reasons": (text,)})
                    for one in VERDICTS.tokens
                ),
                "notes": (text,),
            }
        ),
        Recipe(version=1, add=(Add(text=text.replace("\ud800", "")),)),
        answers.Folder(
            source=text,
            facts=FACTS,
            files=(answers.FolderFile(path=text, size_bytes=1, kind=text),),
        ),
    )
