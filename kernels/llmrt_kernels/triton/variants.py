"""Every shipped form of every kernel."""

from __future__ import annotations

import importlib
import pkgutil

import llmrt_kernels.triton
from llmrt_kernels.triton.variant import Variant


def shipped_variants() -> tuple[Variant, ...]:
    """What the modules of this package list as ``VARIANTS``, by name."""
    names = [module.name for module in pkgutil.iter_modules(llmrt_kernels.triton.__path__)]
    modules = [importlib.import_module(f"llmrt_kernels.triton.{name}") for name in names]
    found = [variant for module in modules for variant in getattr(module, "VARIANTS", ())]
    return tuple(sorted(found, key=lambda variant: variant.name))
