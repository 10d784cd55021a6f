"""Sample texts during training: written as the settings say, and kept by step."""

from llmill.model.generate import Choice, generate
from llmill.training.sampling import Sampler, Samples
from llmill.training.settings import Sampling
from tests.evaluation.toys import bytes_tokenizer, decoder


def test_samples_are_chosen_with_the_temperature_and_the_limit_of_the_settings(tmp_path):
    model, tokenizer = decoder(), bytes_tokenizer()
    settings = Sampling(prompts=["Once", ""], max_new_tokens=12, temperature=0.7, top_k=3)
    Sampler(tokenizer, settings, 5, Samples(tmp_path)).write(model, 20)
    choice = Choice(temperature=0.7, top_k=3)
    ids = generate(
        model, [[256, *b"Once"], [256]], max_new_tokens=12, end_of_text=256, choice=choice, seed=5
    )
    assert Samples(tmp_path).gather() == [
        {"step": 20, "prompt": "Once", "text": tokenizer.decode(ids[0])},
        {"step": 20, "prompt": "", "text": tokenizer.decode(ids[1])},
    ]
