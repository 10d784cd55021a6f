"""The folder of a model: which of the two kinds it is."""

from llmill.contract.model_folder import is_ours


def test_a_folder_is_ours_if_the_tokenizer_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "config.json").write_text('{"head": "next_token"}')
    assert not is_ours(tmp_path)
    (tmp_path / "bpe").mkdir()
    assert is_ours(tmp_path)
    assert not is_ours(tmp_path / "nowhere")
