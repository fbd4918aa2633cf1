"""Commands in the documentation parse, links resolve, code runs, and pages stay short."""

import importlib.util
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amr_jax import __main__ as entry
from amr_jax import methods
from amr_jax.benchmark import __main__ as subcommands
from amr_jax.config import files
from amr_jax.inference import model_file
from amr_jax.run import cli
from docs import settings_tables
from tests import tiny_models
from tests.docs import pages
from tests.docs.pages import PAGES, ROOT

README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
SOURCES = [
    path
    for folder in ("amr_jax", "configs", "launch", "tests", "tfds_builders")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".sh", ".sbatch", ".yaml")
]
WRITTEN_BY_COMMANDS = {"comparison.md", "NAME.md", "r.md", "real_sets.md"}


def test_readme_is_one_page():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1500


def test_the_example_of_a_method_as_a_function_runs():
    page = ROOT / "docs" / "change_a_method.md"
    (code,) = pages.blocks(page, "python")
    scope = {}
    exec(compile(code, page.name, "exec"), scope)
    assert scope["loss"] > 0


def test_the_example_of_a_trained_model_runs(monkeypatch, tmp_path):
    model = tiny_models.make()
    (tmp_path / "RUN" / "linear").mkdir(parents=True)
    model_file.write(tmp_path / "RUN" / "linear" / model_file.NAME, model)
    np.save(tmp_path / "clip.npy", tiny_models.joints(0, 30)[:, 0])
    monkeypatch.chdir(tmp_path)
    *_, code = pages.blocks(ROOT / "docs" / "use_a_model.md", "python")
    scope = {}
    exec(compile(code, "use_a_model.md", "exec"), scope)
    assert scope["joints"].shape == (model.input.max_frames, len(model.input.joints), 3)
    assert scope["names"][0] in model.class_names


def test_the_example_of_a_new_method_runs(monkeypatch, tmp_path):
    page = ROOT / "docs" / "where_to_change.md"
    module, config_file = [b for b in pages.blocks(page, "python") if b.startswith('"""Pre')]
    scope = {"__name__": "mean_position"}
    exec(compile(module, page.name, "exec"), scope)
    (tmp_path / "mean_position.py").write_text(config_file, encoding="utf-8")
    monkeypatch.setattr(files, "FOLDERS", [*files.FOLDERS, tmp_path])
    monkeypatch.setitem(methods.METHODS, "mean_position", scope["MeanPosition"])

    config = files.get_config("mean_position:nwucla,runlocal")
    config.dtype = "float32"
    method = methods.build(config)
    rngs = {name: jax.random.key(0) for name in ("params", *method.streams)}
    clips, present = jnp.ones((1, 48, 20, 3)), jnp.ones((1, 48, 20), bool)
    (loss, _), _ = method.init_with_output(rngs, clips, present)
    assert loss > 0


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_links_resolve(page):
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.parent.name == "api" and target.stem != "index":
            # Made by docs/api_pages.py.
            assert target.stem == "top_level" or (ROOT / "amr_jax" / target.stem).is_dir(), link
            continue
        assert target.exists(), link
        assert not anchor or anchor in pages.headings(target), link


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_commands_parse(page):
    for name, *arguments in pages.commands(page):
        if name in ("COMMAND", "--help") or arguments[:1] == ["WHAT"]:
            continue
        try:
            _parse(name, arguments)
        except Exception as error:
            raise AssertionError(f"{name} {' '.join(arguments)}") from error


def _parse(name: str, arguments: list[str]) -> None:
    """Raises unless the command has these flags, and its config these keys."""
    parser = cli.Parser(name, "")
    if name == "benchmark":
        parser = subcommands.subcommand(arguments.pop(0), name)[1]
    else:
        entry.COMMANDS[name](parser)
    arguments, overrides = files.split_overrides(x for x in arguments if x != "--help")
    given, rest = parser.parse_known_intermixed_args(arguments)
    assert not rest
    if overrides or getattr(given, "config", None):
        files.override(files.get_config(_replaced(name, given.config)), overrides)


def _replaced(command: str, spec: str) -> str:
    """A config that exists in place of names that the reader replaces."""
    spec = re.sub(r"\bNAME\b|DATA/custom/\w+", "nwucla", spec)
    return re.sub(
        r"^(PROTOCOL|nwucla|mean_position|my_\w+\.py)\b",
        "linear" if command == "evaluate" else "amr",
        spec,
    )


def test_settings_tables_are_up_to_date():
    text = settings_tables.PAGE.read_text(encoding="utf-8")
    assert settings_tables.filled(text) == text, "run: python docs/settings_tables.py"


def test_sources_cite_documents_that_exist():
    missing = []
    for path in SOURCES:
        for document in re.findall(r"[\w./-]+\.md\b", path.read_text(encoding="utf-8")):
            written = document in WRITTEN_BY_COMMANDS or path.parts[-2] == "docs"
            if not written and not (ROOT / document).is_file():
                missing.append(f"{path.relative_to(ROOT)}: {document}")
    assert not missing, "\n".join(missing)


def test_code_in_ten_minutes_is_short():
    page = ROOT / "docs" / "code_in_ten_minutes.md"
    found = re.findall(r"^\| \d+ \| `([^`]+)` \|", page.read_text("utf-8"), re.MULTILINE)
    assert 5 <= len(found) <= 10
    lines = {file: (ROOT / file).read_bytes().count(b"\n") for file in found}
    assert sum(lines.values()) <= 1300, lines


def test_changelog_names_modules_that_exist():
    rows = re.findall(r"^\| [^|]*`[^|]* \|([^|]*)\|$", CHANGELOG.read_text("utf-8"), re.MULTILINE)
    found = [name for row in rows for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", row)]
    assert len(found) > 20
    for name in found:
        path = ROOT.joinpath("amr_jax", *name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.slow
def test_site_builds(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if not found:
            pytest.skip(f"{module} is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "api" / "ops" / "index.html").is_file()
