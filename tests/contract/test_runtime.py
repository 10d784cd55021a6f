"""Number types, by what the processor has instructions for."""

import pytest
import torch
from torch import nn

from llmill.contract import runtime
from llmill.contract.errors import UserError
from llmill.contract.hardware import Runtime


def on(dtype):
    return Runtime(device="cpu", dtype=dtype)


@pytest.fixture(params=[True, False], ids=["with instructions", "without"])
def has_bfloat16(request, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    return request.param


def product(dtype):
    with runtime.autocast(on(dtype)):
        return nn.Linear(2, 2)(torch.ones(1, 2)).dtype


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    on_gpus = Runtime(device="auto", dtype="float32")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runtime.device(on_gpus) == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"process 3 .* no GPU of its own: there are 2; lower"):
        runtime.device(on_gpus)


def test_auto_multiplies_in_bfloat16_where_the_processor_does(has_bfloat16):
    expected = torch.bfloat16 if has_bfloat16 else torch.float32
    assert runtime.dtype(on("auto")) == product("auto") == expected


def test_a_number_type_that_is_asked_for_is_the_one(has_bfloat16):
    assert product("bfloat16") == torch.bfloat16
    assert product("float32") == torch.float32


def test_bfloat16_without_instructions_for_it_is_warned_of(has_bfloat16):
    warning = runtime.warning(on("bfloat16"))
    assert (warning is None) == has_bfloat16
    assert warning is None or warning.startswith("runtime.dtype is bfloat16, for which this pro")
    assert runtime.warning(on("auto")) is runtime.warning(on("float32")) is None
