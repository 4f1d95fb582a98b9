"""What a view shows of long texts: a check with figures in it."""

from __future__ import annotations

from tokengraft.results import Check, Estimate, LongTexts, Loss, Passkeys, Verification

__all__ = ["MEASURED"]

_CELL = Passkeys(
    text_tokens=512,
    depth_percent=10,
    n_keys=3,
    found_before=3,
    found_after=2,
    before=-0.25,
    after=-4.5,
)
MEASURED = Verification(
    passed=True,
    checks=(
        Check(
            name="long-texts",
            status="unknown",
            evidence="measured, not judged: 8 windows of 2,048 tokens from a.txt, computed in float32",
            measured=LongTexts(
                texts=("a.txt",),
                trained_tokens=512,
                wanted_tokens=2048,
                n_windows=8,
                window_tokens=2048,
                dtype="float32",
                losses=(
                    Loss(
                        text_tokens=512,
                        seen_before=512,
                        begin=1,
                        end=256,
                        n_texts=8,
                        before=Estimate(mean=1.508, low=1.349, high=1.648),
                        after=Estimate(mean=1.838, low=1.656, high=2.012),
                        difference=Estimate(mean=0.33, low=0.275, high=0.397),
                    ),
                    Loss(
                        text_tokens=2048,
                        seen_before=512,
                        begin=1792,
                        end=2048,
                        n_texts=1,
                        before=Estimate(mean=1.704, low=None, high=None),
                        after=None,
                        difference=None,
                    ),
                ),
                passkeys=(
                    _CELL,
                    _CELL.model_copy(update={"text_tokens": 2048, "found_after": 0, "after": None}),
                ),
            ),
        ),
    ),
)
