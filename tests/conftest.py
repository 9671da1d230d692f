"""Before any test imports torch: its threads yield when they wait, so that the tests also pass on a busy machine."""

from __future__ import annotations

from llmrt.engine.threads import limit_spinning

limit_spinning()
