"""What imports cost: heavy packages are loaded where they are used, and the library does nothing but compute."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = [*ROOT.glob("*.py"), *(ROOT / "utils").rglob("*.py"), *(ROOT / "hyperspherical_vae").rglob("*.py")]


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
        "from utils.train.adam import Adam\n"
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
    drawing = {path for path in FILES if "from matplotlib.figure" in path.read_text()} - {
        ROOT / "utils" / "figures" / "registry.py"
    }
    names = [module_of(path) for path in FILES if path not in drawing]
    lines = f"import importlib, sys\n[importlib.import_module(name) for name in {names}]\n"
    lines += "print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr
