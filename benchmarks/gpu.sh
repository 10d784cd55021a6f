#!/bin/sh
# All that needs a GPU (eight minutes are meant): correctness beside float64 on the CPU, the first
# losses beside the CPU's, exact resume, speed and memory of gpt2-124m, a short training.
set -eu
cd "$(dirname "$0")/.."
export PYTHONPATH=src PYTHONUNBUFFERED=1
python3 -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
python3 benchmarks/gpu.py
