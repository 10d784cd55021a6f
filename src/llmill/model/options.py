"""The options of a Hugging Face `config.json`, read strictly where they matter: each option is
requested by name and type, known to change nothing, or refused.
"""

import sys
from pathlib import Path
from typing import Any, NoReturn

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError

# Options of files, training or generation, which do not change what the model computes.
NEUTRAL = {
    "_name_or_path", "architectures", "bos_token_id", "chunk_size_feed_forward", "dtype",
    "eos_token_id", "id2label", "initializer_range", "is_llama_config", "label2id", "model_type",
    "n_ctx", "output_attentions", "output_hidden_states", "pad_token_id", "pretraining_tp",
    "problem_type", "return_dict", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "task_specific_params",
    "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip

# More options of files, of generation, or of who made them. A line names those that are ignored, so
# that nobody thinks that llmill follows them.
PASSED = {
    "bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id", "diversity_penalty",
    "do_sample", "early_stopping", "eos_token_ids", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "gradient_checkpointing", "length_penalty", "max_length",
    "max_new_tokens", "min_length", "n_special", "no_repeat_ngram_size", "num_beams", "num_labels",
    "num_return_sequences", "output_past", "output_scores", "predict_special_tokens", "prefix",
    "repetition_penalty", "sep_token_id", "temperature", "tokenizer_class", "top_k", "top_p",
    "torchscript", "transformers.js_config", "typical_p", "use_bfloat16",
}  # fmt: skip
PASSED_BEGINNINGS = ("_", "unsloth_")

Config = dict[str, Any]


class Options:
    """A config.json that is read strictly: `done` refuses options that nobody requested."""

    def __init__(self, file: Path, values: Config):
        self.file, self.values = file, values
        self._left = values.keys() - NEUTRAL

    def take(self, name: str, *default: Any) -> Any:
        """Return an option or its default. Raises `UserError` if there is neither."""
        self._left -= {name}
        if name not in self.values and not default:
            raise UserError(f"{self.file}: {name} is missing")
        return self.values.get(name, *default)

    def whole(self, name: str, *default: None) -> Any:
        """Return an integer from 1. If there is a default, null and absent are the same."""
        value = self.take(name, *default)
        if value is None and default:
            return None
        if type(value) is not int or value < 1:
            self._refuse(name, value, "a whole number from 1")
        return value

    def number(self, name: str, *default: float) -> float:
        """Return a finite number."""
        value = self.take(name, *default)
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            self._refuse(name, value, "a number")
        return float(value)

    def flag(self, name: str, *default: bool) -> bool:
        """Return true or false."""
        value = self.take(name, *default)
        if not isinstance(value, bool):
            self._refuse(name, value, "true or false")
        return value

    def section(self, name: str) -> Config:
        """Return the options of an object under one name; for null or absent, an empty dict."""
        value = self.take(name, None)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(name, value, "an object")
        return value

    def _refuse(self, name: str, value: Any, expected: str) -> NoReturn:
        raise UserError(f"{self.file}: {name} = {quoted(value)}: must be {expected}")

    def only(self, name: str, *allowed: Any) -> None:
        """Raise `UserError` unless an option is absent or has one of these values."""
        value = self.take(name, allowed[0])
        if value not in allowed:
            raise UserError(
                f"{self.file}: {name} = {quoted(value)} is not supported, only "
                f"{' or '.join(map(repr, allowed))}"
            )

    @property
    def passed(self) -> list[str]:
        """The options that nobody read and that do not change what the model computes."""
        return sorted(
            name for name in self._left if name in PASSED or name.startswith(PASSED_BEGINNINGS)
        )

    def done(self) -> None:
        """Raise `UserError` for the first option that was not read."""
        for name in sorted(self._left - set(self.passed)):
            raise UserError(
                f"{self.file}: {name} = {quoted(self.values[name])}: llmill does not know this "
                "option; a model that is read without it might compute something else"
            )
