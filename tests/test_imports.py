"""Who may import whom: the modules keep to the plan of the house."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"hyperspherical_vae", "models", "utils", "run_models"}

# What each part may import of ours when it runs. Imports for the type checker alone do not count.
MAY = {
    "models": {"hyperspherical_vae", "utils.model_utils"},
    "utils.training_utils": {"utils.adam", "utils.peers", "utils.seeds"},
    "utils.evaluation": {"utils.peers", "utils.seeds"},
    "utils.peers": set(),
    "utils.geometry": set(),
    "utils.plotting_utils": set(),
    "utils.plots_curves": {"utils.plotting_utils"},
    "utils.plots_latent": {"utils.geometry", "utils.plotting_utils"},
    "utils.plots_manifold": {"utils.geometry", "utils.plotting_utils", "utils.plots_latent"},
    "utils.plots_statistics": {"utils.geometry", "utils.plotting_utils"},
    "utils.flags": set(),
    "utils.config": {"utils.flags", "utils.config_rules", "utils.data_catalogue", "utils.system_settings"},
    "utils.config_rules": {"utils.flags", "utils.system_settings"},
    "utils.system_settings": {"utils.flags"},
    "utils.adam": set(),
    "utils.seeds": set(),
    "utils.model_utils": set(),
}


def imports(path: Path) -> set[str]:
    """Our modules that a file imports, anywhere in it, except under `if TYPE_CHECKING`."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            package = node.module
            found.update({f"{package}.{alias.name}" for alias in node.names} if package == "utils" else {package})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name for name in found if name.split(".")[0] in OURS}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = [*ROOT.glob("*.py"), *(ROOT / "utils").rglob("*.py"), *(ROOT / "hyperspherical_vae").rglob("*.py")]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_module_imports_only_what_it_may(path):
    name, found = module_of(path), imports(path)
    if name.startswith("hyperspherical_vae"):
        assert all(other.startswith("hyperspherical_vae") for other in found)
    if name in MAY:
        allowed = MAY[name]
        assert all(other in allowed or other.split(".")[0] in allowed for other in found), found - allowed
    if name != "run_models":
        assert "run_models" not in found
        assert "models" not in found
    if name not in ("run_models", "utils.command_line"):
        assert "argparse" not in path.read_text() or "argparse" not in ast_imports(path)


def ast_imports(path: Path) -> set[str]:
    return {
        a.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import) for a in node.names
    }


def test_library_prints_nothing_and_touches_no_files():
    for path in FILES:
        if not module_of(path).startswith("hyperspherical_vae"):
            continue
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"print", "open", "input"}, path


def test_training_does_not_import_the_compiler():
    # It costs as much as torch itself; `torch.optim` and `torch.compiler` import it unasked.
    lines = (
        "import sys, torch, models, utils.experiment\n"
        "from hyperspherical_vae.distributions import VonMisesFisher\n"
        "from utils.adam import Adam\n"
        "weight = torch.nn.Parameter(torch.ones(3))\n"
        "optimizer = Adam([weight], 0.1)\n"
        "optimizer.zero_grad()\n"
        "VonMisesFisher(weight / weight.norm(), 2 * weight[0]).rsample()[0].backward()\n"
        "optimizer.step()\n"
        "print('torch._dynamo' in sys.modules, 'matplotlib' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "False"], done.stdout + done.stderr


def test_plotting_is_imported_late():
    # matplotlib costs more than everything else that starts a run; only drawing may load it.
    plots = {module_of(path) for path in FILES if path.stem.startswith("plot")}
    assert "utils.plotting_utils" in plots
    for path in FILES:
        if module_of(path) in plots:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert "matplotlib" not in ast.unparse(node), path
                assert not any(name.rpartition(".")[2] in ast.unparse(node) for name in plots), path
