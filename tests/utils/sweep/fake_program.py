"""In place of run_models.py: the same command line and folder, an epoch being a nap. Told by the seed to misbehave."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from utils.config.command_line import parse_run
from utils.config.flags import UsageError
from utils.run import folder
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.interrupts import STOPPING
from utils.run.records import read_metrics

FAILS, KILLS_ITSELF, DIVERGES, HANGS, NEEDS_MEMORY = 666, 777, 888, 999, 1000


def leave(signum, frame):
    sys.exit(128 + signum)


def main():
    config = parse_run(sys.argv[1:])
    run = RunDir(Identity(config))
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN if config.rs == HANGS else leave)
    print("loading")
    if config.rs == FAILS:
        print("fake_program.py: the data are missing\n", file=sys.stderr)
        return 1
    diverged = config.rs == DIVERGES
    if config.rs == NEEDS_MEMORY:
        _ = os.urandom(1 << 20) * 400  # 0.4 GB
        time.sleep(600)
    with run:
        if run.result() is not None:  # another sweep was faster
            return 0
        run.write_start("cpu", {})
        run.checkpoint("last").touch()
        done = len(read_metrics(run.metrics_path))
        with open(run.path / "starts.txt", "a") as starts:
            cores, card = os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES", "-")
            starts.write(f"{done} {cores} {card} {os.getpid()} {os.getppid()}\n")
        for epoch in range(done + 1, config.epochs + 1):
            time.sleep(600 if config.rs == HANGS and epoch > 1 else float(os.environ.get("NAP", "0")))
            run.log({"epoch": epoch, "train": {}, "val": {"elbo": -float(epoch)}, "kl_weight": 1.0})
            run.checkpoint("last").touch()
            if config.rs == KILLS_ITSELF and done == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        test = {"n": 1, "elbo": -2.0, "log_px_z": -1.0, "kl": 1.0, "log_px": -1.5 - config.rs, "k": config.ll_sample}
        found = {"best_epoch": 0, "test": None} if diverged else {"best_epoch": 1, "test": test}
        run.write_result({"status": "diverged" if diverged else "complete", "epochs": config.epochs, **found})
    return 3 if diverged else 0


if __name__ == "__main__":
    folder._environment = lambda device, images: {}  # it imports torch, which takes longer than all the rest
    try:
        sys.exit(main())
    except UsageError as error:
        print(f"fake_program.py: {error}", file=sys.stderr)
        sys.exit(2)
