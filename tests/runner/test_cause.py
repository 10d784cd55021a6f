"""Which of several processes that ended is the cause, and what is said of it, by torchrun's own
records.
"""

import json

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from llmill.contract.errors import Stopped, UserError
from llmill.runner.launcher import _cause

KILLED = "process 1 of 2 ended by signal 9; the others were stopped"


@pytest.mark.parametrize(
    ("ends", "said"),
    [  # of each process: exit code, when torchrun saw it or it said so, and what it said
        ([(1, 5.0, "llmill: a.txt: empty"), (143, 5, None)], UserError("a.txt: empty")),
        ([(143, 5, None), (1, 5.0, "llmill: a.txt: empty")], UserError("a.txt: empty")),
        ([(-15, 5, None), (1, 5.0, "llmill: a.txt: empty")], UserError("a.txt: empty")),
        ([(1, 5.7, "llmill: later"), (1, 5.2, "llmill: sooner")], UserError("sooner")),
        ([(1, 5.0, "Traceback\nValueError: odd"), (143, 5, None)], SystemExit("Traceback\nValueError: odd")),
        ([(1, 5.9, "Traceback\nRuntimeError: closed by peer"), (-9, 5, None)], UserError(KILLED)),
        ([(1, 5.9, "Traceback\nRuntimeError: closed by peer"), (-9, 6, None)], UserError(KILLED)),
        ([(1, 5.0, "llmill: a.txt: empty"), (-9, 35, None)], UserError("a.txt: empty")),  # it hung
        ([(143, 5, None), (143, 5, None)], Stopped(15)),
        (
            [(143, 5, None), (3, 5, None)],
            UserError("process 1 of 2 ended with 3; the others were stopped"),
        ),
    ],
)  # fmt: skip
def test_the_cause_is_what_came_first_and_no_process_that_was_only_stopped(tmp_path, ends, said):
    failures = {}
    for rank, (code, second, words) in enumerate(ends):
        file = tmp_path / str(rank)
        if words is not None:
            record = {"message": words, "timestamp": int(second), "at": second}
            file.write_text(json.dumps(record))
        failures[rank] = ProcessFailure(rank, 100 + rank, code, str(file))
        failures[rank].timestamp = int(second)
    cause = _cause(ChildFailedError("llmill", failures), 2)
    assert (type(cause), str(cause)) == (type(said), str(said))
