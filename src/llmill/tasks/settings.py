"""How a labelled data set is split, and the names of chat templates."""

from typing import Literal, Self

from pydantic import model_validator

from llmill.contract.values import Section, Share

TemplateName = Literal["alpaca", "plain", "chatml", "weights"]


class Split(Section):
    """Shares of a labelled data set, by a hash of its content. The rest is for training."""

    validate_share: Share
    test_share: Share

    @model_validator(mode="after")
    def something_is_left(self) -> Self:
        if self.validate_share + self.test_share >= 1:
            raise ValueError("validate_share + test_share leave nothing to train on")
        return self
