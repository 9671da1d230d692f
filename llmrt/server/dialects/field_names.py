"""What a dialect calls the fields of a chat request, for errors and headers that speak of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from llmrt.errors import RequestError, TemplateError


class FieldNames:
    """``names`` maps regular expressions to what stands in the place of what they match, or what makes it of that."""

    def __init__(self, names: Mapping[str, str | Callable[[re.Match[str]], str]]) -> None:
        self._names = {re.compile(rf"\b{pattern}"): name for pattern, name in names.items()}

    def rename(self, text: str) -> str:
        """``text`` with the dialect's names."""
        for pattern, name in self._names.items():
            text = pattern.sub(name, text)
        return text

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The same for the values of ``headers``."""
        return {name: self.rename(value) for name, value in headers.items()}

    @contextmanager
    def in_errors(self) -> Generator[None, None, None]:
        """The same for ``RequestError``s that are raised within; a template's refusal names the messages."""
        try:
            yield
        except RequestError as error:
            param = None if error.param is None else self.rename(error.param)
            raise RequestError(self.rename(str(error)), param=param, code=error.code) from error
        except TemplateError as error:
            raise RequestError(str(error), param=self.rename("messages"), code="chat_template_error") from error
