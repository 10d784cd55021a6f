"""Which process this is, by torchrun's variables, which schedulers set as well."""

from llmill.contract import processes

VARIABLES = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}


def test_variables_that_torchrun_did_not_set_mean_nothing(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    told = processes.count(), processes.rank(), processes.local_rank(), processes.main()
    assert told == (1, 0, 0, True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    told = processes.count(), processes.rank(), processes.local_rank(), processes.main()
    assert told == (4, 3, 1, False)
