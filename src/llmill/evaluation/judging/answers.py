"""Generate a language model's answers to instructions."""

from collections.abc import Callable, Sequence
from typing import Any

from llmill.contract.errors import UserError
from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.inference.writing import greedy
from llmill.model.transformer import Transformer
from llmill.tasks.instruction import Instruction
from llmill.text.tokenization.template import Template


def refuse_no_room(key: str, max_new_tokens: int, block_size: int) -> None:
    """Raise `UserError` if `max_new_tokens` leaves no room for a prompt in the context."""
    if max_new_tokens >= block_size:
        raise UserError(
            f"params.yaml: {key} {max_new_tokens} leaves no room for a prompt in the {block_size} "
            "tokens that the model reads"
        )


def prompts_cut(
    model: Transformer,
    template: Template,
    entries: Sequence[Instruction],
    max_new_tokens: int,
    say: Callable[[str], None],
) -> int:
    """Return the number of prompts of which `answers` reads the end alone, because they are too
    long, and `say` it unless it is 0.
    """
    room = _room(model, max_new_tokens)
    count = sum(len(template.prompt(entry.asked)) > room for entry in entries)
    if count:
        say(f"{count} test prompts are longer than {room} tokens: only their end is read")
    return count


def answers(
    model: Transformer,
    template: Template,
    entries: list[Instruction],
    max_new_tokens: int,
    progress: Progress = in_silence,
) -> list[dict[str, Any]]:
    """Generate greedy answers, one row per entry. A prompt that is too long is cut on the left."""
    room, tokenizer = _room(model, max_new_tokens), template.tokenizer
    prompts = [template.prompt(entry.asked)[-room:] for entry in entries]
    written = greedy(model, tokenizer, prompts, max_new_tokens, progress)
    return [
        {
            "instruction": entry.instruction,
            "input": entry.input,
            "output": entry.output,
            "kind": entry.kind,
            "answer": tokenizer.decode(ids).strip(),
        }
        for entry, ids in zip(entries, written, strict=True)
    ]


def _room(model: Transformer, max_new_tokens: int) -> int:
    """Return the number of tokens of a prompt that leave room for the answer in the context."""
    return model.config.block_size - max_new_tokens
