"""The settings of `--slurm`: which there are, what each may be, and how a user writes them."""

import re
from collections.abc import Sequence
from typing import Any

from utils.config.flags import UsageError, nearest

# Settings of `submitit.AutoExecutor` by the kind of their values.
WHOLE = {
    *("timeout_min", "cpus_per_task", "gpus_per_node", "slurm_gpus_per_task", "slurm_cpus_per_gpu"),
    *("slurm_array_parallelism", "slurm_signal_delay_s", "slurm_max_num_timeout"),
}
SWITCHES = {"slurm_exclusive", "slurm_use_srun"}
LISTS = {"slurm_setup", "slurm_teardown", "slurm_srun_args"}  # of shell commands or words
OPTIONS = "slurm_additional_parameters"  # any other options of sbatch, each NAME or NAME=VALUE
TEXTS = {
    *("name", "slurm_partition", "slurm_account", "slurm_qos", "slurm_constraint", "slurm_exclude"),
    *("slurm_nodelist", "slurm_gres", "slurm_mem_per_cpu", "slurm_mem_per_gpu", "slurm_dependency"),
    *("slurm_comment", "slurm_mail_type", "slurm_mail_user", "slurm_wckey"),
}
DEFAULTS: dict[str, Any] = {"name": "run_models", "timeout_min": 24 * 60}
KNOWN = WHOLE | SWITCHES | LISTS | TEXTS | {OPTIONS, "mem_gb"}

# What a user may write in place of a setting's only name here, by sbatch's word.
_SYNONYMS = {
    "time": "timeout_min",
    "mem": "mem_gb",
    "job_name": "name",
    "cpus_per_task": "cpus_per_task",
    "gpus_per_node": "gpus_per_node",
    "num_gpus": "gpus_per_node",
}
_SEVERAL_PROCESSES = {"nodes", "ntasks", "ntasks_per_node", "tasks_per_node", "array"}

# What begins another setting behind a comma; any other comma belongs to a value.
_NEXT = re.compile(r",(?=(?:slurm_\w+|timeout_min|name|mem_gb|nodes|tasks_per_node|\w+_per_(?:task|node))=)")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """The settings by name, as submitit takes them.

    Args:
        words: `NAME=VALUE`, or several of them with commas between; a comma within a value belongs to it.

    Raises:
        UsageError: a word is no setting, or its value is not allowed.
    """
    found: dict[str, Any] = {}
    for word in words:
        for text in [word] if word.partition("=")[0] in LISTS else _NEXT.split(word):
            name, equals, value = text.partition("=")
            if not (name and equals and value):
                raise UsageError(f"--slurm: {text!r} must be NAME=VALUE, such as timeout_min=600")
            if name == OPTIONS:
                option, _, value = value.partition("=")
                _check_option(option)
                found.setdefault(name, {})[option] = value or True
                continue
            _check_name(name, value)
            if name in LISTS:
                found.setdefault(name, []).append(value)
            elif name in KNOWN:
                found[name] = _read_value(name, value)
    minutes, notice = found.get("timeout_min", DEFAULTS["timeout_min"]), found.get("slurm_signal_delay_s", 90)
    if 60 * minutes <= notice:
        raise UsageError(
            f"--slurm timeout_min={minutes}: Slurm announces the limit {notice} seconds before, when the job has not "
            "begun yet; give a longer timeout_min or a shorter slurm_signal_delay_s"
        )
    return found


def _check_name(name: str, value: str) -> None:
    plain = name.removeprefix("slurm_")
    if plain in _SEVERAL_PROCESSES:
        if value != "1":
            raise UsageError(f"--slurm {name}={value}: a run is one process on one node; leave it out")
    elif name not in KNOWN:
        meant = f" (write {_SYNONYMS[plain]})" if plain in _SYNONYMS else nearest(name, KNOWN)
        raise UsageError(f"--slurm {name}: is not known{meant}; other options of sbatch: {OPTIONS}=OPTION=VALUE")


def _check_option(option: str) -> None:
    """Refuse an option of sbatch that has a name here, or that would start a run several times."""
    plain = option.lstrip("-").replace("-", "_")
    if option != option.lstrip("-") or not option:
        raise UsageError(f"--slurm {OPTIONS}={option}: write the option without dashes before it")
    if plain in _SEVERAL_PROCESSES:
        raise UsageError(f"--slurm {OPTIONS}={option}: a run is one process on one node; leave it out")
    for name in (_SYNONYMS.get(plain), f"slurm_{plain}", plain):
        if name in KNOWN:
            raise UsageError(f"--slurm {OPTIONS}={option}: write {name}=VALUE")


def _read_value(name: str, value: str) -> Any:
    if name in WHOLE:
        if not re.fullmatch("[0-9]{1,9}", value) or int(value) == 0:
            raise UsageError(f"--slurm {name}: {value!r} is not a whole number from 1 on")
        return int(value)
    if name == "mem_gb":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", value) or float(value) == 0:
            raise UsageError(f"--slurm mem_gb: {value!r} is not a number of gigabytes above 0")
        return float(value)
    if name in SWITCHES:
        if value not in ("true", "false"):
            raise UsageError(f"--slurm {name}: {value!r} is neither true nor false")
        # submitit would write --exclusive=False, which sbatch does not know.
        return value == "true" or (None if name == "slurm_exclusive" else False)
    return value
