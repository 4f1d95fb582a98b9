"""What every test gets: no network, a clean environment, and the witnesses that are installed."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

# Tests run a process a core: threads of numpy and torch, neither of which is imported yet, would
# only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPO = Path(__file__).resolve().parents[1]
OURS = frozenset(
    {
        "TOKENGRAFT_DATA",
        "TOKENGRAFT_TF4",
        "TOKENGRAFT_TF5",
        "TOKENGRAFT_REQUIRE_DATA",
        "TOKENGRAFT_REQUIRE_ORACLES",
        "TOKENGRAFT_REQUIRE_FAULTS",
        "TOKENGRAFT_REQUIRE_CHROMIUM",
    }
)
UNWANTED = (
    *("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "LC_ALL", "LC_MESSAGES", "LANGUAGE"),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "TRANSFORMERS_CACHE"),
    *("HF_HUB_ENABLE_HF_TRANSFER", "GITHUB_ACTIONS", "PYTHONWARNINGS"),
)
WANTED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "COLUMNS": "100",
    "LINES": "40",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update", action="store_true", help="write tests/golden again instead of comparing"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that no process is left alone with one at the end."""
    long_marks = {"oracle4", "oracle5", "slow"}
    long = {item.path for item in items if long_marks & {mark.name for mark in item.iter_markers()}}
    # What trains says so by what it imports.
    long |= {item.path for item in items if hasattr(getattr(item, "module", None), "torch")}
    items.sort(key=lambda item: item.path not in long)


def _missing(reason: str, *, required_by: str) -> NoReturn:
    """Skip, or fail where this environment promised that nothing is missing."""
    if os.environ.get(required_by) == "1":
        pytest.fail(f"{reason} ({required_by}=1)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real files that nobody here wrote, which is not part of the repository."""
    named = os.environ.get("TOKENGRAFT_DATA", "")
    if not named or not Path(named, "README.md").is_file():
        reason = "needs the folder of real files that TOKENGRAFT_DATA names"
        _missing(reason, required_by="TOKENGRAFT_REQUIRE_DATA")
    return Path(named)


def _witness(major: int, candidates: list[str]) -> Path:
    """A Python that has this major version of transformers."""
    ask = "import importlib.metadata as m; print(m.version('transformers'))"
    for python in candidates:
        if not python or not Path(python).is_file():
            continue
        told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
        if told.stdout.startswith(f"{major}."):
            return Path(python)
    _missing(
        f"needs a Python with transformers {major}: make test, or TOKENGRAFT_TF{major}",
        required_by="TOKENGRAFT_REQUIRE_ORACLES",
    )


@pytest.fixture(scope="session")
def tf4() -> Path:
    """A Python with transformers 4. It speaks on stderr of a missing torch: read stdout alone."""
    named = os.environ.get("TOKENGRAFT_TF4", "")
    return _witness(4, [named, str(REPO / ".venv-tf4" / "bin" / "python")])


@pytest.fixture(scope="session")
def second(tf4: Path) -> Path:
    """A Python with what the core needs at other versions: the one with transformers 4."""
    ask = "import click, ml_dtypes, pydantic, rich"
    told = subprocess.run([tf4, "-c", ask], capture_output=True, check=False)
    if told.returncode:
        _missing(
            "needs what the core needs in the second environment: make test",
            required_by="TOKENGRAFT_REQUIRE_ORACLES",
        )
    return tf4


@pytest.fixture(scope="session")
def tf5() -> Path:
    """A Python with transformers 5: the one that runs the tests, if it has it."""
    named = os.environ.get("TOKENGRAFT_TF5", "")
    own = sys.executable if _has_own_transformers() else ""
    return _witness(5, [named, own, str(REPO / ".venv" / "bin" / "python")])


def _has_own_transformers() -> bool:
    try:
        importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="session")
def _hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, _hub_home: Path) -> None:
    """Offline, without colour, 100 columns wide, in English, without the user's own settings."""
    for name in (*UNWANTED, *os.environ):
        if name in UNWANTED or (name.startswith("TOKENGRAFT_") and name not in OURS):
            monkeypatch.delenv(name, raising=False)
    for name, value in WANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(_hub_home))


@pytest.fixture
def whole_corpus() -> None:
    """For tests that want all of the built-in corpus."""


@pytest.fixture(autouse=True)
def short_corpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the built-in corpus, with everything that is always in it, for `verify`."""
    if "whole_corpus" not in request.fixturenames:
        monkeypatch.setattr("tokengraft.verifying.texts.MIN_BYTES", 100_000)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a socket reach this machine alone."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guard(own: socket.socket, address: Any) -> None:
        if own.family == getattr(socket, "AF_UNIX", None):
            return
        host = str(address[0])
        if host != "localhost" and not host.startswith("127.") and host != "::1":
            own.close()
            message = f"a test tried to reach {address!r}"
            raise AssertionError(message)

    def guarded(own: socket.socket, address: Any) -> None:
        guard(own, address)
        connect(own, address)

    def guarded_ex(own: socket.socket, address: Any) -> int:
        guard(own, address)
        return connect_ex(own, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A small untied checkpoint in step with itself; other kinds come from `tiny.build`."""
    import tiny as tiny_checkpoints

    return tiny_checkpoints.build(tmp_path / "tiny")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME; `--golden-update` writes it, for review as a diff."""

    def check(name: str, text: str) -> None:
        path = REPO / "tests" / "golden" / name
        if request.config.getoption("--golden-update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        expected = path.read_text(encoding="utf-8") if path.is_file() else "(no such golden file)"
        assert expected == text

    return check


@pytest.fixture
def server(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub that serves `org/tiny`, and huggingface_hub told to ask it."""
    import huggingface_hub
    from huggingface_hub import constants

    from hub_server import REPO, SECRET, Hub, serving
    from tokengraft.hub import ranges

    with serving(Hub(folders={REPO: tiny})) as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setattr("tokengraft.hub.repositories.SECONDS", 1.0)
        monkeypatch.setattr(ranges, "PAUSES", (0.0, 0.0))
        monkeypatch.setenv("HF_TOKEN", SECRET)
        yield made
    huggingface_hub.close_session()
