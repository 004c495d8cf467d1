"""What every section of the settings shares."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen section; an unknown key is an error, so that a misspelt setting is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
