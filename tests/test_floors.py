"""Imports go down the floors of the house, and never in circles. Imports for types and late ones count too."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = (
    "utils.files hyperspherical_vae",
    "utils.data utils.model_utils utils.plotting_utils",
    "utils.config",
    "utils.load_data utils.run",
    "models",
    "utils.train utils.classifying_utils utils.tables utils.figures",
    "utils.training_utils utils.measure utils.results utils.report utils.export",
    "utils.experiment",
    "utils.runs",
    "utils.revisit utils.sweep",
    "run_models",
    "benchmarks",
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
FILES = [path for top in ("hyperspherical_vae", "utils", "benchmarks") for path in (ROOT / top).rglob("*.py")]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [*ROOT.glob("*.py"), *FILES]
}


def room_of(module: str) -> str:
    first, *rest = module.split(".")
    return f"utils.{rest[0]}" if first == "utils" and rest else first


@cache
def imports(module: str) -> frozenset[str]:
    """Our modules that a module names in an import, anywhere in it."""
    path, found = MODULES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            members = {f"{source}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else source for member in members}
    return frozenset(found & MODULES.keys() - {module})


def test_modules_import_from_their_own_room_and_from_lower_floors():
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module)
        if room_of(module) != room_of(other) and room_of(module) != "utils"
        if FLOOR[room_of(other)] >= FLOOR[room_of(module)]
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_module_imports_itself_through_others():
    TopologicalSorter({module: imports(module) for module in MODULES}).prepare()  # raises CycleError, which names them


def test_rooms_are_small_enough_to_be_taken_in_at_a_glance():
    for folder in {path.parent for path in FILES}:
        assert len(list(folder.glob("*.py"))) <= 12, folder
