#!/bin/sh
# All checks that need a GPU (planned for eight minutes): correctness compared with float64 on the
# CPU, the first losses compared with the CPU's, exact resume, speed and memory of gpt2-124m, a short
# training.
set -eu
cd "$(dirname "$0")/.."
export PYTHONPATH=src PYTHONUNBUFFERED=1
python3 -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
python3 benchmarks/gpu.py
