"""Apply plans, and make them again, in the process and the environment that runs this.

Usage: python elsewhere.py JOBS.json ANSWERS.json, with this checkout's `src` on the path and what the
core needs. A job is {"recipe": F, "base": F, "plan": F, "out": F, "again": F}: the plan is applied to
the base, and the recipe is planned again into `again`.
"""

from __future__ import annotations

import importlib.metadata
import json
import locale
import os
import sys
import time
from pathlib import Path

from tokengraft.flow import making

CORE = ("numpy", "ml_dtypes", "pydantic", "click", "rich", "tokenizers", "huggingface_hub")


def main(jobs: str, answers: str) -> None:
    for job in json.loads(Path(jobs).read_text(encoding="utf-8")):
        making.apply(Path(job["plan"]), base=job["base"], out=Path(job["out"]))
        planned = making.make_plan(job["base"], Path(job["recipe"]))
        making.write_plan(planned, Path(job["again"]))
    mask = os.umask(0)
    said = {
        "versions": {name: importlib.metadata.version(name) for name in CORE},
        "encoding": locale.getencoding(),
        "zone": time.tzname[0],
        "umask": mask,
        "hash": hash("tokengraft"),
        "torch": "torch" in sys.modules or "transformers" in sys.modules,
    }
    Path(answers).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
