"""What goes over the wire: OpenAI's requests, answers and errors, as JSON."""

import base64
import json
from collections.abc import Iterator
from heapq import nsmallest
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cde_retrievers.errors import InvalidTextError, RequestError
from cde_retrievers.serving.contexts import SIDES_BEGIN
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.texts import Role, checked_text
from cde_retrievers.validation.vectors import Embeddings

ROLES: tuple[Role, Role] = ("document", "query")
_SHOWN = 1_000  # characters of what a client sent
_NAMED = 5  # of its fields
_KINDS = {429: "rate_limit_error"}


class EmbeddingRequest(BaseModel):
    """The body of a request for embeddings, not checked against the contexts yet.

    Attributes:
        model: name of a context; may end in ":query" or ":document".
        input: a text, or several.
        input_type: what the texts are embedded as, if the model's name does not say it.
        encoding_format: numbers as JSON, or the bytes of little-endian float32 in base64.
        dimensions: the width of the embeddings, which cannot be chosen.
        user: accepted, and not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    model: str
    input: Any
    input_type: Role | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @property
    def role(self) -> Role:
        """What the texts are embedded as.

        Raises:
            RequestError: the request does not say it, or says both.
        """
        name, end = parts_of_name(self.model)
        said = {role for role in (end, self.input_type) if role is not None}
        if not said:
            raise RequestError(
                400,
                "input_type_missing",
                f"a text is embedded as a query or as a document, and the request does not say which; give the model "
                f"name {name + ':query'!r} or {name + ':document'!r}, or add the field input_type, 'query' or "
                f"'document' (extra_body in OpenAI's client)",
            )
        if len(said) > 1:
            raise RequestError(
                400,
                "input_type_conflict",
                f"a text is embedded as a query or as a document, and the request says both: its model name ends with "
                f"{':' + str(end)!r}, its input_type is {self.input_type!r}; leave one of them out",
            )
        return said.pop()

    def texts(self, most: int) -> list[str]:
        """Return the texts; at least one, and none of them empty.

        Args:
            most: number of texts that are accepted.

        Raises:
            RequestError: they are not texts, or too many.
        """
        items = [self.input] if isinstance(self.input, str) else self.input
        if not isinstance(items, list) or not items:
            raise RequestError(400, "invalid_input", "input must be a text or a list of texts that is not empty")
        if len(items) > most:
            raise RequestError(
                400,
                "too_many_texts",
                f"at most {most:,} texts are accepted, found {len(items):,}; send fewer",
            )
        return list(_checked(items))


def parts_of_name(model: str) -> tuple[str, Role | None]:
    """Return the alias or fingerprint in the name of a model, and the side, None if it has none."""
    name, _, end = model.rpartition(SIDES_BEGIN)
    return next(((name, role) for role in ROLES if role == end), (model, None))


def _checked(items: list[Any]) -> Iterator[str]:
    for position, item in enumerate(items):
        if isinstance(item, int | list) and not isinstance(item, bool):
            raise RequestError(
                400,
                "token_ids",
                "input holds token ids, but they are those of another tokenizer; send texts. LangChain does so with "
                "OpenAIEmbeddings(check_embedding_ctx_length=False)",
            )
        try:
            text = checked_text(item, position)
        except InvalidTextError as error:
            raise RequestError(400, "invalid_input", f"input: {error}") from error
        if not text.strip():
            raise RequestError(
                400, "empty_text", f"input: text {position} is empty, so that it has no meaning to embed; leave it out"
            )
        yield text


def parse_request(body: bytes) -> EmbeddingRequest:
    """Read the body of a request.

    Raises:
        RequestError: it is not JSON in UTF-8, or has other fields or types.
    """
    try:
        fields = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RequestError(
            400, "invalid_encoding", f"the body is not UTF-8 at byte {error.start}; encode it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "invalid_json", f"the body is not valid JSON ({error}); repair it") from error
    if not isinstance(fields, dict):
        raise RequestError(400, "invalid_json", "the body must be a JSON object with the fields model and input")
    # Before pydantic, which describes every one of a million fields.
    if unknown := fields.keys() - EmbeddingRequest.model_fields.keys():
        named = ", ".join(repr(name[: _SHOWN // _NAMED]) for name in nsmallest(_NAMED, unknown))
        raise RequestError(
            400,
            "invalid_request",
            f"the request is not valid: unknown fields ({len(unknown):,}), such as {named}; leave them out",
        )
    try:
        return EmbeddingRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestError(
            400, "invalid_request", f"the request is not valid: {readable(error.errors())[:_SHOWN]}"
        ) from error


def answer(vectors: Embeddings, model: str, tokens: int, encoding_format: Literal["float", "base64"]) -> bytes:
    """Return the body of an answer.

    Args:
        vectors: one row for each text (n, width).
        model: the name under which the same vectors can be had again.
        tokens: that were read.
        encoding_format: of the numbers.
    """
    rows: list[Any] = (
        [base64.b64encode(row.tobytes()).decode("ascii") for row in vectors.astype("<f4")]
        if encoding_format == "base64"
        else vectors.tolist()
    )
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}).encode()


def error_body(status: int, code: str, message: str) -> bytes:
    """Return the body of an answer that says what is wrong."""
    kind = _KINDS.get(status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error")
    content = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return json.dumps(content).encode()
