"""Which of the processes that torchrun started for a run this one is."""

import os


class ProcessLost(Exception):
    """Another process of this run is gone; the text says so in one line."""



def processes() -> int:
    """How many processes torchrun has started for this run; 0 where it was not started by torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0



def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return not processes() or os.environ["RANK"] == "0"



def program() -> tuple[str, ...]:
    """The words that start this program in the same way again."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ("torchrun", f"--nproc_per_node={here}", "run_models.py") if processes() else ("python", "run_models.py")
