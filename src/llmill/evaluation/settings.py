"""A judge that is asked over HTTP."""

from llmill.contract.values import Address, Line, Retries, Seconds, Section, Seed, Variable


class JudgeServer(Section):
    """A server with the OpenAI interface; the key is read from the environment."""

    base_url: Address
    model: Line
    key_variable: Variable
    seed: Seed
    retries: Retries
    timeout: Seconds
