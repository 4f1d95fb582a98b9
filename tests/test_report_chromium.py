"""The report in a real browser: wide and narrow, light and dark, printed, with and without scripts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import chromium
import reported
import samples
from tokengraft.reporting.catalogue import ENGLISH, RUSSIAN
from tokengraft.reporting.html import page

MODES = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")]
LONG = "<|a_token_whose_text_is_much_longer_than_any_narrow_screen_is_wide_and_has_no_space_in_it|>"
TEXTS = {"long": LONG, "hostile": samples.HOSTILE + "<img src=http://192.0.2.1/x.png>"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Chromium]:
    """A browser for all tests here; without one they skip, in CI they fail."""
    program = chromium.find()
    if program is None:
        reason = f"no Chromium on PATH (looked for {', '.join(chromium.NAMES)})"
        if os.environ.get("TOKENGRAFT_REQUIRE_CHROMIUM") == "1":
            pytest.fail(f"{reason} (TOKENGRAFT_REQUIRE_CHROMIUM=1)")
        pytest.skip(reason)
    with chromium.Chromium(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name, text in TEXTS.items():
        words = RUSSIAN if name == "hostile" else ENGLISH
        made[name] = folder / f"{name}.html"
        found = page(reported.everything(text, folder / name), words)
        made[name].write_text(found, encoding="utf-8", errors="backslashreplace")
    return made


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(("width", "scheme"), MODES)
def test_the_page_fits_is_legible_and_asks_for_nothing(
    browser: chromium.Chromium, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    browser.open(pages[name], width=width, scheme=scheme)
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (
        scheme == "dark"
    )
    assert browser.evaluate("document.querySelectorAll('section').length") == 11
    assert browser.evaluate(chromium.OVERFLOW) == []
    assert browser.evaluate(chromium.CONTRAST) == []
    assert browser.seen.errors == []
    assert browser.seen.requests == [pages[name].as_uri()]


def test_a_page_that_is_wrong_is_seen(browser: chromium.Chromium, tmp_path: Path) -> None:
    """Without this, a probe that always says "fine" would pass."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text(
        "<meta name=viewport content='width=device-width'><body style='background:#fff'>"
        "<p style='color:#999;width:900px'>pale and wide</p><img src='missing.png'>"
        "<script>throw new Error('x')</script>",
        encoding="utf-8",
    )
    browser.open(wrong, width=360)
    assert any("P" in found for found in browser.evaluate(chromium.OVERFLOW))
    assert any("P" in found for found in browser.evaluate(chromium.CONTRAST))
    assert len(browser.seen.errors) >= 2
    assert len(browser.seen.requests) == 2


def test_tables_can_be_sorted_and_filtered(browser: chromium.Chromium, tmp_path: Path) -> None:
    found = reported.everything("x", tmp_path)
    tokens = tuple(samples.token(f"t{at}", at) for at in (30, 4, 100, *range(200, 215)))
    plan = found.plan.model_copy(update={"tokens": tokens})
    made = {name: getattr(found, name) for name in type(found).__slots__} | {"plan": plan}
    file = tmp_path / "tokens.html"
    file.write_text(page(type(found)(**made), ENGLISH), encoding="utf-8")
    browser.open(file, width=1280)
    ids = "[...document.querySelectorAll('#tokens tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].textContent)"
    click = "document.querySelectorAll('#tokens th button')[1].click()"
    assert browser.evaluate(ids)[:3] == ["30", "4", "100"]
    browser.evaluate(click)
    assert browser.evaluate(ids)[:3] == ["4", "30", "100"], "as numbers"
    assert browser.evaluate("document.querySelectorAll('#tokens th')[1].ariaSort") == "ascending"
    browser.evaluate(click)
    assert browser.evaluate(ids)[0] == "214"
    typed = "(() => { const box = document.querySelector('#tokens input'); box.value = {}; box.dispatchEvent(new Event('input')) })()"
    browser.evaluate(typed.replace("{}", "'t100'"))
    assert browser.evaluate(ids) == ["100"]
    browser.evaluate(typed.replace("{}", "'nothing like it'"))
    assert browser.evaluate("document.querySelector('#tokens [role=status]').textContent")
    assert browser.seen.errors == []


def test_without_scripts_the_page_is_whole(
    browser: chromium.Chromium, pages: dict[str, Path]
) -> None:
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["long"], width=1280)
        assert browser.ask("DOM.getDocument", depth=1)["root"]
        bare = len(browser.screenshot())
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    browser.open(pages["long"], width=1280)
    assert bare > 20_000
    hidden = "[...document.querySelectorAll('main *')].filter(e => e.hidden || getComputedStyle(e).display === 'none')"
    assert browser.evaluate(f"{hidden}.map(e => e.tagName).filter(t => t !== 'TITLE')") == []


def test_it_prints_in_black_on_white_and_nothing_is_cut(
    browser: chromium.Chromium, pages: dict[str, Path], tmp_path: Path
) -> None:
    # A4 less the margins, at 96 dots an inch.
    browser.open(pages["long"], width=688, scheme="dark", media="print")
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert browser.evaluate(chromium.CONTRAST) == []
    cut = """[...document.querySelectorAll('.scroll, pre, .cut')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel ?? e.className)"""
    assert browser.evaluate(cut) == []
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 20_000
    (tmp_path / "report.pdf").write_bytes(pdf)
    pages_of = subprocess.run(
        ["sh", "-c", "command -v pdftotext >/dev/null && pdftotext -layout report.pdf - || true"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    if pages_of.stdout:  # poppler is at hand: the text is in the PDF, up to the last column
        assert "(49/49)" in pages_of.stdout
