"""Many runs with one command: `python -m utils.sweep -- -n vmf normal -z 2 5 10 -rs 1 2 3 -d mnist`."""
