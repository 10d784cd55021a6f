"""An error that advises a setting names it as the key or as the option, also from another process."""

import pickle

from llmill.contract.errors import SettingError


def test_a_setting_is_named_as_a_key_and_for_a_command_as_its_option():
    error = SettingError("a.csv: one column", "; set delimiter", "; name it: --delimiter")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each) == "a.csv: one column; set delimiter"
        assert each.for_command() == "a.csv: one column; name it: --delimiter"
