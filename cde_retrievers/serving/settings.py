"""The limits of a server."""

from dataclasses import dataclass, fields

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.numbers import check_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """What a server accepts, and how it batches.

    Attributes:
        max_texts: texts of one request; OpenAI's own limit if left out.
        max_body_bytes: bytes of one request.
        max_requests: requests that are read or embedded at one time; further ones are refused with status 429.
        max_waiting_texts: texts of requests that are accepted and not answered yet; at least `max_texts`.
        batch_texts: texts that are embedded in one call, of one or of several requests.
        read_seconds: time in which a client must send its request.

    Raises:
        ConfigurationError: one is not a positive whole number, or a request of `max_texts` could never wait.
    """

    max_texts: int = 2_048
    max_body_bytes: int = 8 << 20
    max_requests: int = 256
    max_waiting_texts: int = 16_384
    batch_texts: int = 64
    read_seconds: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            check_whole(field.name, getattr(self, field.name), 1)
        if self.max_waiting_texts < self.max_texts:
            raise ConfigurationError(
                f"max_waiting_texts must be at least max_texts ({self.max_texts:,}), found {self.max_waiting_texts:,}, "
                f"so that a request of that many texts can wait; raise the first or lower the second"
            )
